//! Taking back what was done, the last stage first.
//!
//! A link that goes back to its old connection string must find its old way in open, and what a link
//! still uses must stay. So where something cannot be taken back on a node, whatever was done before
//! it and holds it up stays as well: on that node, and at the other end of a link that could not be
//! switched back.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use textfile::fs::is_temporary_of;
use tokio::task::JoinSet;

use super::{
    Work, by_node,
    links::LinksNow,
    prove::{self, LinksBefore},
    reload,
    step::{reconnect, session_now},
    undo,
};
use crate::{
    deadline::within,
    error::{Error, NodeContext as _},
    inspect::THIS_MACHINE,
    plan::{Action, Expectation},
    run::journal::{At, Record, State},
    sessions,
};

/// How taking back ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ended {
    /// What somebody else had changed since, and is theirs.
    pub(crate) kept: Vec<String>,
    /// What could not be taken back.
    pub(crate) left: Vec<String>,
}

/// Takes back every step that may have been done, and proves that the nodes are as they were found.
pub(crate) async fn take_back(work: &Arc<Work>) -> Ended {
    let mut ended = Ended::default();
    // Where even the journal cannot be written, the nodes matter more: what is taken back once more
    // later does no harm. The caller finds out when the end cannot be written either.
    let _ = work.record(Record::TakeBack).await;

    let (links, before) = tokio::join!(LinksNow::look(work), LinksBefore::look(work));
    let links = Arc::new(links);
    let mut stuck: BTreeSet<String> = BTreeSet::new();
    for (index, stage) in work.plan.stages.iter().enumerate().rev() {
        let mut waiting = by_node(index, stage).into_iter().filter_map(|(node, mut steps)| {
            steps.retain(|at| work.journal.state(*at).is_to_undo() && !is_last(work, *at));
            steps.reverse();
            (!steps.is_empty()).then_some((node, steps))
        });
        let mut undoing = JoinSet::new();
        let mut stuck_here = BTreeSet::new();
        loop {
            while undoing.len() < work.limits.nodes.max(1) {
                let Some((node, steps)) = waiting.next() else { break };
                let (work, links, stuck) = (work.clone(), links.clone(), stuck.clone());
                undoing.spawn(async move {
                    let mut undoing = Undoing::new(work, node, stuck);
                    undoing.all(&steps, &links).await;
                    undoing
                });
            }
            let Some(undone) = undoing.join_next().await else { break };
            match undone {
                Ok(undone) => {
                    ended.kept.extend(undone.kept);
                    ended.left.extend(undone.left);
                    stuck_here.extend(undone.now_stuck);
                }
                Err(_) => ended.left.push(Error::Cancelled.to_string()),
            }
        }
        stuck.extend(stuck_here);
    }
    ended.left.extend(finish(work, &stuck).await);
    ended.left.extend(prove::as_found(work, &before, &stuck).await);
    ended
}

/// Whether a step is taken back when all others have been.
fn is_last(work: &Work, at: At) -> bool {
    matches!(work.step(at).map(|step| &step.action), Some(Action::Reconnect { .. }))
}

/// What comes when all files are as they were: servers take their old certificates, and links that
/// connected by new ones connect by theirs. Returns what could not be done.
async fn finish(work: &Arc<Work>, stuck: &BTreeSet<String>) -> Vec<String> {
    let mut left = Vec::new();
    let mut nodes: BTreeMap<&str, (bool, Vec<At>)> = BTreeMap::new();
    for (index, stage) in work.plan.stages.iter().enumerate() {
        for (step, planned) in stage.steps.iter().enumerate() {
            let at = At { stage: index, step };
            let (reload, last) = nodes.entry(&planned.node).or_default();
            *reload |= is_read_later(work, at);
            if is_last(work, at) && work.journal.state(at).is_to_undo() {
                last.push(at);
            }
        }
    }
    let mut run = async |reloads: bool| {
        let mut waiting = nodes.iter().filter(|(node, (reload, last))| {
            let (named, wanted) =
                (node.to_string(), if reloads { *reload } else { !last.is_empty() });
            wanted && !stuck.contains(&named)
        });
        let mut finishing = JoinSet::new();
        loop {
            while finishing.len() < work.limits.nodes.max(1) {
                let Some((node, (_, last))) = waiting.next() else { break };
                let last = if reloads { Vec::new() } else { last.clone() };
                let undoing = Undoing::new(work.clone(), (*node).to_owned(), stuck.clone());
                finishing.spawn(undoing.finish(last));
            }
            let Some(finished) = finishing.join_next().await else { break };
            left.extend(finished.unwrap_or_else(|_| vec![Error::Cancelled.to_string()]));
        }
    };
    run(true).await;
    run(false).await;
    left
}

