//! `pgward conf`: `postgresql.conf` by hand.

mod check;
mod edit;
mod explain;
mod get;
mod reading;
mod secrets;

use crate::frame::{answer::Answer, console::Console, failure::Failure};

/// `pgward conf`
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print the value that counts, from whichever file it comes
    Get(get::Arguments),
    /// Change a setting where it counts
    Set(edit::SetArguments),
    /// Take a setting out, so that the server's default counts
    Unset(edit::UnsetArguments),
    /// Ask whether a server would start with the files
    Check(check::Arguments),
    /// Tell what a setting is, what values it takes, where it is set
    Explain(explain::Arguments),
}

/// The command's name, and what it has to say.
pub(crate) fn run(
    arguments: &Arguments,
    console: &Console,
) -> (&'static str, Result<Answer, Failure>) {
    match &arguments.command {
        Command::Get(arguments) => ("conf get", get::run(arguments, console)),
        Command::Set(arguments) => ("conf set", edit::set(arguments, console)),
        Command::Unset(arguments) => ("conf unset", edit::unset(arguments, console)),
        Command::Check(arguments) => ("conf check", check::run(arguments, console)),
        Command::Explain(arguments) => ("conf explain", explain::run(arguments, console)),
    }
}
