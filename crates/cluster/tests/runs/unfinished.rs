//! What a run leaves on disk, who may work on a cluster, and what becomes of old runs.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use cluster::{
    Error,
    apply::Event,
    plan::Plan,
    run::{self, Applied, Outcome, State},
    spec::Mode,
};
use pg_version::PgVersion;

use crate::support::{Bench, Tested, until};

fn reason<T: std::fmt::Debug>(outcome: Result<T, Error>) -> String {
    match outcome {
        Err(Error::Run { reason }) => reason,
        other => panic!("{other:?}"),
    }
}

/// Every file of a folder and of those in it.
fn files(folder: &Path, found: &mut Vec<std::path::PathBuf>) -> Tested {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { files(&path, found)? } else { found.push(path) }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_on_disk() -> Tested {
    let bench = Bench::start(PgVersion::V17, Mode::Scram, 2).await?;
    let found = bench.state()?;
    let secrets = &bench.spec().secrets;

    // Nothing yet.
    assert_eq!(run::status(bench.spec())?.runs.len(), 0);
    assert!(Applied::read(secrets)?.is_none());
    assert!(reason(bench.runner().resume().await).contains("no unfinished run"));
    assert!(reason(bench.rollback().await).contains("no run to take back"));
    assert!(reason(bench.runner().abandon().await).contains("no unfinished run"));
    assert!(!secrets.exists(), "asking makes nothing");

    // While one is at work, nobody else is.
    let refused = Arc::new(Mutex::new(Vec::new()));
    let (others, told) = (bench.clone(), refused.clone());
    let prepared = bench.prepare().await?;
    let again = prepared.clone();
    let runtime = tokio::runtime::Handle::current();
    let runner = bench.watched(move |event| {
        if matches!(event, Event::Stage { title } if title.starts_with("open")) {
            let (others, again) = (others.clone(), again.clone());
            let all = tokio::task::block_in_place(|| {
                runtime.block_on(async {
                    [
                        reason(others.runner().apply(again).await),
                        reason(others.runner().resume().await),
                        reason(others.rollback().await),
                    ]
                })
            });
            let busy = run::status(others.spec()).unwrap().busy.unwrap();
            assert!(busy.starts_with(&format!("process {} since ", std::process::id())), "{busy}");
            told.lock().unwrap_or_else(PoisonError::into_inner).extend(all);
        }
    });
    assert_eq!(runner.apply(prepared.clone()).await?, Outcome::Applied);
    let refused = refused.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert!(refused[0].contains("resume or rollback first"), "{refused:?}");
    for refused in &refused[1..] {
        assert!(refused.contains("another pgward is at work"), "{refused}");
    }
    let status = run::status(bench.spec())?;
    assert_eq!((status.busy, status.runs[0].state), (None, State::Applied));

    // Nobody else may read it, and only the vault has secrets.
    let run = &status.runs[0].folder;
    let passfile = fs::read_to_string(bench.data("node-1")?.join("pgward/passfile"))?;
    let password = passfile.trim_end().rsplit(':').next().ok_or("no password")?;
    let stored =
        bench.query("node-1", "SELECT rolpassword FROM pg_authid WHERE rolname = 'replicator'")?;
    let stored = stored.ok_or("no password")?;
    let mut all = Vec::new();
    files(secrets, &mut all)?;
    for path in &all {
        let name = path.file_name().ok_or("no name")?.to_string_lossy().into_owned();
        let mode = fs::metadata(path)?.mode() & 0o7777;
        assert_eq!(mode, if name == "ca.crt" { 0o644 } else { 0o600 }, "{}", path.display());
        let bytes = fs::read(path)?;
        let text = String::from_utf8_lossy(&bytes);
        for secret in [password, &stored, "PRIVATE KEY"] {
            assert!(
                !text.contains(secret) || name == "ca.key",
                "{} holds a secret",
                path.display()
            );
        }
    }
    assert!(all.contains(&run.join("vault.json")));
    for folder in [secrets.as_path(), &secrets.join("runs"), run] {
        assert_eq!(fs::metadata(folder)?.mode() & 0o7777, 0o700);
    }
    let plan: Plan = serde_json::from_slice(&fs::read(run.join("plan.json"))?)?;
    assert_eq!(plan, prepared.plan, "a plan is read as it was written");

    // What is on the nodes is known.
    let applied = Applied::read(secrets)?.ok_or("nothing applied")?;
    let node = &applied.nodes["node-1"];
    assert_eq!((node.passwords.len(), node.links.len()), (1, 1));
    let hba = bench.data("node-1")?.join("pg_hba.conf");
    assert_eq!(node.files[&hba].mode, 0o600);
    assert!(node.files.keys().any(|path| path.ends_with("server.key")));

    // A second run that changes something takes the place of the first; taken back, it gives it back.
    fs::remove_file(bench.data("node-2")?.join("pgward/server.crt"))?;
    let first = status.runs[0].id.clone();
    assert_eq!(bench.apply().await?, Outcome::Applied);
    let second = run::status(bench.spec())?.runs;
    assert_eq!(second.len(), 1);
    assert_ne!(second[0].id, first);
    assert_eq!(Applied::read(secrets)?.ok_or("nothing applied")?.run, second[0].id);
    bench.is_proved().await?;
    // That takes back what the second did, not the first.
    fs::remove_file(bench.data("node-2")?.join("pgward/server.crt"))?;
    bench.rollback().await?;
    assert_eq!(Applied::read(secrets)?, Some(applied));
    assert!(reason(bench.rollback().await).contains("no run to take back"));
    assert_ne!(bench.state()?, found, "the first can not be taken back any more");
    Ok(())
}

/// A description that was changed since: going on could mean something else.
#[tokio::test(flavor = "multi_thread")]
async fn another_description_or_node_is_refused() -> Tested {
    let bench = Bench::start(PgVersion::V18, Mode::Cert, 2).await?;
    let found = bench.state()?;
    let prepared = bench.prepare().await?;
    // A future that is dropped leaves what a process that is killed leaves.
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let stop = Mutex::new(Some(stop));
    let runner = bench.watched(move |event| {
        if matches!(event, Event::Stage { title } if title.starts_with("close")) {
            stop.lock().unwrap().take().map(|stop| stop.send(()));
        }
    });
    tokio::select! {
        ended = runner.apply(prepared) => panic!("{ended:?}"),
        _ = stopped => {}
    }
    // What was under way comes to its end.
    until("nobody to be at work", async || Ok(run::status(bench.spec())?.busy.is_none())).await?;

    let mut other = bench.clone();
    other.cluster.spec.certificates.leaf_days = 30;
    let refused = reason(other.runner().resume().await);
    assert!(refused.contains("the description is not the one"), "{refused}");
    assert!(!run::status(other.spec())?.runs[0].same_description);
    let mut fewer = bench.clone();
    fewer.cluster.spec.nodes.pop();
    let refused = reason(fewer.rollback().await);
    assert!(refused.contains("node-2, which is not described"), "{refused}");

    // A folder that was moved is the same.
    let moved = bench.spec().secrets.with_extension("moved");
    fs::rename(&bench.spec().secrets, &moved)?;
    let mut elsewhere = bench.clone();
    elsewhere.cluster.spec.secrets = moved.clone();
    assert!(run::status(elsewhere.spec())?.runs[0].same_description);
    fs::rename(&moved, &bench.spec().secrets)?;

    // One of a newer version is not touched.
    let header = run::status(bench.spec())?.runs[0].folder.join("run.json");
    let text = fs::read_to_string(&header)?;
    fs::write(&header, text.replace("\"version\": 1", "\"version\": 2"))?;
    let refused = reason(bench.rollback().await);
    assert!(refused.contains("which is newer"), "{refused}");
    fs::write(&header, text)?;

    // To take it back, only the nodes must be known.
    assert_eq!(other.rollback().await?, Outcome::TakenBack { kept: Vec::new() });
    bench.is_as_found(&found, "taken back").await
}

/// Given up, it is in nobody's way.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_can_be_abandoned() -> Tested {
    let bench = Bench::start(PgVersion::V18, Mode::Cert, 2).await?;
    assert_eq!(bench.apply().await?, Outcome::Applied);
    // The lines that were written are others now: nothing could tell what to put back.
    let hba = bench.data("node-2")?.join("pg_hba.conf");
    let secured = fs::read_to_string(&hba)?;
    fs::write(&hba, secured.replace("replicator", "replicator,other"))?;
    let outcome = bench.rollback().await;
    let Err(Error::Left { left, .. }) = &outcome else { panic!("{outcome:?}") };
    assert!(left[0].contains("changed by hand where it had been edited"), "{left:?}");
    let status = run::status(bench.spec())?;
    assert_eq!(status.runs[0].state, State::TakingBack);
    assert!(!status.runs[0].left.is_empty());

    bench.runner().abandon().await?;
    assert_eq!(run::status(bench.spec())?.runs[0].state, State::Abandoned);
    assert!(reason(bench.rollback().await).contains("no run to take back"));
    // What is there is mended like anything else.
    fs::write(&hba, secured)?;
    assert_eq!(bench.apply().await?, Outcome::Applied);
    bench.is_proved().await?;
    assert_eq!(run::status(bench.spec())?.runs.len(), 1);
    Ok(())
}
