//! `pgward verify`.

use serde_json::json;

use super::{apply::verify_now, description::DescriptionArgument, render};
use crate::frame::{
    answer::Answer,
    console::Console,
    failure::{Exit, Failure},
};

/// `pgward verify`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Verifying only reads: for each link it is told by which method its session really came in, each server \
is verified as the links do, and whatever must not get in is tried.

Exit code 0: every link is proved; 1: not every one is; 2: a node could not be asked.")]
pub(crate) struct Arguments {
    #[command(flatten)]
    description: DescriptionArgument,
}

pub(crate) fn run(arguments: &Arguments, console: &Console) -> Result<Answer, Failure> {
    let description = arguments.description.read()?;
    let verification = verify_now(&description, console)?;
    let proved = verification.proved();
    let text = render::verification(&verification) + &render::conclusion(&verification);
    let findings = render::findings(&verification.findings);
    let result = json!({ "proved": proved, "verification": verification });
    Ok(Answer::new(text, result).with_findings(findings).exit(Exit::Fine).fine_if(proved))
}
