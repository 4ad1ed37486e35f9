//! `pgward`: secures the connections between PostgreSQL nodes and proves it.
//!
//! The program only parses arguments, calls the library and renders.

mod conf;
#[cfg(feature = "demo")]
mod demo;
mod explain;
mod frame;
mod generate;
mod hba;
mod nodes;
mod passfile;
mod pki;
mod scram;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand, error::ErrorKind};
use frame::{
    answer::deliver,
    console::{self, Console},
    failure::{Exit, Failure},
    usage,
};

/// Secures the connections between PostgreSQL nodes and proves it.
#[derive(Debug, Parser)]
#[command(
    name = "pgward",
    version,
    arg_required_else_help = true,
    after_help = "\
Exit codes: 0 all is as it should be; 1 something was found, or the input cannot be worked with; \
2 the work could not be done."
)]
struct Arguments {
    #[command(flatten)]
    console: console::ConsoleArguments,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a description of the cluster, to be filled in
    Init(nodes::InitArguments),
    /// Show what pgward finds on the nodes
    Inspect(nodes::InspectArguments),
    /// Show what would be done
    Plan(nodes::PlanArguments),
    /// Do what the plan says, once it was agreed to
    Apply(nodes::ApplyArguments),
    /// Prove every link, and that nobody else gets in
    Verify(nodes::VerifyArguments),
    /// Give the cluster a new authority, new certificates or new passwords
    Rotate(nodes::RotateArguments),
    /// Go on with a run that was broken off
    Resume(nodes::ResumeArguments),
    /// Take the last run back, or the one that was broken off
    Rollback(nodes::RollbackArguments),
    /// Give up a run that can neither be finished nor taken back
    Abandon(nodes::AbandonArguments),
    /// A quick look at nodes, links and runs
    Status(nodes::StatusArguments),
    /// Tell what the code of a finding means, why it matters, and what to do
    Explain(explain::Arguments),
    /// Show it on throw-away servers of this machine: an open cluster becomes an authenticated,
    /// encrypted one
    #[cfg(feature = "demo")]
    Demo(demo::Arguments),
    /// Read, check and change pg_hba.conf and pg_ident.conf
    Hba(hba::Arguments),
    /// Read, check and change postgresql.conf
    Conf(conf::Arguments),
    /// Read, check and change password files
    Passfile(passfile::Arguments),
    /// Make, check and read certificates
    Pki(pki::Arguments),
    /// Make, check and read what servers store of passwords
    Scram(scram::Arguments),
    /// Print a shell's completions
    Completions(generate::CompletionsArguments),
    /// Write the manual pages
    Man(generate::ManArguments),
}

fn main() -> ExitCode {
    // A panic is our fault. It is told as such, without a backtrace that helps no user.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        console::tell(&format!("error: pgward has a fault ({place}): please report it\n"));
    }));
    std::panic::catch_unwind(run).unwrap_or_else(|_| Exit::Failed.into())
}

fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return wrong_arguments(&error),
    };
    let console = Console::new(&arguments.console);
    let (command, outcome) = match &arguments.command {
        #[cfg(feature = "demo")]
        Command::Demo(arguments) => return demo::run(arguments, &console),
        Command::Init(arguments) => ("init", nodes::init(arguments, &console)),
        Command::Inspect(arguments) => ("inspect", nodes::inspect(arguments, &console)),
        Command::Plan(arguments) => ("plan", nodes::plan(arguments, &console)),
        Command::Apply(arguments) => ("apply", nodes::apply(arguments, &console)),
        Command::Verify(arguments) => ("verify", nodes::verify(arguments, &console)),
        Command::Rotate(arguments) => ("rotate", nodes::rotate(arguments, &console)),
        Command::Resume(arguments) => ("resume", nodes::resume(arguments, &console)),
        Command::Rollback(arguments) => ("rollback", nodes::rollback(arguments, &console)),
        Command::Abandon(arguments) => ("abandon", nodes::abandon(arguments, &console)),
        Command::Status(arguments) => ("status", nodes::status(arguments, &console)),
        Command::Explain(arguments) => ("explain", explain::run(arguments, &console)),
        Command::Completions(arguments) => {
            ("completions", generate::completions(arguments, &console))
        }
        Command::Man(arguments) => ("man", generate::man(arguments, &console)),
        Command::Hba(arguments) => hba::run(arguments, &console),
        Command::Conf(arguments) => conf::run(arguments, &console),
        Command::Passfile(arguments) => passfile::run(arguments, &console),
        Command::Pki(arguments) => pki::run(arguments, &console),
        Command::Scram(arguments) => scram::run(arguments, &console),
    };
    deliver(&console, command, outcome)
}

