//! A writer that does not stop while a cluster is changed, and what became of its rows.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{Error, Node, PgdMesh, Result};

/// Writes rows on the first node, one every so often, until it is [finished](Self::finish).
#[derive(Debug)]
pub struct Writer {
    mesh: PgdMesh,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<u32>>>,
}

/// What another node has of the rows. Times are the servers' own, all of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Continuity {
    /// The node.
    pub node: String,
    /// How many rows were written.
    pub written: u32,
    /// How many of them it has.
    pub arrived: u32,
    /// The longest that a row took from being written to being applied.
    pub longest_delay: Duration,
    /// The longest time between one row's being applied and the next one's.
    pub largest_gap: Duration,
}

impl Writer {
    /// Starts to write, with this pause between two rows.
    pub fn start(mesh: &PgdMesh, pause: Duration) -> Result<Self> {
        let stop = Arc::<AtomicBool>::default();
        let (first, stopped) = (first(mesh)?.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            let mut session = first.session()?;
            let mut next = Instant::now();
            for number in 0.. {
                if stopped.load(Ordering::Relaxed) {
                    return Ok(number);
                }
                let name = first.name();
                session.query(&format!("INSERT INTO note VALUES ('writer-{number}', '{name}')"))?;
                // Who is late does not hurry afterwards.
                next = (next + pause).max(Instant::now());
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
            Ok(0)
        });
        Ok(Self { mesh: mesh.clone(), stop, thread: Some(thread) })
    }

    /// Stops writing, waits until every other node has the last row, and tells what each has.
    pub fn finish(mut self) -> Result<Vec<Continuity>> {
        self.stop.store(true, Ordering::Relaxed);
        let written = match self.thread.take().map(JoinHandle::join) {
            Some(Ok(written)) => written?,
            _ => return Err(Error::Late("the writer ended before it was stopped".to_owned())),
        };
        if written == 0 {
            return Err(Error::Late("nothing was written".to_owned()));
        }
        let last = format!("SELECT count(*) FROM note WHERE id = 'writer-{}'", written - 1);
        let others = self.mesh.nodes().iter().skip(1);
        let seen = |node: &Arc<Node>| {
            node.wait(&last, "1")?;
            continuity(node, written)
        };
        others.map(seen).collect()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Whoever drops it does not ask.
            let _ = thread.join();
        }
    }
}

fn first(mesh: &PgdMesh) -> Result<&Arc<Node>> {
    mesh.nodes().first().ok_or_else(|| Error::Late("a mesh without nodes".to_owned()))
}

fn continuity(node: &Node, written: u32) -> Result<Continuity> {
    let rows = node.sql(
        "SELECT count(*), (max(extract(epoch FROM arrived_at - written_at)) * 1000000)::bigint, \
             (coalesce(max(extract(epoch FROM gap)), 0) * 1000000)::bigint \
         FROM (SELECT *, arrived_at - lag(arrived_at) OVER (ORDER BY arrived_at) AS gap \
               FROM note WHERE id LIKE 'writer-%') AS rows",
    )?;
    let number = |column: usize| -> u64 {
        let value = rows.rows.first().and_then(|row| row.get(column)).cloned().flatten();
        value.and_then(|value| value.parse().ok()).unwrap_or_default()
    };
    Ok(Continuity {
        node: node.name().to_owned(),
        written,
        arrived: u32::try_from(number(0)).unwrap_or(u32::MAX),
        longest_delay: Duration::from_micros(number(1)),
        largest_gap: Duration::from_micros(number(2)),
    })
}
