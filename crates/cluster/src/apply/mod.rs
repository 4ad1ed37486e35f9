//! Doing what a plan says, and nothing else; and taking it back.
//!
//! Stage by stage. Each step is written to the [run](crate::run)'s journal before it is begun and
//! after it is done, so that whoever comes later knows what may have been done. A step that fails ends
//! the work: what was done is taken back, in the opposite order, on every node, and the error says
//! so.

mod alone;
mod finish;
mod links;
mod log;
mod on_demand;
mod prove;
mod reload;
mod step;
mod take_back;
mod undo;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

use textfile::fs::FsError;
use tokio::{
    sync::Mutex,
    task::{JoinSet, spawn_blocking},
};
use tokio_postgres::Client;

pub(crate) use take_back::{Ended, take_back, tidy};

use self::{links::LinksNow, step::Failure};
use crate::{
    bounded::for_each,
    deadline::within,
    error::{Error, NodeContext as _},
    inspect::{Node, THIS_MACHINE},
    plan::{Action, Pace, Plan, Stage, Step},
    run::{
        RunLock,
        journal::{At, Effect, Journal, Record},
    },
    spec::ClusterSpec,
    sql,
    transport::NodeFiles,
    vault::Vault,
};

/// What happens, for whoever watches. But for [`Event::Stage`], each is told when it is in the
/// journal, and before anything else is done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The work begins, or is taken up again.
    Begun,
    /// A stage begins.
    Stage {
        /// Its title.
        title: String,
    },
    /// A step begins.
    Begin {
        /// On which node.
        node: String,
        /// What, in words without secrets.
        what: String,
    },
    /// A step has been done.
    Done {
        /// On which node.
        node: String,
        /// What, in words without secrets.
        what: String,
    },
    /// A step could not be done.
    Failed {
        /// On which node.
        node: String,
        /// What, in words without secrets.
        what: String,
        /// Why.
        reason: String,
    },
    /// Everything has been done.
    Applied,
    /// What was done is being taken back.
    TakingBack,
    /// A step is about to be taken back.
    Undoing {
        /// On which node.
        node: String,
        /// How, in words without secrets.
        what: String,
    },
    /// A step has been taken back.
    Undone {
        /// On which node.
        node: String,
        /// How, in words without secrets.
        what: String,
    },
    /// A step could not be taken back.
    Left {
        /// On which node.
        node: String,
        /// Why.
        reason: String,
    },
    /// Everything has been taken back.
    TakenBack,
    /// The run was given up as it is.
    Abandoned,
}

/// Who watches.
pub type Observer = Arc<dyn Fn(Event) + Send + Sync>;

/// How long nodes may take to answer, and how many are worked on at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long a connection may take to come up, a statement or a reload to end, a file to be
    /// written, a link to replicate again.
    pub answer: Duration,
    /// How many nodes are worked on at the same time.
    pub nodes: usize,
}

/// 20 seconds, 16 nodes.
impl Default for Limits {
    fn default() -> Self {
        Self { answer: sql::PATIENCE, nodes: 16 }
    }
}

/// A run that is being worked on.
pub(crate) struct Work {
    pub(crate) spec: ClusterSpec,
    pub(crate) nodes: BTreeMap<String, Node>,
    pub(crate) plan: Plan,
    pub(crate) vault: Vault,
    pub(crate) journal: Journal,
    pub(crate) observer: Observer,
    pub(crate) limits: Limits,
    /// What our sessions are called on the servers: what all of this run's begin with, and ours.
    pub(crate) application: Application,
    /// A session on each node, for all that needs none of its own; it keeps other runs from the node.
    /// It is from before any reload: should the new rules let nobody in, the way back is by it.
    pub(crate) sessions: Mutex<BTreeMap<String, Arc<Mutex<Option<Session>>>>>,
    /// When all links whose sessions were ended should be back.
    pub(crate) links_back_by: OnceLock<tokio::time::Instant>,
    /// Nobody else works on the cluster.
    pub(crate) _lock: RunLock,
}

/// A session on a node that stays open.
pub(crate) struct Session {
    client: Arc<Client>,
    /// Of the server's process.
    pid: i32,
}

/// The names of a run's sessions on the servers.
#[derive(Clone, Debug)]
pub(crate) struct Application {
    /// What the names of all of them begin with.
    pub(crate) run: String,
    /// That of this process.
    pub(crate) own: String,
}

