//! `pgward scram`: stored secrets by hand.

mod inspect;
mod secret;
mod stored;
mod verify;

use crate::frame::{answer::Answer, console::Console, failure::Failure};

/// `pgward scram`
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make what a server stores of a password, so that the password never travels
    Secret(secret::Arguments),
    /// Ask whether a stored secret is that of a password
    Verify(verify::Arguments),
    /// Tell what a server would make of a text that is given as a password
    Inspect(inspect::Arguments),
}

/// The command's name, and what it has to say.
pub(crate) fn run(
    arguments: &Arguments,
    console: &Console,
) -> (&'static str, Result<Answer, Failure>) {
    match &arguments.command {
        Command::Secret(arguments) => ("scram secret", secret::run(arguments, console)),
        Command::Verify(arguments) => ("scram verify", verify::run(arguments, console)),
        Command::Inspect(arguments) => ("scram inspect", inspect::run(arguments, console)),
    }
}
