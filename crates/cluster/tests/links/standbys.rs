//! Standbys.

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use cluster::{
    Error,
    apply::{Event, Limits, Observer},
    plan::Warning,
    run::{self, Runner},
    spec::Mode,
    verify::Code,
};
use pg_version::PgVersion;
use pgtest::{Server, Shutdown};

use crate::{
    found::{files, taken_back},
    held::{hold, refusals},
    support::{
        Outcome, STREAMING, look, nodes, plan, secure, secured_and_proved, server, spec_of,
        standby, wait,
    },
};

/// A standby with a slot, and one that follows that one without a slot.
#[tokio::test(flavor = "multi_thread")]
async fn standbys() -> Outcome {
    for (version, mode) in
        [(PgVersion::V15, Mode::Scram), (PgVersion::V18, Mode::Cert), (PgVersion::V13, Mode::Cert)]
    {
        let installation = pgtest::find(version)?;
        let folder = tempfile::tempdir()?;
        let mut first = server(&installation, 5)?;
        first.query("CREATE ROLE replicator LOGIN REPLICATION")?;
        first.query("SELECT pg_create_physical_replication_slot('second')")?;
        let mut second = standby(&installation, &mut first, 6, "", Some("second"))?;
        let third = standby(&installation, &mut second, 7, "application_name=third", None)?;
        let servers = [("first", &first), ("second", &second), ("third", &third)];
        for standby in [&second, &third] {
            rests_long(standby)?;
        }
        wait(&first, STREAMING, "1")?;
        wait(&second, STREAMING, "1")?;
        let found = files(&[&first, &second, &third])?;

        let spec = spec_of(mode, &["replicator"], folder.path(), &servers);
        secured_and_proved(&spec, 2).await?;
        // Nobody is let in to the database that a standby's connection string seems to name: that is no
        // fault of the address that this is tried from.
        let found_wrong = look(&spec).await?.findings;
        assert!(found_wrong.iter().all(|f| f.code != Code::OwnAddress), "{found_wrong:#?}");
        first.query("CREATE TABLE t (i int)")?;
        first.query("INSERT INTO t VALUES (1)")?;
        wait(&third, "SELECT count(*) FROM pg_class WHERE relname = 't'", "1")?;
        wait(&third, "SELECT count(*) FROM t", "1")?;

        // And back: every byte, and the links.
        taken_back(&spec).await?;
        assert_eq!(files(&[&first, &second, &third])?, found, "{version}");
        wait(&first, STREAMING, "1")?;
        wait(&second, STREAMING, "1")?;
    }
    Ok(())
}

/// A standby that is refused once tries again after this; a run does not wait for that.
pub(crate) fn rests_long(standby: &Server) -> Outcome {
    let conf = standby.data_dir().join("postgresql.conf");
    let text = std::fs::read_to_string(&conf)? + "wal_retrieve_retry_interval = 1h\n";
    standby.write_file(&conf, text.as_bytes(), 0o600)?;
    standby.query("SELECT pg_reload_conf()")?;
    wait(standby, "SHOW wal_retrieve_retry_interval", "1h")
}

/// The session from before is in the standby's slot still when its next one comes.
#[tokio::test(flavor = "multi_thread")]
async fn a_standbys_slot_is_taken_still() -> Outcome {
    let installation = pgtest::find(PgVersion::V18)?;
    let folder = tempfile::tempdir()?;
    let mut first = server(&installation, 35)?;
    first.query("CREATE ROLE replicator LOGIN REPLICATION")?;
    first.query("SELECT pg_create_physical_replication_slot('second')")?;
    let second = standby(&installation, &mut first, 36, "", Some("second"))?;
    rests_long(&second)?;
    wait(&first, STREAMING, "1")?;
    let servers = [("first", &first), ("second", &second)];
    let spec = spec_of(Mode::Scram, &["replicator"], folder.path(), &servers);
    let prepared = plan(&spec).await?;

    let (connect, held) = (first.connect(), Arc::new(OnceLock::new()));
    let (there, seen) = (connect.clone(), held.clone());
    let observer: Observer = Arc::new(move |event| {
        if matches!(&event, Event::Begin { what, .. } if what.contains("primary_conninfo")) {
            seen.get_or_init(|| hold(there.clone()).map_err(|error| error.to_string()));
        }
    });
    let before = refusals(&connect)?;
    let runner = Runner::new(&spec, &nodes(&spec)).observer(observer);
    assert_eq!(runner.apply(prepared).await?, run::Outcome::Applied);
    assert_eq!(held.get(), Some(&Ok(())));
    assert!(refusals(&connect)? > before, "its slot was free");
    assert!(look(&spec).await?.proved());
    wait(&second, "SHOW wal_retrieve_retry_interval", "1h")
}

