//! Runs: plans that are being applied, were applied, or are taken back.
//!
//! Everything about a run is on disk before the first node is touched, so that whatever happens to the
//! process, [`Runner::resume`] can finish the work or [`Runner::rollback`] take it back.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use cluster::{inspect, prepare, run::{self, Runner}, spec::ClusterSpec};
//! # async fn secure(spec: ClusterSpec, nodes: Vec<inspect::Node>) -> Result<(), cluster::Error> {
//! let states = inspect::inspect_all(&spec, &nodes).await?;
//! let prepared = prepare::prepare(&spec, &states, time::OffsetDateTime::now_utc())?;
//! let runner = Runner::new(&spec, &nodes).observer(Arc::new(|event| println!("{event:?}")));
//! runner.apply(prepared).await?;
//! // Later, perhaps in another process:
//! for run in run::status(&spec)?.runs {
//!     println!("{}: {:?}", run.id, run.state);
//! }
//! runner.rollback().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # On disk
//! In the folder for secrets (mode 0700), every file with mode 0600:
//!
//! | path | what |
//! |---|---|
//! | `lock` | locked (`flock`) by the process that works on the cluster; tells which |
//! | `applied.json` | [`Applied`]: what the runs have left on the nodes: texts without secrets, and digests |
//! | `applied.key` | what the digests are made with (32 octets): without it they tell nothing, to nobody |
//! | `runs/NNNN-TIME/run.json` | the format's version (1), pgward's version, when the run was begun, SHA-256 of the description, what its sessions are called by |
//! | `runs/NNNN-TIME/plan.json` | the [`Plan`], without secrets |
//! | `runs/NNNN-TIME/vault.json` | the secrets that doing it and taking it back need, as base64 by the names that the plan has for them; removed when the run was taken back |
//! | `runs/NNNN-TIME/journal.jsonl` | what was begun and done: one JSON object a line, each on disk (`fdatasync`) before anything else happens |
//! | `runs/NNNN-TIME/applied-before.json` | `applied.json` as it was before the run, if it was |
//!
//! A run's folder appears and disappears as a whole. A journal's line has `at` (RFC 3339), `record`,
//! and for most records `stage` and `step`: the step's place in the plan, both from 0. The records:
//! `apply` (the work goes forward from here), `begin` and `done` or `failed` around each step,
//! `applied`; `take-back` (it goes backward from here), `undo` and `undone` or `left` around each step,
//! `taken-back`; `abandoned`. A last line that is not whole is none.
//!
//! The last run that was applied stays, so that it can be taken back; when a run was applied, all
//! others go.
//!
//! # On the nodes
//! While a run is at work on a node, a session of it there has the advisory lock 123589686817380 (`pgward`
//! in ASCII): another machine's pgward, with another folder for secrets, is refused before it begins. The
//! lock ends with the session. Where the machine that had it is gone, its server finds out in a minute;
//! `pg_terminate_backend` ends it sooner. Who only reads takes none.

pub mod applied;
mod digest;
mod folder;
pub(crate) mod journal;
mod lock;
mod observed;
mod vault;

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
};

pub use applied::Applied;
pub use digest::Digest;
pub(crate) use digest::DigestKey;
pub use journal::State;
pub(crate) use lock::RunLock;
pub(crate) use observed::Observed;
use serde::Serialize;
use time::OffsetDateTime;
use tokio::sync::Mutex;

use self::{
    folder::RunFolder,
    journal::{At, Record, Told},
};
use crate::{
    apply::{self, Application, Ended, Limits, Observer, Work},
    authority,
    error::Error,
    inspect::{self, Node, NodeState, THIS_MACHINE},
    plan::Plan,
    prepare::Prepared,
    spec::{ClusterSpec, Mode},
    topology::{self, Link},
    verify::{Finding, drift},
};

/// Applies plans to a cluster, and takes them back.
///
/// A future of it that is dropped, or whose process is killed, leaves an unfinished run.
#[derive(Clone)]
pub struct Runner {
    spec: ClusterSpec,
    nodes: Vec<Node>,
    observer: Observer,
    limits: Limits,
}

