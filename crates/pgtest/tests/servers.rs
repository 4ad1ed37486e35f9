//! Real servers, of every major that this machine has.
#![allow(clippy::unwrap_used, reason = "a test's helper fails the test")]

use std::{net::Ipv4Addr, path::Path, thread, time::Duration};

use pgtest::{Account, Connect, Error, LogPosition, Server, Shutdown};

const SOON: Duration = Duration::from_secs(600);

fn newest() -> pgtest::Installation {
    pgtest::find_each_major().unwrap().pop().unwrap()
}

/// Gone, or dead and waiting for someone to ask how it ended.
fn is_gone(pid: u32) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')),
        Err(_) => true,
    }
}

fn eventually(what: &str, mut state: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + SOON;
    while !state() {
        assert!(std::time::Instant::now() < deadline, "{what}");
        thread::yield_now();
    }
}

#[test]
fn every_major_side_by_side() {
    let installations = pgtest::find_each_major().unwrap();
    let servers: Vec<Server> = thread::scope(|scope| {
        let start = |(number, one)| {
            scope.spawn(move || {
                let addr = Ipv4Addr::new(127, 0, 7, number);
                Server::builder(one).addr(addr).setting("log_connections", "on").start()
            })
        };
        let handles: Vec<_> = (1..).zip(&installations).map(start).collect();
        handles.into_iter().map(|handle| handle.join().unwrap().unwrap()).collect()
    });
    for (server, installation) in servers.iter().zip(&installations) {
        let version = server.query("SHOW server_version").unwrap();
        assert_eq!(version.value(), Some(installation.full_version()));
        let number = server.query("SHOW server_version_num").unwrap();
        let number = number.value().unwrap().parse().unwrap();
        let major = pg_version::PgVersion::from_server_version_num(number).unwrap();
        assert_eq!(major, installation.version());
        let addr = server
            .connect_tcp()
            .open()
            .unwrap()
            .query("SELECT inet_server_addr(), inet_server_port()")
            .unwrap();
        let expected = [server.addr().to_string(), server.port().to_string()];
        assert_eq!(addr.rows, [expected.map(Some).to_vec()]);
    }
    let seen: Vec<_> =
        servers.iter().map(|one| (one.pid().unwrap(), one.root().to_owned())).collect();
    drop(servers);
    for (pid, root) in seen {
        assert!(is_gone(pid));
        assert!(!root.exists());
    }
}

#[test]
fn finds_builds_by_what_they_have() {
    let version = newest().version();
    let any = pgtest::find_where(version, "anything", |_| true).unwrap();
    assert_eq!(any.bindir(), pgtest::find(version).unwrap().bindir());
    let error = pgtest::find_where(version, "a time machine", |_| false).unwrap_err();
    assert!(error.to_string().contains("a time machine"), "{error}");
    let all = pgtest::find_all();
    for installation in all.first().into_iter().chain(all.last()) {
        let server = Server::builder(installation).setting("ssl", "on").start();
        // Without a certificate none starts, but only one that was built with TLS asks for it.
        let log = server.unwrap_err().to_string();
        let asks = log.contains("server.crt");
        assert_eq!(asks, installation.features().ssl, "{log}");
    }
}

#[test]
fn a_panic_leaves_nothing() {
    let mut seen = None;
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let server = Server::builder(&newest()).start().unwrap();
        seen = Some((server.pid().unwrap(), server.root().to_owned()));
        panic!("a test fails");
    }));
    assert!(panicked.is_err());
    let (pid, root) = seen.unwrap();
    assert!(is_gone(pid));
    assert!(!root.exists());
}

/// Not a test of its own: what `a_killed_process_leaves_nothing` starts and kills.
#[test]
fn starts_a_server_and_waits_where_asked_to() {
    let Some(report) = std::env::var_os("PGTEST_TEST_REPORT") else { return };
    let server = Server::builder(&newest()).start().unwrap();
    let text = format!("{} {}\n", server.pid().unwrap(), server.root().display());
    std::fs::write(&report, text).unwrap();
    loop {
        thread::park();
    }
}

