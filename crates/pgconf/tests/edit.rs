//! Edits: given, done, what the file is then.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use pg_version::PgVersion;
use pgconf::{Change, ConfFile, Configuration, EditError, ListSyntax, Origin, Unset, Warning};
use textfile::MemoryFiles;

fn set(given: &str, name: &str, value: &str) -> (String, Change) {
    let mut file = ConfFile::new(given);
    let edit = file.set(name, value).unwrap();
    let once = file.to_bytes().into_owned();
    let mut again = ConfFile::new(once.clone());
    assert_eq!(again.set(name, value).unwrap().change, Change::None, "{given:?}");
    assert_eq!(again.to_bytes().as_ref(), once);
    assert_eq!(again.get(name).as_deref(), Some(value.as_bytes()));
    (String::from_utf8(once).unwrap(), edit.change)
}

#[test]
fn one_file() {
    use Change::{Added, None, Replaced, Uncommented};

    for (given, name, value, then, change) in [
        // The occurrence that counts is the last one, in any case.
        (
            "a=1\nWORK_MEM=2MB\nwork_mem=3MB\n",
            "work_mem",
            "4MB",
            "a=1\nWORK_MEM=2MB\nwork_mem=4MB\n",
            Replaced,
        ),
        (
            "work_mem=3MB\nWork_Mem=3MB\n",
            "work_mem",
            "4MB",
            "work_mem=3MB\nWork_Mem=4MB\n",
            Replaced,
        ),
        ("work_mem = 4MB", "work_mem", "4MB", "work_mem = 4MB", None),
        // A file without a last line end, of either kind.
        ("port = 1", "ssl", "on", "port = 1\nssl = on\n", Added),
        ("port = 1\r\nport = 2", "ssl", "on", "port = 1\r\nport = 2\r\nssl = on\r\n", Added),
        ("", "ssl", "on", "ssl = on\n", Added),
        ("port = 1\r\n", "port", "22", "port = 22\r\n", Replaced),
        // The template.
        (
            "#port = 5432\t\t\t\t# (change requires restart)\n",
            "port",
            "6000",
            "port = 6000\t\t\t\t# (change requires restart)\n",
            Uncommented,
        ),
        (
            "# port = 5432 is the default\n# port = 5432\n#port = 5432\n",
            "port",
            "1",
            "# port = 5432 is the default\n# port = 5432\nport = 1\n",
            Uncommented,
        ),
        (
            "# port = 5432 is the default\n  #  port = 5432\n",
            "port",
            "1",
            "# port = 5432 is the default\n  port = 1\n",
            Uncommented,
        ),
        ("#port 5432\n", "port", "1", "#port 5432\nport = 1\n", Added),
        ("#ports = 5432\n", "port", "1", "#ports = 5432\nport = 1\n", Added),
        // Comments keep their column.
        ("a.b = 1        # x\n", "a.b", "123", "a.b = 123      # x\n", Replaced),
        ("a.b = 1 # x\n", "a.b", "123", "a.b = 123 # x\n", Replaced),
        ("a.b = 1# x\n", "a.b", "2", "a.b = 2# x\n", Replaced),
        ("a.b = 'x'\t\t# c\n", "a.b", "a longer one", "a.b = 'a longer one'\t# c\n", Replaced),
        ("a.b = 'a longer one'\t# c\n", "a.b", "y", "a.b = 'y'\t\t# c\n", Replaced),
        ("a.b\t=\t1\t# c\n", "a.b", "2", "a.b\t=\t2\t# c\n", Replaced),
        // Quotes: kept, added where they have to be, never taken away.
        ("a.b = '1'\n", "a.b", "2", "a.b = '2'\n", Replaced),
        ("a.b = 1\n", "a.b", "two words", "a.b = 'two words'\n", Replaced),
        ("a.b = x\n", "a.b", "server.crt", "a.b = 'server.crt'\n", Replaced),
        ("a.b = x\n", "a.b", "scram-sha-256", "a.b = scram-sha-256\n", Replaced),
        ("a.b = x\n", "a.b", "1.5GB", "a.b = '1.5GB'\n", Replaced),
        ("a.b = x\n", "a.b", "", "a.b = ''\n", Replaced),
        ("a.b = x\n", "a.b", "it's C:\\x\r", "a.b = 'it''s C:\\\\x\\r'\n", Replaced),
        ("port+1\n", "port", "2", "port 2\n", Replaced),
        ("a.b'x'\n", "a.b", "y", "a.b'y'\n", Replaced),
        ("", "a.b", "word", "a.b = 'word'\n", Added),
        ("", "a.b", "-1.5", "a.b = -1.5\n", Added),
        // What could not be read stays.
        ("bad line\n\u{feff}x\na.b=1\n", "a.b", "2", "bad line\n\u{feff}x\na.b=2\n", Replaced),
    ] {
        assert_eq!(set(given, name, value), (then.to_owned(), change), "{given:?}");
    }
}

