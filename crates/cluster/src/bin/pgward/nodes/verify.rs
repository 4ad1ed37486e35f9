//! `pgward verify`.

use cluster::{
    reconnect,
    verify::{Code, Finding},
};
use serde_json::json;

use super::{
    apply::verify_now,
    description::{Description, DescriptionArgument},
    render, wait_for,
};
use crate::frame::{
    answer::Answer,
    console::Console,
    failure::{Exit, Failure},
};

/// `pgward verify`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Unless --reconnect is given, verifying only reads: for each link it is told by which method its session really came in, each server \
is verified as the links do, and whatever must not get in is tried.

Exit code 0: every link is proved; 1: not every one is; 2: a node could not be asked.")]
pub(crate) struct Arguments {
    #[command(flatten)]
    description: DescriptionArgument,
    /// End the session of every link first, one after the other, so that each logs in anew by what is
    /// in force now
    #[arg(long)]
    reconnect: bool,
}

pub(crate) fn run(arguments: &Arguments, console: &Console) -> Result<Answer, Failure> {
    let description = arguments.description.read()?;
    if arguments.reconnect {
        reconnect(&description, console)?;
    }
    let verification = verify_now(&description, console)?;
    let proved = verification.proved();
    let text = render::verification(&verification) + &render::conclusion(&verification);
    let findings = render::findings(&verification.findings);
    let result = json!({ "proved": proved, "verification": verification });
    let silent = |finding: &Finding| finding.code == Code::NodeSilent;
    let exit = match verification.findings.iter().any(silent) {
        true => Exit::Failed,
        false if proved => Exit::Fine,
        false => Exit::Findings,
    };
    Ok(Answer::new(text, result).with_findings(findings).exit(exit))
}

fn reconnect(description: &Description, console: &Console) -> Result<(), Failure> {
    let Description { spec, nodes, .. } = description;
    let progress = console.begin("let the links connect anew");
    let done = wait_for(async { Ok(reconnect::reconnect(spec, nodes).await?) });
    progress.end(if done.is_ok() { "done" } else { "failed" });
    done.map(drop)
}
