//! Work on the nodes under way: told as it goes, and not broken off half-way.

use std::sync::Arc;

use cluster::{
    Error,
    apply::Event,
    run::{Outcome, Runner},
};
use tokio::sync::mpsc;

use super::{description::Description, wait_for};
use crate::frame::{
    console::{Console, Progress},
    failure::{Exit, Failure},
    signals::Signals,
};

/// Has a runner do something, and tells what it does.
pub(super) fn work(
    description: &Description,
    console: &Console,
    what: &str,
    act: impl AsyncFnOnce(&Runner) -> Result<Outcome, Error>,
) -> Result<Outcome, Failure> {
    let (happened, mut events) = mpsc::unbounded_channel();
    let runner = Runner::new(&description.spec, &description.nodes)
        // Who listens does so to the end of the work.
        .observer(Arc::new(move |event| drop(happened.send(event))));
    let progress = console.begin(what);
    let ended = wait_for(async {
        let acting = act(&runner);
        tokio::pin!(acting);
        let signals = Signals::new();
        let mut signals =
            signals.map_err(|error| Failure::failed(format!("no signal handler: {error}")))?;
        loop {
            tokio::select! {
                ended = &mut acting => {
                    end_at_next(signals);
                    return Ok(ended);
                }
                // Everything is on disk: a process that is killed all the same leaves a run that can
                // be finished or taken back.
                _ = signals.next() => console.warn(
                    "work under way is not broken off: it ends by itself, and what fails is taken \
                     back; if the process is killed, pgward resume or rollback goes on with it",
                ),
                Some(event) = events.recv() => told(&progress, &event),
            }
        }
    });
    while let Ok(event) = events.try_recv() {
        told(&progress, &event);
    }
    let outcome = ended?;
    progress.end(if outcome.is_ok() { "done" } else { "failed" });
    outcome.map_err(failure)
}

/// The runtime keeps its signal handlers for the rest of the process: what follows the work, such as the
/// proof, which may wait long for a node, is broken off as it would be without them.
fn end_at_next(mut signals: Signals) {
    tokio::spawn(async move {
        let signal = signals.next().await;
        std::process::exit(128 + i32::from(signal));
    });
}

fn told(progress: &Progress<'_>, event: &Event) {
    match event {
        Event::Stage { title } => progress.step(title),
        Event::Done { node, what } => progress.step(&format!("{node}: {what}")),
        Event::Failed { node, what, reason } => {
            progress.step(&format!("{node}: {what}: FAILED: {reason}"));
        }
        Event::TakingBack => progress.step("taking back what was done"),
        Event::Undone { node, what } => progress.step(&format!("{node}: taken back: {what}")),
        Event::Left { node, reason } => progress.step(&format!("{node}: LEFT: {reason}")),
        _ => {}
    }
}

/// What failed, and what is left of it.
fn failure(error: Error) -> Failure {
    let (mut failure, kept, left) = match error {
        Error::TakenBack { cause, kept, left } => (Failure::from(*cause), kept, left),
        Error::Left { kept, left } => (Failure::failed("not all could be taken back"), kept, left),
        other => return other.into(),
    };
    // Whatever failed, it was no mistake in the command.
    failure.exit = Exit::Failed;
    let why = &mut failure.problem.why;
    if left.is_empty() {
        why.push("every node is as it was found".to_owned());
    } else {
        why.extend(left.iter().map(|left| format!("not taken back: {left}")));
        failure.problem.fix = Some(
            "put in order what is in the way, then take the rest back: pgward rollback".into(),
        );
    }
    failure
        .problem
        .why
        .extend(kept.iter().map(|kept| format!("changed by somebody else, and left so: {kept}")));
    failure
}