#[test]
fn refuses_what_the_lexer_could_not_read_back() {
    let mut file = ConfFile::new(*b"a=1\n");
    for name in ["", "a.b.c", "a$b.c", "1a", "a.1b", "a-b", "a b", "a=", "'a'", "a.", ".a", "a#"] {
        assert!(matches!(file.set(name, "1"), Err(EditError::Name { .. })), "{name}");
        assert!(matches!(file.unset(name, Unset::Remove), Err(EditError::Name { .. })), "{name}");
    }
    for name in ["include", "INCLUDE_DIR", "include_if_exists"] {
        assert!(matches!(file.set(name, "1"), Err(EditError::Directive { .. })), "{name}");
    }
    assert_eq!(file.set("a", "x\ny"), Err(EditError::LineFeed { at: 1 }));
    assert_eq!(file.set("a", "xy\0"), Err(EditError::Nul { at: 2 }));
    assert_eq!(file.to_bytes().as_ref(), b"a=1\n");
}

#[test]
fn unset_takes_every_occurrence_and_set_brings_one_back() {
    let mut file = ConfFile::new(*b"port = 1\n  PORT=2 # x\r\nports = 3");
    let edit = file.unset("port", Unset::CommentOut).unwrap();
    assert_eq!((edit.change, edit.line), (Change::CommentedOut(2), 1));
    assert_eq!(file.to_bytes().as_ref(), b"#port = 1\n  #PORT=2 # x\r\nports = 3");
    assert_eq!(file.unset("port", Unset::CommentOut).unwrap().change, Change::None);
    assert_eq!(file.set("port", "1").unwrap().change, Change::Uncommented);
    assert_eq!(file.to_bytes().as_ref(), b"port = 1\n  #PORT=2 # x\r\nports = 3");
    file.unset("ports", Unset::Remove).unwrap();
    assert_eq!(file.to_bytes().as_ref(), b"port = 1\n  #PORT=2 # x\r\n");
}

fn configuration(files: &[(&str, &str)]) -> Configuration {
    let mut memory = MemoryFiles::default();
    for (path, text) in files {
        memory.insert(*path, *text);
    }
    Configuration::read(&memory, "/c/postgresql.conf", Some(b"/d"), PgVersion::V17)
}

fn text(configuration: &Configuration, path: &str) -> String {
    String::from_utf8(configuration.file(path).unwrap().to_bytes().into_owned()).unwrap()
}

#[test]
fn edits_where_it_counts() {
    let mut conf = configuration(&[
        ("/c/postgresql.conf", "work_mem = 1MB\ninclude 'x.conf'\n#port = 5432\n"),
        ("/c/x.conf", "sort_mem = 2MB\n"),
    ]);
    let outcome = conf.set("work_mem", "8MB").unwrap();
    assert_eq!((&outcome.file[..], outcome.line), (&b"/c/x.conf"[..], 1));
    assert!(outcome.effective_value_changed && outcome.warnings.is_empty());
    assert_eq!(text(&conf, "/c/x.conf"), "sort_mem = 8MB\n");
    let outcome = conf.set("port", "6000").unwrap();
    assert_eq!((&outcome.file[..], outcome.line), (&b"/c/postgresql.conf"[..], 3));

    // In the main file whatever: its own line does not count, its end does.
    let outcome = conf.set_in("/c/postgresql.conf", "work_mem", "9MB").unwrap();
    assert_eq!(outcome.change, Change::Added);
    assert!(outcome.warnings.is_empty());
    assert_eq!(
        text(&conf, "/c/postgresql.conf"),
        "#work_mem = 1MB\ninclude 'x.conf'\nport = 6000\nwork_mem = 9MB\n"
    );
    // In the included file nothing counts any more.
    let outcome = conf.set_in("/c/x.conf", "work_mem", "7MB").unwrap();
    assert_eq!(outcome.change, Change::Replaced);
    assert_eq!(
        outcome.warnings,
        [Warning::LaterFileWins {
            file: b"/c/postgresql.conf".to_vec(),
            line: 4,
            value: b"9MB".to_vec()
        }]
    );
    let outcome = conf.unset("sort_mem", Unset::CommentOut).unwrap();
    assert_eq!(outcome.change, Change::CommentedOut(2));
    assert_eq!(conf.get("work_mem"), None);
    assert_eq!(conf.edited().count(), 2);
}

