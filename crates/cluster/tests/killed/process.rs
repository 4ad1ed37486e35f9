//! A process that is killed (`kill -9`) after a record of the journal, and who watches meanwhile.

use std::{
    fs,
    os::unix::process::ExitStatusExt as _,
    process::{Command, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use cluster::{
    apply::{Event, Limits},
    inspect::{self, Node},
    prepare::{self, Prepared},
    run::{self, Runner},
    spec::{ClusterSpec, NodeSpec},
    transport::LocalFiles,
};
use rustix::process::{Signal, getpid, kill_process};
use time::OffsetDateTime;
use tokio::task::JoinHandle;

type Tested<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// What the child is to do, in its environment: see [`child`].
const SPEC: &str = "PGWARD_TEST_SPEC";
const DO: &str = "PGWARD_TEST_DO";
const KILL_AFTER: &str = "PGWARD_TEST_KILL_AFTER";

/// Shorter than what people have: a server that stands still is waited for by these tests, too.
pub(crate) const LIMITS: Limits = Limits { answer: Duration::from_secs(30), nodes: 16 };

/// Not a test of its own: the process that the others kill. It does what its environment says, and
/// ends itself as soon as so many records are in the journal.
#[tokio::test(flavor = "multi_thread")]
async fn child() -> Tested {
    let Ok(spec) = std::env::var(SPEC) else { return Ok(()) };
    let kill_after: usize = std::env::var(KILL_AFTER)?.parse()?;
    let spec: ClusterSpec = serde_json::from_str(&fs::read_to_string(spec)?)?;
    let records = AtomicUsize::new(0);
    let runner = watched(&spec, move |event| {
        let stage = matches!(event, Event::Stage { .. });
        if !stage && records.fetch_add(1, Ordering::SeqCst) + 1 >= kill_after {
            let _ = kill_process(getpid(), Signal::KILL);
            // The signal is on its way to every thread.
            loop {
                std::thread::park();
            }
        }
    });
    match std::env::var(DO)?.as_str() {
        "apply" => drop(runner.apply(prepare(&spec).await?).await?),
        "resume" => drop(runner.resume().await?),
        _ => drop(runner.rollback().await?),
    }
    Ok(())
}

/// Runs [`child`] in a process of its own; whether it came to its end.
pub(crate) async fn in_child(spec: &ClusterSpec, what: &str, kill_after: usize) -> Tested<bool> {
    let file = spec.secrets.with_extension("json");
    fs::write(&file, serde_json::to_string(spec)?)?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["killed::child", "--exact", "--nocapture"])
        .env(SPEC, file)
        .env(DO, what)
        .env(KILL_AFTER, kill_after.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit());
    let status: ExitStatus = tokio::task::spawn_blocking(move || command.status()).await??;
    assert!(status.success() || status.signal() == Some(9), "{what} {kill_after}: {status}");
    Ok(status.success())
}

/// The journal of the newest run loses a part of its last line, as when the system itself went down
/// while it was written: what it told was done, and is not known to be. What is about to be done is
/// not begun before its line is safe; where another node had come so far, that line stays.
pub(crate) fn tear(spec: &ClusterSpec) -> Tested {
    let newest = run::status(spec)?.runs.into_iter().next().ok_or("no run")?;
    let journal = newest.folder.join("journal.jsonl");
    let text = fs::read_to_string(&journal)?;
    let whole = text.trim_end().rfind('\n').map_or(0, |end| end + 1);
    let last: serde_json::Value = serde_json::from_str(&text[whole..])?;
    if last["record"] == "begin" || last["record"] == "undo" {
        return Ok(());
    }
    fs::write(&journal, &text[..whole + (text.len() - whole) / 2])?;
    Ok(())
}

fn nodes(spec: &ClusterSpec) -> Vec<Node> {
    let node = |spec: &NodeSpec| Node { spec: spec.clone(), files: Arc::new(LocalFiles) };
    spec.nodes.iter().map(node).collect()
}

pub(crate) async fn prepare(spec: &ClusterSpec) -> Tested<Prepared> {
    let states = inspect::inspect_all(spec, &nodes(spec)).await?;
    Ok(prepare::prepare(spec, &states, OffsetDateTime::now_utc())?)
}

pub(crate) fn runner(spec: &ClusterSpec) -> Runner {
    Runner::new(spec, &nodes(spec)).limits(LIMITS)
}

pub(crate) fn watched(
    spec: &ClusterSpec,
    watch: impl Fn(&Event) + Send + Sync + 'static,
) -> Runner {
    runner(spec).observer(Arc::new(move |event| watch(&event)))
}

/// Somebody who comes in as the administrator of every node all the time, and counts the failures.
pub(crate) struct AdminWatch {
    stop: Arc<AtomicBool>,
    watching: Vec<JoinHandle<(u32, Vec<String>)>>,
}

impl AdminWatch {
    pub(crate) fn begin(nodes: &[NodeSpec]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let watching = nodes.iter().map(|node| tokio::spawn(watch(node.clone(), stop.clone())));
        Self { watching: watching.collect(), stop }
    }

    /// Nobody was kept out, and it was tried.
    pub(crate) async fn end(self) -> Tested {
        self.stop.store(true, Ordering::Relaxed);
        for watching in self.watching {
            let (logins, failures) = watching.await?;
            assert_eq!(failures, Vec::<String>::new());
            assert!(logins > 0);
        }
        Ok(())
    }
}

async fn watch(node: NodeSpec, stop: Arc<AtomicBool>) -> (u32, Vec<String>) {
    let (mut logins, mut failures) = (0, Vec::new());
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    while !stop.load(Ordering::Relaxed) {
        match tokio_postgres::connect(&node.sql, tokio_postgres::NoTls).await {
            Ok((client, connection)) => {
                logins += 1;
                drop(client);
                if let Err(error) = connection.await {
                    failures.push(format!("{}: {error}", node.name));
                }
            }
            Err(error) => failures.push(format!("{}: {error:?}", node.name)),
        }
        pace.tick().await;
    }
    (logins, failures)
}