impl Work {
    pub(crate) fn node(&self, name: &str) -> Result<&Node, Error> {
        let missing = || Error::plan(format!("the plan has a node {name}, the cluster not"));
        self.nodes.get(name).ok_or_else(missing)
    }

    /// The step at a place that the journal names.
    pub(crate) fn step(&self, at: At) -> Option<&Step> {
        self.plan.stages.get(at.stage)?.steps.get(at.step)
    }

    /// Writes a record, and tells whoever watches.
    pub(crate) async fn record(self: &Arc<Self>, record: Record) -> Result<(), Error> {
        let event = self.event(&record);
        let work = self.clone();
        let appended = spawn_blocking(move || work.journal.append(record)).await;
        appended.map_err(|_| Error::Cancelled)??;
        if let Some(event) = event {
            (self.observer)(event);
        }
        Ok(())
    }

    fn event(&self, record: &Record) -> Option<Event> {
        let place = |at: &At| self.step(*at).map(|step| step.node.to_string()).unwrap_or_default();
        let does = |at: &At| self.step(*at).map(|s| s.action.to_string()).unwrap_or_default();
        let undoes = |at: &At| {
            let undo = self.step(*at).map(|step| step.undo.as_ref().unwrap_or(&step.action));
            undo.map(ToString::to_string).unwrap_or_default()
        };
        Some(match record {
            Record::Apply => Event::Begun,
            Record::Begin { at, .. } => Event::Begin { node: place(at), what: does(at) },
            Record::Done { at, .. } => Event::Done { node: place(at), what: does(at) },
            Record::Failed { at, reason, .. } => {
                Event::Failed { node: place(at), what: does(at), reason: reason.clone() }
            }
            Record::Applied => Event::Applied,
            Record::TakeBack => Event::TakingBack,
            Record::Undo { at, .. } => Event::Undoing { node: place(at), what: undoes(at) },
            Record::Undone { at, .. } if self.step(*at)?.action.only_looks() => return None,
            Record::Undone { at, .. } => Event::Undone { node: place(at), what: undoes(at) },
            Record::Left { at, reason } => Event::Left { node: place(at), reason: reason.clone() },
            Record::TakenBack => Event::TakenBack,
            Record::Abandoned => Event::Abandoned,
        })
    }

    /// The session on a node that stays open. While there is one, no other run works on the node.
    ///
    /// # Errors
    /// [`Error::Run`] on the node if another run works on it.
    pub(crate) async fn session(&self, node: &Node) -> Result<Arc<Client>, Error> {
        let name = &node.spec.name;
        let place = self.sessions.lock().await.entry(name.clone()).or_default().clone();
        // Two at once would take each other for another run.
        let mut place = place.lock().await;
        if let Some(there) = place.as_ref().filter(|there| !there.client.is_closed()) {
            return Ok(there.client.clone());
        }
        let before = place.as_ref().map(|there| there.pid);
        let client = self.connect(node, None).await?;
        let patience = self.limits.answer;
        let take = alone::take(&client, &self.application, before, patience);
        let pid = within(patience, "the node to be free", take).await.on_node(name)?;
        Ok(place.insert(Session { client: client.into(), pid }).client.clone())
    }

    /// Keeps every other run from the nodes that can be reached. Those that can not are found out by
    /// what is to be done there.
    ///
    /// # Errors
    /// [`Error::Run`] on the first node that another run works on.
    pub(crate) async fn keep_others_out(self: &Arc<Self>) -> Result<(), Error> {
        let servers = self.nodes.values().filter(|node| node.spec.name != THIS_MACHINE);
        let servers: Vec<Node> = servers.cloned().collect();
        let opened = for_each(self.limits.nodes, servers, |node| {
            let work = self.clone();
            async move { work.session(&node).await.err() }
        });
        let is_busy = |error: &Error| matches!(error.without_node(), Error::Run { .. });
        opened.await?.into_iter().flatten().find(is_busy).map_or(Ok(()), Err)
    }

    /// A new session on a node.
    pub(crate) async fn connect(
        &self,
        node: &Node,
        database: Option<&str>,
    ) -> Result<Client, Error> {
        let patience = self.limits.answer;
        let login = sql::Login { application: &self.application.own, patience };
        sql::connect_as(&node.spec, database, login).await
    }

