//! `pgward resume`, `pgward rollback` and `pgward abandon`: runs that are on disk.

use cluster::{
    run::{self, Outcome, RunStatus, State},
    verify::Options,
};
use serde_json::{Value, json};

use super::{
    description::{Description, DescriptionArgument},
    render, wait_for,
    work::work,
};
use crate::frame::{
    answer::Answer,
    console::Console,
    diagnostic::Diagnostic,
    failure::{Exit, Failure},
    text::{STRONG, plain, styled},
};

/// `pgward resume`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgward resume
  pgward resume cluster.toml --yes

A run that was broken off (the process was killed, the machine went down) is on disk. Resuming goes on \
with it the way that it was going: forward, or back. Then every link is verified.

Exit codes are those of pgward apply.")]
pub(crate) struct ResumeArguments {
    #[command(flatten)]
    description: DescriptionArgument,
    #[command(flatten)]
    consent: super::apply::ConsentArguments,
}

/// `pgward rollback`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgward rollback
  pgward rollback cluster.toml --yes

Taken back is the unfinished run, or if there is none the last one that was applied: every file, role, \
setting and link is as it was found before it. What somebody else has changed since stays, and is named.

Exit code 0: everything was taken back; 1: what somebody else had changed was left; 2: something could \
not be taken back.")]
pub(crate) struct RollbackArguments {
    #[command(flatten)]
    description: DescriptionArgument,
    /// Do it without asking
    #[arg(long, short)]
    yes: bool,
}

/// `pgward abandon`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgward abandon
  pgward abandon cluster.toml --yes

For a run that can neither be finished nor taken back, because a node is lost or somebody wants to keep \
what is in the way. Nothing is done on the nodes. Try pgward resume and pgward rollback first.

What was done stays, and so does the short wal_retrieve_retry_interval that nodes have while a run is at \
work: ALTER SYSTEM RESET wal_retrieve_retry_interval ends it, with a reload.

Exit code 0: it was given up; 1: there is none, or it was not agreed to.")]
pub(crate) struct AbandonArguments {
    #[command(flatten)]
    description: DescriptionArgument,
    /// Do it without asking
    #[arg(long, short)]
    yes: bool,
}

pub(crate) fn resume(arguments: &ResumeArguments, console: &Console) -> Result<Answer, Failure> {
    let description = arguments.description.read(console)?;
    let status = run::status(&description.spec)?;
    let Some(found) = status.unfinished() else {
        return Err(Failure::user("there is no unfinished run").fix("see pgward status"));
    };
    let (id, back) = (found.id.clone(), found.state == State::TakingBack);
    let way = if back { "take the rest of it back" } else { "do the rest of it" };
    if let Some(refused) =
        agreed(console, found, arguments.consent.yes, &format!("Go on with run {id}, and {way}?"))?
    {
        return Ok(refused);
    }
    let outcome = work(&description, console, "resume", async |runner| runner.resume().await)?;
    match outcome {
        Outcome::TakenBack { kept } => Ok(taken_back(&id, &kept)),
        _ => {
            let said = format!("run {id}: done\n");
            if arguments.consent.no_verify {
                return Ok(Answer::new(said, result(&id, "applied", &[], &Value::Null)));
            }
            let verification = super::apply::verify_now(&description, Options::default(), console)?;
            let text = format!("{said}\n{}", render::proof(&verification));
            let proved = verification.proved();
            let findings = render::findings(&verification.findings);
            let result = result(&id, "applied", &[], &json!(verification));
            Ok(Answer::new(text, result).with_findings(findings).exit(Exit::Fine).fine_if(proved))
        }
    }
}

