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

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read},
    path::PathBuf,
    process::ExitCode,
};

use flate2::read::MultiGzDecoder;
use serde_json::Value;

/// What one case says for one major (or pair of server and client), and what our code says.
pub(crate) struct Comparison {
    /// For which major or pair: `16`, `17d`, `srv15/libpq12`.
    pub(crate) major: String,
    pub(crate) expected: String,
    pub(crate) got: String,
}

/// Judges one case. An error is a case that is not of the set's format.
type Judge = fn(&Value) -> Result<Vec<Comparison>, String>;

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
    let cases = match read(&arguments.file) {
        Ok(cases) => cases,
        Err(error) => {
            eprintln!("{}: {error}", arguments.file.display());
            return ExitCode::from(2);
        }
    };
    let (mut agreed, mut compared) = (0, 0);
    for case in cases.iter().take(arguments.limit.unwrap_or(usize::MAX)) {
        let name = ["name", "id", "certificate"].iter().find_map(|key| case.get(*key)?.as_str());
        let name = name.unwrap_or("(unnamed)");
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

fn read(path: &PathBuf) -> Result<Vec<Value>, String> {
    let text = |error: std::io::Error| error.to_string();
    let mut file = BufReader::new(File::open(path).map_err(text)?);
    let gzipped = file.fill_buf().map_err(text)?.starts_with(&[0x1f, 0x8b]);
    let mut content = String::new();
    if gzipped {
        MultiGzDecoder::new(file).read_to_string(&mut content).map_err(text)?;
    } else {
        file.read_to_string(&mut content).map_err(text)?;
    }
    if let Ok(Value::Object(mut document)) = serde_json::from_str(&content)
        && let Some(Value::Array(cases)) = document.remove("testcases")
    {
        return Ok(cases);
    }
    let mut cases = Vec::new();
    for (number, line) in content.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
        let case = serde_json::from_str(line);
        cases.push(case.map_err(|error| format!("line {}: {error}", number + 1))?);
    }
    Ok(cases)
}
