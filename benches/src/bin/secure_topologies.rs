//! How long it takes to secure three open nodes of each kind of cluster, in each mode, and to prove it;
//! and what of that each part takes. Figures for people; nothing is asserted about them.
#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::{
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use benches::Outcome;
use clap::Parser;
use cluster::{
    demo::Servers,
    inspect, prepare,
    run::Runner,
    spec::{ClusterSpec, Mode, TimescaleSpec, TopologyKind},
    verify,
};
use pg_version::PgVersion;
use time::OffsetDateTime;

use standin::{
    By, PgdMesh, TimescaleCluster,
    secured::{describe, nodes},
};

/// Measures how long it takes to secure three open nodes.
#[derive(Parser)]
struct Arguments {
    /// The servers' major version, 16 or newer; TimescaleDB multi-node has 15
    #[arg(long, value_name = "MAJOR", default_value = "18")]
    pg: PgVersion,
    /// How often each is done
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
}

#[tokio::main]
async fn main() -> ExitCode {
    benches::ended(measure(&Arguments::parse()).await)
}

/// What each part takes.
#[derive(Clone, Copy)]
struct Parts {
    inspect: Duration,
    plan: Duration,
    apply: Duration,
    verify: Duration,
}

impl Parts {
    fn all(&self) -> Duration {
        self.inspect + self.plan + self.apply + self.verify
    }
}

async fn measure(arguments: &Arguments) -> Outcome<()> {
    println!("{} runs; the one in the middle, in seconds", arguments.runs);
    println!(
        "{:<12}{:<8}{:>8}{:>10}{:>8}{:>8}{:>8}",
        "", "", "all", "inspect", "plan", "apply", "verify"
    );
    for topology in [TopologyKind::Native, TopologyKind::Pgd, TopologyKind::Timescale] {
        for mode in [Mode::Cert, Mode::Scram] {
            let mut all = Vec::new();
            for _ in 0..arguments.runs {
                all.push(secure_once(topology, mode, arguments.pg).await?);
            }
            all.sort_by_key(Parts::all);
            let middle = all[all.len() / 2];
            let Parts { inspect, plan, apply, verify } = middle;
            let [all, inspect, plan, apply, verify] =
                [middle.all(), inspect, plan, apply, verify].map(|part| part.as_secs_f64());
            let (topology, mode) = (format!("{topology:?}"), format!("{mode:?}"));
            println!(
                "{topology:<12}{mode:<8}{all:>8.2}{inspect:>10.2}{plan:>8.2}{apply:>8.2}{verify:>8.2}"
            );
        }
    }
    Ok(())
}

async fn secure_once(topology: TopologyKind, mode: Mode, version: PgVersion) -> Outcome<Parts> {
    let folder = tempfile::tempdir()?;
    match topology {
        TopologyKind::Native => {
            let servers = Servers::default();
            let secured = secure_native(&servers, mode, version).await;
            servers.stop();
            secured
        }
        TopologyKind::Pgd => {
            let mesh = PgdMesh::open(version, 3, By::Ip).await?;
            let from = mesh.site().peers_from();
            let role = "pgd_replication";
            secure(&describe(topology, mode, role, folder.path(), mesh.nodes(), &from)?).await
        }
        TopologyKind::Timescale => {
            let cluster = TimescaleCluster::open(PgVersion::V15, 2).await?;
            secure(&describe_timescale(&cluster, mode, folder.path())?).await
        }
    }
}

async fn secure_native(servers: &Servers, mode: Mode, version: PgVersion) -> Outcome<Parts> {
    servers.start(&pgtest::find(version)?, 3).await?;
    servers.join().await?;
    secure(&servers.cluster(mode)?.spec).await
}

fn describe_timescale(
    cluster: &TimescaleCluster,
    mode: Mode,
    folder: &Path,
) -> Outcome<ClusterSpec> {
    let all: Vec<_> = cluster.nodes().cloned().collect();
    let from = cluster.site().peers_from();
    let mut spec = describe(TopologyKind::Timescale, mode, "postgres", folder, &all, &from)?;
    spec.roles.push("testrole".to_owned());
    let access_node = cluster.access().name().to_owned();
    spec.timescale = Some(TimescaleSpec { access_node, copy_chunk: false });
    Ok(spec)
}

/// Secures the cluster and proves it.
async fn secure(spec: &ClusterSpec) -> Outcome<Parts> {
    let nodes = nodes(spec);
    let mut since = Instant::now();
    let mut lap = || std::mem::replace(&mut since, Instant::now()).elapsed();
    let states = inspect::inspect_all(spec, &nodes).await?;
    let inspect = lap();
    let prepared = prepare::prepare(spec, &states, OffsetDateTime::now_utc())?;
    let plan = lap();
    Runner::new(spec, &nodes).apply(prepared).await?;
    let apply = lap();
    let found = verify::verify(spec, &nodes, OffsetDateTime::now_utc()).await?;
    let verify = lap();
    if !found.proved() {
        return Err(format!("the links are not proved: {:#?}", found.findings).into());
    }
    Ok(Parts { inspect, plan, apply, verify })
}
