//! How long a command by hand takes, from the start of its process to its end. Figures for people;
//! nothing is asserted about them.
#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::{
    error::Error,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use clap::Parser;

/// Measures whole processes of pgward on ordinary files.
#[derive(Parser)]
struct Arguments {
    /// The program pgward, built for release
    #[arg(default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/release/pgward"))]
    pgward: PathBuf,
    /// How often each command is run
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
}

/// A file of rules as people have them.
fn rules() -> String {
    let mut text = String::from("local all all peer\nhost all all 127.0.0.1/32 scram-sha-256\n");
    for number in 0..50 {
        text.push_str(&format!("hostssl app{number} web{number} 10.{number}.0.0/16 cert\n"));
    }
    text
}

fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { pgward, runs } = Arguments::parse();
    let folder = std::env::temp_dir().join(format!("pgward-commands-{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    let measured = measure(&pgward.canonicalize()?, &folder, runs);
    std::fs::remove_dir_all(&folder)?;
    measured
}

fn measure(pgward: &Path, folder: &Path, runs: u32) -> Result<(), Box<dyn Error>> {
    std::fs::write(folder.join("pg_hba.conf"), rules())?;
    std::fs::write(folder.join("postgresql.conf"), "#work_mem = 4MB\n".repeat(800))?;
    let passwords: String =
        (0..20).map(|number| format!("node-{number}:5432:*:replicator:secret\n")).collect();
    std::fs::write(folder.join("passfile"), passwords)?;
    std::fs::set_permissions(folder.join("passfile"), std::fs::Permissions::from_mode(0o600))?;
    for arguments in ["pki ca --name x", "pki issue --host a", "pki chain a.crt ca.crt"] {
        run(pgward, folder, arguments)?;
    }
    println!("{:<52}  {:>9}  {:>9}  {:>9}", "command", "least", "median", "95 %");
    for arguments in [
        "hba decide pg_hba.conf --user web9 --database app9 --address 10.9.1.1 --tls --pg 17",
        "hba lint pg_hba.conf --pg 17",
        "conf get postgresql.conf work_mem --pg 17",
        "pki check a.crt --trust ca.crt --key a.key --host a",
        "passfile lookup passfile --host node-7 --user replicator --pg 17",
        "--help",
    ] {
        let mut times = Vec::new();
        for _ in 0..runs {
            times.push(run(pgward, folder, arguments)?);
        }
        times.sort();
        let at = |share: f64| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a part of a length is one"
            )]
            let index = (times.len() as f64 * share) as usize;
            times[index.min(times.len() - 1)].as_secs_f64() * 1e3
        };
        let shown: String = arguments.chars().take(52).collect();
        let (least, median, most) = (at(0.0), at(0.5), at(0.95));
        println!("{shown:<52}  {least:>6.2} ms  {median:>6.2} ms  {most:>6.2} ms");
    }
    Ok(())
}

fn run(pgward: &Path, folder: &Path, arguments: &str) -> Result<Duration, Box<dyn Error>> {
    let start = Instant::now();
    let status = Command::new(pgward)
        .args(arguments.split(' '))
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    let time = start.elapsed();
    match status.code() {
        // Lint finds something.
        Some(0 | 1) => Ok(time),
        _ => Err(format!("pgward {arguments}: {status}").into()),
    }
}
