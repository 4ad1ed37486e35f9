//! `cargo xtask test`, `ci` and `demo`: what a newcomer, the gate and a curious person run.

use std::{
    env,
    ffi::OsString,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, ExitCode},
};

use crate::pg;

/// `cargo xtask test`: every test of the workspace, on real servers.
pub(crate) fn test() -> ExitCode {
    run(&[servers, tests])
}

/// `cargo xtask ci`: what must hold before anything is merged.
pub(crate) fn ci() -> ExitCode {
    run(&[
        || cargo("formatting", &["fmt", "--all", "--check"], &[]),
        || everywhere("lints", &["clippy", "--all-targets"], &["--", "-Dwarnings"], &[]),
        || {
            everywhere(
                "documentation",
                &["doc", "--no-deps"],
                &[],
                &[("RUSTDOCFLAGS", "-Dwarnings")],
            )
        },
        deny,
        servers,
        tests,
    ])
}

/// `cargo xtask demo`: an open cluster becomes a secure one.
pub(crate) fn demo(arguments: &[OsString]) -> ExitCode {
    if let Err(failed) = servers() {
        eprintln!("error: {failed}");
        return ExitCode::from(2);
    }
    let mut command = Command::new(cargo_path());
    command.args(["run", "--quiet", "--package", "cluster", "--features", "demo"]);
    command.args(["--bin", "pgward", "--", "demo"]).args(arguments);
    // In place of this process, as cargo does with what it runs: signals reach the demonstration,
    // and its exit code, which says whether every link was proved, the caller.
    let error = command.exec();
    eprintln!("error: cargo does not start: {error}");
    ExitCode::from(2)
}

type Task = fn() -> Result<(), String>;

fn run(tasks: &[Task]) -> ExitCode {
    for task in tasks {
        if let Err(failed) = task() {
            eprintln!("error: {failed}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn servers() -> Result<(), String> {
    announce("servers");
    pg::install_all()
}

fn tests() -> Result<(), String> {
    everywhere("tests, and the documentation's examples", &["test"], &[], &[])
}

/// The fuzz targets' feature is for libFuzzer, which wants a C++ compiler and never ends; without it
/// they run on their corpus. Everything else has all its features.
fn everywhere(
    what: &str,
    before: &[&str],
    after: &[&str],
    environment: &[(&str, &str)],
) -> Result<(), String> {
    for packages in [&["--workspace", "--exclude", "fuzz", "--all-features"][..], &["-p", "fuzz"]] {
        cargo(what, &[before, packages, after].concat(), environment)?;
    }
    Ok(())
}

/// Licences, sources and bans, where cargo-deny can be had. Its advisories need a network that not
/// every machine has, so they are left to `cargo deny check advisories`.
fn deny() -> Result<(), String> {
    let there = Command::new(cargo_path()).args(["deny", "--version"]).output();
    if !there.is_ok_and(|output| output.status.success()) {
        println!("--- dependencies: not checked, for cargo-deny is not installed");
        return Ok(());
    }
    cargo("dependencies", &["deny", "check", "licenses", "bans", "sources"], &[])
}

fn cargo(what: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Result<(), String> {
    announce(what);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let status = Command::new(cargo_path())
        .args(arguments)
        .envs(environment.iter().copied())
        .current_dir(root)
        .status()
        .map_err(|error| format!("cargo does not start: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{what}: `cargo {}` failed ({status})", arguments.join(" ")))
    }
}

/// On standard error: the demonstration's standard output is its own.
fn announce(what: &str) {
    eprintln!("--- {what}");
}

pub(crate) fn cargo_path() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}