/// Whether a step gave other bytes to a file that the server reads at a reload of a later stage: its
/// own stage has none for the node, so the old bytes have not been read again yet.
fn is_read_later(work: &Work, at: At) -> bool {
    let Some(step) = work.step(at) else { return false };
    let replaced = matches!(
        (&step.action, &step.undo),
        (Action::WriteFile { .. }, Some(Action::WriteFile { .. }))
    );
    let reloads = |stage: &crate::plan::Stage| {
        let mut steps = stage.steps.iter();
        steps.any(|other| other.node == step.node && matches!(other.action, Action::Reload(_)))
    };
    replaced
        && work.journal.state(at).begun.is_some()
        && !reloads(&work.plan.stages[at.stage])
        && work.plan.stages[at.stage..].iter().any(reloads)
}

/// Taking back one node's steps of a stage.
struct Undoing {
    work: Arc<Work>,
    node: String,
    /// The nodes on which something later could not be taken back.
    stuck: BTreeSet<String>,
    /// Those on which something could not be taken back now.
    now_stuck: BTreeSet<String>,
    kept: Vec<String>,
    left: Vec<String>,
}

impl Undoing {
    fn new(work: Arc<Work>, node: String, stuck: BTreeSet<String>) -> Self {
        Self { work, node, stuck, now_stuck: BTreeSet::new(), kept: Vec::new(), left: Vec::new() }
    }

    /// `steps` are in the order in which they are taken back, but for a reload: it comes last.
    async fn all(&mut self, steps: &[At], links: &LinksNow) {
        let mut reloads = Vec::new();
        for at in steps {
            if let Some(Action::Reload(_)) = self.work.step(*at).map(|step| &step.action) {
                reloads.push(*at);
                continue;
            }
            let undone = match self.keeper(*at) {
                Some(reason) => Err(Error::NotTaken { reason }),
                None => self.one(*at, links).await,
            };
            if let Err(error) = undone {
                self.leave(*at, &error).await;
                if !matches!(self.work.step(*at), Some(step) if is_link(&step.action)) {
                    // What was done before it on this node holds it up.
                    break;
                }
            }
        }
        for at in reloads {
            if let Err(error) = self.reload(at).await {
                self.leave(at, &error).await;
            }
        }
    }

    /// Why a step must stay as it is: what stands on it could not be taken back.
    fn keeper(&self, at: At) -> Option<String> {
        let other = match self.work.step(at).map(|step| &step.action) {
            Some(Action::SwitchLink { to, .. } | Action::Reconnect { to, .. }) => Some(to),
            _ => None,
        };
        let keeper = std::iter::once(&self.node).chain(other).find(|n| self.stuck.contains(*n))?;
        Some(format!("stays for what could not be taken back on {keeper}"))
    }

    async fn one(&mut self, at: At, links: &LinksNow) -> Result<(), Error> {
        let node = self.work.node(&self.node)?.clone();
        let undo = undo::look(&self.work, &node, at, links).await?;
        let _ = self.work.record(Record::Undo { at, file: undo.file }).await;
        let also_kept = undo::run(&self.work, &node, at, undo.act, links).await?;
        let kept = undo.kept.or(also_kept);
        self.kept.extend(kept.as_ref().map(|kept| format!("{}: {kept}", self.node)));
        self.undone(at, kept).await;
        Ok(())
    }

    async fn reload(&mut self, at: At) -> Result<(), Error> {
        let node = self.work.node(&self.node)?.clone();
        let _ = self.work.record(Record::Undo { at, file: None }).await;
        let expectation = Expectation { certificate: None };
        reload::reload(&self.work, &node, &expectation).await.map_err(|failure| failure.error)?;
        self.undone(at, None).await;
        Ok(())
    }

