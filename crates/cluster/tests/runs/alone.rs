//! Two machines with a pgward each: one at a time works on a node.

use std::sync::{Arc, Mutex, PoisonError};

use cluster::{
    Error,
    apply::Event,
    conninfo::ConnInfo,
    run::{self, Outcome},
    spec::Mode,
};
use pg_version::PgVersion;

use crate::support::{Bench, Tested};

/// As the documentation says.
const LOCK: &str = "SELECT pg_advisory_lock(123589686817380)";

/// The same cluster, described on another machine: another folder for secrets, and an administrator who
/// comes in to another database.
fn elsewhere(bench: &Bench) -> Tested<Bench> {
    let mut other = bench.clone();
    other.cluster.spec.secrets = bench.spec().secrets.with_extension("elsewhere");
    for node in &mut other.cluster.spec.nodes {
        let mut sql: ConnInfo = node.sql.parse()?;
        sql.set("dbname", "template1");
        node.sql = sql.to_text().to_string();
    }
    Ok(other)
}

fn reason(outcome: Result<Outcome, Error>) -> String {
    match outcome {
        Err(Error::Node { source, .. }) if matches!(*source, Error::Run { .. }) => {
            source.to_string()
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_of_two_machines() -> Tested {
    let bench = Bench::start(PgVersion::V18, Mode::Cert, 2).await?;
    let found = bench.state()?;
    let other = elsewhere(&bench)?;
    let theirs = other.prepare().await?;
    // While one is at work, the other comes.
    let refused = Arc::new(Mutex::new(None));
    let (seen, handle) = (refused.clone(), tokio::runtime::Handle::current());
    let (runner, prepared) = (other.runner(), bench.prepare().await?);
    let ours = bench.watched(move |event| {
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(event, Event::Stage { title } if title.starts_with("open")) && seen.is_none() {
            let apply = runner.apply(theirs.clone());
            let outcome = tokio::task::block_in_place(|| handle.block_on(apply));
            *seen = Some(outcome);
        }
    });
    assert_eq!(ours.apply(prepared).await?, Outcome::Applied);
    let outcome = refused.lock().unwrap_or_else(PoisonError::into_inner).take();
    let refused = reason(outcome.ok_or("nobody came")?);
    let id = &run::status(bench.spec())?.runs[0].id;
    assert!(refused.contains(&format!("\"pgward {id} ")), "{refused}");
    assert!(refused.contains("SELECT pg_terminate_backend("), "{refused}");
    assert!(run::status(other.spec())?.runs.is_empty(), "nothing was begun");
    bench.is_proved().await?;

    // Somebody whose machine is gone; who only looks is in nobody's way and has nobody in theirs.
    let mut lost = bench.servers.with("node-2", |server| server.session())??;
    lost.query(LOCK)?;
    assert!(bench.prepare().await?.plan.is_empty());
    bench.is_proved().await?;
    let refused = reason(bench.rollback().await);
    let pid = lost.backend_pid();
    assert!(refused.contains(&format!("SELECT pg_terminate_backend({pid})")), "{refused}");
    assert_eq!(run::status(bench.spec())?.runs[0].state, run::State::Applied);
    bench.query("node-2", &format!("SELECT pg_terminate_backend({pid})"))?;
    assert_eq!(bench.rollback().await?, Outcome::TakenBack { kept: Vec::new() });
    bench.is_as_found(&found, "taken back").await
}
