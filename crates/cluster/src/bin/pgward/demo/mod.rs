//! `pgward demo`: an open cluster, as people really have them, becomes a secure one.
//!
//! The servers are throw-away; what is done to them goes by the same library calls as for a user's
//! cluster.

mod render;

use std::{io::Write as _, process::ExitCode, time::Instant};

use clap::ValueEnum;
use cluster::{
    Error,
    demo::{DemoError, KeptServer, RowSeen, Servers},
    inspect::{self, Node},
    plan, prepare,
    run::Runner,
    spec::Mode,
    verify,
};
use pg_version::PgVersion;
use serde::Serialize;

use crate::{
    frame::{
        self,
        answer::{as_json, deliver},
        console::Console,
        failure::Exit,
        signals::Signals,
    },
    nodes::{self, report::ReportArgument},
};

/// `pgward demo`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgward demo
  pgward demo --mode scram --pg 15
  pgward demo --keep --html report.html

Servers are looked for in the folders that PGTEST_BINDIR_17 (one for each major) or PGTEST_BINDIRS name, where cargo xtask pg install \
puts them, in PATH and in the usual folders.

Exit code 0: every link is proved; 1: not every one is; 2: it could not be done; 130: it was interrupted.")]
pub(crate) struct Arguments {
    /// How the links shall authenticate
    #[arg(long, value_enum, default_value_t = ModeArgument::Cert)]
    mode: ModeArgument,
    /// The servers' major version, 12 to 18 [default: the newest that is found]
    #[arg(long, value_name = "MAJOR")]
    pg: Option<PgVersion>,
    /// How many servers
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(2..=16))]
    nodes: u8,
    /// Leave the servers running afterwards, and say how to reach and to stop them
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    report: ReportArgument,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ModeArgument {
    /// By client certificates
    Cert,
    /// By SCRAM-SHA-256 passwords, bound to the TLS channel
    Scram,
}

/// How long a phase took.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Phase {
    pub(crate) name: &'static str,
    pub(crate) seconds: f64,
}

/// What the demonstration has to show.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Report {
    pub(crate) server_version: String,
    pub(crate) mode: Mode,
    pub(crate) topology: &'static str,
    pub(crate) plan: plan::Plan,
    pub(crate) verification: verify::Verification,
    /// For each node, by name: the nodes on which its row was seen.
    pub(crate) rows: Vec<RowSeen>,
    pub(crate) phases: Vec<Phase>,
    /// From the open cluster to the proof, without building and starting servers.
    pub(crate) secured_in_seconds: f64,
    pub(crate) proved: bool,
    /// Where the page is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) html: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) kept: Vec<KeptServer>,
}

/// Exit code 0: every link is proved; 1: not every; 2: it could not be shown.
pub(crate) fn run(arguments: &Arguments, console: &Console) -> ExitCode {
    if let Err(failure) = arguments.report.check() {
        return deliver(console, "demo", Err(failure));
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(console, &format!("no runtime: {error}")),
    };
    let servers = Servers::default();
    let outcome = runtime.block_on(async {
        let mut signals = Signals::new().map_err(Failure::Signals)?;
        tokio::select! {
            biased;
            signal = signals.next() => Err(Failure::Interrupted(signal)),
            outcome = show(arguments, console, &servers) => outcome,
        }
    });
    if matches!(outcome, Err(Failure::Interrupted(_))) {
        console.note("interrupted: stopping the servers …");
    }
    // A server that is being made on a thread of its own is waited for: then it is known, and can be
    // stopped.
    drop(runtime);
    match outcome {
        Ok(mut report) => {
            if arguments.keep {
                match servers.keep(report.mode) {
                    Ok(kept) => report.kept = kept,
                    Err(error) => {
                        clean_up(&servers, console);
                        return failed(console, &error.to_string());
                    }
                }
            }
            clean_up(&servers, console);
            let written = arguments.report.write(&report.verification, console);
            report.html = written.as_ref().ok().cloned().flatten();
            let exit = if report.proved { Exit::Fine } else { Exit::Findings };
            let text = if console.is_json() {
                as_json("demo", exit, &report)
            } else {
                render::conclusion(&report)
            };
            if let Err(failure) = print(&text) {
                for server in &report.kept {
                    console
                        .warn(&format!("{} is still running; stop: {}", server.node, server.stop));
                }
                let failure = frame::failure::Failure::failed(failure.to_string());
                console.show("error", &failure.problem.render());
                return failure.exit.into();
            }
            if let Err(failure) = written {
                console.show("error", &failure.problem.render());
                return failure.exit.into();
            }
            exit.into()
        }
        Err(failure) => {
            clean_up(&servers, console);
            let code = failed(console, &failure.to_string());
            match failure {
                // As a shell has it: 128 and the signal's number.
                Failure::Interrupted(signal) => ExitCode::from(128 + signal),
                _ => code,
            }
        }
    }
}