#[test]
fn a_killed_process_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report");
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "starts_a_server_and_waits_where_asked_to"])
        .env("PGTEST_TEST_REPORT", &report)
        .env("TMPDIR", "/tmp")
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut text = String::new();
    eventually("the child starts a server", || {
        assert!(child.try_wait().unwrap().is_none(), "the child ended");
        text = std::fs::read_to_string(&report).unwrap_or_default();
        text.ends_with('\n')
    });
    let (pid, root) = text.trim().split_once(' ').unwrap();
    let pid = pid.parse().unwrap();
    assert!(!is_gone(pid));
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("the server ends", || is_gone(pid));
    eventually("the folder goes", || !Path::new(root).exists());
}

#[test]
fn outlives_the_thread_that_started_it() {
    let installation = newest();
    let server = thread::spawn(move || Server::builder(&installation).start().unwrap());
    let server = server.join().unwrap();
    assert_eq!(server.query("SELECT 1").unwrap().value(), Some("1"));
}

#[test]
fn runs_as_the_account_and_keeps_files_private() {
    use std::os::unix::fs::MetadataExt;
    let mut accounts = vec![Account::choose().unwrap()];
    accounts.extend(Account::named("nobody"));
    for account in accounts {
        let server = Server::builder(&newest()).account(account.clone()).start().unwrap();
        let key = server.write_file("server.key", "secret", 0o600).unwrap();
        for path in [server.data_dir(), key, format!("/proc/{}", server.pid().unwrap()).into()] {
            let metadata = std::fs::metadata(&path).unwrap();
            assert_eq!((metadata.uid(), metadata.gid()), (account.uid(), account.gid()));
        }
        let mode = std::fs::metadata(server.data_dir()).unwrap().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}

#[test]
fn reloads_and_tells_what_was_logged() {
    let server = Server::builder(&newest()).start().unwrap();
    server.query("CREATE ROLE alice LOGIN").unwrap();
    let alice = server.connect_tcp().user("alice");
    alice.open().unwrap();
    let hba = "local all postgres trust\nhost all alice 127.0.0.1/32 reject\n";
    server.write_file("pg_hba.conf", hba, 0o600).unwrap();
    let before = server.reload().unwrap();
    let error = alice.open().unwrap_err();
    assert_eq!(error.sqlstate(), Some("28000"), "{error}");
    server.wait_for_log("pg_hba.conf rejects connection", before, SOON).unwrap();
    assert!(server.log_since(before).unwrap().contains("received SIGHUP"));
    assert!(!server.log_text().unwrap().is_empty());

    server.write_file("pg_hba.conf", "local all postgres trsut\n", 0o600).unwrap();
    let before = server.reload().unwrap();
    let text = server.log_since(before).unwrap();
    assert!(text.contains("pg_hba.conf was not reloaded"), "{text}");
    assert!(!text.contains("rejects"), "{text}");
    let late = server.wait_for_log("no such line", LogPosition::START, Duration::ZERO);
    assert!(matches!(late, Err(Error::Timeout { .. })));
}

#[test]
fn stops_crashes_and_starts_again() {
    let mut server = Server::builder(&newest()).start().unwrap();
    let port = server.port();
    server.query("CREATE TABLE kept (n int); CHECKPOINT").unwrap();
    server.restart().unwrap();
    for how in [Shutdown::Smart, Shutdown::Immediate] {
        server.stop(how).unwrap();
        assert!(!server.is_running());
        assert!(server.pid().is_none());
        assert!(server.query("SELECT 1").is_err());
        assert!(matches!(server.reload(), Err(Error::State { .. })));
        server.start().unwrap();
        assert!(matches!(server.start(), Err(Error::State { .. })));
    }
    server.kill9().unwrap();
    server.start().unwrap();
    assert!(server.is_running());
    assert_eq!(server.port(), port);
    assert_eq!(server.query("SELECT count(*) FROM kept").unwrap().value(), Some("0"));
    server.kill9().unwrap();
}

#[test]
fn says_why_a_server_does_not_start() {
    let builder = Server::builder(&newest()).setting("no_such_setting", "1");
    let error = builder.start().unwrap_err();
    assert!(error.to_string().contains("no_such_setting"), "{error}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let error = Server::builder(&newest()).port(port).start().unwrap_err();
    assert!(error.to_string().contains("Address already in use"), "{error}");
    let error = Server::builder(&newest()).initdb_args(["--no-such-option"]).start().unwrap_err();
    assert!(error.to_string().contains("no-such-option"), "{error}");
}

#[test]
fn another_port_where_the_chosen_one_was_taken() {
    let mut server = Server::builder(&newest()).init().unwrap();
    let first = server.port();
    let taken = std::net::TcpListener::bind(("127.0.0.1", first)).unwrap();
    server.start().unwrap();
    assert_ne!(server.port(), first);
    let answer = server.query("SHOW port").unwrap();
    assert_eq!(answer.value(), Some(server.port().to_string().as_str()));
    drop(taken);
}

#[test]
fn own_initdb_arguments() {
    let builder = Server::builder(&newest()).initdb_args(["--data-checksums"]);
    let server = builder.start().unwrap();
    assert_eq!(server.query("SHOW data_checksums").unwrap().value(), Some("on"));
}

#[test]
fn keeps_a_server_on_request() {
    let server = Server::builder(&newest()).start().unwrap();
    let (socket_dir, port) = (server.socket_dir(), server.port());
    let kept = server.keep().unwrap();
    assert_eq!(
        Connect::unix(socket_dir, port).open().unwrap().query("SELECT 1").unwrap().value(),
        Some("1")
    );
    pgtest::Run::new("sh").args(["-c".into(), kept.stop_command()]).check().unwrap();
    eventually("the kept server ends", || is_gone(kept.pid));
    std::fs::remove_dir_all(&kept.root).ok();
    assert!(!kept.root.exists());
}

#[test]
fn sessions_speak_the_protocol() {
    let server = Server::builder(&newest())
        .hba("local all postgres trust\nhost all md5 all md5\nhost all all all password\n")
        .setting("password_encryption", "scram-sha-256")
        .start()
        .unwrap();
    let mut session = server.session().unwrap();
    assert!(session.backend_pid() > 0);
    assert!(session.parameter("server_version").is_some());
    let all =
        session.query_all("SELECT NULL, 'it''s' AS b; CREATE ROLE s LOGIN PASSWORD 'x'").unwrap();
    assert_eq!(all[0].columns, ["?column?", "b"]);
    assert_eq!(all[0].rows, [[None, Some("it's".to_owned())]]);
    assert_eq!(all[1].tag, "CREATE ROLE");
    session.query("DO $$ BEGIN RAISE WARNING 'beware'; END $$").unwrap();
    assert_eq!(session.take_notices()[0].message, "beware");
    let error = session.query("SELECT 1/0").unwrap_err();
    assert_eq!(error.sqlstate(), Some("22012"));
    let error = session.query("COPY pg_class FROM STDIN").unwrap_err();
    assert!(error.sqlstate().is_some());
    assert_eq!(session.query("").unwrap().tag, "");
    session.query("SET password_encryption = md5; CREATE ROLE md5 LOGIN PASSWORD 'y'").unwrap();
    session.query("SET password_encryption = md5; CREATE ROLE clear LOGIN PASSWORD 'z'").unwrap();
    session.query("CREATE ROLE scram LOGIN PASSWORD 'z'").unwrap();

    let tcp = || server.connect_tcp();
    for (user, password) in [("s", "x"), ("md5", "y"), ("clear", "z")] {
        let mut session = tcp().user(user).password(password).open().unwrap();
        assert_eq!(session.query("SELECT current_user").unwrap().value(), Some(user));
        let error = tcp().user(user).password("wrong").open().unwrap_err();
        assert_eq!(error.sqlstate(), Some("28P01"), "{error}");
    }
    assert!(matches!(tcp().user("s").open(), Err(Error::Protocol(_))));
    let scram = "local all postgres trust\nhost all all all scram-sha-256\n";
    server.write_file("pg_hba.conf", scram, 0o600).unwrap();
    server.reload().unwrap();
    tcp().user("s").password("x").open().unwrap();
    assert_eq!(tcp().user("s").password("y").open().unwrap_err().sqlstate(), Some("28P01"));
    let mut replication = server.connect().parameter("replication", "true");
    replication = replication.limit(SOON);
    assert_eq!(replication.open().unwrap_err().sqlstate(), Some("28000"));
}
