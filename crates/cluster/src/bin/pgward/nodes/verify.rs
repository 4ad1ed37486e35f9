//! `pgward verify`.

use std::sync::Arc;

use cluster::{rotate, vault::Vault};
use serde_json::json;

use super::{
    apply::{do_it, verify_now},
    description::{Description, DescriptionArgument},
    plan::inspect_all,
    render,
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
    Ok(Answer::new(text, result).with_findings(findings).exit(Exit::Fine).fine_if(proved))
}

fn reconnect(description: &Description, console: &Console) -> Result<(), Failure> {
    let states = inspect_all(description, console)?;
    let plan = rotate::sessions(&description.spec, &states)?;
    do_it(description, &plan, Arc::new(Vault::default()), console)
}