impl std::fmt::Debug for Runner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runner")
            .field("nodes", &self.nodes)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
#[non_exhaustive]
pub enum Outcome {
    /// The plan was empty: nothing was touched.
    NothingToDo,
    /// Everything was done.
    Applied,
    /// Everything was taken back.
    TakenBack {
        /// What somebody else had changed since, and is theirs.
        kept: Vec<String>,
    },
}

impl Runner {
    /// For a cluster and the ways to its nodes.
    #[must_use]
    pub fn new(spec: &ClusterSpec, nodes: &[Node]) -> Self {
        Self {
            spec: spec.clone(),
            nodes: nodes.to_vec(),
            observer: Arc::new(|_| ()),
            limits: Limits::default(),
        }
    }

    /// With somebody who watches.
    #[must_use]
    pub fn observer(mut self, observer: Observer) -> Self {
        self.observer = observer;
        self
    }

    /// With other limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Begins a run and does what the plan says.
    ///
    /// # Errors
    /// [`Error::Run`] if a run is unfinished, or another process is at work, here or by another machine
    /// on one of the nodes: nothing was touched.
    /// [`Error::TakenBack`] with the first thing that failed: every node is as it was found, unless
    /// that error says which is not.
    pub async fn apply(&self, prepared: Prepared) -> Result<Outcome, Error> {
        no_unfinished(&self.spec)?;
        if prepared.plan.is_empty() {
            return Ok(Outcome::NothingToDo);
        }
        folder::make_folder(&self.spec.secrets)?;
        let lock = RunLock::take(&self.spec.secrets)?;
        // Once more: whoever had the lock until now may have left one.
        no_unfinished(&self.spec)?;
        self.knows_nodes_of(&prepared.plan)?;
        let now = OffsetDateTime::now_utc();
        let run = RunFolder::create(&self.spec, &prepared.plan, &prepared.vault, now)?;
        let work = self.work(&run, lock)?;
        if let Err(error) = work.keep_others_out().await {
            run.remove()?;
            return Err(error);
        }
        self.forward(&run, &work).await
    }

    /// Goes on with the unfinished run, the way that it was going: forward, or back.
    ///
    /// # Errors
    /// [`Error::Run`] if there is none, the description is another one by now, or another process is
    /// at work, here or on one of the nodes; else as [`Runner::apply`] and [`Runner::rollback`].
    pub async fn resume(&self) -> Result<Outcome, Error> {
        let (run, work) = self.take_up(Which::Unfinished)?;
        let goes_back = work.journal.told().state == Some(State::TakingBack);
        if !goes_back && run.header()?.description != folder::digest(&self.spec)? {
            return Err(Error::run(format!(
                "the description is not the one that run {} was begun with: bring that back, or \
                 rollback",
                run.id
            )));
        }
        work.keep_others_out().await?;
        apply::tidy(&work).await?;
        if goes_back { self.back(&run, &work).await } else { self.forward(&run, &work).await }
    }

    /// Takes the unfinished run back, or if there is none, the last one that was applied. What
    /// somebody else has changed since stays, and is named.
    ///
    /// # Errors
    /// [`Error::Run`] if there is none, or another process is at work, here or on one of the nodes;
    /// [`Error::Left`] with what could not be taken back: the run stays unfinished then.
    pub async fn rollback(&self) -> Result<Outcome, Error> {
        let (run, work) = self.take_up(Which::UnfinishedOrApplied)?;
        work.keep_others_out().await?;
        self.is_in_no_use(&work).await?;
        apply::tidy(&work).await?;
        self.back(&run, &work).await
    }

    /// Refuses to take an authority back that nodes have been given certificates of by bundles: such a run
    /// has steps on this machine only.
    async fn is_in_no_use(&self, work: &Work) -> Result<(), Error> {
        let mut steps = work.plan.stages.iter().flat_map(|stage| &stage.steps);
        if steps.any(|step| step.node != *THIS_MACHINE) {
            return Ok(());
        }
        let Ok(authority) = authority::open(&self.spec.secrets) else { return Ok(()) };
        let root = authority.root().to_pem();
        for state in inspect::inspect_all(&self.spec, &self.nodes).await? {
            let has_it = |bytes: &[u8]| bytes.windows(root.len()).any(|it| it == root.as_bytes());
            if state.files.values().flatten().any(|file| has_it(&file.bytes)) {
                return Err(Error::run(format!(
                    "node {} has the certificate of the authority that this would remove: take the \
                     bundles back first, as their README says",
                    state.name
                )));
            }
        }
        Ok(())
    }

