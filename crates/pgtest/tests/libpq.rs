//! libpq of every major that this machine has, side by side in one process.
#![allow(clippy::unwrap_used, reason = "a test's helper fails the test")]

use std::{os::unix::fs::PermissionsExt, thread, time::Duration};

use pgtest::{Error, Run, Server, libpq::Libpq};

const SOON: Duration = Duration::from_secs(600);

/// Every major's own library: an installation whose libpq is of another major has none.
fn all() -> Vec<Libpq> {
    let libraries: Vec<_> = pgtest::find_all()
        .iter()
        .filter_map(|one| match Libpq::load(one) {
            Err(Error::Libpq { reason, .. }) if reason.contains("of version") => None,
            loaded => Some(loaded.unwrap()),
        })
        .collect();
    assert!(!libraries.is_empty(), "no libpq found: run `cargo xtask pg install`");
    libraries
}

fn server() -> pgtest::Builder {
    Server::builder(&pgtest::find_each_major().unwrap().pop().unwrap())
}

fn params(server: &Server) -> Vec<(String, String)> {
    let text = |name: &str, value: &dyn ToString| (name.to_owned(), value.to_string());
    vec![
        text("hostaddr", &server.addr()),
        text("port", &server.port()),
        text("user", &"postgres"),
        text("dbname", &"postgres"),
    ]
}

#[test]
fn every_major_connects_over_tls_and_asks() {
    let folder = tempfile::tempdir().unwrap();
    Run::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=t"])
        .args(["-keyout", "server.key", "-out", "server.crt"])
        .folder(folder.path())
        .check()
        .unwrap();
    let mut server = server().setting("ssl", "on").init().unwrap();
    for name in ["server.key", "server.crt"] {
        let content = std::fs::read(folder.path().join(name)).unwrap();
        server.write_file(name, content, 0o600).unwrap();
    }
    server.start().unwrap();
    thread::scope(|scope| {
        for libpq in all() {
            let server = &server;
            scope.spawn(move || {
                for sslmode in ["require", "disable"] {
                    let mut params = params(server);
                    params.push(("sslmode".to_owned(), sslmode.to_owned()));
                    let mut connection = libpq.connect(&params, SOON).unwrap();
                    assert_eq!(connection.ssl_in_use(), sslmode == "require", "{libpq:?}");
                    let protocol = connection.ssl_attribute("protocol").unwrap_or_default();
                    assert_eq!(protocol, if sslmode == "require" { "TLSv1.3" } else { "" });
                    let rows = connection
                        .query("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", SOON);
                    assert_eq!(
                        rows.unwrap().value(),
                        Some(if connection.ssl_in_use() { "t" } else { "f" })
                    );
                    asks(&mut connection);
                }
            });
        }
    });
}

fn asks(connection: &mut pgtest::libpq::Connection) {
    assert_eq!(connection.user(), "postgres");
    assert_eq!(connection.database(), "postgres");
    assert!(!connection.used_password());
    assert!(connection.server_version() >= 120_000);
    assert!(connection.parameter("server_version").is_some());
    assert!(connection.parameter("no such").is_none());
    let pid = connection.backend_pid().to_string();
    let rows = connection.query("SELECT pg_backend_pid() AS pid, NULL, 'ä'", SOON).unwrap();
    assert_eq!(rows.columns, ["pid", "?column?", "?column?"]);
    assert_eq!(rows.rows, [[Some(pid), None, Some("ä".to_owned())]]);
    assert_eq!(rows.tag, "SELECT 1");
    assert_eq!(connection.query("", SOON).unwrap().tag, "");
    let error = connection.query("SELECT 1/0", SOON).unwrap_err();
    assert_eq!(error.sqlstate(), Some("22012"));
    assert!(connection.error_message().contains("division by zero"));
    connection.query("DO $$ BEGIN RAISE WARNING 'beware'; END $$", SOON).unwrap();
    assert!(connection.take_notices()[0].contains("beware"));
    let late = connection.query("SELECT pg_sleep(600)", Duration::from_millis(20));
    assert!(matches!(late, Err(Error::Timeout { .. })));
}

