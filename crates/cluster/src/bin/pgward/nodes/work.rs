//! Work on the nodes under way: told as it goes, and not broken off half-way.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cluster::{
    Error,
    apply::{Event, Observer},
    run::{Outcome, Runner},
};

use super::{description::Description, wait_for};
use crate::frame::{
    console::{Console, Progress},
    failure::{Exit, Failure},
};

/// Has a runner do something, and tells what it does.
pub(super) fn work(
    description: &Description,
    console: &Console,
    what: &str,
    act: impl AsyncFnOnce(&Runner) -> Result<Outcome, Error>,
) -> Result<Outcome, Failure> {
    let happened: Arc<Mutex<Vec<Event>>> = Arc::default();
    let watched = happened.clone();
    let observer: Observer = Arc::new(move |event| {
        watched.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    });
    let runner = Runner::new(&description.spec, &description.nodes).observer(observer);
    let progress = console.begin(what);
    let tell = || {
        let events = std::mem::take(&mut *happened.lock().unwrap_or_else(PoisonError::into_inner));
        events.iter().for_each(|event| told(&progress, event));
    };
    let ended = wait_for(async {
        let acting = act(&runner);
        tokio::pin!(acting);
        let mut signals = Signals::new()?;
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        loop {
            tokio::select! {
                ended = &mut acting => return Ok(ended),
                // Everything is on disk: a process that is killed all the same leaves a run that can
                // be finished or taken back.
                () = signals.next() => console.warn(
                    "work under way is not broken off: it ends by itself, and what fails is taken \
                     back; if the process is killed, pgward resume or rollback goes on with it",
                ),
                _ = tick.tick() => tell(),
            }
        }
    });
    tell();
    let outcome = ended?;
    progress.end(if outcome.is_ok() { "done" } else { "failed" });
    outcome.map_err(failure)
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

/// The signals that ask for the end.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        use tokio::signal::unix::{SignalKind, signal};

        let handler = |kind| {
            signal(kind).map_err(|error| Failure::failed(format!("no signal handler: {error}")))
        };
        Ok(Self {
            interrupt: handler(SignalKind::interrupt())?,
            terminate: handler(SignalKind::terminate())?,
            hangup: handler(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}
