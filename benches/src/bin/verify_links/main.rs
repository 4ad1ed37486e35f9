//! How long it takes to verify many live links: many subscriptions between three secured nodes, one of
//! which is far away. Figures for people; nothing is asserted about them.
#![expect(clippy::print_stdout, reason = "a program for the terminal")]

mod distant;

use std::{
    net::{IpAddr, Ipv4Addr},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use benches::{How, Outcome};
use clap::Parser;
use cluster::{
    conninfo::ConnInfo,
    demo::{DATABASE, ROLE, Servers},
    inspect::{self, Node},
    prepare,
    run::Runner,
    spec::{ClusterSpec, NodeSpec},
    transport::LocalFiles,
    verify,
};
use pg_version::PgVersion;
use time::OffsetDateTime;

use self::distant::Distant;

/// Measures how long it takes to verify live links.
#[derive(Parser)]
struct Arguments {
    /// The servers' major version, 16 or newer
    #[arg(long, value_name = "MAJOR", default_value = "17")]
    pg: PgVersion,
    /// How the links log in
    #[arg(long, default_value = "cert")]
    mode: How,
    /// How many links there are in the end
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(6..=50))]
    links: u32,
    /// How long everything takes to the node that is far away and back, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 100)]
    round_trip: u32,
    /// How often each is done
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
}

/// The node that is far away.
const FAR: &str = "node-3";

#[tokio::main]
async fn main() -> ExitCode {
    let servers = Servers::default();
    let measured = measure(&Arguments::parse(), &servers).await;
    servers.stop();
    benches::ended(measured)
}

async fn measure(arguments: &Arguments, servers: &Servers) -> Outcome<()> {
    let installation = pgtest::find(arguments.pg)?;
    servers.start(&installation, 3).await?;
    servers.join().await?;
    let mut spec = servers.cluster(arguments.mode.into())?.spec;
    let far = move_away(servers, &mut spec).await?;
    println!("PostgreSQL {}, {} runs, milliseconds", installation.full_version(), arguments.runs);
    println!("{:>8}{:>12}{:>12}{:>8}{:>8}", "links", "round trip", "median", "least", "most");
    // A mesh of three nodes has six links; more are added in turns.
    let mut links = 6;
    loop {
        far.takes(Duration::ZERO);
        secure(&spec).await?;
        until_proved(&spec, links).await?;
        for round_trip in [0, arguments.round_trip] {
            far.takes(Duration::from_millis(round_trip.into()) / 2);
            let mut times = verify_it(&spec, links, arguments.runs).await?;
            times.sort_by(f64::total_cmp);
            let (least, most) = (times[0], times[times.len() - 1]);
            let median = times[times.len() / 2];
            println!("{links:>8}{round_trip:>12}{median:>12.0}{least:>8.0}{most:>8.0}");
        }
        if links >= arguments.links {
            return Ok(());
        }
        far.takes(Duration::ZERO);
        let more = (2 * links).min(arguments.links);
        for number in links..more {
            add_link(servers, &spec, number)?;
        }
        links = more;
    }
}

/// Has everybody go to one of the nodes by a way that can be made a long one: its peers, and the
/// administrator.
async fn move_away(servers: &Servers, spec: &mut ClusterSpec) -> Outcome<Distant> {
    let (port, sockets) =
        servers.with(FAR, |server| (server.port(), server.socket_dir().to_owned()))?;
    let node = spec.nodes.iter_mut().find(|node| node.name == FAR).ok_or("no such node")?;
    let IpAddr::V4(address) = node.address else { return Err("no IPv4 address".into()) };
    let far = Distant::from((address, port), &sockets).await?;
    let mut sql: ConnInfo = node.sql.parse()?;
    sql.set("host", far.sockets.display().to_string());
    sql.set("port", far.port.to_string());
    node.sql = sql.to_text().to_string();
    (node.address, node.port) = (Distant::ADDRESS.into(), far.port);
    for peer in spec.nodes.iter().filter(|peer| peer.name != FAR) {
        let alter = format!(
            "ALTER SUBSCRIPTION {} CONNECTION '{}'",
            subscription(&peer.name, FAR),
            conninfo(Distant::ADDRESS, far.port)
        );
        servers.query(&peer.name, &alter)?;
    }
    Ok(far)
}

fn subscription(from: &str, to: &str) -> String {
    format!("{from}_from_{to}").replace('-', "_")
}

fn conninfo(address: Ipv4Addr, port: u16) -> String {
    format!("host={address} port={port} dbname={DATABASE} user={ROLE}")
}

fn nodes(spec: &ClusterSpec) -> Vec<Node> {
    let node = |spec: &NodeSpec| Node { spec: spec.clone(), files: Arc::new(LocalFiles) };
    spec.nodes.iter().map(node).collect()
}

async fn secure(spec: &ClusterSpec) -> Outcome<()> {
    let states = inspect::inspect_all(spec, &nodes(spec)).await?;
    let prepared = prepare::prepare(spec, &states, OffsetDateTime::now_utc())?;
    Runner::new(spec, &nodes(spec)).apply(prepared).await?;
    Ok(())
}

/// Another subscription between two of the three nodes, as the first one between them is.
fn add_link(servers: &Servers, spec: &ClusterSpec, number: u32) -> Outcome<()> {
    let pairs = spec.nodes.iter().flat_map(|from| spec.nodes.iter().map(move |to| (from, to)));
    let pairs: Vec<_> = pairs.filter(|(from, to)| from.name != to.name).collect();
    let (from, to) = pairs[usize::try_from(number)? % pairs.len()];
    let first = subscription(&from.name, &to.name);
    let conninfo = format!("SELECT subconninfo FROM pg_subscription WHERE subname = '{first}'");
    let conninfo = servers.query(&from.name, &conninfo)?.ok_or("the subscription is gone")?;
    servers.query(
        &from.name,
        &format!(
            "CREATE SUBSCRIPTION {first}_{number} CONNECTION '{conninfo}' PUBLICATION everything \
             WITH (copy_data = false, origin = none)"
        ),
    )?;
    Ok(())
}

/// Waits until every link is proved.
async fn until_proved(spec: &ClusterSpec, links: u32) -> Outcome<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let found = verify::verify(spec, &nodes(spec), OffsetDateTime::now_utc()).await?;
        if found.proved() && found.links.len() == usize::try_from(links)? {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("the links are not proved: {:#?}", found.findings).into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The milliseconds of each run. Every link is proved in each.
async fn verify_it(spec: &ClusterSpec, links: u32, runs: u32) -> Outcome<Vec<f64>> {
    let mut times = Vec::new();
    for _ in 0..runs {
        let start = Instant::now();
        let found = verify::verify(spec, &nodes(spec), OffsetDateTime::now_utc()).await?;
        times.push(start.elapsed().as_secs_f64() * 1000.0);
        if !found.proved() || found.links.len() != usize::try_from(links)? {
            return Err(format!("the links are not proved: {:#?}", found.findings).into());
        }
    }
    Ok(times)
}