    /// That the journal cannot be written is no reason to take less back.
    /// Reloads, or lets links connect anew; returns what could not be done.
    async fn finish(mut self, reconnect: Vec<At>) -> Vec<String> {
        if reconnect.is_empty() {
            let reloaded = async {
                let node = self.work.node(&self.node)?;
                let expectation = Expectation { certificate: None };
                let reloaded = reload::reload(&self.work, node, &expectation).await;
                reloaded.map(drop).map_err(|failure| failure.error)
            };
            let failed = reloaded.await.err();
            self.left.extend(failed.map(|error| format!("{}: reload: {error}", self.node)));
        }
        for at in reconnect {
            let reconnected = match self.keeper(at) {
                Some(reason) => Err(Error::NotTaken { reason }),
                None => self.reconnect(at).await,
            };
            if let Err(error) = reconnected {
                self.leave(at, &error).await;
            }
        }
        self.left
    }

    async fn reconnect(&mut self, at: At) -> Result<(), Error> {
        let Some(Action::Reconnect { to, session }) =
            self.work.step(at).map(|step| step.action.clone())
        else {
            return Ok(());
        };
        let _ = self.work.record(Record::Undo { at, file: None }).await;
        let now = session_now(&self.work, &to, &session).await?;
        reconnect(&self.work, &to, &session, now).await?;
        self.undone(at, None).await;
        Ok(())
    }

    async fn undone(&self, at: At, kept: Option<String>) {
        let _ = self.work.record(Record::Undone { at, kept }).await;
    }

    async fn leave(&mut self, at: At, error: &Error) {
        let step = self.work.step(at);
        let what = step.map(|step| step.undo.as_ref().unwrap_or(&step.action).to_string());
        let reason = format!("{}: {error}", what.unwrap_or_default());
        self.left.push(format!("{}: {reason}", self.node));
        self.now_stuck.insert(self.node.clone());
        if let Some(Action::SwitchLink { to, .. }) = step.map(|step| &step.action) {
            self.now_stuck.insert(to.clone());
        }
        let _ = self.work.record(Record::Left { at, reason }).await;
    }
}

fn is_link(action: &Action) -> bool {
    matches!(action, Action::SwitchLink { .. })
}

/// Puts in order what a process that was killed has left on the nodes: its sessions, whose last
/// statement may still be under way, and files that were not written to their end.
///
/// # Errors
/// Where files cannot be listed or removed. A node that does not answer is found out by what is to be
/// done there.
pub(crate) async fn tidy(work: &Arc<Work>) -> Result<(), Error> {
    let told = work.journal.told();
    let mut files: BTreeMap<String, BTreeSet<std::path::PathBuf>> = BTreeMap::new();
    for (at, state) in &told.steps {
        let Some(step) = work.step(*at) else { continue };
        let paths = files.entry(step.node.clone()).or_default();
        let interrupted = match told.state {
            Some(State::TakingBack) => state.undo_begun && !state.undone || !state.is_done(),
            _ => !state.is_done(),
        };
        if let Action::WriteFile { path, .. } = &step.action
            && interrupted
        {
            paths.insert(path.clone());
        }
    }
    let mut tidying = JoinSet::new();
    let mut waiting = files.into_iter();
    loop {
        while tidying.len() < work.limits.nodes.max(1) {
            let Some((node, paths)) = waiting.next() else { break };
            let work = work.clone();
            tidying.spawn(async move { tidy_node(&work, &node, paths).await.on_node(&node) });
        }
        let Some(tidied) = tidying.join_next().await else { return Ok(()) };
        tidied.map_err(|_| Error::Cancelled)??;
    }
}

async fn tidy_node(
    work: &Arc<Work>,
    name: &str,
    paths: BTreeSet<std::path::PathBuf>,
) -> Result<(), Error> {
    use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

    let node = work.node(name)?;
    if name != THIS_MACHINE
        && let Ok(client) = work.connect(node, None).await
    {
        let (names, patience) = (&work.application, work.limits.answer);
        let end = sessions::end_left(&client, &names.run, &names.own, patience);
        within(patience, "the sessions of an earlier process to end", end).await?;
    }
    for path in paths {
        work.on_files(node, &path, |files, path| {
            let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
                return Ok(());
            };
            // A folder that is not there has nothing in it.
            let names = files.list(folder.as_os_str().as_bytes()).unwrap_or_default();
            for (left, _) in names {
                if is_temporary_of(&left, name.as_bytes()) {
                    files.remove_file(&folder.join(std::ffi::OsString::from_vec(left)))?;
                }
            }
            Ok(())
        })
        .await?;
    }
    Ok(())
}
