//! `pgward scram verify`.

use scram::{Limits, Password, Secret};
use serde_json::json;

use super::stored::StoredArgument;
use crate::frame::{
    answer::Answer,
    console::Console,
    failure::Failure,
    secret::{self, Ask},
    text::{BAD, GOOD, styled},
    version,
};

/// `pgward scram verify`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgward scram verify secret.txt                       asks for the password
  pgward scram verify - --password-file pw.txt < secret.txt

Exit code 0: it is the password's secret; 1: it is not.")]
pub(super) struct Arguments {
    #[command(flatten)]
    stored: StoredArgument,
    #[command(flatten)]
    password: secret::PasswordArguments,
    /// The most iterations that are done
    #[arg(long, value_name = "COUNT", default_value_t = 1_000_000)]
    max_iterations: u32,
    #[command(flatten)]
    pg: version::VersionArguments,
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<Answer, Failure> {
    let version = arguments.pg.version(console);
    let text = arguments.stored.read(console)?;
    let secret = Secret::parse(&text, version).map_err(|error| {
        Failure::user(error.to_string())
            .fix("pgward scram inspect tells what a server would make of it")
    })?;
    let password = arguments.password.read(console, "password", Ask::Once)?;
    let password =
        Password::new_as(&*password, version).map_err(|error| Failure::user(error.to_string()))?;
    let same =
        secret.verify(&password, &Limits::new(1..=arguments.max_iterations)).map_err(|error| {
            Failure::user(error.to_string()).fix("--max-iterations allows more; each costs time")
        })?;
    let text = if same {
        styled(GOOD, "it is the password's secret")
    } else {
        styled(BAD, "it is not the password's secret")
    };
    let result = json!({ "matches": same, "iterations": secret.iterations() });
    Ok(Answer::new(text + "\n", result).fine_if(same))
}
