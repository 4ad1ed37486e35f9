//! `pgward passfile`: password files by hand.
//!
//! No line of such a file is ever shown: a password may stand anywhere in a line that is damaged.

mod check;
mod edit;
mod lookup;
mod place;

use crate::frame::{answer::Answer, console::Console, failure::Failure};

/// `pgward passfile`
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Find what libpq does not take as it was meant
    Check(check::Arguments),
    /// Find the line whose password libpq would use, and why not another
    Lookup(lookup::Arguments),
    /// Add a password, or change it
    Add(edit::AddArguments),
    /// Remove entries
    Remove(edit::RemoveArguments),
}

/// The command's name, and what it has to say.
pub(crate) fn run(
    arguments: &Arguments,
    console: &Console,
) -> (&'static str, Result<Answer, Failure>) {
    match &arguments.command {
        Command::Check(arguments) => ("passfile check", check::run(arguments, console)),
        Command::Lookup(arguments) => ("passfile lookup", lookup::run(arguments, console)),
        Command::Add(arguments) => ("passfile add", edit::add(arguments, console)),
        Command::Remove(arguments) => ("passfile remove", edit::remove(arguments, console)),
    }
}
