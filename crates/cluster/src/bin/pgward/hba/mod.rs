//! `pgward hba`: `pg_hba.conf` and `pg_ident.conf` by hand.

mod check;
mod decide;
mod diff;
mod edit;
mod fmt;
mod reading;
mod rule;
mod secrets;
mod upgrade;

use crate::frame::{answer::Answer, console::Console, failure::Failure};

/// `pgward hba`
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Ask whether a server would load the file
    Check(check::Arguments),
    /// Find rules that load and should not have been written
    Lint(check::LintArguments),
    /// Align the columns
    Fmt(fmt::Arguments),
    /// Ask which rule decides about a connection, and why not another
    Decide(decide::Arguments),
    /// See who gains and who loses access between two files
    Diff(diff::Arguments),
    /// See what another major version reads otherwise
    Upgrade(upgrade::Arguments),
    /// Add a rule where it takes effect
    Add(edit::AddArguments),
    /// Remove rules, or comment them out
    Remove(edit::RemoveArguments),
}

/// The command's name, and what it has to say.
pub(crate) fn run(
    arguments: &Arguments,
    console: &Console,
) -> (&'static str, Result<Answer, Failure>) {
    match &arguments.command {
        Command::Check(arguments) => ("hba check", check::run(arguments, console)),
        Command::Lint(arguments) => ("hba lint", check::lint(arguments, console)),
        Command::Fmt(arguments) => ("hba fmt", fmt::run(arguments, console)),
        Command::Decide(arguments) => ("hba decide", decide::run(arguments, console)),
        Command::Diff(arguments) => ("hba diff", diff::run(arguments, console)),
        Command::Upgrade(arguments) => ("hba upgrade", upgrade::run(arguments, console)),
        Command::Add(arguments) => ("hba add", edit::add(arguments, console)),
        Command::Remove(arguments) => ("hba remove", edit::remove(arguments, console)),
    }
}