    /// Does something with a node's files.
    pub(crate) async fn on_files<T: Send + 'static>(
        self: &Arc<Self>,
        node: &Node,
        path: &Path,
        act: impl FnOnce(&dyn NodeFiles, &Path) -> Result<T, FsError> + Send + 'static,
    ) -> Result<T, Error> {
        let (files, path) = (node.files.clone(), path.to_owned());
        // Should we not wait for it to the end, the cluster must not look free before its end.
        let work = self.clone();
        let acting = spawn_blocking(move || {
            let acted = act(files.as_ref(), &path);
            drop(work);
            acted
        });
        let acted = async { acting.await.map_err(|_| Error::Cancelled)?.map_err(Into::into) };
        within(self.limits.answer, "work with the node's files to end", acted).await
    }
}

/// Does every step that has not been done.
///
/// # Errors
/// The first thing that failed; what was begun by then has come to its end, and is in the journal.
pub(crate) async fn forward(work: &Arc<Work>) -> Result<(), Error> {
    for (index, stage) in work.plan.stages.iter().enumerate() {
        let done = |step: usize| work.journal.state(At { stage: index, step }).is_done();
        if (0..stage.steps.len()).all(done) {
            continue;
        }
        (work.observer)(Event::Stage { title: stage.title.clone() });
        if stage.steps.iter().any(|step| matches!(step.action, Action::SwitchLink { .. })) {
            LinksNow::look(work).await.are_as_planned(work, index, stage)?;
        }
        run_stage(work, index, stage).await?;
    }
    Ok(())
}

async fn run_stage(work: &Arc<Work>, index: usize, stage: &Stage) -> Result<(), Error> {
    let at_once = match stage.pace {
        Pace::AllAtOnce => work.limits.nodes.max(1),
        Pace::NodeByNode => 1,
    };
    let mut waiting = by_node(index, stage).into_iter();
    let mut running = JoinSet::new();
    let mut outcome = Ok(());
    loop {
        while outcome.is_ok() && running.len() < at_once {
            let Some((node, steps)) = waiting.next() else { break };
            running.spawn(run_node(work.clone(), node, steps));
        }
        let Some(ended) = running.join_next().await else { return outcome };
        // The nodes under way come to their end, so that what they did is known and can be undone.
        outcome = outcome.and(ended.map_err(|_| Error::Cancelled)?);
    }
}

/// The steps of each node in their order, the nodes in the order in which they first appear.
fn by_node(index: usize, stage: &Stage) -> Vec<(String, Vec<At>)> {
    let mut by_node: Vec<(String, Vec<At>)> = Vec::new();
    let mut place: BTreeMap<&str, usize> = BTreeMap::new();
    for (number, step) in stage.steps.iter().enumerate() {
        let place = *place.entry(&step.node).or_insert_with(|| {
            by_node.push((step.node.to_string(), Vec::new()));
            by_node.len() - 1
        });
        by_node[place].1.push(At { stage: index, step: number });
    }
    by_node
}

async fn run_node(work: Arc<Work>, name: String, steps: Vec<At>) -> Result<(), Error> {
    for at in steps {
        if work.journal.state(at).is_done() {
            continue;
        }
        run_step(&work, &name, at).await.on_node(&name)?;
    }
    Ok(())
}

async fn run_step(work: &Arc<Work>, name: &str, at: At) -> Result<(), Error> {
    let node = work.node(name)?;
    let Some(step) = work.step(at) else { return Ok(()) };
    let before = work.journal.state(at).begun;
    let done = async {
        // A step that is repeated goes by what was found before its first attempt.
        let found = match &before {
            Some(found) => found.clone(),
            None => step::look(work, node, step).await.map_err(Failure::without_effect)?,
        };
        let begin = Record::Begin {
            at,
            node: name.to_owned(),
            what: step.action.to_string(),
            found: found.clone(),
        };
        work.record(begin).await.map_err(Failure::without_effect)?;
        step::run(work, node, at, &found, before.is_some()).await
    };
    match done.await {
        Ok(seen) => work.record(Record::Done { at, seen }).await,
        Err(Failure { error, effect }) => {
            // What an attempt before this one has done is not known any better now.
            let effect = if before.is_some() { Effect::Unknown } else { effect };
            let failed = Record::Failed { at, reason: error.to_string(), effect };
            // The first thing that went wrong is what the caller must hear.
            let _ = work.record(failed).await;
            Err(error)
        }
    }
}