    /// Gives the unfinished run up, with the nodes as they are: for one that can neither be finished
    /// nor taken back, because a node is lost, or somebody wants to keep what is in the way.
    ///
    /// # Errors
    /// [`Error::Run`] if there is none, or another process is at work.
    pub async fn abandon(&self) -> Result<(), Error> {
        let (_, work) = self.take_up(Which::Unfinished)?;
        work.record(Record::Abandoned).await
    }

    /// Opens a run.
    fn take_up(&self, which: Which) -> Result<(RunFolder, Arc<Work>), Error> {
        let none = || {
            Error::run(match which {
                Which::Unfinished => "there is no unfinished run",
                Which::UnfinishedOrApplied => "there is no run to take back",
            })
        };
        if RunFolder::all(&self.spec.secrets)?.is_empty() {
            return Err(none());
        }
        let lock = RunLock::take(&self.spec.secrets)?;
        let mut runs = Vec::new();
        for run in RunFolder::all(&self.spec.secrets)?.into_iter().rev() {
            run.header()?;
            let state = state_of(&run.told()?);
            runs.push((run, state));
        }
        let unfinished = runs.iter().position(|(_, state)| !state.is_finished());
        let applied = runs.iter().position(|(_, state)| *state == State::Applied);
        let found = match which {
            Which::Unfinished => unfinished,
            Which::UnfinishedOrApplied => unfinished.or(applied),
        };
        let (run, _) = runs.swap_remove(found.ok_or_else(none)?);
        let work = self.work(&run, lock)?;
        self.knows_nodes_of(&work.plan)?;
        Ok((run, work))
    }

    fn work(&self, run: &RunFolder, lock: RunLock) -> Result<Arc<Work>, Error> {
        let nodes = self.nodes.iter().cloned().chain([Node::this_machine()]);
        let all = format!("pgward {} {}.", run.id, run.header()?.token);
        let own = all.clone() + &folder::random()?;
        Ok(Arc::new(Work {
            spec: self.spec.clone(),
            nodes: nodes.map(|node| (node.spec.name.clone(), node)).collect(),
            plan: run.plan()?,
            vault: run.vault()?,
            journal: run.journal()?,
            observer: self.observer.clone(),
            limits: self.limits,
            application: Application { run: all, own },
            sessions: Mutex::default(),
            links_back_by: OnceLock::new(),
            _lock: lock,
        }))
    }

    fn knows_nodes_of(&self, plan: &Plan) -> Result<(), Error> {
        let known = |name: &str| {
            name == THIS_MACHINE || self.nodes.iter().any(|node| node.spec.name == name)
        };
        let mut steps = plan.stages.iter().flat_map(|stage| &stage.steps);
        match steps.find(|step| !known(&step.node)) {
            None => Ok(()),
            Some(step) => Err(Error::run(format!(
                "the run changes node {}, which is not described: describe it as it was",
                step.node
            ))),
        }
    }

    async fn forward(&self, run: &RunFolder, work: &Arc<Work>) -> Result<Outcome, Error> {
        let applied = async {
            work.record(Record::Apply).await?;
            apply::forward(work).await?;
            let key = DigestKey::of(&self.spec.secrets)?;
            let mut left = run.left_behind(&work.plan, &work.vault, &key)?;
            for (node, seen) in observed::observe(work).await {
                left.observe(&node, seen);
            }
            left.write(&self.spec.secrets)?;
            work.record(Record::Applied).await
        };
        if let Err(cause) = applied.await {
            let ended = self.take_back(run, work).await;
            let Ended { kept, left } = ended;
            return Err(Error::TakenBack { cause: Box::new(cause), kept, left });
        }
        for older in RunFolder::all(&self.spec.secrets).into_iter().flatten() {
            if older.id != run.id {
                // It is in nobody's way: the next run tries again.
                let _ = older.remove();
            }
        }
        Ok(Outcome::Applied)
    }

