//! `kill -9` after records of a run, whatever links the cluster has.

use std::{
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
};

use cluster::{
    apply::Event,
    run::{self, Outcome, State},
    spec::ClusterSpec,
};

use crate::killed::{AdminWatch, in_child, prepare, runner, tear, watched};

type Tested<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Set by hand: after every record, not one of each kind.
const EVERY: &str = "PGWARD_TEST_EVERY_RECORD";

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
