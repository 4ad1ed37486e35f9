//! Sessions from before are ended, and no other.

use std::{
    fs,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cluster::{apply::Event, demo::ROLE, run::Outcome, spec::Mode};
use pg_version::PgVersion;
use pgtest::libpq::{Connection, Libpq};

use crate::support::{Bench, PATIENCE, Tested, until};

/// A session of the link role on `node-1`, with these options.
fn session(bench: &Bench, libpq: &Libpq, options: &[(&str, String)]) -> Tested<Connection> {
    let node = &bench.spec().nodes[0];
    let mut all = vec![
        ("host", "node-1".to_owned()),
        ("hostaddr", node.address.to_string()),
        ("port", node.port.to_string()),
        ("dbname", "app".to_owned()),
        ("user", ROLE.to_owned()),
    ];
    all.extend(options.iter().cloned());
    Ok(libpq.connect(&all, PATIENCE)?)
}

fn is_there(bench: &Bench, session: &Connection) -> Tested<bool> {
    let query =
        format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {}", session.backend_pid());
    Ok(bench.query("node-1", &query)?.as_deref() == Some("1"))
}

/// Over TLS and by trust; without TLS; by the secured way, before the open one is closed.
#[tokio::test(flavor = "multi_thread")]
async fn only_those_from_before_are_ended() -> Tested {
    let bench = Bench::start(PgVersion::V18, Mode::Cert, 2).await?;
    let libpq = Libpq::load(&pgtest::find(PgVersion::V18)?)?;
    // Secured once, so that there are certificates; then somebody opens the way again, and the links
    // and others come in by it, over TLS and with their certificates.
    assert_eq!(bench.apply().await?, Outcome::Applied);
    let data = bench.data("node-1")?;
    let hba = data.join("pg_hba.conf");
    let secured = fs::read_to_string(&hba)?;
    fs::write(&hba, format!("host all all samehost trust\n{secured}"))?;
    bench.query("node-1", "SELECT pg_reload_conf()")?;
    let trusted = "SELECT count(*) FROM pg_stat_replication r JOIN pg_stat_activity a USING (pid) \
                   WHERE r.state = 'streaming' AND a.backend_start > pg_conf_load_time()";
    bench.query("node-1", "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_replication")?;
    until("the link to be back", async || {
        Ok(bench.query("node-1", trusted)?.as_deref() == Some("1"))
    })
    .await?;
    let own = |file: &str| data.join("pgward").join(file).display().to_string();
    let by_certificate = [
        ("sslmode", "verify-full".to_owned()),
        ("sslrootcert", own("root.crt")),
        ("sslcert", own("client.crt")),
        ("sslkey", own("client.key")),
    ];
    let over_tls = session(&bench, &libpq, &[("sslmode", "require".to_owned())])?;
    let with_certificate = session(&bench, &libpq, &by_certificate)?;
    let plain = session(&bench, &libpq, &[("sslmode", "disable".to_owned())])?;
    // Others are left alone, whatever they came by.
    let stranger = session(
        &bench,
        &libpq,
        &[("user", "postgres".to_owned()), ("sslmode", "require".to_owned())],
    )?;

    let secured_way = Arc::new(Mutex::new(Vec::new()));
    let (made, other) = (secured_way.clone(), bench.clone());
    let prepared = bench.prepare().await?;
    let runner = bench.watched(move |event| {
        // The secured way is open, and the old one is, too.
        if matches!(event, Event::Stage { title } if title.starts_with("close")) {
            let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
            made.push(session(&other, &libpq, &by_certificate).unwrap());
            made.push(session(&other, &libpq, &[("sslmode", "disable".to_owned())]).unwrap());
        }
    });
    assert_eq!(runner.apply(prepared).await?, Outcome::Applied);

    for (session, stays) in
        [(&over_tls, false), (&with_certificate, false), (&plain, false), (&stranger, true)]
    {
        assert_eq!(is_there(&bench, session)?, stays, "{}", session.backend_pid());
    }
    {
        let secured_way = secured_way.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(is_there(&bench, &secured_way[0])?, "it came by the secured way");
        let plain = &secured_way[1];
        assert!(!is_there(&bench, plain)?, "it came without TLS, when the old way was open");
    }
    until("the link to be proved", async || {
        let now = time::OffsetDateTime::now_utc();
        let nodes = bench.cluster.nodes();
        Ok(cluster::verify::verify(bench.spec(), &nodes, now).await?.proved())
    })
    .await
}

/// A link that logs in with a password that it has in its connection string: it can do so at every
/// moment, because the role keeps it.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_links_log_in_with_is_kept() -> Tested {
    let bench = Bench::start(PgVersion::V17, Mode::Scram, 2).await?;
    let links = "SELECT subname, subconninfo FROM pg_subscription";
    for node in bench.names() {
        bench.query(&node, "ALTER ROLE replicator PASSWORD 'hunter2'")?;
        let name = bench.query(&node, links)?.ok_or("no link")?;
        let conninfo = "SELECT subconninfo FROM pg_subscription";
        let conninfo = bench.query(&node, conninfo)?.ok_or("no link")?;
        bench.query(
            &node,
            &format!("ALTER SUBSCRIPTION {name} CONNECTION '{conninfo} password=hunter2'"),
        )?;
        let hba = bench.data(&node)?.join("pg_hba.conf");
        let rules = fs::read_to_string(&hba)?;
        fs::write(&hba, format!("host all replicator all scram-sha-256\n{rules}"))?;
        bench.query(&node, "SELECT pg_reload_conf()")?;
    }
    let found = bench.state()?;
    let stored = "SELECT rolpassword FROM pg_authid WHERE rolname = 'replicator'";
    let before = bench.query("node-1", stored)?;
    let cut = bench.clone();
    let prepared = bench.prepare().await?;
    let runner = bench.watched(move |event| {
        // Before each stage, every link must connect anew.
        if matches!(event, Event::Stage { .. }) {
            for node in ["node-1", "node-2"] {
                let cut_all = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_replication";
                cut.query(node, cut_all).unwrap();
            }
            for node in ["node-1", "node-2"] {
                let back = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'";
                let end = std::time::Instant::now() + PATIENCE;
                while cut.query(node, back).unwrap().as_deref() != Some("1") {
                    assert!(std::time::Instant::now() < end, "the link to {node} at {event:?}");
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
        }
    });
    assert_eq!(runner.apply(prepared).await?, Outcome::Applied);
    assert_eq!(bench.query("node-1", stored)?, before);
    bench.is_proved().await?;
    assert_eq!(bench.rollback().await?, Outcome::TakenBack { kept: Vec::new() });
    bench.is_as_found(&found, "taken back").await
}

/// A link with a password in its connection string, which is not known anywhere else.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_with_secrets_goes_there_and_back() -> Tested {
    for mode in [Mode::Cert, Mode::Scram] {
        let bench = Bench::start(PgVersion::V16, mode, 2).await?;
        let query = "SELECT subconninfo FROM pg_subscription";
        let before = bench.query("node-2", query)?.ok_or("no link")?;
        bench.query(
            "node-2",
            &format!(
                "ALTER SUBSCRIPTION node_2_from_node_1 CONNECTION '{before} password=hunter2'"
            ),
        )?;
        let found = bench.state()?;
        assert_eq!(bench.apply().await?, Outcome::Applied);
        assert!(!bench.query("node-2", query)?.ok_or("no link")?.contains("hunter2"));
        bench.is_proved().await?;
        assert_eq!(bench.rollback().await?, Outcome::TakenBack { kept: Vec::new() });
        bench.is_as_found(&found, &format!("{mode:?}")).await?;
    }
    Ok(())
}