/// Two standbys on one machine with the names that `pg_basebackup -R` leaves them, none: from one address
/// come two of "walreceiver", and the primary waits for any of them at each commit.
#[tokio::test(flavor = "multi_thread")]
async fn standbys_that_nothing_tells_apart() -> Outcome {
    for (version, mode) in [(PgVersion::V16, Mode::Scram), (PgVersion::V18, Mode::Cert)] {
        let installation = pgtest::find(version)?;
        let folder = tempfile::tempdir()?;
        let mut first = server(&installation, 15)?;
        first.query("CREATE ROLE replicator LOGIN REPLICATION")?;
        let second = standby(&installation, &mut first, 16, "", None)?;
        let third = standby(&installation, &mut first, 17, "", None)?;
        wait(&first, STREAMING, "2")?;
        first.query("ALTER SYSTEM SET synchronous_standby_names = 'walreceiver'")?;
        first.query("SELECT pg_reload_conf()")?;
        wait(&first, "SHOW synchronous_standby_names", "walreceiver")?;
        let servers = [("first", &first), ("second", &second), ("third", &third)];
        let spec = spec_of(mode, &["replicator"], folder.path(), &servers);

        // Another name would leave the primary waiting for nobody.
        let refused = plan(&spec).await.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(refused.contains("set application_name in primary_conninfo on each"), "{refused}");
        first.query("ALTER SYSTEM SET synchronous_standby_names = '*'")?;
        first.query("SELECT pg_reload_conf()")?;
        wait(&first, "SHOW synchronous_standby_names", "*")?;

        let found = files(&[&first, &second, &third])?;
        secured_and_proved(&spec, 2).await?;
        let names = "SELECT string_agg(application_name, ' ' ORDER BY application_name) \
                     FROM pg_stat_replication";
        wait(&first, names, "second third")?;
        first.query("CREATE TABLE t (i int)")?;

        taken_back(&spec).await?;
        assert_eq!(files(&[&first, &second, &third])?, found, "{version}");
        wait(&first, names, "walreceiver walreceiver")?;
    }
    Ok(())
}

/// Major 12 takes another `primary_conninfo` at a restart only, which is the administrator's: the standby
/// is let in as before until then.
#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_must_be_restarted() -> Outcome {
    let installation = pgtest::find(PgVersion::V12)?;
    let folder = tempfile::tempdir()?;
    let mut first = server(&installation, 56)?;
    first.query("CREATE ROLE replicator LOGIN REPLICATION")?;
    first.query("SELECT pg_create_physical_replication_slot('second')")?;
    let mut second = standby(&installation, &mut first, 57, "", Some("second"))?;
    wait(&first, STREAMING, "1")?;
    let servers = [("first", &first), ("second", &second)];
    let spec = spec_of(Mode::Cert, &["replicator"], folder.path(), &servers);
    secure(&spec).await?;
    // It could come in anew by what it has.
    first.query("SELECT pg_terminate_backend(pid) FROM pg_stat_replication")?;
    wait(&first, STREAMING, "1")?;
    let again = plan(&spec).await?.plan;
    let told = |warning: &Warning| warning.message.contains("restart the standby");
    assert!(again.warnings.iter().any(told), "{:?}", again.warnings);
    assert!(!look(&spec).await?.proved());

    second.restart()?;
    wait(&first, STREAMING, "1")?;
    secured_and_proved(&spec, 1).await
}

