//! How long it takes to secure three open nodes: by hand (`by-hand/secure.sh`), and by
//! `pgward demo`. Figures for people; nothing is asserted about them.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    thread,
    time::{Duration, Instant},
};

use benches::Outcome;
use clap::Parser;
use pg_version::PgVersion;
use pgtest::{Installation, Run, Server, Session};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/by-hand/secure.sh");
const ROLE: &str = "replicator";
const DATABASE: &str = "app";
/// The kinds of keys that the script can make, and what the table calls them.
const KINDS: [(&str, &str); 2] =
    [("rsa2048", "by hand, RSA-2048 keys"), ("p256", "by hand, P-256 keys")];

/// Measures how long it takes to secure three open nodes, by hand and by pgward.
#[derive(Parser)]
struct Arguments {
    /// The servers' major version [default: the newest that is found]
    #[arg(long, value_name = "MAJOR")]
    pg: Option<PgVersion>,
    /// How often each is done
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// The program pgward, built with the feature demo [default: cargo builds it]
    #[arg(long, value_name = "PATH")]
    pgward: Option<PathBuf>,
}

fn main() -> ExitCode {
    benches::ended(measure(&Arguments::parse()))
}

fn measure(arguments: &Arguments) -> Outcome<()> {
    let installation = match arguments.pg {
        Some(version) => pgtest::find(version)?,
        None => pgtest::find_each_major()?.pop().ok_or("no server")?,
    };
    let path = path_with_psql();
    let psql = Run::new("psql").env("PATH", &path).args(["--version"]).check().is_ok();
    if !psql {
        eprintln!("no psql on this machine (Debian: postgresql-client): no figures by hand");
    }

    let mut by_hand = KINDS.map(|_| Vec::new());
    let mut by_pgward = Vec::new();
    // In turns, so that what else the machine does meets all alike.
    for run in 1..=arguments.runs {
        eprintln!("run {run} of {}", arguments.runs);
        if psql {
            for ((kind, _), seconds) in KINDS.iter().zip(&mut by_hand) {
                seconds.push(secure_by_hand(&installation, kind, &path)?);
            }
        }
        by_pgward.push(secure_by_pgward(arguments.pgward.as_deref(), installation.version())?);
    }

    println!(
        "PostgreSQL {}, 3 nodes, {} runs, seconds",
        installation.full_version(),
        arguments.runs
    );
    println!("{:<24}{:>8}{:>8}{:>8}{:>10}", "", "median", "least", "most", "/ pgward");
    let pgward = median(&mut by_pgward);
    for ((_, title), seconds) in
        KINDS.iter().zip(&mut by_hand).filter(|(_, times)| !times.is_empty())
    {
        print_row(title, seconds, pgward);
    }
    print_row("pgward demo", &mut by_pgward, pgward);
    Ok(())
}

fn print_row(title: &str, seconds: &mut [f64], pgward: f64) {
    let middle = median(seconds);
    let (Some(least), Some(most)) = (seconds.first(), seconds.last()) else { return };
    println!("{title:<24}{middle:>8.2}{least:>8.2}{most:>8.2}{:>10.1}", middle / pgward);
}

/// Sorts, and gives the middle.
fn median(seconds: &mut [f64]) -> f64 {
    seconds.sort_by(f64::total_cmp);
    let middle = seconds.len() / 2;
    match seconds {
        [] => f64::NAN,
        _ if seconds.len() % 2 == 1 => seconds[middle],
        _ => f64::midpoint(seconds[middle - 1], seconds[middle]),
    }
}

/// `PATH`, led by the folder of a real psql: Debian's `/usr/bin/psql` is a Perl script that takes
/// longer to find psql than psql takes.
fn path_with_psql() -> String {
    let path = env::var("PATH").unwrap_or_else(|_| "/usr/bin:/bin".to_owned());
    match pgtest::find_all().iter().find(|one| one.program("psql").is_file()) {
        Some(one) => format!("{}:{path}", one.bindir().display()),
        None => path,
    }
}

