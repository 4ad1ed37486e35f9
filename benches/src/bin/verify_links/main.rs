//! How long it takes to verify many live links: many subscriptions between three secured nodes.
//! Figures for people; nothing is asserted about them.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

use std::{
    error::Error,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;
use cluster::{
    demo::{DATABASE, DemoCluster, ROLE, Servers},
    inspect, prepare,
    run::Runner,
    spec::Mode,
    verify,
};
use pg_version::PgVersion;
use time::OffsetDateTime;

/// Measures how long it takes to verify live links.
#[derive(Parser)]
struct Arguments {
    /// The servers' major version, 16 or newer
    #[arg(long, value_name = "MAJOR", default_value = "17")]
    pg: PgVersion,
    /// How many links there are in the end
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(6..=50))]
    links: u32,
    /// How often each is done
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
}

type Outcome<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> ExitCode {
    let servers = Servers::default();
    let measured = measure(&Arguments::parse(), &servers).await;
    servers.stop();
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

async fn measure(arguments: &Arguments, servers: &Servers) -> Outcome<()> {
    let installation = pgtest::find(arguments.pg)?;
    servers.start(&installation, 3).await?;
    servers.join().await?;
    let cluster = servers.cluster(Mode::Cert)?;
    println!("PostgreSQL {}, {} runs, milliseconds", installation.full_version(), arguments.runs);
    println!("{:>8}{:>12}{:>8}{:>8}", "links", "median", "least", "most");
    // A mesh of three nodes has six links; more are added in turns.
    let mut links = 6;
    loop {
        secure(&cluster).await?;
        print_row(links, &mut verify_it(&cluster, links, arguments.runs).await?);
        if links >= arguments.links {
            return Ok(());
        }
        let more = (2 * links).min(arguments.links);
        for number in links..more {
            add_link(servers, &cluster, number)?;
        }
        links = more;
    }
}

async fn secure(cluster: &DemoCluster) -> Outcome<()> {
    let states = inspect::inspect_all(&cluster.spec, &cluster.nodes()).await?;
    let prepared = prepare::prepare(&cluster.spec, &states, OffsetDateTime::now_utc())?;
    Runner::new(&cluster.spec, &cluster.nodes()).apply(prepared).await?;
    Ok(())
}

/// Another subscription between two of the three nodes, as the first one between them is.
fn add_link(servers: &Servers, cluster: &DemoCluster, number: u32) -> Outcome<()> {
    let nodes = &cluster.spec.nodes;
    let pairs: Vec<_> =
        nodes.iter().flat_map(|from| nodes.iter().map(move |to| (from, to))).collect();
    let pairs: Vec<_> = pairs.into_iter().filter(|(from, to)| from.name != to.name).collect();
    let (from, to) = pairs[usize::try_from(number)? % pairs.len()];
    let (address, port) = (to.address, to.port);
    let first = format!("{}_from_{}", from.name, to.name).replace('-', "_");
    let conninfo = format!("SELECT subconninfo FROM pg_subscription WHERE subname = '{first}'");
    let conninfo = servers
        .query(&from.name, &conninfo)?
        .unwrap_or_else(|| format!("host={address} port={port} dbname={DATABASE} user={ROLE}"));
    servers.query(
        &from.name,
        &format!(
            "CREATE SUBSCRIPTION {first}_{number} CONNECTION '{conninfo}' PUBLICATION everything \
             WITH (copy_data = false, origin = none)"
        ),
    )?;
    Ok(())
}

/// The milliseconds of each run, once all links are proved.
async fn verify_it(cluster: &DemoCluster, links: u32, runs: u32) -> Outcome<Vec<f64>> {
    let verify = async || {
        let start = Instant::now();
        let found =
            verify::verify(&cluster.spec, &cluster.nodes(), OffsetDateTime::now_utc()).await?;
        Ok::<_, Box<dyn Error>>((start.elapsed().as_secs_f64() * 1000.0, found))
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let (_, found) = verify().await?;
        if found.proved() && found.links.len() == usize::try_from(links)? {
            break;
        }
        if Instant::now() > deadline {
            return Err(format!("the links are not proved: {:#?}", found.findings).into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut times = Vec::new();
    for _ in 0..runs {
        times.push(verify().await?.0);
    }
    Ok(times)
}

fn print_row(links: u32, times: &mut [f64]) {
    times.sort_by(f64::total_cmp);
    let (least, most) = (times.first(), times.last());
    let (Some(least), Some(most)) = (least, most) else { return };
    println!("{links:>8}{:>12.0}{least:>8.0}{most:>8.0}", times[times.len() / 2]);
}
