//! The links' connection strings as they are now.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::{Work, bounded::for_each};
use crate::{
    deadline::within,
    error::Error,
    inspect::{self, Node, NodeState},
    topology::{self, Link, LinkPlace},
};

/// The links of the nodes that can be asked, by node, name and place; with what has become of them
/// since.
#[derive(Debug)]
pub(super) struct LinksNow {
    links: Result<Mutex<Vec<(Key, String)>>, String>,
    /// The nodes that do not answer, and why.
    silent: BTreeMap<String, String>,
}

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
        let ask = |node: Node| {
            let work = work.clone();
            async move {
                let inspect = async {
                    let client = work.session(&node).await?;
                    let inspecting = inspect::inspect_with(&client, &work.spec, &node);
                    within(work.limits.answer, "the node to be inspected", inspecting).await
                };
                let inspected: Result<NodeState, Error> = inspect.await;
                (node.spec.name, inspected)
            }
        };
        let servers: Vec<Node> = servers.cloned().collect();
        let (mut states, mut silent) = (Vec::new(), BTreeMap::new());
        match for_each(work.limits.nodes, servers, ask).await {
            Ok(asked) => {
                for (name, inspected) in asked {
                    match inspected {
                        Ok(state) => states.push(state),
                        Err(error) => drop(silent.insert(name, error.to_string())),
                    }
                }
            }
            Err(error) => return Self { links: Err(error.to_string()), silent },
        }
        states.sort_by(|a, b| a.name.cmp(&b.name));
        let links = topology::of(work.spec.topology).links(&work.spec, &states);
        let now = |link: Link| ((link.from, link.name, link.place), link.conninfo.to_masked_text());
        let links = links.map(|links| Mutex::new(links.into_iter().map(now).collect()));
        Self { links: links.map_err(|error| error.to_string()), silent }
    }

    pub(super) fn find(&self, from: &str, name: &str, place: &LinkPlace) -> LinkNow {
        let links = match (&self.links, self.silent.get(from)) {
            (Err(reason), _) | (_, Some(reason)) => return LinkNow::Unknown(reason.clone()),
            (Ok(links), None) => links.lock().unwrap_or_else(PoisonError::into_inner),
        };
        match links.iter().find(|(key, _)| is(key, from, name, place)) {
            Some((_, now)) => LinkNow::Conninfo(now.clone()),
            None => LinkNow::Gone,
        }
    }

    /// A link has got another connection string.
    pub(super) fn set(&self, from: &str, name: &str, place: &LinkPlace, now: &str) {
        let Ok(links) = &self.links else { return };
        let mut links = links.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, there) in links.iter_mut().filter(|(key, _)| is(key, from, name, place)) {
            now.clone_into(there);
        }
    }
}

fn is(key: &Key, from: &str, name: &str, place: &LinkPlace) -> bool {
    (key.0.as_str(), key.1.as_str(), &key.2) == (from, name, place)
}
