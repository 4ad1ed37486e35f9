//! Taking back what was done, the last stage first.
//!
//! A link that goes back to its old connection string must find its old way in open, and what a link
//! still uses must stay. So where something cannot be taken back on a node, whatever was done before
//! it and holds it up stays as well: on that node, at the other end of a link that could not be
//! switched back, and where a file was written for it. A plan that lets links connect anew with other
//! certificates changes both their ends: there it stays on all nodes that links join to that one.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use textfile::fs::is_temporary_of;

use super::{
    Work, by_node,
    finish::{finish, is_last},
    links::LinksNow,
    on_demand,
    prove::{self, LinkToProve, LinksBefore},
    reload,
    undo::{self, Undone},
};
use crate::{
    bounded::for_each,
    deadline::within,
    error::{Error, NodeContext as _},
    inspect::THIS_MACHINE,
    plan::{Action, Step},
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
    // What an attempt before this one has left to others is still theirs.
    let told = work.journal.told();
    let kept = told.steps.iter().filter_map(|(at, state)| {
        Some(format!("{}: {}", work.step(*at)?.node, state.kept.as_ref()?))
    });
    let ended = Ended { kept: kept.collect(), left: Vec::new() };
    // Where even the journal cannot be written, the nodes matter more: what is taken back once more
    // later does no harm. The caller finds out when the end cannot be written either.
    let _ = work.record(Record::TakeBack).await;

    let (links, before) = tokio::join!(LinksNow::look(work), LinksBefore::look(work));
    let links = Arc::new(links);
    let mut taking = TakingBack {
        work: work.clone(),
        links: links.clone(),
        renewed: renewed_links(work),
        stuck: BTreeSet::new(),
        switched: Vec::new(),
        ended,
    };
    // Links come back at once until the last of them has.
    let (first, others) = match work.plan.stages.as_slice() {
        [first, others @ ..] if first.steps.iter().any(is_setting) => (1, others.len()),
        all => (0, all.len()),
    };
    for index in (first..first + others).rev() {
        taking.stage(index).await;
    }
    finish(work, &taking.stuck, &mut taking.ended).await;
    let before = before.with(std::mem::take(&mut taking.switched));
    let proved = prove::as_found(work, before, &links, &taking.stuck).await;
    taking.ended.left.extend(proved);
    taking.ended.left.extend(on_demand::as_found(work, &links, &taking.stuck).await);
    for index in 0..first {
        taking.stage(index).await;
    }
    let mut ended = taking.ended;
    let mut told = BTreeSet::new();
    // A file that is written twice is found twice.
    ended.kept.retain(|kept| told.insert(kept.clone()));
    ended
}

fn is_setting(step: &Step) -> bool {
    matches!(step.action, Action::AlterSystem { .. })
}

/// How far taking back has come.
struct TakingBack {
    work: Arc<Work>,
    links: Arc<LinksNow>,
    renewed: Vec<(String, String)>,
    /// The nodes on which something could not be taken back.
    stuck: BTreeSet<String>,
    /// The links that have their old connection strings again and have not been seen to work by them.
    switched: Vec<LinkToProve>,
    ended: Ended,
}

impl TakingBack {
    /// Takes a stage back, on all nodes.
    async fn stage(&mut self, index: usize) {
        let work = &self.work;
        let stage = &work.plan.stages[index];
        let nodes = by_node(index, stage).into_iter().filter_map(|(node, mut steps)| {
            steps.retain(|at| work.journal.state(*at).is_to_undo() && !is_last(work, *at));
            steps.reverse();
            (!steps.is_empty()).then_some((node, steps))
        });
        let undo = |(node, steps): (String, Vec<At>)| {
            let mut undoing = Undoing::new(work.clone(), node, self.stuck.clone());
            let links = self.links.clone();
            async move {
                undoing.all(&steps, &links).await;
                undoing
            }
        };
        let undone = for_each(work.limits.nodes, nodes, undo).await;
        match undone {
            Ok(undone) => {
                for undone in undone {
                    self.ended.kept.extend(undone.ended.kept);
                    self.ended.left.extend(undone.ended.left);
                    self.stuck.extend(undone.now_stuck);
                    self.switched.extend(undone.switched);
                }
                spread(&mut self.stuck, &self.renewed);
            }
            Err(error) => self.ended.left.push(error.to_string()),
        }
    }
}

/// The ends of the links that the plan lets connect anew with certificates that it changes. A password
/// is one server's: that another server keeps its own is no reason for this one to.
fn renewed_links(work: &Work) -> Vec<(String, String)> {
    let steps = || work.plan.stages.iter().flat_map(|stage| &stage.steps);
    if steps().any(|step| matches!(step.action, Action::SetPassword { .. })) {
        return Vec::new();
    }
    let ends = steps().filter_map(|step| match &step.action {
        Action::Reconnect { to, .. } => Some((step.node.to_string(), to.to_string())),
        _ => None,
    });
    ends.collect()
}

/// What one end of a renewed link keeps, the other end keeps, too: else one would not take the other's
/// certificate any more.
fn spread(stuck: &mut BTreeSet<String>, renewed: &[(String, String)]) {
    loop {
        let before = stuck.len();
        for (from, to) in renewed {
            if stuck.contains(from) || stuck.contains(to) {
                stuck.extend([from.clone(), to.clone()]);
            }
        }
        if stuck.len() == before {
            return;
        }
    }
}