    async fn back(&self, run: &RunFolder, work: &Arc<Work>) -> Result<Outcome, Error> {
        let Ended { kept, left } = self.take_back(run, work).await;
        if left.is_empty() {
            Ok(Outcome::TakenBack { kept })
        } else {
            Err(Error::Left { kept, left })
        }
    }

    async fn take_back(&self, run: &RunFolder, work: &Arc<Work>) -> Ended {
        let mut ended = apply::take_back(work).await;
        if ended.left.is_empty() {
            let finish = async {
                applied::restore(&self.spec.secrets, &run.applied_before())?;
                work.record(Record::TakenBack).await?;
                run.forget_secrets()
            };
            ended.left.extend(finish.await.err().map(|error| error.to_string()));
        }
        ended
    }
}

/// Which run is taken up.
#[derive(Clone, Copy)]
enum Which {
    /// The unfinished one.
    Unfinished,
    /// That, or the last that was applied.
    UnfinishedOrApplied,
}

/// A run without a record was begun, and not more.
fn state_of(told: &Told) -> State {
    told.state.unwrap_or(State::Applying)
}

/// Takes what others have changed since the runs that were applied as it is now, so that
/// [`changes`] does not tell it any more: the findings that it told. On the nodes nothing is done;
/// what changes is what is remembered of the runs, in the folder for secrets.
///
/// # Errors
/// [`Error::Run`] if a run is unfinished, or another process is at work; [`Error::Plan`] if the links do
/// not fit the description; [`Error::Files`] if the folder cannot be read or written.
pub fn accept_changes(spec: &ClusterSpec, states: &[NodeState]) -> Result<Vec<Finding>, Error> {
    no_unfinished(spec)?;
    let links = topology::of(spec.topology).links(spec, states)?;
    if changes_of(spec, states, &links)?.is_empty() {
        return Ok(Vec::new());
    }
    let _lock = RunLock::take(&spec.secrets)?;
    // Once more: whoever had the lock until now may have changed what was left.
    no_unfinished(spec)?;
    let changes = changes_of(spec, states, &links)?;
    if let Some(applied) = Applied::read(&spec.secrets)? {
        let key = DigestKey::of(&spec.secrets)?;
        drift::accepting(applied, spec, states, &links, &key).write(&spec.secrets)?;
    }
    Ok(changes)
}

/// What others have changed since the runs that were applied.
///
/// # Errors
/// [`Error::Plan`] if the links do not fit the description; [`Error::Files`] or [`Error::Run`] if what
/// was left cannot be read.
pub fn changes(spec: &ClusterSpec, states: &[NodeState]) -> Result<Vec<Finding>, Error> {
    changes_of(spec, states, &topology::of(spec.topology).links(spec, states)?)
}

/// The same, with the links of the nodes.
pub(crate) fn changes_of(
    spec: &ClusterSpec,
    states: &[NodeState],
    links: &[Link],
) -> Result<Vec<Finding>, Error> {
    let Some(applied) = Applied::read(&spec.secrets)? else { return Ok(Vec::new()) };
    let key = DigestKey::find(&spec.secrets)?;
    Ok(drift::since(&applied, spec, states, links, key.as_ref()))
}

/// # Errors
/// [`Error::Run`] if there is an unfinished run.
pub(crate) fn no_unfinished(spec: &ClusterSpec) -> Result<(), Error> {
    for run in RunFolder::all(&spec.secrets)? {
        let header = run.header()?;
        let told = run.told()?;
        let doing = match state_of(&told) {
            State::Applying => "was being applied",
            State::TakingBack => "was being taken back",
            State::Applied | State::TakenBack | State::Abandoned => continue,
        };
        let steps = run.plan()?.stages.iter().map(|stage| stage.steps.len()).sum::<usize>();
        let done = told.steps.values().filter(|step| step.is_done() && !step.undone).count();
        return Err(Error::run(format!(
            "run {}, begun {}, {doing} and is unfinished ({done} of {steps} steps are done): resume \
             or rollback first",
            run.id,
            header.begun.date(),
        )));
    }
    Ok(())
}

