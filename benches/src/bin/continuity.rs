//! How long replication stands still while its links are secured, their authority rotated, and all of
//! it taken back: rows are written on every node of a mesh all the time. Figures for people; that no
//! row is lost is looked at, nothing else is asserted.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use benches::{How, Outcome};
use clap::Parser;
use cluster::{
    demo::{DATABASE, DemoCluster, Servers},
    inspect, prepare, rotate,
    run::Runner,
    spec::Mode,
};
use pg_version::PgVersion;
use time::OffsetDateTime;

/// Measures how long replication stands still while a mesh of three nodes is changed under it.
#[derive(Parser)]
struct Arguments {
    /// The servers' major version, 16 or newer
    #[arg(long, value_name = "MAJOR", default_value = "18")]
    pg: PgVersion,
    /// How the links log in [default: both, one after the other]
    #[arg(long)]
    mode: Option<How>,
    /// The milliseconds between two rows of a node
    #[arg(long, value_name = "MS", default_value_t = 20)]
    pause: u64,
    /// The servers' `wal_retrieve_retry_interval`: 5s is PostgreSQL's own
    #[arg(long, value_name = "TIME", default_value = "5s")]
    retry_interval: String,
    /// How often all of it is done
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
}

const NODES: [&str; 3] = ["node-1", "node-2", "node-3"];

/// What is done under the writers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Secure,
    RotateCertificates,
    RotateAuthority,
    RotatePasswords,
    TakeBack,
}

