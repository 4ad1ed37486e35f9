//! The links' connection strings as they are now.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::Work;
use crate::{
    bounded::for_each,
    deadline::within,
    error::{Error, NodeContext as _},
    inspect::{self, ForeignServer, Node, NodeState},
    plan::{Action, Stage},
    run::journal::At,
    text::Text,
    topology::{self, ForeignPlace, LinkPlace},
};

/// The links of the nodes that can be asked, with what has become of them since.
#[derive(Debug)]
pub(super) struct LinksNow {
    links: Result<Mutex<Links>, String>,
    /// The nodes that do not answer, and why.
    silent: BTreeMap<String, String>,
    /// The same of databases, by node and name.
    unseen: BTreeMap<(String, String), String>,
    /// The options of foreign servers, secrets masked, by node, database and name.
    servers: BTreeMap<(String, String, String), String>,
}

/// By node and name, which is unique in its place only: the places, and the connection strings.
type Links = BTreeMap<(Text, Text), Vec<(Arc<LinkPlace>, String)>>;

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
            Err(error) => {
                let (unseen, servers) = (BTreeMap::new(), BTreeMap::new());
                return Self { links: Err(error.to_string()), silent, unseen, servers };
            }
        }
        let unseen = |state: &NodeState| {
            let (name, unseen) = (state.name.clone(), state.unseen_databases.clone());
            unseen.into_iter().map(move |(database, reason)| ((name.clone(), database), reason))
        };
        let unseen = states.iter().flat_map(unseen).collect();
        let servers = |state: &NodeState| {
            let named = |server: &ForeignServer| {
                let key = (state.name.clone(), server.database.clone(), server.name.clone());
                (key, server.options.to_masked_text())
            };
            state.foreign_servers.iter().map(named).collect::<Vec<_>>()
        };
        let servers = states.iter().flat_map(servers).collect();
        states.sort_by(|a, b| a.name.cmp(&b.name));
        let links = topology::of(work.spec.topology).links(&work.spec, &states);
        let links = links.map(|links| {
            let mut all = Links::new();
            for link in links {
                let now = link.conninfo.to_masked_text();
                all.entry((link.from, link.name)).or_default().push((link.place, now));
            }
            Mutex::new(all)
        });
        Self { links: links.map_err(|error| error.to_string()), silent, unseen, servers }
    }

    /// Refuses to go on where a link that a stage will switch is not as the plan saw it.
    ///
    /// # Errors
    /// [`Error::NotTaken`] with the node's name.
    pub(super) fn are_as_planned(
        &self,
        work: &Work,
        stage: usize,
        content: &Stage,
    ) -> Result<(), Error> {
        for (step, planned) in content.steps.iter().enumerate() {
            let Action::SwitchLink { name, place, before, after, .. } = &planned.action else {
                continue;
            };
            let state = work.journal.state(At { stage, step });
            if state.is_done() {
                continue;
            }
            let reason = match self.find(&planned.node, name, place) {
                LinkNow::Conninfo(now) if now == *before => continue,
                LinkNow::Conninfo(now) if now == *after && state.begun.is_some() => continue,
                LinkNow::Conninfo(now) => format!("has another connection string, {now}"),
                LinkNow::Gone => "is gone".to_owned(),
                // Whoever can not be asked can not be changed either, and says why then.
                LinkNow::Unknown(_) => continue,
            };
            let reason = format!("the link {name} {reason} since the plan was made: plan again");
            return Err(Error::NotTaken { reason }).on_node(&planned.node);
        }
        Ok(())
    }

    pub(super) fn find(&self, from: &str, name: &str, place: &LinkPlace) -> LinkNow {
        let links = match (&self.links, self.silent.get(from)) {
            (Err(reason), _) | (_, Some(reason)) => return LinkNow::Unknown(reason.clone()),
            (Ok(links), None) => links.lock().unwrap_or_else(PoisonError::into_inner),
        };
        let there = links.get(&(from.into(), name.into()));
        match there.and_then(|there| there.iter().find(|(at, _)| **at == *place)) {
            Some((_, now)) => LinkNow::Conninfo(now.clone()),
            None => match self.why_unseen(from, place) {
                Some(reason) => LinkNow::Unknown(reason.to_owned()),
                None => LinkNow::Gone,
            },
        }
    }

    /// The options of a link's foreign server, secrets masked, as they were when we looked.
    pub(super) fn server(&self, from: &str, place: &ForeignPlace) -> Option<&str> {
        let key = (from.to_owned(), place.database.clone(), place.server.clone());
        self.servers.get(&key).map(String::as_str)
    }

    /// Why a foreign server may be there and not be seen.
    fn why_unseen(&self, from: &str, place: &LinkPlace) -> Option<&str> {
        let LinkPlace::ForeignServer(place) = place else { return None };
        self.unseen.get(&(from.to_owned(), place.database.clone())).map(String::as_str)
    }

    /// A link has got another connection string.
    pub(super) fn set(&self, from: &str, name: &str, place: &LinkPlace, now: &str) {
        let Ok(links) = &self.links else { return };
        let mut links = links.lock().unwrap_or_else(PoisonError::into_inner);
        let there = links.get_mut(&(from.into(), name.into()));
        for (_, there) in there.into_iter().flatten().filter(|(at, _)| **at == *place) {
            now.clone_into(there);
        }
    }
}
