//! What servers of the majors 12 to 18 said of files and values, recorded, against what the crate
//! says: `tests/data/cases.jsonl.gz` and `tests/data/values.jsonl.gz`.

mod judge;

use recorded::Judge;

fn check(file: &str, judge: Judge, at_least: usize) {
    recorded::check(format!("{}/tests/data/{file}", env!("CARGO_MANIFEST_DIR")), judge, at_least);
}

#[test]
fn files_as_pg_file_settings_shows_them() {
    check("cases.jsonl.gz", judge::files, 2400);
}

#[test]
fn values_as_servers_read_and_show_them() {
    check("values.jsonl.gz", judge::values, 2100);
}
