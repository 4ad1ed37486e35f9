//! `cargo xtask differential SET`: generated inputs, what live servers say of them, and what the
//! workspace's code says.

mod pgconf;
mod random;

use std::process::ExitCode;

use pg_version::PgVersion;
use pgtest::Installation;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What to compare
    set: Set,
    /// How many inputs to generate; each is judged by the server of one major, in turn
    #[arg(long, default_value_t = 1000, value_name = "N")]
    cases: u64,
    /// Where the random numbers begin: the same seed makes the same inputs
    #[arg(long, default_value_t = 1, value_name = "S")]
    seed: u64,
    /// How many disagreements to show
    #[arg(long, default_value_t = 20, value_name = "N")]
    show: usize,
    /// Only this major
    #[arg(long, value_name = "MAJOR")]
    major: Option<PgVersion>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Set {
    /// Files of settings, against the view pg_file_settings
    Pgconf,
    /// Values of settings, against SET and ALTER SYSTEM
    PgconfValues,
    /// Edits of files of settings, judged by the view pg_file_settings
    PgconfEdits,
}

/// What a comparison came to.
#[derive(Default)]
struct Tally {
    compared: u64,
    /// Differences that a rule of the comparison explains, by rule.
    explained: std::collections::BTreeMap<&'static str, u64>,
    disagreements: Vec<String>,
}

impl Tally {
    fn explain(&mut self, rule: &'static str) {
        *self.explained.entry(rule).or_default() += 1;
    }
}

/// Exit code 0: no unexplained difference; 1: some; 2: nothing could be compared.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let installations = match pgtest::find_each_major() {
        Ok(installations) => installations,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let installations: Vec<Installation> = installations
        .into_iter()
        .filter(|found| arguments.major.is_none_or(|major| major == found.version()))
        .collect();
    let run = match arguments.set {
        Set::Pgconf => pgconf::files::run,
        Set::PgconfValues => pgconf::values::run,
        Set::PgconfEdits => pgconf::edits::run,
    };
    let tally = match run(&installations, arguments.cases, arguments.seed) {
        Ok(tally) => tally,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    for disagreement in tally.disagreements.iter().take(arguments.show) {
        println!("{disagreement}\n");
    }
    for (rule, count) in &tally.explained {
        println!("explained: {count} {rule}");
    }
    println!("{} compared, {} disagree", tally.compared, tally.disagreements.len());
    match (tally.compared, tally.disagreements.len()) {
        (0, _) => ExitCode::from(2),
        (_, 0) => ExitCode::SUCCESS,
        _ => ExitCode::from(1),
    }
}
