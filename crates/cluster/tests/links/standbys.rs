//! Standbys.

use cluster::spec::Mode;
use pg_version::PgVersion;

use crate::support::{
    Outcome, STREAMING, files, plan, secured_and_proved, server, spec_of, standby, taken_back, wait,
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
        wait(&first, STREAMING, "1")?;
        wait(&second, STREAMING, "1")?;
        let found = files(&[&first, &second, &third])?;

        let spec = spec_of(mode, &["replicator"], folder.path(), &servers);
        secured_and_proved(&spec, 2).await?;
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
