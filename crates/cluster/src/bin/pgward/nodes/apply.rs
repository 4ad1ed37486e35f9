//! `pgward apply`.

use std::sync::{Arc, Mutex, PoisonError};

use cluster::{
    Error,
    apply::{Event, Observer},
    plan::Plan,
    prepare::Prepared,
    run::{Outcome, Runner},
    verify::{self, Verification},
};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{
    description::{Description, DescriptionArgument},
    plan::prepare,
    render, wait_for,
};
use crate::frame::{
    answer::Answer,
    console::Console,
    failure::{Exit, Failure},
};

/// `pgward apply`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The plan is shown first; nothing is done before it is agreed to. What fails is taken back on every \
node. Afterwards every link is verified, as by pgward verify.

Exit code 0: done (or nothing to do), and every link is proved; 1: done, and not every link is proved; \
2: it could not be done, and what was done was taken back, or the message says what was not.")]
pub(crate) struct Arguments {
    #[command(flatten)]
    description: DescriptionArgument,
    #[command(flatten)]
    consent: ConsentArguments,
}

/// Whether to ask.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct ConsentArguments {
    /// Do it without asking
    #[arg(long, short)]
    yes: bool,
    /// Do not verify afterwards
    #[arg(long)]
    no_verify: bool,
}

pub(crate) fn run(arguments: &Arguments, console: &Console) -> Result<Answer, Failure> {
    let description = arguments.description.read()?;
    let prepared = prepare(&description, console)?;
    carry_out(&description, prepared, arguments.consent, console)
}

/// Shows a plan, asks, does it, and proves it.
pub(super) fn carry_out(
    description: &Description,
    prepared: Prepared,
    consent: ConsentArguments,
    console: &Console,
) -> Result<Answer, Failure> {
    let Prepared { plan, vault } = prepared;
    if plan.is_empty() {
        return verified(description, &plan, false, consent, console, &render::plan(&plan));
    }
    // Where the answer is JSON, standard output is for that alone.
    if console.is_json() {
        console.show("plan", &render::plan(&plan));
    } else {
        console.print(&render::plan(&plan))?;
    }
    if !consent.yes {
        match console.confirm("\nDo it?") {
            Some(true) => {}
            Some(false) => {
                let result = json!({ "plan": plan, "applied": false, "verification": null });
                return Ok(Answer::new("nothing was done\n", result).exit(Exit::Findings));
            }
            None => {
                return Err(Failure::user("there is no terminal to ask at, so nothing was done")
                    .fix("look at the plan, then give --yes"));
            }
        }
    }
    if description.reached.bundles().next().is_some() {
        return bundles(description, &plan, &vault, console);
    }
    let shown = plan.clone();
    run_under_watch(description, console, "apply", async |runner| {
        runner.apply(Prepared { plan, vault }).await
    })?;
    verified(description, &shown, true, consent, console, "")
}

/// Puts what the nodes need into folders for somebody to carry there.
fn bundles(
    description: &Description,
    plan: &Plan,
    vault: &cluster::vault::Vault,
    console: &Console,
) -> Result<Answer, Failure> {
    let reached = &description.reached;
    if reached.bundles().count() != description.nodes.len() {
        return Err(Failure::user(
            "some nodes are reached and some get a bundle: what is done by hand cannot be waited for",
        )
        .fix("give every node files = { bundle = … }, or none"));
    }
    let progress = console.begin("write the bundles");
    let written = wait_for(async {
        let mut folders = Vec::new();
        for bundle in reached.bundles() {
            let (bundle, plan, vault) = (bundle.clone(), plan.clone(), vault.clone());
            let made = tokio::task::spawn_blocking(move || {
                bundle.record(&plan, &vault)?;
                bundle.finish(OffsetDateTime::now_utc())
            });
            let made = made.await.map_err(|_| Error::Cancelled)?;
            folders.extend(made.map_err(Error::from)?);
        }
        Ok(folders)
    });
    progress.end(if written.is_ok() { "done" } else { "failed" });
    let folders = written?;
    let mut text =
        String::from("\nwritten, each with a README that says what to do on its node:\n");
    for folder in &folders {
        text.push_str(&format!("  {}\n", folder.display()));
    }
    text.push_str(
        "the authority's key is in the plan's own stage and is not written by this: keep it\n",
    );
    let result =
        json!({ "plan": plan, "applied": false, "bundles": folders, "verification": null });
    Ok(Answer::new(text, result))
}

