//! `cargo xtask replay SET FILE`: what the workspace's code says of every case of a file of recorded
//! verdicts, next to what the real server or libpq said.
//!
//! The runner knows no case: a set's module turns a case's input into the library's answer, in the
//! words of the record, and both are compared here.

mod hba;
mod passfile;
mod pgconf;
mod pki;
mod scram;

use std::{path::PathBuf, process::ExitCode};

pub(crate) use recorded::Comparison;
use recorded::Judge;

/// Every set and its judge.
const SETS: &[(&str, Judge)] = &[
    ("hba", hba::hba),
    ("ident", hba::ident),
    ("hba-decisions", hba::hba_decisions),
    ("ident-decisions", hba::ident_decisions),
    ("pgconf", pgconf::files),
    ("pgconf-values", pgconf::values),
    ("passfile", passfile::judge),
    ("saslprep", scram::saslprep),
    ("verifiers", scram::verifier),
    ("fake-server", scram::fake_server),
    ("transcripts", scram::transcript),
    ("channel-binding", scram::channel_binding),
    ("client-chains", pki::client_chains),
    ("host-names", pki::host_names),
    ("limbo", pki::limbo),
];

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Which set of verdicts the file holds
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(SETS.iter().map(|set| set.0)))]
    set: String,
    /// The recorded verdicts: one JSON object a line (or one document with "testcases"), gzipped or
    /// plain
    file: PathBuf,
    /// Judge only the first N cases
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

/// Exit code 0: all agree; 1: some do not; 2: nothing could be compared.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let Some((_, judge)) = SETS.iter().find(|set| set.0 == arguments.set) else {
        eprintln!("there is no set {}", arguments.set);
        return ExitCode::from(2);
    };
    let cases = match recorded::cases(&arguments.file) {
        Ok(cases) => cases,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let (mut agreed, mut compared) = (0, 0);
    for case in cases.iter().take(arguments.limit.unwrap_or(usize::MAX)) {
        let name = recorded::name(case);
        let comparisons = match judge(case) {
            Ok(comparisons) => comparisons,
            // A case that cannot be read is none that we agree with; the others still count.
            Err(error) => {
                compared += 1;
                println!("{name}\n  not of this set's format: {error}");
                continue;
            }
        };
        for Comparison { major, expected, got } in comparisons {
            compared += 1;
            if expected == got {
                agreed += 1;
            } else {
                println!("{name} [{major}]\n  expected {expected}\n  got      {got}");
            }
        }
    }
    println!("agree {agreed} of {compared}");
    if compared == 0 {
        ExitCode::from(2)
    } else if agreed == compared {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    }
}
