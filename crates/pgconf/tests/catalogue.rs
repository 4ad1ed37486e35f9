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
    let err = |name, value: &str| Err(format!("invalid value for parameter \"{name}\": {value}"));
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
        (V17, "max_stack_depth", "8MB", err("max_stack_depth", "8192")),
        // What only one of C's readers of numbers takes.
        (V17, "cpu_index_tuple_cost", "0x1p-1074", ok("4.94066e-324", "4.94066e-324")),
        (V17, "cpu_index_tuple_cost", "0x3p-1075", err("cpu_index_tuple_cost", "\"0x3p-1075\"")),
        (V17, "recovery_target_xid", "9999999999x", ok("9999999999x", "9999999999x")),
        (
            V17,
            "recovery_target_xid",
            "18446744073709551616",
            err("recovery_target_xid", "\"18446744073709551616\""),
        ),
        (V17, "recovery_target_timeline", "x", ok("x", "x")),
        (
            V17,
            "recovery_target_timeline",
            "0x10000000000000000",
            err("recovery_target_timeline", "\"0x10000000000000000\""),
        ),
        (V17, "shared_buffers", "128.3MB", ok("16422", "131376kB")),
        // What is not asked for can still be asked for.
        (V17, "DateStyle", "default, sql", ok("SQL, MDY", "SQL, MDY")),
        (V17, "DateStyle", "default, german", ok("German, DMY", "German, DMY")),
        (V17, "DateStyle", "sql, iso", err("DateStyle", "\"sql, iso\"")),
        (V14, "external_pid_file", "/a/../b", ok("/a/../b", "/a/../b")),
        (V17, "external_pid_file", "/a/../b", ok("/b", "/b")),
        // Time zones are shown as the database spells them, offsets get a name.
        (V17, "timezone", "europe/berlin", ok("Europe/Berlin", "Europe/Berlin")),
        (V17, "timezone", "-3.5", ok("<-03:30>+03:30", "<-03:30>+03:30")),
        (V17, "timezone", "abc5def,m3.2.0,m11.1.0", {
            let rule = "ABC5DEF,M3.2.0,M11.1.0";
            ok(rule, rule)
        }),
        (V17, "log_timezone", "3", ok("3", "3")),
        (V17, "log_timezone", "-168", err("log_timezone", "\"-168\"")),
        (V17, "timezone", "Mars/Olympus", err("TimeZone", "\"Mars/Olympus\"")),
        (
            V17,
            "timezone",
            "ABC1:00:01",
            Err("time zone \"ABC1:00:01\" appears to use leap seconds".into()),
        ),
        (V17, "timezone_abbreviations", "India", ok("India", "India")),
        (V17, "timezone_abbreviations", "india", err("timezone_abbreviations", "\"india\"")),
        // Names are cut before they are looked at.
        (
            V17,
            "client_encoding",
            &"x".repeat(70),
            err("client_encoding", &format!("\"{}\"", "x".repeat(63))),
        ),
    ] {
        assert_eq!(check(version, name, value), result, "{name} = {value} in {version}");
    }
    let setting = Catalogue::new(V17).get("ssl").unwrap();
    assert_eq!(setting.check("YES").map(|checked| checked.value().clone()), Ok(Value::Bool(true)));
}

/// Names as `SET` takes them, seen on 12 to 18.
/// A server that starts cuts names within characters, a session does not.
#[test]
fn names_that_are_too_long() {
    let long = "x".repeat(62) + "\u{e9}";
    let cut = |shown: &str| Ok("x".repeat(62) + shown);
    let canonical = |version, name: &str, in_file: bool| {
        let setting = Catalogue::new(version).get(name).unwrap();
        let checked = if in_file { setting.check_in_file(&long) } else { setting.check(&long) };
        let text = |checked: pgconf::Checked| String::from_utf8_lossy(checked.canonical()).into();
        checked.map(text).map_err(|invalid| invalid.to_string())
    };
    for (version, shown) in [(PgVersion::V15, "?"), (PgVersion::V18, "\\xc3")] {
        assert_eq!(canonical(version, "application_name", false), cut(""));
        assert_eq!(canonical(version, "application_name", true), cut(shown));
        // No session can set it.
        assert_eq!(canonical(version, "cluster_name", false), cut(shown));
        // No name to the server, whatever it is for.
        assert_eq!(canonical(version, "syslog_ident", true), Ok(long.clone()));
    }
    let slots = "synchronized_standby_slots";
    assert_eq!(canonical(PgVersion::V18, slots, false), Ok(long.clone()));
    assert!(canonical(PgVersion::V18, slots, true).is_err());
}

