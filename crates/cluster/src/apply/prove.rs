//! Proof that what was taken back is as it was found: the administrator gets in, and every link that
//! worked does.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Work,
    links::{LinkNow, LinksNow},
};
use crate::{
    bounded::for_each,
    deadline::within,
    error::Error,
    inspect::THIS_MACHINE,
    plan::Action,
    run::journal::{At, Found},
    sessions::{self, SessionId},
    text::Text,
    topology::{LinkPlace, SessionKey},
};

/// A link that must work.
#[derive(Clone, Debug)]
pub(super) struct LinkToProve {
    /// The node that connects.
    pub(super) from: Text,
    /// The node that it leads to.
    pub(super) to: Text,
    pub(super) name: Text,
    pub(super) place: Arc<LinkPlace>,
    pub(super) key: Arc<SessionKey>,
    /// The session by which it was connected before, which proves nothing.
    pub(super) before: Option<SessionId>,
}

impl LinkToProve {
    fn is(&self, other: &Self) -> bool {
        (&self.from, &self.name, &self.place) == (&other.from, &other.name, &other.place)
    }
}

/// The links of the plan that worked, by the node that they lead to.
#[derive(Debug, Default)]
pub(super) struct LinksBefore(BTreeMap<String, Vec<LinkToProve>>);

impl LinksBefore {
    /// Those that were switched, or were to be, go by what was found before; the others by what is now.
    pub(super) async fn look(work: &Arc<Work>) -> Self {
        let mut all: BTreeMap<String, Vec<(LinkToProve, Option<bool>)>> = BTreeMap::new();
        for (stage, content) in work.plan.stages.iter().enumerate() {
            for (step, planned) in content.steps.iter().enumerate() {
                let Action::SwitchLink { to, name, place, session, wait: true, .. } =
                    &planned.action
                else {
                    continue;
                };
                let worked = match work.journal.state(At { stage, step }).begun {
                    Some(Found::Session { session }) => Some(session.is_some()),
                    _ => None,
                };
                let link = LinkToProve {
                    from: planned.node.clone(),
                    to: to.clone(),
                    name: name.clone(),
                    place: place.clone(),
                    key: planned.session_before().unwrap_or(session).clone(),
                    before: None,
                };
                let links = all.entry(to.to_string()).or_default();
                match links.iter_mut().find(|(there, _)| there.is(&link)) {
                    // A link that is switched twice: the first time tells how it was found.
                    Some((_, there)) => *there = there.or(worked),
                    None => links.push((link, worked)),
                }
            }
        }
        let look = |(to, links): (String, Vec<(LinkToProve, Option<bool>)>)| {
            let work = work.clone();
            async move {
                let working = working(&work, &to, links).await;
                (to, working)
            }
        };
        let looked = for_each(work.limits.nodes, all, look).await;
        Self(looked.into_iter().flatten().collect())
    }

    /// With links that were switched back, and have not been seen to work since.
    pub(super) fn with(mut self, switched: Vec<LinkToProve>) -> Self {
        for link in switched {
            let links = self.0.entry(link.to.to_string()).or_default();
            links.retain(|there| !there.is(&link));
            links.push(link);
        }
        self
    }
}

async fn working(
    work: &Work,
    to: &str,
    links: Vec<(LinkToProve, Option<bool>)>,
) -> Vec<LinkToProve> {
    let unknown = links.iter().any(|(_, worked)| worked.is_none());
    // A node that does not answer now is found out below.
    let client = match work.node(to) {
        Ok(node) if unknown => work.session(node).await.ok(),
        _ => None,
    };
    let mut found = Vec::new();
    for (link, worked) in links {
        let worked = match (worked, &client) {
            (Some(worked), _) => worked,
            (None, Some(client)) => {
                let find = async { sessions::find(client, &link.key).await };
                let session = within(work.limits.answer, "the link's session", find).await;
                session.is_ok_and(|session| session.is_some_and(|session| session.works))
            }
            (None, None) => false,
        };
        if worked {
            found.push(link);
        }
    }
    found
}

/// What is not as it was found, on the nodes where everything was taken back. A link that is gone is
/// nothing to be proved.
pub(super) async fn as_found(
    work: &Arc<Work>,
    mut before: LinksBefore,
    now: &LinksNow,
    stuck: &BTreeSet<String>,
) -> Vec<String> {
    for links in before.0.values_mut() {
        links
            .retain(|link| !matches!(now.find(&link.from, &link.name, &link.place), LinkNow::Gone));
    }
    let steps = work.plan.stages.iter().flat_map(|stage| &stage.steps);
    let nodes: BTreeSet<String> =
        steps.map(|step| step.node.to_string()).chain(before.0.keys().cloned()).collect();
    let nodes: Vec<String> =
        nodes.difference(stuck).filter(|name| *name != THIS_MACHINE).cloned().collect();
    let prove = |name: String| {
        let (work, links) = (work.clone(), before.0.get(&name).cloned().unwrap_or_default());
        async move { prove(&work, &name, links).await.err().map(|error| format!("{name}: {error}")) }
    };
    match for_each(work.limits.nodes, nodes, prove).await {
        Ok(left) => left.into_iter().flatten().collect(),
        Err(error) => vec![error.to_string()],
    }
}

async fn prove(work: &Work, name: &str, links: Vec<LinkToProve>) -> Result<(), Error> {
    let patience = work.limits.answer;
    // A session of its own: it is the administrator's way in that is proved.
    let client = work.connect(work.node(name)?, None).await?;
    for link in links {
        // Whose connection string came and went before anybody looked at it has never connected anew:
        // it does now, by the one that it has.
        if let Some(before) = link.before {
            let end = sessions::end(&client, before);
            within(patience, "the link's session to end", end).await?;
        }
        let back = sessions::until_anew(&client, &link.key, link.before, patience);
        within(patience * 2, "the link to work again", back).await.map_err(|error| {
            Error::NotTaken {
                reason: format!("the link {} of {} does not work: {error}", link.name, link.from),
            }
        })?;
    }
    Ok(())
}
