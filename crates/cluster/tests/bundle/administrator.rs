//! An administrator who does what the README of a bundle says, to the letter.

use std::{fs, path::Path, process::Command};

use cluster::transport::bundle::Phase;

/// Runs a script as a superuser of the node's server, in a database or their own; true if it gave a
/// row.
pub(crate) type Psql<'a> = &'a mut dyn FnMut(Option<&str>, &str) -> bool;

/// Does a phase, or takes it back; `psql` is what the test has for it. A phase that the node has no part
/// in is none.
pub(crate) fn follow(bundle: &Path, phase: Phase, back: bool, psql: Psql<'_>) {
    let title = format!("Phase {phase}{}", if back { ", back" } else { "" });
    let readme = fs::read_to_string(bundle.join("README.txt")).unwrap();
    let Some(start) = readme.find(&format!("\n{title}\n")) else { return };
    let rest = &readme[start + 1..];
    let ends = ["\nPhase ", "\nTo go back", "\nWhen all is done"];
    let end = ends.iter().filter_map(|end| rest.find(end)).min().unwrap();
    for line in rest[..end].lines().filter_map(|line| line.strip_prefix("     ")) {
        match line.split(' ').next().unwrap() {
            "psql" => run_psql(bundle, line, psql),
            "sha256sum" | "cp" | "mv" | "tar" | "chown" | "rm" | "rmdir" => {
                let output =
                    Command::new("sh").args(["-ec", line]).current_dir(bundle).output().unwrap();
                let errors = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{line}: {errors}");
            }
            // Modes and owners, and what must not exist.
            _ if line.starts_with('/') => assert!(!Path::new(line).exists(), "{line}"),
            _ => assert!(line.starts_with('0'), "{line}"),
        }
    }
}

fn run_psql(bundle: &Path, line: &str, psql: Psql<'_>) {
    let database = line.split_once(" -d ").map(|(_, rest)| rest.split(' ').next().unwrap());
    let sql = match line.split_once(" -c ") {
        Some((_, sql)) => sql.trim_matches('"').to_owned(),
        None => fs::read_to_string(bundle.join(line.split_once(" < ").unwrap().1)).unwrap(),
    };
    let has_row = psql(database, &sql);
    assert!(!(has_row && sql.contains("pg_hba_file_rules")), "a rule is refused");
}
