//! Facts and values that no record happens to hold.

use pg_version::PgVersion;
use pgconf::{Activation, Catalogue, Context, Kind, Unit, Value};

fn check(version: PgVersion, name: &str, value: &str) -> Result<(String, String), String> {
    let setting = Catalogue::new(version).get(name).ok_or("no such setting")?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match setting.check(value) {
        Ok(checked) => Ok((text(checked.canonical()), text(checked.show()))),
        Err(invalid) => Err(invalid.to_string()),
    }
}

#[test]
fn facts() {
    let catalogue = Catalogue::new(PgVersion::V17);
    let setting = catalogue.get("SORT_MEM").unwrap();
    assert_eq!((setting.name(), setting.unit()), ("work_mem", Some(Unit::Kilobytes)));
    assert_eq!(setting.kind(), Kind::Integer { unit: setting.unit(), min: 64, max: i32::MAX });
    assert_eq!(setting.default_shown().as_deref(), Some("4MB"));
    for (name, context, activation) in [
        ("port", Context::Postmaster, Activation::Restart),
        ("ssl", Context::Sighup, Activation::Reload),
        ("log_disconnections", Context::SuperuserBackend, Activation::NewSession),
        ("ignore_system_indexes", Context::Backend, Activation::NewSession),
        ("log_statement", Context::Superuser, Activation::Reload),
        ("work_mem", Context::User, Activation::Reload),
        ("block_size", Context::Internal, Activation::Never),
    ] {
        let setting = catalogue.get(name).unwrap();
        assert_eq!((setting.context(), setting.activation()), (context, activation), "{name}");
    }
    assert!(!catalogue.knows("ssl_groups") && Catalogue::new(PgVersion::V18).knows("ssl_groups"));
    assert!(catalogue.takes("any.thing") && !catalogue.takes("anything"));
    assert!(catalogue.settings().map(|setting| setting.name().to_ascii_lowercase()).is_sorted());
    assert!(catalogue.get("").is_none() && catalogue.get(b"\xff").is_none());
}

#[test]
fn values() {
    use PgVersion::{V12, V14, V17, V18};

    let ok = |canonical: &str, show: &str| Ok((canonical.to_owned(), show.to_owned()));
    for (version, name, value, result) in [
        (V17, "log_file_mode", "0640", ok("0640", "0640")),
        (V17, "wal_buffers", "1", ok("4", "32kB")),
        (V17, "autovacuum_work_mem", "1", ok("64", "64kB")),
        (V14, "autovacuum_work_mem", "1", ok("1024", "1MB")),
        (V17, "wal_compression", "on", ok("pglz", "pglz")),
        (V17, "wal_level", "Hot_Standby", ok("replica", "replica")),
        (V12, "password_encryption", "yes", ok("md5", "md5")),
        (V17, "DateStyle", "european, german", ok("German, DMY", "German, DMY")),
        (V17, "client_encoding", "ISO 8859-1", ok("LATIN1", "LATIN1")),
        (V17, "log_directory", "log//x/../", ok("log", "log")),
        (V18, "log_connections", "ON", ok("ON", "ON")),
        (V18, "log_connections", "all, receipt", ok("all, receipt", "all, receipt")),
        (
            V17,
            "synchronous_standby_names",
            "FIRST (",
            Err("invalid value for parameter \"synchronous_standby_names\": \"FIRST (\"".into()),
        ),
        (
            V17,
            "notify_buffers",
            "17",
            Err("invalid value for parameter \"notify_buffers\": 17".into()),
        ),
        (
            V18,
            "io_max_concurrency",
            "0x0",
            Err("invalid value for parameter \"io_max_concurrency\": 0".into()),
        ),
        (V17, "max_stack_depth", "5MB", ok("5120", "5MB")),
    ] {
        assert_eq!(check(version, name, value), result, "{name} = {value} in {version}");
    }
    let setting = Catalogue::new(V17).get("ssl").unwrap();
    assert_eq!(setting.check("YES").map(|checked| checked.value().clone()), Ok(Value::Bool(true)));
}

/// Everybody who embeds the crate carries the table.
#[test]
fn the_table_is_small() {
    let facts = include_str!("../src/catalogue/facts.txt");
    assert!(facts.len() <= 60 * 1024, "{} bytes", facts.len());
}