impl Change {
    fn all(mode: Mode) -> Vec<Self> {
        let rotations: &[Self] = match mode {
            Mode::Scram => &[Self::RotatePasswords, Self::RotateAuthority],
            _ => &[Self::RotateCertificates, Self::RotateAuthority],
        };
        // What was applied last is what can be taken back.
        [&[Self::Secure], rotations, &[Self::TakeBack]].concat()
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Secure => "secure",
            Self::RotateCertificates => "rotate certificates",
            Self::RotateAuthority => "rotate authority",
            Self::RotatePasswords => "rotate passwords",
            Self::TakeBack => "take that back",
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    benches::ended(measure(&Arguments::parse()).await)
}

async fn measure(arguments: &Arguments) -> Outcome {
    let modes = match arguments.mode {
        None => vec![Mode::Cert, Mode::Scram],
        Some(how) => vec![how.into()],
    };
    let installation = pgtest::find(arguments.pg)?;
    println!(
        "PostgreSQL {}, a row on each of 3 nodes every {} ms, wal_retrieve_retry_interval {}, {} runs",
        installation.full_version(),
        arguments.pause,
        arguments.retry_interval,
        arguments.runs
    );
    println!(
        "{:<8}{:<22}{:>8}{:>8}{:>6}{:>24}{:>12}",
        "", "", "seconds", "rows", "lost", "gap, ms (median, most)", "delay, ms"
    );
    for mode in modes {
        let changes = Change::all(mode);
        let mut seen: Vec<Vec<Seen>> = changes.iter().map(|_| Vec::new()).collect();
        for run in 1..=arguments.runs {
            eprintln!("{mode:?}, run {run} of {}", arguments.runs);
            let servers = Servers::default();
            let measured = measure_once(arguments, mode, &servers, &changes).await;
            servers.stop();
            for (all, one) in seen.iter_mut().zip(measured?) {
                all.push(one);
            }
        }
        for (change, mut seen) in changes.into_iter().zip(seen) {
            print_row(mode, change, &mut seen);
        }
    }
    Ok(())
}

fn print_row(mode: Mode, change: Change, seen: &mut [Seen]) {
    seen.sort_by(|a, b| a.gap.total_cmp(&b.gap));
    let Some(middle) = seen.get(seen.len() / 2) else { return };
    let most = |of: fn(&Seen) -> f64| seen.iter().map(of).fold(0.0, f64::max);
    let rows: u64 = seen.iter().map(|one| one.rows).sum();
    let lost: u64 = seen.iter().map(|one| one.lost).sum();
    println!(
        "{:<8}{:<22}{:>8.2}{rows:>8}{lost:>6}{:>12.0}{:>12.0}{:>12.0}",
        mode.hba_method().split('-').next().unwrap_or_default(),
        change.title(),
        most(|one| one.seconds),
        middle.gap,
        most(|one| one.gap),
        most(|one| one.delay),
    );
}

/// What became of the rows of all writers on all other nodes.
struct Seen {
    /// How long the change took.
    seconds: f64,
    rows: u64,
    lost: u64,
    /// The longest time, in milliseconds, between two rows of one node arriving on another.
    gap: f64,
    /// The longest time that a row was under way, in milliseconds.
    delay: f64,
}

async fn measure_once(
    arguments: &Arguments,
    mode: Mode,
    servers: &Servers,
    changes: &[Change],
) -> Outcome<Vec<Seen>> {
    servers.start(&pgtest::find(arguments.pg)?, 3).await?;
    servers.join().await?;
    for node in NODES {
        let set = format!(
            "ALTER SYSTEM SET wal_retrieve_retry_interval = '{}'",
            arguments.retry_interval
        );
        servers.query(node, &set)?;
        servers.query(node, "SELECT pg_reload_conf()")?;
    }
    let cluster = servers.cluster(mode)?;
    make_table(servers)?;
    let mut seen = Vec::new();
    for change in changes {
        // Workers that have just been started are started again only after the interval; who changes
        // a cluster by hand is never so fast.
        for node in NODES {
            wait(servers, node, YOUNG_WORKERS, "0")?;
        }
        let writers = Writers::start(servers, arguments.pause)?;
        rows_arrive(servers)?;
        let start = Instant::now();
        make(&cluster, *change).await?;
        let seconds = start.elapsed().as_secs_f64();
        rows_arrive(servers)?;
        seen.push(Seen { seconds, ..look(servers, &writers.end()?)? });
    }
    Ok(seen)
}

/// Workers of subscriptions that are younger than the interval.
const YOUNG_WORKERS: &str = "SELECT count(*) FROM pg_stat_activity \
     WHERE backend_type LIKE 'logical replication%worker' \
     AND backend_start > clock_timestamp() - current_setting('wal_retrieve_retry_interval')::interval";

/// Waits until rows of every writer that are written from now on are on every other node.
fn rows_arrive(servers: &Servers) -> Outcome {
    const ROWS: i64 = 15;
    for node in NODES {
        let of = format!("SELECT coalesce(max(number), -1) FROM tick WHERE node = '{node}'");
        let last: i64 = servers.query(node, &of)?.ok_or("no number")?.parse()?;
        let number = last + ROWS;
        let there =
            format!("SELECT count(*) FROM tick WHERE node = '{node}' AND number = {number}");
        for reader in NODES {
            wait(servers, reader, &there, "1")?;
        }
    }
    Ok(())
}

async fn make(cluster: &DemoCluster, change: Change) -> Outcome {
    let runner = Runner::new(&cluster.spec, &cluster.nodes());
    if change == Change::TakeBack {
        runner.rollback().await?;
        return Ok(());
    }
    let states = inspect::inspect_all(&cluster.spec, &cluster.nodes()).await?;
    let now = OffsetDateTime::now_utc();
    let plan = match change {
        Change::Secure | Change::TakeBack => prepare::prepare(&cluster.spec, &states, now)?,
        Change::RotateCertificates => rotate::certificates(&cluster.spec, &states, now)?,
        Change::RotateAuthority => rotate::authority(&cluster.spec, &states, now)?,
        Change::RotatePasswords => rotate::passwords(&cluster.spec, &states, now)?,
    };
    runner.apply(plan).await?;
    Ok(())
}

/// A table whose rows tell when they were written and when they arrived.
fn make_table(servers: &Servers) -> Outcome {
    for statement in [
        "CREATE TABLE tick (node text, number int, written timestamptz DEFAULT clock_timestamp(), \
         arrived timestamptz, PRIMARY KEY (node, number))",
        "CREATE FUNCTION arrive() RETURNS trigger LANGUAGE plpgsql \
         AS $$BEGIN NEW.arrived := clock_timestamp(); RETURN NEW; END$$",
        "CREATE TRIGGER arrive BEFORE INSERT ON tick FOR EACH ROW EXECUTE FUNCTION arrive()",
        "ALTER TABLE tick ENABLE REPLICA TRIGGER arrive",
    ] {
        for node in NODES {
            servers.query(node, statement)?;
        }
    }
    for node in NODES {
        for other in NODES.into_iter().filter(|other| *other != node) {
            let name = format!("{node}_from_{other}").replace('-', "_");
            servers.query(
                node,
                &format!("ALTER SUBSCRIPTION {name} REFRESH PUBLICATION WITH (copy_data = false)"),
            )?;
        }
        let waiting = "SELECT count(*) FROM pg_subscription_rel WHERE srsubstate <> 'r'";
        wait(servers, node, waiting, "0")?;
    }
    Ok(())
}

fn wait(servers: &Servers, node: &str, query: &str, expected: &str) -> Outcome {
    let deadline = Instant::now() + Duration::from_secs(60);
    while servers.query(node, query)?.as_deref() != Some(expected) {
        if Instant::now() > deadline {
            return Err(format!("{node}: {query} is never {expected}").into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// A writer on every node.
struct Writers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<Written, pgtest::Error>>>,
}

/// The rows that a node's writer wrote: from the first number on, up to the second.
struct Written {
    node: &'static str,
    first: u64,
    end: u64,
}

impl Writers {
    fn start(servers: &Servers, pause: u64) -> Outcome<Self> {
        let stop = Arc::<AtomicBool>::default();
        let mut threads = Vec::new();
        for node in NODES {
            let next =
                format!("SELECT coalesce(max(number) + 1, 0) FROM tick WHERE node = '{node}'");
            let first = servers.query(node, &next)?.ok_or("no number")?.parse()?;
            let connect = servers.with(node, |server| server.connect().database(DATABASE))?;
            let (stopped, pause) = (stop.clone(), Duration::from_millis(pause));
            threads.push(std::thread::spawn(move || {
                let mut session = connect.open()?;
                let (mut end, mut next) = (first, Instant::now());
                while !stopped.load(Ordering::Relaxed) {
                    session.query(&format!("INSERT INTO tick VALUES ('{node}', {end})"))?;
                    end += 1;
                    // Who is late does not hurry afterwards.
                    next = (next + pause).max(Instant::now());
                    std::thread::sleep(next.saturating_duration_since(Instant::now()));
                }
                Ok(Written { node, first, end })
            }));
        }
        Ok(Self { stop, threads })
    }

    fn end(self) -> Outcome<Vec<Written>> {
        self.stop.store(true, Ordering::Relaxed);
        let end = |thread: JoinHandle<Result<Written, pgtest::Error>>| {
            Ok(thread.join().map_err(|_| "a writer panicked")??)
        };
        self.threads.into_iter().map(end).collect()
    }
}

/// Looks on every node for the rows of all others.
fn look(servers: &Servers, written: &[Written]) -> Outcome<Seen> {
    let mut seen = Seen { seconds: 0.0, rows: 0, lost: 0, gap: 0.0, delay: 0.0 };
    for Written { node, first, end } in written {
        let of = format!("FROM tick WHERE node = '{node}' AND number >= {first}");
        for reader in NODES.into_iter().filter(|reader| reader != node) {
            let number = |query: String| -> Outcome<f64> {
                Ok(servers.query(reader, &query)?.ok_or("no row")?.parse()?)
            };
            let rows = end - first;
            let arrived = format!("SELECT count(*) {of}");
            // What is not there in the end is lost.
            let there = match wait(servers, reader, &arrived, &rows.to_string()) {
                Ok(()) => rows,
                Err(_) => servers.query(reader, &arrived)?.ok_or("no count")?.parse()?,
            };
            seen.rows += rows;
            seen.lost += rows - there;
            let gap = number(format!(
                "SELECT round(extract(epoch FROM max(gap)) * 1000, 1) FROM \
                 (SELECT arrived - lag(arrived) OVER (ORDER BY arrived) AS gap {of}) t"
            ))?;
            let delay = number(format!(
                "SELECT round(extract(epoch FROM max(arrived - written)) * 1000, 1) {of}"
            ))?;
            seen.gap = seen.gap.max(gap);
            seen.delay = seen.delay.max(delay);
        }
    }
    Ok(seen)
}
