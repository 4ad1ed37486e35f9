//! What servers of the majors 12 to 18 said of files, and whom they let in, recorded, against what
//! the crate says.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod judge;

use std::io::Read as _;

/// What a record and the crate say of one case in one major.
struct Comparison {
    major: String,
    expected: String,
    got: String,
}

fn replay(
    file: &str,
    judge: fn(&serde_json::Value) -> Result<Vec<Comparison>, String>,
    at_least: usize,
) {
    let path = format!("{}/tests/data/{file}", env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    let compressed = std::fs::File::open(path).unwrap();
    flate2::read::MultiGzDecoder::new(compressed).read_to_string(&mut text).unwrap();
    let mut compared = 0;
    for line in text.lines() {
        let case: serde_json::Value = serde_json::from_str(line).unwrap();
        for Comparison { major, expected, got } in judge(&case).unwrap() {
            compared += 1;
            assert_eq!(got, expected, "{} in {major}", case["name"]);
        }
    }
    assert!(compared >= at_least, "only {compared} verdicts");
}

#[test]
fn rows_of_the_view_acceptance_and_log() {
    replay("hba-cases.jsonl.gz", judge::hba, 9210);
}

#[test]
fn rows_of_the_view_of_maps_acceptance_and_log() {
    replay("ident-cases.jsonl.gz", judge::ident, 440);
}

#[test]
fn the_rule_that_decides_about_a_connection() {
    replay("hba-decisions.jsonl.gz", judge::hba_decisions, 770);
}

#[test]
fn the_roles_that_a_system_user_may_be() {
    replay("ident-decisions.jsonl.gz", judge::ident_decisions, 420);
}
