//! What the programs that measure have in common.
#![expect(clippy::print_stderr, reason = "for programs for the terminal")]

use std::{error::Error, process::ExitCode};

use clap::ValueEnum;
use cluster::spec::Mode;

/// What a program measured, or why it did not.
pub type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// How links log in, as an argument: `cert` or `scram`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum How {
    /// By certificates.
    Cert,
    /// By passwords.
    Scram,
}

impl From<How> for Mode {
    fn from(how: How) -> Self {
        match how {
            How::Cert => Self::Cert,
            How::Scram => Self::Scram,
        }
    }
}

/// Tells why there are no figures. 0: there are; 2: there are none.
#[must_use]
pub fn ended(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}