#[test]
fn says_why_it_does_not_connect() {
    let server =
        server().hba("local all postgres trust\nhost all all all reject\n").start().unwrap();
    for libpq in all() {
        let error = libpq.connect(&params(&server), SOON).unwrap_err();
        assert!(error.to_string().contains("pg_hba.conf rejects"), "{error}");
        let error = libpq.connect(&[("host", "/nonexistent")], SOON).unwrap_err();
        assert!(error.to_string().contains("/nonexistent"), "{error}");
        let error = libpq.connect(&[("no_such", "parameter")], SOON).unwrap_err();
        assert!(error.to_string().contains("no_such"), "{error}");
        let error = libpq.connect(&[("host", "a\0b")], SOON).unwrap_err();
        assert!(matches!(error, Error::ZeroByte(_)));
        let error = libpq.connect_conninfo("host='", SOON).unwrap_err();
        assert!(matches!(error, Error::Connect(_)));
        // A server that never answers: the backlog takes the connection.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let conninfo = format!("hostaddr=127.0.0.1 port={}", silent.local_addr().unwrap().port());
        let late = libpq.connect_conninfo(conninfo, Duration::from_millis(20));
        assert!(matches!(late, Err(Error::Timeout { .. })));
        let socket_dir = server.socket_dir().display().to_string();
        let conninfo = format!("host={socket_dir} port={} user=postgres", server.port());
        libpq.connect_conninfo(conninfo, SOON).unwrap();
    }
}

#[test]
fn looks_passwords_up_without_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("passfile");
    std::fs::write(&file, "db1:5439:app:bob:p\\:w\ndb1:5439:app:eve:\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let file = file.to_str().unwrap();
    for libpq in all() {
        for (user, password) in [("bob", Some(&b"p:w"[..])), ("eve", None), ("carol", None)] {
            let params = [
                ("hostaddr", "127.0.0.1"),
                ("host", "db1"),
                ("port", "5439"),
                ("dbname", "app"),
                ("user", user),
                ("passfile", file),
            ];
            assert_eq!(libpq.lookup_password(&params).unwrap().as_deref(), password, "{libpq:?}");
        }
    }
}

#[test]
fn makes_secrets_that_a_server_takes() {
    let hba = "local all postgres trust\nhost all all all scram-sha-256\n";
    let server = server().hba(hba).start().unwrap();
    for libpq in all() {
        let secret = libpq.encrypt_password("pässword", "scram", "scram-sha-256").unwrap();
        assert!(secret.starts_with("SCRAM-SHA-256$4096:"), "{secret}");
        let role = "DROP ROLE IF EXISTS scram; CREATE ROLE scram LOGIN PASSWORD";
        server.query(&format!("{role} '{secret}'")).unwrap();
        let mut params = params(&server);
        params[2].1 = "scram".to_owned();
        params.push(("password".to_owned(), "pässword".to_owned()));
        assert!(libpq.connect(&params, SOON).unwrap().used_password());
        let mut session = server.connect_tcp().user("scram").password("pässword").open().unwrap();
        assert_eq!(session.query("SELECT user").unwrap().value(), Some("scram"));
        let md5 = libpq.encrypt_password("foo", "bar", "md5").unwrap();
        assert_eq!(md5, "md53858f62230ac3c915f300c664312c63f");
        let error = libpq.encrypt_password("foo", "bar", "rot13").unwrap_err();
        assert!(error.to_string().contains("rot13"), "{error}");
    }
}

#[test]
fn refuses_what_is_no_libpq() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("libpq.so.5");
    assert!(matches!(Libpq::load_path(&file), Err(Error::Libpq { .. })));
    std::fs::write(&file, "text").unwrap();
    assert!(matches!(Libpq::load_path(&file), Err(Error::Libpq { .. })));
}