#[test]
fn names_in_a_session() {
    for (name, old, new) in [
        ("work_mem", true, true),
        ("SORT_MEM", true, true),
        ("a.b", true, true),
        ("a.b.c", true, true),
        ("a$b.c", true, true),
        ("é.x", true, true),
        ("a-b.c", true, false),
        ("a.b-c", true, false),
        ("1a.b", true, false),
        ("a.1b", true, false),
        ("a.", true, false),
        (".a", true, false),
        (".", true, false),
        ("a b.c", true, false),
        ("nosuch", false, false),
        ("work_mem ", false, false),
        ("", false, false),
    ] {
        let is_good = |version| Catalogue::new(version).check_name(name).is_ok();
        assert_eq!((is_good(PgVersion::V13), is_good(PgVersion::V14)), (old, new), "{name}");
    }
    let invalid = Catalogue::new(PgVersion::V18).check_name("a-b.c").unwrap_err();
    assert_eq!(invalid.message(), "invalid configuration parameter name \"a-b.c\"");
}

/// What another server may take: one with another library, another file, a larger stack. What the
/// details of refused lists say.
#[test]
fn values_that_some_servers_take() {
    for (name, value, of_build) in [
        ("timezone", "Mars/Olympus", true),
        ("timezone", "Mars Olympus", false),
        ("timezone", "999", false),
        ("timezone_abbreviations", "Mars", true),
        ("timezone_abbreviations", "India.txt", false),
        ("timezone_abbreviations", "", false),
        ("max_stack_depth", "8MB", true),
        ("max_stack_depth", "1kB", false),
        ("bonjour", "on", true),
        ("wal_compression", "lz4", true),
        ("wal_compression", "lz5", false),
        ("wal_consistency_checking", "heap, mine", true),
        ("wal_consistency_checking", "heap,", false),
    ] {
        let setting = Catalogue::new(PgVersion::V17).get(name).unwrap();
        let invalid = setting.check(value).unwrap_err();
        assert_eq!(invalid.is_build_dependent(), of_build, "{name} = {value}");
    }
    let detail = |version, value| {
        let setting = Catalogue::new(version).get("debug_io_direct").unwrap();
        setting.check(value).unwrap_err().detail().map(str::to_owned)
    };
    let connections = |value| {
        let setting = Catalogue::new(PgVersion::V18).get("log_connections").unwrap();
        setting.check(value).unwrap_err().detail().map(str::to_owned)
    };
    assert_eq!(
        ["On, all", "all, on", "all,"].map(|value| connections(value).unwrap()),
        [
            "Cannot specify log_connections option \"on\" in a list with other options.",
            "Invalid option \"on\".",
            "Invalid list syntax in parameter \"log_connections\"."
        ]
    );
    let details = [(PgVersion::V16, "x"), (PgVersion::V17, "x"), (PgVersion::V18, "x,")];
    assert_eq!(
        details.map(|(version, value)| detail(version, value).unwrap()),
        [
            "invalid option \"x\"",
            "Invalid option \"x\"",
            "Invalid list syntax in parameter \"debug_io_direct\"."
        ]
    );
}

/// Everybody who embeds the crate carries the tables.
#[test]
fn the_tables_are_small() {
    let facts = include_str!("../src/catalogue/facts.txt");
    let zones = include_str!("../src/catalogue/time_zones.txt");
    let bytes = facts.len() + zones.len();
    assert!(bytes <= 60 * 1024, "{bytes} bytes");
}
