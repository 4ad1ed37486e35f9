//! `pgward`: secures the connections between PostgreSQL nodes and proves it.
//!
//! The program only parses arguments, calls the library and renders.
#[cfg(feature = "demo")]
mod demo;
#[cfg(feature = "demo")]
mod render;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Secures the connections between PostgreSQL nodes and proves it.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show it on throw-away servers of this machine: an open cluster becomes an authenticated,
    /// encrypted one
    #[cfg(feature = "demo")]
    Demo(demo::Arguments),
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        #[cfg(feature = "demo")]
        Command::Demo(arguments) => demo::run(&arguments),
    }
}
