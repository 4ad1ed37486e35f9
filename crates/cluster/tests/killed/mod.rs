//! `kill -9` after a record of the journal, whatever links the cluster has.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::{
    fmt::Debug,
    fs,
    os::unix::process::ExitStatusExt as _,
    process::{Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use cluster::{
    apply::{Event, Limits},
    inspect::{self, Node},
    prepare::{self, Prepared},
    run::{self, Outcome, Runner, State},
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

/// Set by hand: after every record, not one of each kind.
const EVERY: &str = "PGWARD_TEST_EVERY_RECORD";

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

async fn prepare(spec: &ClusterSpec) -> Tested<Prepared> {
    let states = inspect::inspect_all(spec, &nodes(spec)).await?;
    Ok(prepare::prepare(spec, &states, OffsetDateTime::now_utc())?)
}

fn runner(spec: &ClusterSpec) -> Runner {
    Runner::new(spec, &nodes(spec)).limits(LIMITS)
}

fn watched(spec: &ClusterSpec, watch: impl Fn(&Event) + Send + Sync + 'static) -> Runner {
    runner(spec).observer(Arc::new(move |event| watch(&event)))
}

/// The records of a run, as they come.
#[derive(Clone, Default)]
struct Records(Arc<Mutex<Vec<Kind>>>);

/// What a record is of: the stage and the step without names, and whether it was done by then.
type Kind = (String, bool);

impl Records {
    /// Remembers those of a run.
    fn of(&self) -> impl Fn(&Event) + Send + Sync + 'static {
        let records = self.0.clone();
        let stage = Mutex::new(String::new());
        move |event| {
            let mut stage = stage.lock().unwrap_or_else(PoisonError::into_inner);
            let step = |what: &str| {
                let end = what.find(['/', '"', '\'', '(', '=']).unwrap_or(what.len());
                let words: Vec<&str> = what[..end].split(' ').take(4).collect();
                format!("{stage}: {}", words.join(" "))
            };
            let kind = match event {
                Event::Stage { title } => return stage.clone_from(title),
                Event::Begin { what, .. } | Event::Undoing { what, .. } => (step(what), false),
                Event::Done { what, .. } | Event::Undone { what, .. } => (step(what), true),
                other => (format!("{other:?}"), true),
            };
            records.lock().unwrap_or_else(PoisonError::into_inner).push(kind);
        }
    }

    /// Those to be killed after, from 1: one of every second kind, in turn when it is begun and when it is
    /// done.
    fn chosen(&self, first: usize) -> Vec<usize> {
        let records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if std::env::var_os(EVERY).is_some() {
            return (1..=records.len()).collect();
        }
        let mut kinds: Vec<&str> = Vec::new();
        for (kind, _) in records.iter() {
            if !kinds.contains(&kind.as_str()) {
                kinds.push(kind);
            }
        }
        let place = |(turn, kind): (usize, &str)| {
            let of = |done| records.iter().position(|it| (it.0.as_str(), it.1) == (kind, done));
            of(turn % 2 == 1).or_else(|| of(turn % 2 == 0)).map(|place| place + 1)
        };
        kinds.into_iter().skip(first).step_by(2).enumerate().filter_map(place).collect()
    }
}

/// A cluster, with all that must be as it was found, and work.
pub(crate) trait Found {
    type State: PartialEq + Debug;

    fn spec(&self) -> &ClusterSpec;

    /// Everything that a run may change.
    fn state(&self) -> Tested<Self::State>;

    /// Every link works.
    async fn works(&self) -> Tested;
}

/// Killed while it is applied, after a record of every second kind, from the `first` on: where clusters of
/// two topologies are killed, one has the others. Then it is taken back at once, or finished,
/// and killed again while it is taken back from its end; every third time the last record is torn. What
/// was found is there again each time, and nobody was kept out.
pub(crate) async fn killed_anywhere(cluster: &impl Found, first: usize) -> Tested {
    let spec = cluster.spec();
    let found = cluster.state()?;
    let watch = AdminWatch::begin(&spec.nodes);
    let (forward, back) = (Records::default(), Records::default());
    let applied = watched(spec, forward.of()).apply(prepare(spec).await?).await?;
    assert_eq!(applied, Outcome::Applied);
    cluster.works().await?;
    let outcome = watched(spec, back.of()).rollback().await?;
    is_as_found(cluster, outcome, &found, "not killed").await?;

    let mut back = back.chosen(first).into_iter().cycle();
    for (turn, record) in forward.chosen(first).into_iter().enumerate() {
        let when = format!("killed after record {record}");
        if in_child(spec, "apply", record).await? {
            // A run has a record more or less, as it comes.
            assert!(record > 10, "{when}: it came to its end");
        } else if turn % 3 == 0 {
            tear(spec)?;
        }
        let unfinished = run::status(spec)?.unfinished().is_some();
        if unfinished && turn % 2 == 1 {
            assert_eq!(runner(spec).resume().await?, Outcome::Applied, "{when}");
            assert!(prepare(spec).await?.plan.is_empty(), "{when}");
            cluster.works().await?;
            let record = back.next().ok_or("no record of taking back")?;
            in_child(spec, "rollback", record).await?;
            let state = run::status(spec)?.runs[0].state;
            let when = format!("{when}, and after record {record} of taking back: {state:?}");
            let outcome = match state {
                State::TakingBack if turn % 4 == 1 => runner(spec).resume().await?,
                State::TakenBack => Outcome::TakenBack { kept: Vec::new() },
                _ => runner(spec).rollback().await?,
            };
            is_as_found(cluster, outcome, &found, &when).await?;
        } else {
            is_as_found(cluster, runner(spec).rollback().await?, &found, &when).await?;
        }
    }
    watch.end().await
}

async fn is_as_found<F: Found>(
    cluster: &F,
    outcome: Outcome,
    found: &F::State,
    when: &str,
) -> Tested {
    assert_eq!(outcome, Outcome::TakenBack { kept: Vec::new() }, "{when}");
    assert_eq!(&cluster.state()?, found, "{when}");
    cluster.works().await
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
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    (logins, failures)
}
