//! The links' connection strings as they are now.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::Work;
use crate::{
    deadline::within,
    error::Error,
    inspect,
    topology::{self, Link, LinkPlace},
};

/// The links of the nodes that can be asked.
#[derive(Debug)]
pub(super) struct LinksNow(Result<Vec<Link>, String>);

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
        let mut waiting = work.nodes.values().cloned().collect::<Vec<_>>().into_iter();
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
        Self(links.map_err(|error: Error| error.to_string()))
    }

    pub(super) fn find(&self, from: &str, name: &str, place: &LinkPlace) -> LinkNow {
        let links = match &self.0 {
            Ok(links) => links,
            Err(reason) => return LinkNow::Unknown(reason.clone()),
        };
        let same = |link: &&Link| link.from == from && link.name == name && link.place == *place;
        match links.iter().find(same) {
            Some(link) => LinkNow::Conninfo(link.conninfo.to_masked_text()),
            None => LinkNow::Gone,
        }
    }
}