/// Does something to a run, and tells what happens meanwhile.
pub(super) fn run_under_watch(
    description: &Description,
    console: &Console,
    what: &str,
    act: impl AsyncFnOnce(Runner) -> Result<Outcome, Error>,
) -> Result<Outcome, Failure> {
    let happened: Arc<Mutex<Vec<Event>>> = Arc::default();
    let progress = console.begin(what);
    let watched = happened.clone();
    let observer: Observer = Arc::new(move |event| {
        watched.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    });
    let tell = || {
        let news = std::mem::take(&mut *happened.lock().unwrap_or_else(PoisonError::into_inner));
        for event in news {
            match event {
                Event::Stage { title } => progress.step(&title),
                Event::Done { node, what } => progress.step(&format!("{node}: {what}")),
                Event::TakingBack => progress.step("taking back what was done"),
                Event::Undone { node, what } => progress.step(&format!("{node}: {what}")),
                _ => {}
            }
        }
    };
    let runner = Runner::new(&description.spec, &description.nodes).observer(observer);
    let ended = wait_for(async {
        let working = act(runner);
        tokio::pin!(working);
        let mut signals = Signals::new()?;
        let mut tick = tokio::time::interval(std::time::Duration::from_millis(50));
        loop {
            tokio::select! {
                ended = &mut working => return Ok(ended),
                // Half of a plan is worse than all or none of it.
                () = signals.next() => console.warn(
                    "a plan under way is not broken off: it ends by itself, and what fails is taken back",
                ),
                _ = tick.tick() => tell(),
            }
        }
    });
    tell();
    let outcome = ended?;
    progress.end(if outcome.is_ok() { "done" } else { "failed" });
    outcome.map_err(not_done)
}

/// What failed, and what is left of it.
fn not_done(error: Error) -> Failure {
    match error {
        Error::TakenBack { cause, kept, left } => {
            let mut failure = Failure::from(*cause);
            // Whatever failed, it was no mistake in the command.
            failure.exit = Exit::Failed;
            let why = &mut failure.problem.why;
            if left.is_empty() {
                why.push("every node is as it was found".to_owned());
            }
            why.extend(
                kept.iter().map(|kept| format!("changed by somebody else, and kept: {kept}")),
            );
            why.extend(left.iter().map(|left| format!("not taken back: {left}")));
            if !left.is_empty() {
                failure = failure.fix("see to what is in the way, then pgward rollback");
            }
            failure
        }
        Error::Left { kept, left } => {
            let mut failure = Failure::failed("not everything could be taken back");
            let why = &mut failure.problem.why;
            why.extend(
                kept.iter().map(|kept| format!("changed by somebody else, and kept: {kept}")),
            );
            why.extend(left.iter().map(|left| format!("not taken back: {left}")));
            failure.fix("see to what is in the way, then pgward rollback once more")
        }
        other => other.into(),
    }
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

/// Proves what was done, unless the user does not want it.
pub(super) fn verified(
    description: &Description,
    plan: &Plan,
    applied: bool,
    consent: ConsentArguments,
    console: &Console,
    said: &str,
) -> Result<Answer, Failure> {
    if consent.no_verify {
        let result = json!({ "plan": plan, "applied": applied, "verification": null });
        let text = if applied { "done; pgward verify proves it\n" } else { said };
        return Ok(Answer::new(text, result));
    }
    let verification = verify_now(description, console)?;
    let text = format!(
        "{said}\n{}{}",
        render::verification(&verification),
        render::conclusion(&verification)
    );
    let result: Value = json!({ "plan": plan, "applied": applied, "verification": verification });
    let findings = render::findings(&verification.findings);
    Ok(Answer::new(text, result)
        .with_findings(findings)
        .exit(Exit::Fine)
        .fine_if(verification.proved()))
}

pub(super) fn verify_now(
    description: &Description,
    console: &Console,
) -> Result<Verification, Failure> {
    let Description { spec, nodes, .. } = description;
    let progress = console.begin("verify the links");
    let verified =
        wait_for(async { Ok(verify::verify(spec, nodes, OffsetDateTime::now_utc()).await?) });
    progress.end(if verified.is_ok() { "done" } else { "failed" });
    verified
}