/// Taking back one node's steps of a stage.
struct Undoing {
    work: Arc<Work>,
    node: String,
    /// The nodes on which something later could not be taken back.
    stuck: BTreeSet<String>,
    /// Those on which something could not be taken back now.
    now_stuck: BTreeSet<String>,
    ended: Ended,
    /// The links that have their old connection strings again and have not been seen to work by them.
    switched: Vec<LinkToProve>,
}

impl Undoing {
    fn new(work: Arc<Work>, node: String, stuck: BTreeSet<String>) -> Self {
        Self {
            work,
            node,
            stuck,
            now_stuck: BTreeSet::new(),
            ended: Ended::default(),
            switched: Vec::new(),
        }
    }

    /// `steps` are in the order in which they are taken back, but for a reload: it comes last.
    async fn all(&mut self, steps: &[At], links: &LinksNow) {
        let is_reload = |at: &At| {
            matches!(self.work.step(*at).map(|step| &step.action), Some(Action::Reload(_)))
        };
        let (reloads, steps): (Vec<At>, Vec<At>) = steps.iter().copied().partition(is_reload);
        let (mut undone, mut whole) = (false, true);
        for at in steps {
            if self.work.step(at).is_some_and(|step| step.action.only_looks()) {
                self.undone(at, None).await;
                continue;
            }
            let ended = match self.keeper(at) {
                Some(reason) => Err(Error::NotTaken { reason }),
                None => self.one(at, links).await,
            };
            match ended {
                Ok(()) => undone = true,
                Err(error) => {
                    self.leave(at, &error).await;
                    whole = false;
                    if !matches!(self.work.step(at), Some(step) if is_link(&step.action)) {
                        // What was done before it on this node holds it up.
                        break;
                    }
                }
            }
        }
        for at in reloads {
            // Of what has been taken back by a half, the server may know; the reload is not done with.
            if !whole && !undone {
                break;
            }
            let reloaded = self.reload(at).await;
            match reloaded {
                Ok(()) if whole => self.undone(at, None).await,
                Ok(()) => {}
                Err(error) => self.leave(at, &error).await,
            }
        }
    }

    /// Why a step must stay as it is: what stands on it could not be taken back.
    fn keeper(&self, at: At) -> Option<String> {
        let plan = &self.work.plan;
        let others: Vec<&str> = match self.work.step(at).map(|step| &step.action) {
            Some(Action::SwitchLink { to, .. }) => vec![to],
            Some(Action::WriteFile { path, .. }) => plan.readers_of(&self.node, path).collect(),
            _ => Vec::new(),
        };
        let mut nodes = std::iter::once(&*self.node).chain(others);
        let keeper = nodes.find(|node| self.stuck.contains(*node))?;
        Some(format!("stays for what could not be taken back on {keeper}"))
    }

    async fn one(&mut self, at: At, links: &LinksNow) -> Result<(), Error> {
        let node = self.work.node(&self.node)?.clone();
        let undo = undo::look(&self.work, &node, at, links).await?;
        let _ = self.work.record(Record::Undo { at, file: undo.file }).await;
        let Undone { kept, to_prove } = undo::run(&self.work, &node, at, undo.act, links).await?;
        self.switched.extend(to_prove);
        let kept = undo.kept.or(kept);
        self.ended.kept.extend(kept.as_ref().map(|kept| format!("{}: {kept}", self.node)));
        self.undone(at, kept).await;
        Ok(())
    }

    async fn reload(&mut self, at: At) -> Result<(), Error> {
        let node = self.work.node(&self.node)?.clone();
        let _ = self.work.record(Record::Undo { at, file: None }).await;
        // Certificates may be those of an earlier stage, whose files come later: they wait.
        let reloaded = reload::reload_rules(&self.work, &node).await;
        reloaded.map(drop).map_err(|failure| failure.error)
    }

    /// That the journal cannot be written is no reason to take less back.
    async fn undone(&self, at: At, kept: Option<String>) {
        let _ = self.work.record(Record::Undone { at, kept }).await;
    }

    async fn leave(&mut self, at: At, error: &Error) {
        let step = self.work.step(at);
        let what = step.map(|step| step.undo.as_ref().unwrap_or(&step.action).to_string());
        let reason = format!("{}: {error}", what.unwrap_or_default());
        self.ended.left.push(format!("{}: {reason}", self.node));
        self.now_stuck.insert(self.node.clone());
        if let Some(Action::SwitchLink { to, .. }) = step.map(|step| &step.action) {
            self.now_stuck.insert(to.to_string());
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
    let mut files: BTreeMap<String, BTreeSet<PathBuf>> = BTreeMap::new();
    for (at, state) in &told.steps {
        let Some(step) = work.step(*at) else { continue };
        let paths = files.entry(step.node.to_string()).or_default();
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
    let tidy = |(node, paths): (String, BTreeSet<PathBuf>)| {
        let work = work.clone();
        async move { tidy_node(&work, &node, paths).await.on_node(&node) }
    };
    for_each(work.limits.nodes, files, tidy).await?.into_iter().collect()
}

async fn tidy_node(work: &Arc<Work>, name: &str, paths: BTreeSet<PathBuf>) -> Result<(), Error> {
    use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

    let node = work.node(name)?;
    if name != THIS_MACHINE
        && let Ok(client) = work.session(node).await
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_link_joins_is_kept_together() {
        let links = [("a", "b"), ("c", "b"), ("d", "e")];
        let links = links.map(|(from, to)| (from.to_owned(), to.to_owned()));
        let all = |first: &str| {
            let mut stuck = BTreeSet::from([first.to_owned()]);
            spread(&mut stuck, &links);
            stuck.into_iter().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(all("c"), "a b c");
        assert_eq!(all("e"), "d e");
        assert_eq!(all("f"), "f");
    }
}