/// Stops the servers, and removes what they were made from.
fn clean_up(servers: &Servers, console: &Console) {
    servers.stop();
    if let Err(error) = pgtest::discard_templates() {
        console.warn(&error.to_string());
    }
}

/// There is no answer.
fn failed(console: &Console, why: &str) -> ExitCode {
    deliver(console, "demo", Err(frame::failure::Failure::failed(why)))
}

/// To standard output. That it is closed is no reason to go on: whoever reads it must be told of the
/// servers.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = anstream::AutoStream::auto(std::io::stdout().lock());
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::Output)
}

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("interrupted; the servers are stopped and removed")]
    Interrupted(u8),
    #[error("no signal handler: {0}")]
    Signals(std::io::Error),
    #[error("standard output cannot be written to: {0}")]
    Output(std::io::Error),
    #[error(transparent)]
    Server(#[from] pgtest::Error),
    #[error(transparent)]
    Cluster(#[from] Error),
    #[error(transparent)]
    Demo(#[from] DemoError),
}

/// Measures the phases, and tells which one is under way.
struct Phases<'c> {
    console: &'c Console,
    done: Vec<Phase>,
}

impl Phases<'_> {
    async fn phase<T>(
        &mut self,
        name: &'static str,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let progress = self.console.begin(name);
        let start = Instant::now();
        let result = work.await;
        self.done.push(Phase { name, seconds: start.elapsed().as_secs_f64() });
        progress.end(if result.is_ok() { "done" } else { "failed" });
        result
    }

    fn print(&self, text: impl FnOnce() -> String) -> Result<(), Failure> {
        if self.console.is_json() { Ok(()) } else { print(&text()) }
    }
}

async fn show(
    arguments: &Arguments,
    console: &Console,
    servers: &Servers,
) -> Result<Report, Failure> {
    let mut progress = Phases { console, done: Vec::new() };
    let mode = match arguments.mode {
        ModeArgument::Cert => Mode::Cert,
        ModeArgument::Scram => Mode::Scram,
    };
    let installation = match arguments.pg {
        Some(version) => pgtest::find(version)?,
        None => match pgtest::find_each_major()?.pop() {
            Some(newest) => newest,
            None => pgtest::find(PgVersion::NEWEST)?,
        },
    };
    let start = servers.start(&installation, arguments.nodes);
    progress.phase("start the servers", async { Ok(start.await?) }).await?;
    let cluster = servers.cluster(mode)?;
    progress.phase("build the open cluster", async { Ok(servers.join().await?) }).await?;
    progress.print(|| render::opening(&installation, &cluster))?;

    let since = Instant::now();
    let nodes: Vec<Node> = cluster.nodes();
    let states = progress
        .phase("inspect", async { Ok(inspect::inspect_all(&cluster.spec, &nodes).await?) })
        .await?;
    let now = time::OffsetDateTime::now_utc();
    let prepared = progress
        .phase("plan", async { Ok(prepare::prepare(&cluster.spec, &states, now)?) })
        .await?;
    progress.print(|| nodes::render::plan(&prepared.plan) + "\n")?;
    let runner = Runner::new(&cluster.spec, &nodes);
    let plan = prepared.plan.clone();
    progress.phase("apply", async { Ok(runner.apply(prepared).await?) }).await?;
    let verification = progress
        .phase("verify", async { Ok(verify::verify(&cluster.spec, &nodes, now).await?) })
        .await?;
    let rows = progress
        .phase("write a row on each node", async { Ok(servers.write_rows().await?) })
        .await?;
    let secured_in_seconds = since.elapsed().as_secs_f64();

    let proved = verification.proved() && rows.iter().all(RowSeen::everywhere);
    Ok(Report {
        server_version: installation.full_version().to_owned(),
        mode,
        topology: cluster.topology_words(),
        plan,
        verification,
        rows,
        phases: progress.done,
        secured_in_seconds,
        proved,
        html: None,
        kept: Vec::new(),
    })
}
