//! Serialised forms.
#![cfg(feature = "serde")]

use pg_version::PgVersion;
use pgconf::{Catalogue, Configuration};
use textfile::MemoryFiles;

#[test]
fn what_is_read_and_done_as_json() {
    let mut files = MemoryFiles::default();
    files.insert("/pg/postgresql.conf", "work_mem = 4MB\nbad line here\nnosuch = '\\377'\n");
    files.insert("/data/postgresql.auto.conf", "ssl = 'off'\n");
    let mut conf =
        Configuration::read(&files, "/pg/postgresql.conf", Some(b"/data"), PgVersion::V17);
    let json = serde_json::json!({
        "setting": Catalogue::new(PgVersion::V17).get("bytea_output"),
        "provenance": conf.provenance("WORK_MEM"),
        "rows": conf.file_settings(),
        "problems": conf.problems().collect::<Vec<_>>(),
        "outcome": conf.set("ssl", "on").unwrap(),
        "refused": Catalogue::new(PgVersion::V17).get("work_mem").unwrap().check("1").unwrap_err(),
    });
    insta::assert_snapshot!(serde_json::to_string_pretty(&json).unwrap());
}
