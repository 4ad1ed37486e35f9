//! `kill -9` after every record of the journal.

use std::{
    fs,
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{Command, ExitStatus, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
};

use cluster::{
    Error,
    apply::Event,
    inspect::Node,
    run::{self, Outcome, Runner, State},
    spec::{ClusterSpec, Mode},
    transport::LocalFiles,
};
use pg_version::PgVersion;
use rustix::process::{Signal, getpid, kill_process};
use time::OffsetDateTime;

use crate::support::{AdminWatch, Bench, LIMITS, Tested};

/// What the child is to do, in its environment: see [`child`].
const SPEC: &str = "PGWARD_TEST_SPEC";
const DO: &str = "PGWARD_TEST_DO";
const KILL_AFTER: &str = "PGWARD_TEST_KILL_AFTER";

/// Not a test of its own: the process that the others kill. It does what its environment says, and
/// ends itself as soon as so many records are in the journal.
#[tokio::test(flavor = "multi_thread")]
async fn child() -> Tested {
    let Ok(spec) = std::env::var(SPEC) else { return Ok(()) };
    let kill_after: usize = std::env::var(KILL_AFTER)?.parse()?;
    let spec: ClusterSpec = serde_json::from_str(&fs::read_to_string(spec)?)?;
    let node = |spec: &cluster::spec::NodeSpec| Node {
        spec: spec.clone(),
        files: std::sync::Arc::new(LocalFiles),
    };
    let nodes: Vec<Node> = spec.nodes.iter().map(node).collect();
    let records = AtomicUsize::new(0);
    let runner = Runner::new(&spec, &nodes).limits(LIMITS).observer(std::sync::Arc::new(
        move |event: Event| {
            let stage = matches!(event, Event::Stage { .. });
            if !stage && records.fetch_add(1, Ordering::SeqCst) + 1 == kill_after {
                let _ = kill_process(getpid(), Signal::KILL);
                // The signal is on its way to every thread.
                loop {
                    std::thread::park();
                }
            }
        },
    ));
    match std::env::var(DO)?.as_str() {
        "apply" => {
            let states = cluster::inspect::inspect_all(&spec, &nodes).await?;
            let prepared = cluster::prepare::prepare(&spec, &states, OffsetDateTime::now_utc())?;
            runner.apply(prepared).await?;
        }
        "resume" => drop(runner.resume().await?),
        _ => drop(runner.rollback().await?),
    }
    Ok(())
}

/// Runs [`child`] in a process of its own; whether it came to its end.
async fn in_child(bench: &Bench, what: &str, kill_after: usize) -> Tested<bool> {
    let spec = bench.spec().secrets.with_extension("json");
    fs::write(&spec, serde_json::to_string(bench.spec())?)?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["crash::child", "--exact", "--nocapture"])
        .env(SPEC, spec)
        .env(DO, what)
        .env(KILL_AFTER, kill_after.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit());
    let status: ExitStatus = tokio::task::spawn_blocking(move || command.status()).await??;
    assert!(status.success() || status.signal() == Some(9), "{what} {kill_after}: {status}");
    Ok(status.success())
}

/// The journal of the newest run loses a part of its last line, as when the system itself went down
/// while it was written: what it told was done, and is not known to be.
fn tear(bench: &Bench) -> Tested {
    let newest = run::status(bench.spec())?.runs.into_iter().next().ok_or("no run")?;
    let journal = newest.folder.join("journal.jsonl");
    let text = fs::read_to_string(&journal)?;
    let whole = text.trim_end().rfind('\n').map_or(0, |end| end + 1);
    fs::write(&journal, &text[..whole + (text.len() - whole) / 2])?;
    Ok(())
}

fn vault_of(folder: &Path) -> bool {
    folder.join("vault.json").exists()
}

/// The run is unfinished, and keeps every other from beginning.
async fn is_unfinished(bench: &Bench, when: &str) -> Tested<State> {
    let status = run::status(bench.spec())?;
    assert_eq!(status.busy, None, "{when}");
    let run = status.unfinished().ok_or_else(|| format!("{when}: no unfinished run"))?;
    assert!(run.same_description && vault_of(&run.folder), "{when}: {run:?}");
    let refused = bench.apply().await;
    let Err(Error::Run { reason }) = &refused else { panic!("{when}: {refused:?}") };
    assert!(reason.contains("resume or rollback first"), "{when}: {reason}");
    Ok(run.state)
}

/// After each record: odd ones are resumed, and taken back from the end; even ones are taken back at
/// once. Every third time the last record is torn.
async fn killed_after_every_record(mode: Mode) -> Tested {
    let bench = Bench::start(PgVersion::V18, mode, 2).await?;
    let found = bench.state()?;
    let watch = AdminWatch::begin(&bench.spec().nodes);
    let mut record = 0;
    loop {
        record += 1;
        if in_child(&bench, "apply", record).await? {
            break;
        }
        let when = format!("{mode:?}, killed after record {record}");
        if record % 3 == 0 {
            tear(&bench)?;
        }
        let status = run::status(bench.spec())?;
        if status.unfinished().is_none() {
            // The last record of all: the run is finished.
            assert_eq!(status.runs[0].state, State::Applied, "{when}");
        } else {
            is_unfinished(&bench, &when).await?;
            if record % 2 == 1 {
                assert_eq!(bench.runner().resume().await?, Outcome::Applied, "{when}");
                bench.is_proved().await?;
                assert!(bench.prepare().await?.plan.is_empty(), "{when}");
            }
        }
        let taken_back = bench.rollback().await.inspect_err(|e| {
            eprintln!("{when} {e}");
            bench.dump()
        })?;
        assert_eq!(taken_back, Outcome::TakenBack { kept: Vec::new() }, "{when}");
        bench.is_as_found(&found, &when).await?;
        let newest = &run::status(bench.spec())?.runs[0];
        assert_eq!(newest.state, State::TakenBack, "{when}");
        assert!(!vault_of(&newest.folder), "{when}");
    }
    assert!(record > 40, "{record} records");

    // It came to its end: now taking it back is killed, each time a little later.
    bench.is_proved().await?;
    let mut record = 0;
    loop {
        record += 1;
        let when = format!("{mode:?}, rollback killed after record {record}");
        if in_child(&bench, "rollback", record).await? {
            break;
        }
        if record % 3 == 0 {
            tear(&bench)?;
        }
        if run::status(bench.spec())?.unfinished().is_some() {
            assert_eq!(is_unfinished(&bench, &when).await?, State::TakingBack, "{when}");
        }
        if record % 8 == 0 {
            // Either word goes on with it.
            let runner = bench.runner();
            let ended =
                if record % 16 == 0 { runner.resume().await? } else { runner.rollback().await? };
            assert_eq!(ended, Outcome::TakenBack { kept: Vec::new() }, "{when}");
            bench.is_as_found(&found, &when).await?;
            assert_eq!(bench.apply().await?, Outcome::Applied, "{when}");
        }
    }
    bench.is_as_found(&found, "after all").await?;
    watch.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_every_record_with_certificates() -> Tested {
    killed_after_every_record(Mode::Cert).await
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_every_record_with_passwords() -> Tested {
    killed_after_every_record(Mode::Scram).await
}