#[test]
fn leaves_alter_system_to_the_server() {
    let mut conf = configuration(&[
        ("/c/postgresql.conf", "ssl = off\n"),
        ("/d/postgresql.auto.conf", "# Do not edit\nssl = 'off'\nmyapp.mode = 'x'\n"),
    ]);
    let outcome = conf.set("ssl", "on").unwrap();
    assert!(!outcome.effective_value_changed);
    let [Warning::AlterSystemWins { line: 2, statement, .. }] = &outcome.warnings[..] else {
        panic!("{outcome:?}")
    };
    assert_eq!(statement, "ALTER SYSTEM RESET ssl;");
    let outcome = conf.unset("myapp.mode", Unset::Remove).unwrap();
    assert_eq!(outcome.change, Change::None);
    assert_eq!(
        outcome.warnings[0].to_string(),
        "postgresql.auto.conf line 3 still sets it to \"x\": run ALTER SYSTEM RESET myapp.mode;"
    );
    assert_eq!(conf.set_in("/d/postgresql.auto.conf", "ssl", "on"), Err(EditError::AutoConf));
    assert!(conf.edited().all(|(path, _)| path == b"/c/postgresql.conf"));
}

/// A file of people may include the server's: it stays the server's.
#[test]
fn leaves_alter_system_to_the_server_wherever_it_is_included() {
    let auto = "ssl = 'off'\nport = '1'\n";
    let mut conf = configuration(&[
        ("/c/postgresql.conf", "#ssl = off\ninclude '/d/postgresql.auto.conf'\n"),
        ("/d/postgresql.auto.conf", auto),
    ]);
    let provenance = conf.provenance("ssl");
    assert!(provenance.overridden().all(|place| place.origin == Origin::AlterSystem));
    let outcome = conf.set("ssl", "on").unwrap();
    assert_eq!((&outcome.file[..], outcome.line), (&b"/c/postgresql.conf"[..], 1));
    assert!(!outcome.effective_value_changed);
    assert!(matches!(outcome.warnings[..], [Warning::AlterSystemWins { line: 1, .. }]));
    let outcome = conf.set_in("/c/postgresql.conf", "ssl", "yes").unwrap();
    assert_eq!((outcome.change, outcome.line), (Change::Replaced, 1));
    assert_eq!(conf.unset("port", Unset::Remove).unwrap().change, Change::None);
    assert_eq!(conf.unset("ssl", Unset::Remove).unwrap().change, Change::Removed(1));
    assert_eq!(text(&conf, "/d/postgresql.auto.conf"), auto);
    assert!(conf.edited().all(|(path, _)| path == b"/c/postgresql.conf"));
}

#[test]
fn knows_what_the_server_refuses() {
    let mut conf = configuration(&[("/c/postgresql.conf", "")]);
    assert_eq!(
        conf.set("work_mem", "1kB").unwrap_err().to_string(),
        "1 kB is outside the valid range for parameter \"work_mem\" (64 kB .. 2147483647 kB)"
    );
    assert_eq!(
        conf.set("bytea_output", "octal").unwrap_err().to_string(),
        "invalid value for parameter \"bytea_output\": \"octal\" (Available values: escape, hex)"
    );
    assert_eq!(
        conf.set("server_version", "18"),
        Err(EditError::NotForFiles { name: "server_version" })
    );
    // Matters of a session: with the first two in its file a server does not start.
    for name in ["role", "session_authorization", "seed", "is_superuser"] {
        assert_eq!(conf.set(name, "none"), Err(EditError::NotForFiles { name }));
    }
    assert_eq!(
        conf.set("listen_addresses", "a,,b").unwrap_err().to_string(),
        "invalid list syntax in parameter \"listen_addresses\""
    );
    // A server would start and load nothing.
    assert!(matches!(
        conf.set("shared_preload_libraries", "\"a"),
        Err(EditError::ListSyntax(ListSyntax { at: 0 }))
    ));
    assert_eq!(conf.edited().count(), 0);
    assert_eq!(conf.set("no_such_setting", "1").unwrap().warnings, [Warning::UnknownName]);
    let outcome = conf.set("wal_compression", "zstd").unwrap();
    assert!(matches!(outcome.warnings[..], [Warning::BuildDependentValue(_)]));
    assert!(conf.set("myapp.anything", "it goes").unwrap().warnings.is_empty());
}