/// What is known of the runs of a cluster.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// The process that is at work, if one is.
    pub busy: Option<String>,
    /// The runs, the newest first.
    pub runs: Vec<RunStatus>,
}

impl Status {
    /// The run that [`Runner::resume`] goes on with.
    #[must_use]
    pub fn unfinished(&self) -> Option<&RunStatus> {
        self.runs.iter().find(|run| !run.state.is_finished())
    }

    /// The run that [`Runner::rollback`] takes back.
    #[must_use]
    pub fn to_take_back(&self) -> Option<&RunStatus> {
        self.unfinished().or_else(|| self.runs.iter().find(|run| run.state == State::Applied))
    }
}

/// What is known of a run.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RunStatus {
    /// `0001-20261122T101500Z`: its number, and when it was begun.
    pub id: String,
    /// Its folder.
    pub folder: PathBuf,
    /// Which way it goes, or has gone.
    pub state: State,
    /// When it was begun.
    #[serde(with = "crate::rfc3339")]
    pub begun: OffsetDateTime,
    /// When its journal was last written to.
    #[serde(with = "crate::rfc3339")]
    pub last: OffsetDateTime,
    /// How the links authenticate by it.
    pub mode: Mode,
    /// Whether the description is the one that it was begun with.
    pub same_description: bool,
    /// Its stages.
    pub stages: Vec<StageStatus>,
    /// What could not be done, and why.
    pub failed: Vec<String>,
    /// What somebody else had changed when it was taken back, and was left to them.
    pub kept: Vec<String>,
    /// What could not be taken back, and why.
    pub left: Vec<String>,
}

/// How far a run came with a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StageStatus {
    /// Its title.
    pub title: String,
    /// How many steps it has.
    pub steps: usize,
    /// How many are done, and not taken back.
    pub done: usize,
    /// The steps that were begun and may or may not have been done.
    pub open: Vec<String>,
}

/// What is known of the runs of a cluster. Nothing is changed, and no node is asked.
///
/// # Errors
/// [`Error::Files`] or [`Error::Run`] if what is on disk cannot be read.
pub fn status(spec: &ClusterSpec) -> Result<Status, Error> {
    let digest = folder::digest(spec)?;
    let mut runs = Vec::new();
    for run in RunFolder::all(&spec.secrets)?.into_iter().rev() {
        runs.push(run_status(run, &digest)?);
    }
    Ok(Status { busy: RunLock::holder(&spec.secrets)?, runs })
}

fn run_status(run: RunFolder, digest: &str) -> Result<RunStatus, Error> {
    let (header, plan, told) = (run.header()?, run.plan()?, run.told()?);
    let mut status = RunStatus {
        state: state_of(&told),
        begun: header.begun,
        last: told.last.unwrap_or(header.begun),
        mode: plan.mode,
        same_description: header.description == *digest,
        stages: Vec::new(),
        failed: Vec::new(),
        kept: Vec::new(),
        left: Vec::new(),
        folder: run.path,
        id: run.id,
    };
    for (number, stage) in plan.stages.iter().enumerate() {
        let (mut done, mut open) = (0, Vec::new());
        for (index, step) in stage.steps.iter().enumerate() {
            let Some(state) = told.steps.get(&At { stage: number, step: index }) else { continue };
            let words = format!("{}: {}", step.node, step.action);
            if state.is_to_undo() {
                if state.is_done() { done += 1 } else { open.push(words.clone()) }
            }
            let with = |reason: &String| format!("{words}: {reason}");
            status.failed.extend(state.failed.as_ref().map(with));
            let kept = state.kept.as_ref().map(|kept| format!("{}: {kept}", step.node));
            // A file that is written twice is found twice.
            status.kept.extend(kept.filter(|kept| !status.kept.contains(kept)));
            status.left.extend(state.left.as_ref().map(with));
        }
        let title = stage.title.clone();
        status.stages.push(StageStatus { title, steps: stage.steps.len(), done, open });
    }
    Ok(status)
}