/// Two servers of one machine, and the standby follows by the machine's own loopback, where the
/// description has another address.
#[tokio::test(flavor = "multi_thread")]
async fn a_standby_beside_its_primary() -> Outcome {
    let installation = pgtest::find(PgVersion::V17)?;
    let folder = tempfile::tempdir()?;
    let mut first = Server::builder(&installation)
        .addr([127, 0, 0, 50])
        .setting("listen_addresses", "127.0.0.50, 127.0.0.51")
        .setting("logging_collector", "on")
        .start()?;
    first.query("CREATE ROLE replicator LOGIN REPLICATION")?;
    let second = standby(&installation, &mut first, 50, "host=127.0.0.51", None)?;
    wait(&first, STREAMING, "1")?;
    let servers = [("first", &first), ("second", &second)];
    let found = files(&[&first, &second])?;
    let spec = spec_of(Mode::Scram, &["replicator"], folder.path(), &servers);
    secured_and_proved(&spec, 1).await?;
    let now = second.query("SHOW primary_conninfo")?.value().unwrap_or_default().to_owned();
    assert!(now.contains("hostaddr=127.0.0.50") && !now.contains("127.0.0.51"), "{now}");
    taken_back(&spec).await?;
    assert_eq!(files(&[&first, &second])?, found);
    wait(&first, STREAMING, "1")
}

/// What takes another `primary_conninfo` by no means is refused before anything is done.
#[tokio::test(flavor = "multi_thread")]
async fn alter_system_must_be_allowed() -> Outcome {
    let installation = pgtest::find(PgVersion::V18)?;
    let folder = tempfile::tempdir()?;
    let mut first = server(&installation, 18)?;
    first.query("CREATE ROLE replicator LOGIN REPLICATION")?;
    let second = standby(&installation, &mut first, 19, "", None)?;
    let conf = second.data_dir().join("postgresql.conf");
    let text = std::fs::read_to_string(&conf)? + "allow_alter_system = off\n";
    second.write_file(&conf, text.as_bytes(), 0o600)?;
    second.query("SELECT pg_reload_conf()")?;
    wait(&second, "SHOW allow_alter_system", "off")?;
    let servers = [("first", &first), ("second", &second)];
    let spec = spec_of(Mode::Cert, &["replicator"], folder.path(), &servers);
    let refused = plan(&spec).await.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(refused.contains("node second: allow_alter_system is off"), "{refused}");
    Ok(())
}

/// The standby, or its primary, is gone when the link is to be switched over.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_gone_at_the_switch() -> Outcome {
    let installation = pgtest::find(PgVersion::V17)?;
    let folder = tempfile::tempdir()?;
    let mut first = server(&installation, 29)?;
    first.query("CREATE ROLE replicator LOGIN REPLICATION")?;
    let second = standby(&installation, &mut first, 30, "", None)?;
    wait(&first, STREAMING, "1")?;
    let spec = spec_of(
        Mode::Scram,
        &["replicator"],
        folder.path(),
        &[("first", &first), ("second", &second)],
    );
    let found = files(&[&first, &second])?;
    let servers = [Arc::new(Mutex::new(first)), Arc::new(Mutex::new(second))];
    let lock = |number: usize| servers[number].lock().unwrap_or_else(PoisonError::into_inner);
    for number in [0, 1] {
        let gone = servers[number].clone();
        let observer: Observer = Arc::new(move |event| {
            if matches!(event, Event::Stage { title } if title == "switch the links over") {
                let mut server = gone.lock().unwrap_or_else(PoisonError::into_inner);
                // The run will find out.
                let _ = server.stop(Shutdown::Immediate);
            }
        });
        let limits = Limits { answer: Duration::from_secs(10), ..Limits::default() };
        let runner = Runner::new(&spec, &nodes(&spec)).limits(limits).observer(observer);
        let failed = runner.apply(plan(&spec).await?).await;
        let Err(Error::TakenBack { left, .. }) = failed else { panic!("{failed:?}") };
        assert!(!left.is_empty());
        lock(number).start()?;
        wait(&lock(0), STREAMING, "1")?;
        taken_back(&spec).await?;
        assert_eq!(files(&[&*lock(0), &*lock(1)])?, found, "{number}");
        wait(&lock(0), STREAMING, "1")?;
    }
    secured_and_proved(&spec, 1).await
}
