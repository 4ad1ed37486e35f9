//! The links' connection strings as they are now.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;

use super::Work;
use crate::{
    deadline::within,
    error::Error,
    inspect,
    topology::{self, Link, LinkPlace},
};

/// The links of the nodes that can be asked, by node, name and place; with what has become of them
/// since.
#[derive(Debug)]
pub(super) struct LinksNow(Result<Mutex<Vec<(Key, String)>>, String>);

type Key = (String, String, LinkPlace);

/// What there is to know of a link.
#[derive(Debug)]
pub(super) enum LinkNow {
    /// Its connection string, secrets masked.
    Conninfo(String),
    /// There is no such link any more.
    Gone,
    /// Nothing, for this reason.
    Unknown(String),
}

impl LinksNow {
    /// Asks every node of the cluster; one that does not answer has no links here.
    pub(super) async fn look(work: &Arc<Work>) -> Self {
        let servers = work.nodes.values().filter(|node| node.spec.name != inspect::THIS_MACHINE);
        let mut waiting = servers.cloned().collect::<Vec<_>>().into_iter();
        let mut asking = JoinSet::new();
        let mut states = Vec::new();
        loop {
            while asking.len() < work.limits.nodes.max(1) {
                let Some(node) = waiting.next() else { break };
                let work = work.clone();
                asking.spawn(async move {
                    let client = work.connect(&node, None).await?;
                    let inspecting = inspect::inspect_with(&client, &work.spec, &node);
                    within(work.limits.answer, "the node to be inspected", inspecting).await
                });
            }
            let Some(asked) = asking.join_next().await else { break };
            // Why a node does not answer is told where something is to be done there.
            if let Ok(Ok(state)) = asked {
                states.push(state);
            }
        }
        states.sort_by(|a, b| a.name.cmp(&b.name));
        let links = topology::of(work.spec.topology).links(&work.spec, &states);
        let now = |link: Link| ((link.from, link.name, link.place), link.conninfo.to_masked_text());
        let links = links.map(|links| Mutex::new(links.into_iter().map(now).collect()));
        Self(links.map_err(|error: Error| error.to_string()))
    }

    pub(super) fn find(&self, from: &str, name: &str, place: &LinkPlace) -> LinkNow {
        let links = match &self.0 {
            Ok(links) => links.lock().unwrap_or_else(PoisonError::into_inner),
            Err(reason) => return LinkNow::Unknown(reason.clone()),
        };
        match links.iter().find(|(key, _)| is(key, from, name, place)) {
            Some((_, now)) => LinkNow::Conninfo(now.clone()),
            None => LinkNow::Gone,
        }
    }

    /// A link has got another connection string.
    pub(super) fn set(&self, from: &str, name: &str, place: &LinkPlace, now: &str) {
        let Ok(links) = &self.0 else { return };
        let mut links = links.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, there) in links.iter_mut().filter(|(key, _)| is(key, from, name, place)) {
            now.clone_into(there);
        }
    }
}

fn is(key: &Key, from: &str, name: &str, place: &LinkPlace) -> bool {
    (key.0.as_str(), key.1.as_str(), &key.2) == (from, name, place)
}