/// Help is an answer; what cannot be understood is the user's error: exit code 1, not clap's 2.
fn wrong_arguments(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return match console::written(error.print()) {
            Ok(()) => Exit::Fine.into(),
            Err(failure) => {
                console::tell(&failure.problem.render());
                failure.exit.into()
            }
        };
    }
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    let console = Console::of_words(&words);
    if console.is_for_programs() {
        let command = usage::command_of(&words, &Arguments::command());
        let problem = usage::problem(&error.render().to_string());
        return deliver(&console, &command, Err(Failure::at(problem)));
    }
    // Where nobody listens, nobody is told.
    let _ = error.print();
    Exit::Findings.into()
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _, error::ErrorKind};

    #[test]
    fn the_arguments_go_together() {
        super::Arguments::command().debug_assert();
    }

    /// Every command that does something.
    fn commands(command: clap::Command) -> Vec<clap::Command> {
        let below: Vec<_> = command.get_subcommands().cloned().collect();
        match below.is_empty() {
            true => vec![command],
            false => below.into_iter().flat_map(commands).collect(),
        }
    }

    /// What follows two blanks explains, and what follows a bar or an arrow is the shell's.
    #[test]
    fn every_command_has_examples_that_can_be_typed() {
        for command in commands(super::Arguments::command()) {
            let name = command.get_name().to_owned();
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples = help.lines().filter_map(|line| line.strip_prefix("  "));
            let typed: Vec<&str> = examples
                .filter_map(|line| line.split("pgward ").nth(1))
                .map(|line| line.split("  ").next().unwrap_or_default())
                .map(|line| line.split(['|', '>', '<']).next().unwrap_or_default())
                .collect();
            assert!(help.contains("Examples:") && !typed.is_empty(), "{name} has no example");
            for line in typed {
                let words = words(line).into_iter().filter(|word| !word.ends_with("&-"));
                let read = super::Arguments::try_parse_from(
                    ["pgward".to_owned()].into_iter().chain(words),
                );
                assert!(read.is_ok(), "{name}: {line}: {}", read.err().unwrap());
            }
        }
    }

    /// What stands in a document can be typed; where a document only names a command, its name is right.
    #[test]
    fn commands_in_documents_can_be_typed() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
        let folders = [root, &format!("{root}/docs"), &format!("{root}/packaging/systemd")];
        let mut seen = 0;
        for entry in folders.into_iter().flat_map(|folder| std::fs::read_dir(folder).unwrap()) {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "md") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let quoted = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
            let typed = text.lines().filter_map(|line| line.strip_prefix("$ "));
            for line in quoted.chain(typed).filter(|line| line.starts_with("pgward ")) {
                let line = line.split(['#', '|', '>']).next().unwrap_or_default();
                // Alternatives, and what is left out, are no command.
                if line.contains(['…', '\\', '(']) || line.ends_with('-') && !line.ends_with(" -")
                {
                    continue;
                }
                // The demonstration is there with its feature only.
                if line.starts_with("pgward demo") && cfg!(not(feature = "demo")) {
                    continue;
                }
                seen += 1;
                let words = words(line);
                let names = crate::usage::command_of(
                    &words[1..].iter().map(Into::into).collect::<Vec<_>>(),
                    &super::Arguments::command(),
                );
                let is_name = words[1..].join(" ") == names;
                if let Err(error) = super::Arguments::try_parse_from(&words) {
                    let kind = error.kind();
                    let is_missing = matches!(
                        kind,
                        ErrorKind::MissingRequiredArgument
                            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
                    );
                    assert!(is_name && is_missing, "{}: {line}: {error}", path.display());
                }
            }
        }
        assert!(seen > 50, "{seen}");
    }

    /// The words of a line as a shell takes them, quotes and all.
    fn words(line: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        let mut quote = None;
        for character in line.trim().chars() {
            match (quote, character) {
                (None, '\'' | '"') => quote = Some(character),
                (Some(open), close) if open == close => quote = None,
                (None, ' ') => words.push(String::new()),
                (_, other) => words.last_mut().unwrap().push(other),
            }
        }
        words
    }
}
