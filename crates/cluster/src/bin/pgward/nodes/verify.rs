//! `pgward verify`.

use cluster::{
    run,
    verify::{Code, Finding, Options},
};
use serde_json::json;

use super::{apply::verify_now, description::DescriptionArgument, render, report::ReportArgument};
use crate::frame::{
    answer::Answer,
    console::Console,
    failure::{Exit, Failure},
};

/// `pgward verify`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgward verify
  pgward verify cluster.toml --html report.html
  pgward verify --reconnect --format json

Unless --reconnect is given, verifying only reads: for each link it is told by which method its session really came in, each server \
is verified as the links do, and whatever must not get in is tried.

Exit code 0: every link is proved; 1: not every one is; 2: a node could not be asked.")]
pub(crate) struct Arguments {
    #[command(flatten)]
    description: DescriptionArgument,
    /// End the session of every link first, so that each logs in anew by what is in force now
    #[arg(long)]
    reconnect: bool,
    #[command(flatten)]
    report: ReportArgument,
}

pub(crate) fn run(arguments: &Arguments, console: &Console) -> Result<Answer, Failure> {
    arguments.report.check()?;
    let description = arguments.description.read(console)?;
    // What is there now is neither what was found nor what is wanted: that explains what is found.
    // Runs that cannot be read are a finding of the verification.
    let runs = run::status(&description.spec);
    if let Some(run) = runs.as_ref().ok().and_then(run::Status::unfinished) {
        console.warn(&format!(
            "run {} is unfinished: pgward resume goes on with it, pgward rollback takes it back",
            run.id
        ));
    }
    let options = Options::default().reconnect(arguments.reconnect);
    let verification = verify_now(&description, options, console)?;
    let proved = verification.proved();
    let text = render::proof(&verification);
    let mut findings = render::findings(&verification.findings);
    let mut result = json!({ "proved": proved, "verification": verification });
    let silent = |finding: &Finding| finding.code == Code::NodeSilent;
    let mut exit = match verification.findings.iter().any(silent) {
        true => Exit::Failed,
        false if proved => Exit::Fine,
        false => Exit::Findings,
    };
    match arguments.report.write(&verification, console) {
        Ok(Some(path)) => result["html"] = path.into(),
        Ok(None) => {}
        // What was proved is told all the same: to prove it took its time.
        Err(failure) => {
            findings.push(*failure.problem);
            exit = Exit::Failed;
        }
    }
    Ok(Answer::new(text, result).with_findings(findings).exit(exit))
}
