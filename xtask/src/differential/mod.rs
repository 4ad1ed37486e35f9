//! `cargo xtask differential SET`: random inputs, put to the workspace's code and to the real thing
//! that this machine has. A seed makes the same inputs again.

mod hba;
mod passfile;
mod pgconf;

use std::{collections::BTreeMap, process::ExitCode};

/// How many inputs, and which.
pub(crate) struct Options {
    pub(crate) cases: usize,
    pub(crate) seed: u64,
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) compared: usize,
    /// Each in words, with all that is needed to see it again.
    pub(crate) disagreements: Vec<String>,
    /// What was not compared, or differs as it may, by the rule that says so.
    pub(crate) explained: BTreeMap<&'static str, usize>,
}

impl Outcome {
    fn explain(&mut self, rule: &'static str) {
        *self.explained.entry(rule).or_default() += 1;
    }
}

/// Compares; an error is why nothing could be compared.
type Compare = fn(&Options) -> Result<Outcome, String>;

const SETS: &[(&str, Compare)] = &[
    ("hba", hba::compare),
    ("hba-folders", hba::compare_folders),
    ("hba-logins", hba::compare_logins),
    ("passfile", passfile::compare),
    ("pgconf", pgconf::files::compare),
    ("pgconf-values", pgconf::values::compare),
    ("pgconf-edits", pgconf::edits::compare),
    ("pgconf-starts", pgconf::starts::compare),
];

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What to compare
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(SETS.iter().map(|set| set.0)))]
    set: String,
    /// How many random inputs
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    cases: usize,
    /// Which random inputs
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
}

/// Exit code 0: all agree; 1: some do not; 2: nothing could be compared.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let Some((_, compare)) = SETS.iter().find(|set| set.0 == arguments.set) else {
        eprintln!("the set {} is not there", arguments.set);
        return ExitCode::from(2);
    };
    let options = Options { cases: arguments.cases, seed: arguments.seed };
    match compare(&options) {
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
        Ok(Outcome { compared, disagreements, explained }) => {
            disagreements.iter().for_each(|text| println!("{text}"));
            explained.iter().for_each(|(rule, count)| println!("left out: {count} {rule}"));
            println!("agree {} of {compared}", compared.saturating_sub(disagreements.len()));
            ExitCode::from(if compared == 0 { 2 } else { u8::from(!disagreements.is_empty()) })
        }
    }
}

/// Random numbers (SplitMix64): the same for the same seed, on every machine and in every version.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, 0 for 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % end).unwrap_or_default()
    }

    /// True once in `n` times.
    pub(crate) fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of these.
    ///
    /// # Panics
    /// If there is none.
    pub(crate) fn pick<'t, T: ?Sized>(&mut self, from: &[&'t T]) -> &'t T {
        from[self.below(from.len())]
    }
}
