//! `pgward resume` and `pgward rollback`: what a run left, or did.

use cluster::run::Outcome;
use serde_json::json;

use super::{
    apply::{run_under_watch, verify_now},
    description::DescriptionArgument,
    render,
};
use crate::frame::{
    answer::Answer,
    console::Console,
    failure::{Exit, Failure},
};

/// `pgward resume`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A run that was killed half-way left a journal in the folder for secrets. This goes on with it, the way \
that it was going: forward, or back. Afterwards every link is verified.

Exit code 0: it is finished, and every link is proved; 1: there is none, or not every link is proved; \
2: it could not be finished, and the message says what is left.")]
pub(crate) struct ResumeArguments {
    #[command(flatten)]
    description: DescriptionArgument,
}

/// `pgward rollback`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Takes the unfinished run back, or if there is none, the last one that was applied: every file byte for \
byte with its owner and mode, roles, passwords, links. What somebody else has changed since stays, and \
is named.

Exit code 0: everything is as it was found; 1: there is no run; 2: not everything could be taken back.")]
pub(crate) struct RollbackArguments {
    #[command(flatten)]
    description: DescriptionArgument,
    /// Do it without asking
    #[arg(long, short)]
    yes: bool,
}

pub(crate) fn resume(arguments: &ResumeArguments, console: &Console) -> Result<Answer, Failure> {
    let description = arguments.description.read()?;
    let outcome =
        run_under_watch(&description, console, "resume", async |runner| runner.resume().await)?;
    if let Outcome::TakenBack { kept } = outcome {
        return Ok(taken_back(&kept));
    }
    let verification = verify_now(&description, console)?;
    let text =
        format!("{}{}", render::verification(&verification), render::conclusion(&verification));
    let findings = render::findings(&verification.findings);
    let result = json!({ "outcome": "applied", "kept": [], "verification": verification });
    Ok(Answer::new(text, result)
        .with_findings(findings)
        .exit(Exit::Fine)
        .fine_if(verification.proved()))
}

pub(crate) fn rollback(
    arguments: &RollbackArguments,
    console: &Console,
) -> Result<Answer, Failure> {
    let description = arguments.description.read()?;
    if !arguments.yes {
        match console.confirm("Take back what the last run did, on every node?") {
            Some(true) => {}
            Some(false) => {
                let result = json!({ "outcome": "nothing", "kept": [], "verification": null });
                return Ok(Answer::new("nothing was done\n", result).exit(Exit::Findings));
            }
            None => {
                return Err(Failure::user("there is no terminal to ask at, so nothing was done")
                    .fix("give --yes"));
            }
        }
    }
    let outcome = run_under_watch(&description, console, "roll back", async |runner| {
        runner.rollback().await
    })?;
    match outcome {
        Outcome::TakenBack { kept } => Ok(taken_back(&kept)),
        _ => Ok(taken_back(&[])),
    }
}

fn taken_back(kept: &[String]) -> Answer {
    let mut text = String::from("taken back: every node is as it was found\n");
    for kept in kept {
        text.push_str(&format!("  changed by somebody else, and kept: {kept}\n"));
    }
    Answer::new(text, json!({ "outcome": "taken-back", "kept": kept, "verification": null }))
}
