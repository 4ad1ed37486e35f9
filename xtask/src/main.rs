//! Automation of the workspace: `cargo xtask --help`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

mod api;
mod catalogue;
mod differential;
mod package;
mod pg;
mod replay;
mod tasks;

use std::{ffi::OsString, process::ExitCode};

use clap::{Parser, Subcommand};

/// Automation of the pgward workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write or compare the lists of the library crates' public API, in api/.
    Api(api::Arguments),
    /// Write the facts about every setting that the crate pgconf embeds.
    Catalogue(catalogue::Arguments),
    /// Get or show the PostgreSQL servers that tests run on.
    #[command(subcommand)]
    Pg(pg::Command),
    /// Compare what the workspace's code says with verdicts recorded from real servers and libpq.
    Replay(replay::Arguments),
    /// Compare the workspace's code with the real servers and libpq of this machine, on random inputs.
    Differential(differential::Arguments),
    /// Run every test of the workspace, on real servers; gets the servers first.
    Test,
    /// Run what must hold before anything is merged: formatting, lints, documentation, tests.
    Ci,
    /// Make a Debian package of the program, by cargo-deb.
    Deb,
    /// Show it: three open servers become an authenticated, encrypted cluster; gets the servers
    /// first.
    Demo {
        /// Arguments for `pgward demo`, after `--`: see `cargo xtask demo -- --help`
        #[arg(last = true)]
        arguments: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Api(arguments) => api::run(&arguments),
        Command::Catalogue(arguments) => catalogue::run(&arguments),
        Command::Pg(command) => pg::run(&command),
        Command::Replay(arguments) => replay::run(&arguments),
        Command::Differential(arguments) => differential::run(&arguments),
        Command::Test => tasks::test(),
        Command::Ci => tasks::ci(),
        Command::Deb => package::deb(),
        Command::Demo { arguments } => tasks::demo(&arguments),
    }
}
