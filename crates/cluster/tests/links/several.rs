//! Connection strings that name several nodes, and follow whichever is the primary.

use cluster::spec::Mode;
use pg_version::PgVersion;
use pgtest::{Server, Shutdown};

use crate::{
    follow::follow,
    found::{files, taken_back},
    support::{Outcome, STREAMING, look, secured_and_proved, server, spec_of, wait},
};

/// Two standbys and a subscriber with one list for all; the first standby takes over while they are secured,
/// and nobody is told.
#[tokio::test(flavor = "multi_thread")]
async fn links_follow_the_primary() -> Outcome {
    for (version, mode) in [(PgVersion::V18, Mode::Cert), (PgVersion::V14, Mode::Scram)] {
        let installation = pgtest::find(version)?;
        let folder = tempfile::tempdir()?;
        let settings = |last: u8| {
            Server::builder(&installation)
                .addr([127, 0, 0, last])
                .setting("logging_collector", "on")
                .setting("wal_level", "logical")
                .setting("wal_retrieve_retry_interval", "100ms")
        };
        let mut first = settings(52).start()?;
        for statement in [
            "CREATE ROLE replicator LOGIN REPLICATION",
            "CREATE TABLE t (i int)",
            "GRANT SELECT ON t TO replicator",
            "CREATE PUBLICATION p FOR TABLE t",
        ] {
            first.query(statement)?;
        }
        let (second, third) = (settings(53).init()?, settings(54).init()?);
        let list = |servers: &[&Server]| {
            let (hosts, ports): (Vec<_>, Vec<_>) = servers
                .iter()
                .map(|server| (server.addr().to_string(), server.port().to_string()))
                .unzip();
            format!(
                "host={} port={} target_session_attrs=read-write",
                hosts.join(","),
                ports.join(",")
            )
        };
        let all = list(&[&first, &second, &third]);
        let second = follow(&mut first, second, &all, None)?;
        let third = follow(&mut first, third, &(all.clone() + " application_name=third"), None)?;
        let fourth = server(&installation, 55)?;
        fourth.query("CREATE TABLE t (i int)")?;
        fourth.query(&format!(
            "CREATE SUBSCRIPTION s CONNECTION '{all} dbname=postgres user=replicator' PUBLICATION p"
        ))?;
        wait(&first, STREAMING, "3")?;
        let servers =
            [("first", &first), ("second", &second), ("third", &third), ("fourth", &fourth)];
        let spec = spec_of(mode, &["replicator"], folder.path(), &servers);
        let found = files(&[&first, &second, &third, &fourth])?;
        secured_and_proved(&spec, 3).await?;
        assert!(look(&spec).await?.links.iter().all(|link| link.to == "first"));
        taken_back(&spec).await?;
        assert_eq!(files(&[&first, &second, &third, &fourth])?, found, "{version}");
        wait(&first, STREAMING, "3")?;

        secured_and_proved(&spec, 3).await?;
        first.query("INSERT INTO t VALUES (1)")?;
        for follower in [&second, &third, &fourth] {
            wait(follower, "SELECT count(*) FROM t", "1")?;
        }
        first.stop(Shutdown::Fast)?;
        second.query("SELECT pg_promote()")?;
        second.query("SELECT pg_create_logical_replication_slot('s', 'pgoutput')")?;
        let by_tls = "SELECT string_agg(r.application_name, ' ' ORDER BY r.application_name) \
                      FROM pg_stat_replication r JOIN pg_stat_ssl USING (pid) \
                      WHERE ssl AND r.state = 'streaming'";
        wait(&second, by_tls, "s third")?;
        second.query("INSERT INTO t VALUES (2)")?;
        wait(&third, "SELECT count(*) FROM t", "2")?;
        wait(&fourth, "SELECT count(*) FROM t", "2")?;
    }
    Ok(())
}
