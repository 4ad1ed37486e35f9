//! What servers of the majors 12 to 18 said of files, and whom they let in, recorded, against what
//! the crate says. The files with `more` in their names were recorded later, of the same builds and in
//! the same way: of all methods with all options, LDAP URLs, RADIUS lists, addresses, quotes, NUL bytes,
//! long lines and tokens, and random folders of files that include one another.

mod judge;

use recorded::Judge;

fn check(file: &str, judge: Judge, at_least: usize) {
    recorded::check(format!("{}/tests/data/{file}", env!("CARGO_MANIFEST_DIR")), judge, at_least);
}

#[test]
fn rows_of_the_view_acceptance_and_log() {
    check("hba-cases.jsonl.gz", judge::hba, 9210);
}

#[test]
fn rows_of_the_view_of_maps_acceptance_and_log() {
    check("ident-cases.jsonl.gz", judge::ident, 440);
}

#[test]
fn the_rule_that_decides_about_a_connection() {
    check("hba-decisions.jsonl.gz", judge::hba_decisions, 770);
}

#[test]
fn the_roles_that_a_system_user_may_be() {
    check("ident-decisions.jsonl.gz", judge::ident_decisions, 420);
}

#[test]
fn more_rows_of_the_view_acceptance_and_log() {
    check("hba-more-cases.jsonl.gz", judge::hba, 27_200);
}

#[test]
fn more_rows_of_the_view_of_maps_acceptance_and_log() {
    check("ident-more-cases.jsonl.gz", judge::ident, 3312);
}

#[test]
fn more_rules_that_decide_about_a_connection() {
    check("hba-more-decisions.jsonl.gz", judge::hba_decisions, 1050);
}
