//! `pgward pki`: certificates by hand.

mod ca;
mod chain;
mod check;
mod inspect;
mod issue;
mod material;
mod names;
mod request;
mod sign;

use crate::frame::{answer::Answer, console::Console, failure::Failure};

/// `pgward pki`
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a certificate authority
    Ca(ca::Arguments),
    /// Make a key, and a request for its certificate
    Request(request::Arguments),
    /// Sign a request, if it asks for nothing but what is allowed
    Sign(sign::Arguments),
    /// Make a key and its certificate
    Issue(issue::Arguments),
    /// Put a heap of certificates in order
    Chain(chain::Arguments),
    /// Ask whether servers and clients accept a certificate
    Check(check::Arguments),
    /// Tell what is in certificates, requests, keys and revocation lists
    Inspect(inspect::Arguments),
}

/// The command's name, and what it has to say.
pub(crate) fn run(
    arguments: &Arguments,
    console: &Console,
) -> (&'static str, Result<Answer, Failure>) {
    match &arguments.command {
        Command::Ca(arguments) => ("pki ca", ca::run(arguments, console)),
        Command::Request(arguments) => ("pki request", request::run(arguments, console)),
        Command::Sign(arguments) => ("pki sign", sign::run(arguments, console)),
        Command::Issue(arguments) => ("pki issue", issue::run(arguments, console)),
        Command::Chain(arguments) => ("pki chain", chain::run(arguments, console)),
        Command::Check(arguments) => ("pki check", check::run(arguments, console)),
        Command::Inspect(arguments) => ("pki inspect", inspect::run(arguments, console)),
    }
}