/// What keeps a server from starting, each in the words of its log.
#[test]
fn finds_values_that_a_server_does_not_start_with() {
    let conf = configuration(&[(
        "/c/postgresql.conf",
        "role = 'none'\nsession_authorization = 'postgres'\nblock_size = 8192\nseed = 0.5\n\
         listen_addresses = 'a,,b'\nunix_socket_directories = '\"/tmp'\nport = 0\nRole = 'bob'\n\
         session_preload_libraries = '\"a'\ntransaction_isolation = 'serializable'\n\
         ssl = 0\nssl = 2\nSSL = 3\nssl = on\nsort_mem = 1\nwork_mem = 4MB\n",
    )]);
    let invalid: Vec<_> =
        conf.invalid_values().map(|found| (found.line, found.what.to_string())).collect();
    let invalid: Vec<_> = invalid.iter().map(|(line, text)| (*line, &text[..])).collect();
    assert_eq!(
        invalid,
        [
            (2, "invalid value for parameter \"session_authorization\": \"postgres\""),
            (3, "parameter \"block_size\" cannot be changed"),
            (5, "invalid list syntax in parameter \"listen_addresses\""),
            (6, "invalid list syntax in parameter \"unix_socket_directories\""),
            (7, "0 is outside the valid range for parameter \"port\" (1 .. 65535)"),
            (8, "invalid value for parameter \"role\": \"bob\""),
            // Overridden, but spelled otherwise: the server tries them all the same.
            (13, "parameter \"ssl\" requires a Boolean value"),
            (
                15,
                "1 kB is outside the valid range for parameter \"work_mem\" (64 kB .. 2147483647 kB)"
            ),
        ]
    );
}

#[test]
fn lists() {
    let mut conf = configuration(&[(
        "/c/postgresql.conf",
        "search_path = '\"$user\",  Public' # c\n#listen_addresses = 'localhost'\n",
    )]);
    assert_eq!(conf.list("search_path").unwrap(), [b"$user".to_vec(), b"public".to_vec()]);
    assert_eq!(conf.add_to_list("search_path", "public").unwrap().change, Change::None);
    conf.add_to_list("search_path", "My Schema").unwrap();
    // The default is what one starts from.
    conf.add_to_list("listen_addresses", "10.0.0.1").unwrap();
    assert_eq!(
        text(&conf, "/c/postgresql.conf"),
        "search_path = '\"$user\",  Public, \"My Schema\"' # c\n\
         listen_addresses = 'localhost, 10.0.0.1'\n"
    );
    assert_eq!(conf.remove_from_list("listen_addresses", "*").unwrap().change, Change::None);
    conf.remove_from_list("listen_addresses", "localhost").unwrap();
    assert_eq!(conf.get("listen_addresses").as_deref(), Some(&b"10.0.0.1"[..]));
    // The server cuts names, and so knows this one after it was added.
    let long = "x".repeat(70);
    assert_eq!(conf.add_to_list("search_path", &long).unwrap().change, Change::Replaced);
    assert_eq!(conf.add_to_list("search_path", &long).unwrap().change, Change::None);
    assert_eq!(conf.remove_from_list("search_path", &long).unwrap().change, Change::Replaced);
    assert_eq!(conf.list("search_path").unwrap().len(), 3);
    assert!(matches!(conf.list("work_mem"), Err(EditError::NotAList { .. })));
    let broken = configuration(&[("/c/postgresql.conf", "search_path = 'a,,b'\n")]);
    assert_eq!(
        broken.list("search_path").unwrap_err().to_string(),
        "List syntax is invalid. (byte 2)"
    );
}

#[test]
fn compares_by_meaning() {
    let conf = configuration(&[("/c/postgresql.conf", "work_mem = 1GB\nssl = yes\na.b = 1\n")]);
    assert!(conf.means("work_mem", "1024MB") && conf.means("SSL", "on") && conf.means("a.b", "1"));
    assert!(conf.means("password_encryption", "scram-sha-256"));
    assert!(
        !conf.means("work_mem", "1025MB") && !conf.means("a.b", "01") && !conf.means("a.c", "")
    );
}
