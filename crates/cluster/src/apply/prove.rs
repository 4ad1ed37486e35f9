//! Proof that what was taken back is as it was found: the administrator gets in, and every link that
//! replicated replicates.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tokio::task::JoinSet;

use super::Work;
use crate::{
    deadline::{Deadline, within},
    error::Error,
    inspect::THIS_MACHINE,
    plan::Action,
    run::journal::{At, Found},
    sessions,
    topology::SessionKey,
};

/// The links of the plan that replicated, by the node that they lead to.
#[derive(Debug, Default)]
pub(super) struct LinksBefore(BTreeMap<String, Vec<(String, SessionKey)>>);

impl LinksBefore {
    /// Those that were switched, or were to be, go by what was found before; the others by what is now.
    pub(super) async fn look(work: &Arc<Work>) -> Self {
        let mut all: BTreeMap<String, Vec<(String, SessionKey, Option<bool>)>> = BTreeMap::new();
        for (stage, content) in work.plan.stages.iter().enumerate() {
            for (step, planned) in content.steps.iter().enumerate() {
                let Action::SwitchLink { to, name, session, wait: true, .. } = &planned.action
                else {
                    continue;
                };
                let replicated = match work.journal.state(At { stage, step }).begun {
                    Some(Found::Session { session }) => Some(session.is_some()),
                    _ => None,
                };
                let link = format!("{name} of {}", planned.node);
                all.entry(to.clone()).or_default().push((link, session.clone(), replicated));
            }
        }
        let mut looking = JoinSet::new();
        let mut waiting = all.into_iter();
        let mut found = Self::default();
        loop {
            while looking.len() < work.limits.nodes.max(1) {
                let Some((to, links)) = waiting.next() else { break };
                let work = work.clone();
                looking.spawn(async move {
                    let replicating = replicating(&work, &to, links).await;
                    (to, replicating)
                });
            }
            let Some(looked) = looking.join_next().await else { return found };
            if let Ok((to, links)) = looked {
                found.0.insert(to, links);
            }
        }
    }
}

async fn replicating(
    work: &Work,
    to: &str,
    links: Vec<(String, SessionKey, Option<bool>)>,
) -> Vec<(String, SessionKey)> {
    let unknown = links.iter().any(|(.., replicated)| replicated.is_none());
    // A node that does not answer now is found out below.
    let client = match work.node(to) {
        Ok(node) if unknown => work.connect(node, None).await.ok(),
        _ => None,
    };
    let mut found = Vec::new();
    for (link, key, replicated) in links {
        let replicated = match (replicated, &client) {
            (Some(replicated), _) => replicated,
            (None, Some(client)) => {
                let find = async { sessions::find(client, &key).await };
                let session = within(work.limits.answer, "the link's session", find).await;
                session.is_ok_and(|session| session.is_some_and(|s| s.works))
            }
            (None, None) => false,
        };
        if replicated {
            found.push((link, key));
        }
    }
    found
}

/// What is not as it was found, on the nodes where everything was taken back.
pub(super) async fn as_found(
    work: &Arc<Work>,
    before: &LinksBefore,
    stuck: &BTreeSet<String>,
) -> Vec<String> {
    let steps = work.plan.stages.iter().flat_map(|stage| &stage.steps);
    let nodes: BTreeSet<String> =
        steps.map(|step| step.node.clone()).chain(before.0.keys().cloned()).collect();
    let mut waiting = nodes.difference(stuck).filter(|name| *name != THIS_MACHINE).cloned();
    let mut proving = JoinSet::new();
    let mut left = Vec::new();
    loop {
        while proving.len() < work.limits.nodes.max(1) {
            let Some(name) = waiting.next() else { break };
            let (work, links) = (work.clone(), before.0.get(&name).cloned().unwrap_or_default());
            proving.spawn(async move {
                prove(&work, &name, links).await.err().map(|error| format!("{name}: {error}"))
            });
        }
        let Some(proved) = proving.join_next().await else { return left };
        left.extend(proved.unwrap_or_else(|_| Some(Error::Cancelled.to_string())));
    }
}

async fn prove(work: &Work, name: &str, links: Vec<(String, SessionKey)>) -> Result<(), Error> {
    let patience = work.limits.answer;
    let client = work.connect(work.node(name)?, None).await?;
    for (link, key) in links {
        let back = async {
            let deadline = Deadline::new("a link to replicate again", patience);
            while !sessions::find(&client, &key).await?.is_some_and(|s| s.works) {
                deadline.pause().await?;
            }
            Ok(())
        };
        within(patience * 2, "a link to replicate again", back).await.map_err(|error| {
            Error::NotTaken { reason: format!("the link {link} does not replicate: {error}") }
        })?;
    }
    Ok(())
}
