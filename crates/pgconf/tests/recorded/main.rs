//! What servers of the majors 12 to 18 said of files and values, recorded, against what the crate
//! says: `tests/data/cases.jsonl.gz` and `tests/data/values.jsonl.gz`.
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
            assert_eq!(got, expected, "{case} in major {major}");
        }
    }
    assert!(compared >= at_least, "only {compared} verdicts");
}

#[test]
fn files_as_pg_file_settings_shows_them() {
    replay("cases.jsonl.gz", judge::files, 2400);
}

#[test]
fn values_as_servers_read_and_show_them() {
    replay("values.jsonl.gz", judge::values, 2100);
}
