//! `kill -9` after every record of the journal.

use std::{collections::BTreeMap, path::Path};

use cluster::{
    Error,
    run::{self, Outcome, State},
    spec::Mode,
};
use pg_version::PgVersion;

use crate::{
    killed::{in_child, tear},
    support::{AdminWatch, Bench, Tested},
};

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

/// Which of the records somebody is killed after.
#[derive(Clone, Copy)]
struct Records {
    first: usize,
    every: usize,
}

/// Killed while applying: odd ones are resumed, and taken back from the end; even ones are taken back
/// at once. Every third time the last record is torn.
async fn killed_while_applying(version: PgVersion, mode: Mode, records: Records) -> Tested {
    let bench = Bench::start(version, mode, 2).await?;
    let found = bench.state()?;
    let watch = AdminWatch::begin(&bench.spec().nodes);
    for (turn, record) in (records.first..).step_by(records.every).enumerate() {
        let ended = in_child(bench.spec(), "apply", record).await?;
        if ended {
            assert!(record > 40, "{record} records");
            break;
        }
        let when = format!("{mode:?}, killed after record {record}");
        if turn % 3 == 0 {
            tear(bench.spec())?;
        }
        let status = run::status(bench.spec())?;
        if status.unfinished().is_none() {
            // The last record of all: the run is finished.
            assert_eq!(status.runs[0].state, State::Applied, "{when}");
        } else {
            is_unfinished(&bench, &when).await?;
            if turn % 2 == 1 {
                assert_eq!(bench.runner().resume().await?, Outcome::Applied, "{when}");
                assert!(bench.prepare().await?.plan.is_empty(), "{when}");
                if turn % 8 == 1 {
                    bench.is_proved().await?;
                }
            }
        }
        is_taken_back(&bench, bench.rollback().await?, &found, &when).await?;
    }
    bench.is_proved().await?;
    is_taken_back(&bench, bench.rollback().await?, &found, "at the end").await?;
    watch.end().await
}

/// Killed while what was applied is taken back; then either word goes on with it.
async fn killed_while_taking_back(mode: Mode, records: Records) -> Tested {
    let bench = Bench::start(PgVersion::V18, mode, 2).await?;
    let found = bench.state()?;
    let watch = AdminWatch::begin(&bench.spec().nodes);
    for (turn, record) in (records.first..).step_by(records.every).enumerate() {
        assert_eq!(bench.apply().await?, Outcome::Applied);
        if in_child(bench.spec(), "rollback", record).await? {
            assert!(record > 40, "{record} records");
            break;
        }
        let when = format!("{mode:?}, killed after record {record} of taking back");
        if turn % 3 == 0 {
            tear(bench.spec())?;
        }
        match run::status(bench.spec())?.runs[0].state {
            // What told that taking back had begun was torn.
            State::Applied => drop(bench.rollback().await?),
            State::TakenBack => {}
            _ => {
                assert_eq!(is_unfinished(&bench, &when).await?, State::TakingBack, "{when}");
                // Once more, a little later; it may have been the last record of all.
                let ended = in_child(bench.spec(), "resume", record / 2 + 1).await?;
                if !ended && run::status(bench.spec())?.unfinished().is_some() {
                    let runner = bench.runner();
                    let outcome = match turn % 2 {
                        0 => runner.resume().await?,
                        _ => runner.rollback().await?,
                    };
                    is_taken_back(&bench, outcome, &found, &when).await?;
                }
            }
        }
        bench.is_as_found(&found, &when).await?;
    }
    bench.is_as_found(&found, "at the end").await?;
    watch.end().await
}

async fn is_taken_back(
    bench: &Bench,
    outcome: Outcome,
    found: &BTreeMap<String, String>,
    when: &str,
) -> Tested {
    assert_eq!(outcome, Outcome::TakenBack { kept: Vec::new() }, "{when}");
    bench.is_as_found(found, when).await?;
    let newest = &run::status(bench.spec())?.runs[0];
    assert_eq!(newest.state, State::TakenBack, "{when}");
    assert!(!vault_of(&newest.folder), "{when}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_every_record() -> Tested {
    killed_while_applying(PgVersion::V18, Mode::Cert, Records { first: 1, every: 1 }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_some_records_with_passwords() -> Tested {
    killed_while_applying(PgVersion::V18, Mode::Scram, Records { first: 2, every: 5 }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_some_records_on_an_old_server() -> Tested {
    killed_while_applying(PgVersion::V12, Mode::Scram, Records { first: 4, every: 11 }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_what_was_applied_is_taken_back() -> Tested {
    killed_while_taking_back(Mode::Scram, Records { first: 1, every: 3 }).await
}