/// Starts an open cluster, and times the script on it.
fn secure_by_hand(installation: &Installation, kind: &str, path: &str) -> Outcome<f64> {
    let nodes = open_cluster(installation)?;
    let folder = nodes[0].root().join("ca").display().to_string();
    let described = nodes.iter().zip(1..).map(|(server, number)| {
        let sockets = server.socket_dir();
        format!("node-{number},{},{},{}", server.addr(), server.port(), sockets.display())
    });
    let script = Run::new("bash")
        .args([SCRIPT, "-k", kind, "-r", ROLE, "-d", DATABASE, "-c", &folder])
        .args(described)
        .env("PATH", path)
        .limit(Duration::from_secs(180));
    let start = Instant::now();
    script.check()?;
    Ok(start.elapsed().as_secs_f64())
}

/// Three servers as `pgward demo` starts and joins them: everybody on the network is trusted.
fn open_cluster(installation: &Installation) -> Outcome<Vec<Server>> {
    let mut nodes = Vec::new();
    for number in 1..=3_u8 {
        let server = Server::builder(installation)
            .addr([127, 0, 0, number])
            .setting("wal_level", "logical")
            .setting("max_wal_senders", 20)
            .setting("max_replication_slots", 20)
            .setting("max_worker_processes", 20)
            .setting("max_logical_replication_workers", 20)
            .setting("wal_retrieve_retry_interval", "100ms")
            .start()?;
        server.query(&format!("CREATE DATABASE {DATABASE}"))?;
        let mut session = app(&server)?;
        session.query(&format!("CREATE ROLE {ROLE} LOGIN REPLICATION"))?;
        session.query("CREATE TABLE note (node text PRIMARY KEY, text text)")?;
        session.query("CREATE PUBLICATION everything FOR ALL TABLES")?;
        nodes.push(server);
    }
    // A mesh needs origin = none; below 16 the others follow the first.
    let mesh = installation.version() >= PgVersion::V16;
    let publishers = if mesh { nodes.len() } else { 1 };
    for (to, publisher) in nodes.iter().enumerate().take(publishers) {
        for (from, subscriber) in nodes.iter().enumerate().filter(|(from, _)| *from != to) {
            let origin = if mesh { ", origin = none" } else { "" };
            app(subscriber)?.query(&format!(
                "CREATE SUBSCRIPTION from_{to}_to_{from} \
                 CONNECTION 'host={} port={} dbname={DATABASE} user={ROLE}' \
                 PUBLICATION everything WITH (copy_data = false{origin})",
                publisher.addr(),
                publisher.port(),
            ))?;
        }
    }
    for publisher in nodes.iter().take(publishers) {
        wait_for_subscribers(publisher, nodes.len() - 1)?;
    }
    Ok(nodes)
}

fn app(server: &Server) -> Result<Session, pgtest::Error> {
    server.connect().database(DATABASE).open()
}

fn wait_for_subscribers(publisher: &Server, count: usize) -> Outcome<()> {
    let streaming = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'";
    let mut session = publisher.session()?;
    let deadline = Instant::now() + Duration::from_secs(60);
    while session.query(streaming)?.value() != Some(&count.to_string()) {
        if Instant::now() > deadline {
            return Err("the open cluster does not replicate".into());
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// What `pgward demo` says it took, from the open cluster to the last proof.
fn secure_by_pgward(program: Option<&Path>, version: PgVersion) -> Outcome<f64> {
    let mut command = match program {
        Some(program) => Command::new(program),
        None => {
            let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            cargo.args(["run", "--quiet", "--release", "--package", "cluster"]);
            cargo.args(["--features", "demo", "--bin", "pgward", "--"]);
            cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
            cargo
        }
    };
    command.args(["demo", "--format", "json", "--nodes", "3", "--pg", &version.to_string()]);
    let output = command.output().map_err(|error| format!("starting {command:?}: {error}"))?;
    let report: Option<serde_json::Value> = serde_json::from_slice(&output.stdout).ok();
    report
        .filter(|_| output.status.success())
        .and_then(|report| report["secured-in-seconds"].as_f64())
        .ok_or_else(|| {
            let said = String::from_utf8_lossy(&output.stderr);
            format!("{command:?} ended with {}:\n{}", output.status, said.trim()).into()
        })
}
