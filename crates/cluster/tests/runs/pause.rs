//! Links that connect anew come back at once, however long their servers let them rest.

use cluster::{
    apply::Event,
    plan::Action,
    rotate,
    run::{Outcome, Runner},
    spec::Mode,
};
use pg_version::PgVersion;
use time::OffsetDateTime;

use crate::{
    held::{hold, refusals},
    support::{Bench, Tested, until},
};

const SETTING: &str = "wal_retrieve_retry_interval";

/// Whoever waits for the end of the pause is found out: it ends after the run's patience.
async fn start(version: PgVersion, mode: Mode) -> Tested<Bench> {
    let bench = Bench::start(version, mode, 2).await?;
    for node in bench.names() {
        let conf = bench.data(&node)?.join("postgresql.conf");
        let text = std::fs::read_to_string(&conf)?;
        std::fs::write(&conf, format!("{text}{SETTING} = 1h\n"))?;
        bench.query(&node, "SELECT pg_reload_conf()")?;
    }
    pause_is(&bench, "1h").await?;
    Ok(bench)
}

async fn pause_is(bench: &Bench, length: &str) -> Tested {
    for node in bench.names() {
        until(&format!("{SETTING} of {node} to be {length}"), async || {
            Ok(bench.query(&node, &format!("SHOW {SETTING}"))?.as_deref() == Some(length))
        })
        .await?;
    }
    Ok(())
}

/// A runner under which every link finds its slot taken when it is switched over, or back.
fn holding(bench: &Bench) -> Runner {
    let held = bench.clone();
    bench.watched(move |event| {
        if let Event::Begin { node, what } | Event::Undoing { node, what } = event
            && what.contains("ALTER SUBSCRIPTION")
        {
            let publisher = if node == "node-1" { "node-2" } else { "node-1" };
            let connect = held.servers.with(publisher, |server| server.connect());
            connect.map(hold).unwrap().unwrap();
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_is_taken_still_is_asked_for_again() -> Tested {
    for version in [PgVersion::V18, PgVersion::V15] {
        let bench = start(version, Mode::Scram).await?;
        assert_eq!(holding(&bench).apply(bench.prepare().await?).await?, Outcome::Applied);
        for node in bench.names() {
            let connect = bench.servers.with(&node, |server| server.connect())?;
            assert!(refusals(&connect)? > 0, "{node}: its slot was free");
        }
        bench.is_proved().await?;
        pause_is(&bench, "1h").await?;
        assert!(bench.prepare().await?.plan.is_empty());

        // Every link connects anew, and that is begun from where no worker is old enough.
        let states = cluster::inspect::inspect_all(bench.spec(), &bench.cluster.nodes()).await?;
        let rotated = rotate::passwords(bench.spec(), &states, OffsetDateTime::now_utc())?;
        assert_eq!(bench.runner().apply(rotated).await?, Outcome::Applied);
        pause_is(&bench, "1h").await?;
        bench.is_proved().await?;
        bench.rollback().await?;
        pause_is(&bench, "1h").await?;
    }
    Ok(())
}

/// Secured and taken back with the slots taken at both; and somebody who has set the pause by hand
/// keeps that.
#[tokio::test(flavor = "multi_thread")]
async fn the_pause_is_put_back() -> Tested {
    let bench = start(PgVersion::V16, Mode::Cert).await?;
    let found = bench.state()?;
    let prepared = bench.prepare().await?;
    let stages: Vec<&str> = prepared.plan.stages.iter().map(|it| it.title.as_str()).collect();
    assert_eq!(stages.first(), Some(&"let links that end come back at once"), "{stages:#?}");
    assert_eq!(stages.last(), Some(&"let them take their time again"), "{stages:#?}");
    let set = |action: &Action| action.to_string();
    assert_eq!(
        set(&prepared.plan.stages[0].steps[0].action),
        format!("ALTER SYSTEM SET \"{SETTING}\" = '50ms'")
    );
    assert_eq!(holding(&bench).apply(prepared).await?, Outcome::Applied);
    bench.is_proved().await?;
    pause_is(&bench, "1h").await?;
    assert_eq!(holding(&bench).rollback().await?, Outcome::TakenBack { kept: Vec::new() });
    bench.is_as_found(&found, "taken back").await?;

    // One that is set by ALTER SYSTEM comes back as it was, too.
    bench.query("node-1", &format!("ALTER SYSTEM SET {SETTING} = '2h'"))?;
    bench.query("node-1", "SELECT pg_reload_conf()")?;
    let found = bench.state()?;
    assert_eq!(bench.apply().await?, Outcome::Applied);
    assert_eq!(bench.state()?["node-1 postgresql.auto.conf"], found["node-1 postgresql.auto.conf"]);
    bench.query("node-1", &format!("ALTER SYSTEM SET {SETTING} = '3h'"))?;
    let outcome = bench.rollback().await?;
    let kept = format!("node-1: {SETTING} was set by hand, and keeps that");
    assert_eq!(outcome, Outcome::TakenBack { kept: vec![kept] });
    until("the new pause", async || {
        Ok(bench.query("node-1", &format!("SHOW {SETTING}"))?.as_deref() == Some("3h"))
    })
    .await?;
    bench.replicates().await
}
