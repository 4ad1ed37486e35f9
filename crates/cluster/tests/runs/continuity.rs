//! Rows that are written while a cluster is secured and taken back: none is lost. How long the
//! largest gap was is printed (`--nocapture`); a busy machine makes it longer, so nothing is asked of
//! it here.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use cluster::{demo::DATABASE, run::Outcome, spec::Mode};
use pg_version::PgVersion;

use crate::support::{Bench, Tested, until};

/// Writes a row on `node-1` every 20 ms, until it is stopped.
struct Writer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<u32, pgtest::Error>>,
}

impl Writer {
    fn start(bench: &Bench, first: u32) -> Tested<Self> {
        let connect = bench.servers.with("node-1", |server| server.connect().database(DATABASE))?;
        let stop = Arc::<AtomicBool>::default();
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut session = connect.open()?;
            let (mut number, mut next) = (first, Instant::now());
            while !stopped.load(Ordering::Relaxed) {
                session.query(&format!("INSERT INTO tick VALUES ({number})"))?;
                number += 1;
                // Who is late does not hurry afterwards.
                next = (next + Duration::from_millis(20)).max(Instant::now());
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
            Ok(number)
        });
        Ok(Self { stop, thread })
    }

    /// The number of the row that would have come next.
    fn end(self) -> Tested<u32> {
        self.stop.store(true, Ordering::Relaxed);
        Ok(self.thread.join().map_err(|_| "the writer panicked")??)
    }
}

/// A table whose rows tell when they arrived.
async fn make_table(bench: &Bench) -> Tested {
    for statement in [
        "CREATE TABLE tick (number int PRIMARY KEY, written timestamptz DEFAULT clock_timestamp(), \
         arrived timestamptz)",
        "CREATE FUNCTION arrive() RETURNS trigger LANGUAGE plpgsql \
         AS $$BEGIN NEW.arrived := clock_timestamp(); RETURN NEW; END$$",
        "CREATE TRIGGER arrive BEFORE INSERT ON tick FOR EACH ROW EXECUTE FUNCTION arrive()",
        "ALTER TABLE tick ENABLE REPLICA TRIGGER arrive",
    ] {
        for node in bench.names() {
            bench.query(&node, statement)?;
        }
    }
    for node in bench.names() {
        for other in bench.names().iter().filter(|other| **other != node) {
            let name = format!("{node}_from_{other}").replace('-', "_");
            bench.query(
                &node,
                &format!("ALTER SUBSCRIPTION {name} REFRESH PUBLICATION WITH (copy_data = false)"),
            )?;
        }
        let ready = "SELECT count(*) FROM pg_subscription_rel WHERE srsubstate <> 'r'";
        until("the table to be replicated", async || {
            Ok(bench.query(&node, ready)?.as_deref() == Some("0"))
        })
        .await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_row_is_lost() -> Tested {
    for mode in [Mode::Cert, Mode::Scram] {
        let bench = Bench::start(PgVersion::V18, mode, 3).await?;
        make_table(&bench).await?;
        let mut first = 0;
        for (what, back) in [("secured", false), ("taken back", true)] {
            let writer = Writer::start(&bench, first)?;
            let start = Instant::now();
            if back {
                assert_eq!(bench.rollback().await?, Outcome::TakenBack { kept: Vec::new() });
            } else {
                assert_eq!(bench.apply().await?, Outcome::Applied);
            }
            let took = start.elapsed();
            let next = writer.end()?;
            let written = next - first;
            for node in ["node-2", "node-3"] {
                let count = format!("SELECT count(*) FROM tick WHERE number >= {first}");
                until(&format!("{written} rows on {node}"), async || {
                    Ok(bench.query(node, &count)? == Some(written.to_string()))
                })
                .await?;
                let gap = format!(
                    "SELECT round(extract(epoch FROM max(gap)) * 1000) FROM \
                     (SELECT arrived - lag(arrived) OVER (ORDER BY arrived) AS gap FROM tick \
                      WHERE number >= {first}) t"
                );
                let gap = bench.query(node, &gap)?;
                println!(
                    "{mode:?}, {what} in {took:?}: {written} rows, largest gap on {node} {} ms",
                    gap.unwrap_or_default()
                );
            }
            first = next;
        }
    }
    Ok(())
}