pub(crate) fn rollback(
    arguments: &RollbackArguments,
    console: &Console,
) -> Result<Answer, Failure> {
    let description = arguments.description.read(console)?;
    let status = run::status(&description.spec)?;
    let Some(found) = status.to_take_back() else {
        return Err(Failure::user("there is no run to take back").fix("see pgward status"));
    };
    let id = found.id.clone();
    if let Some(refused) = agreed(console, found, arguments.yes, &format!("Take run {id} back?"))? {
        return Ok(refused);
    }
    let outcome = work(&description, console, "take back", async |runner| runner.rollback().await)?;
    match outcome {
        Outcome::TakenBack { kept } => Ok(taken_back(&id, &kept)),
        other => Err(Failure::failed(format!("the run was not taken back: {other:?}"))),
    }
}

pub(crate) fn abandon(arguments: &AbandonArguments, console: &Console) -> Result<Answer, Failure> {
    let description = arguments.description.read(console)?;
    let status = run::status(&description.spec)?;
    let Some(found) = status.unfinished() else {
        return Err(Failure::user("there is no unfinished run").fix("see pgward status"));
    };
    let id = found.id.clone();
    let question = format!("Give run {id} up, and leave the nodes as they are?");
    if let Some(refused) = agreed(console, found, arguments.yes, &question)? {
        return Ok(refused);
    }
    let Description { spec, nodes, .. } = &description;
    wait_for(async { Ok(run::Runner::new(spec, nodes).abandon().await?) })?;
    let said = format!("run {id}: given up; the nodes are as they are\n");
    Ok(Answer::new(said, result(&id, "abandoned", &[], &Value::Null)))
}

/// Shows the run, and asks; the answer for somebody who says no.
fn agreed(
    console: &Console,
    run: &RunStatus,
    yes: bool,
    question: &str,
) -> Result<Option<Answer>, Failure> {
    console.show("run", &words(run));
    if yes {
        return Ok(None);
    }
    match console.confirm(question) {
        Some(true) => Ok(None),
        Some(false) => {
            let result = result(&run.id, "nothing", &[], &Value::Null);
            Ok(Some(Answer::new("nothing was done\n", result).exit(Exit::Findings)))
        }
        None => Err(Failure::user("there is no terminal to ask at, so nothing was done")
            .fix("look at the run with pgward status, then give --yes")),
    }
}

/// What a run is and how far it came.
pub(super) fn words(run: &RunStatus) -> String {
    let state = state_words(run.state);
    let mut out = format!("{}: {state}\n", styled(STRONG, format_args!("run {}", run.id)));
    for stage in &run.stages {
        out.push_str(&format!(
            "  {} ({} of {} steps are done)\n",
            plain(&stage.title),
            stage.done,
            stage.steps
        ));
        for open in &stage.open {
            out.push_str(&format!("    begun, and perhaps done: {}\n", plain(open)));
        }
    }
    for (what, lines) in [
        ("failed", &run.failed),
        ("left to somebody else", &run.kept),
        ("not taken back", &run.left),
    ] {
        for line in lines {
            out.push_str(&format!("  {what}: {}\n", plain(line)));
        }
    }
    out
}

pub(super) fn state_words(state: State) -> &'static str {
    match state {
        State::Applying => "being applied, or broken off while it was",
        State::Applied => "applied",
        State::TakingBack => "being taken back, or broken off while it was",
        State::TakenBack => "taken back",
        State::Abandoned => "given up",
    }
}

fn taken_back(id: &str, kept: &[String]) -> Answer {
    let findings: Vec<Diagnostic> = kept
        .iter()
        .map(|kept| {
            Diagnostic::warning(format!("changed by somebody else since, and left so: {kept}"))
                .fix("look whether it goes with what was before")
        })
        .collect();
    let rest = if kept.is_empty() { "every node is" } else { "everything else is" };
    let said = format!("run {id}: taken back, {rest} as it was found\n");
    Answer::new(said, result(id, "taken-back", kept, &Value::Null)).with_findings(findings)
}

fn result(id: &str, outcome: &str, kept: &[String], verification: &Value) -> Value {
    json!({ "run": id, "outcome": outcome, "kept": kept, "verification": verification })
}
