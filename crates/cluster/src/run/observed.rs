//! What servers tell of themselves when a run is done: what no file and no plan says.

use std::{collections::BTreeMap, sync::Arc};

use super::applied::AppliedRole;
use crate::{
    apply::Work,
    bounded::for_each,
    deadline::within,
    error::Error,
    inspect::{self, ANSWER, Node, NodeState, Role, THIS_MACHINE},
};

/// What a server tells of the links' roles, and of the settings that links need.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    pub(crate) roles: BTreeMap<String, AppliedRole>,
    pub(crate) settings: BTreeMap<String, String>,
}

impl Observed {
    /// What there is of these roles and settings. A standby has its primary's roles.
    pub(crate) fn of<'r>(
        in_recovery: bool,
        roles: impl IntoIterator<Item = &'r Role>,
        link_roles: &[&str],
        setting: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let links = roles.into_iter().filter(|role| link_roles.contains(&role.name.as_str()));
        let named = |role: &Role| (role.name.clone(), AppliedRole::from(role));
        let settings = SETTINGS.iter();
        Self {
            roles: if in_recovery { BTreeMap::new() } else { links.map(named).collect() },
            settings: settings
                .filter_map(|name| Some(((*name).to_owned(), setting(name)?)))
                .collect(),
        }
    }

    /// What inspection found of them.
    pub(crate) fn inspected(state: &NodeState, link_roles: &[&str]) -> Self {
        let setting = |name: &str| state.settings.get(name).map(|setting| setting.value.clone());
        Self::of(state.in_recovery, &state.roles, link_roles, setting)
    }
}

/// The settings that plans set.
const SETTINGS: [&str; 5] =
    ["ssl", "ssl_ca_file", "ssl_cert_file", "ssl_key_file", "log_connections"];

/// What the servers tell that a run came to. The run is done, whatever becomes of this: of a server that
/// does not answer is known what was known before.
pub(super) async fn observe(work: &Arc<Work>) -> Vec<(String, Observed)> {
    let steps = work.plan.stages.iter().flat_map(|stage| &stage.steps);
    let mut names: Vec<&str> =
        steps.map(|step| &*step.node).filter(|name| *name != THIS_MACHINE).collect();
    names.sort_unstable();
    names.dedup();
    let nodes: Vec<Node> =
        names.into_iter().filter_map(|name| work.node(name).ok().cloned()).collect();
    let shared = work.clone();
    let asked = for_each(work.limits.nodes.max(1), nodes, move |node: Node| {
        let work = shared.clone();
        async move {
            let asked = within(work.limits.answer, ANSWER, ask(&work, &node)).await;
            (node.spec.name, asked)
        }
    });
    let answers = asked.await.unwrap_or_default().into_iter();
    answers.filter_map(|(name, answer)| Some((name, answer.ok()?))).collect()
}

async fn ask(work: &Work, node: &Node) -> Result<Observed, Error> {
    // A session from before the last reload may not have heard of it yet.
    let client = work.connect(node, None).await?;
    let link_roles: Vec<&str> = work.spec.link_roles().collect();
    let (in_recovery, roles, settings) = tokio::try_join!(
        inspect::in_recovery(&client),
        inspect::roles(&client, &link_roles),
        inspect::settings(&client),
    )?;
    let setting = |name: &str| settings.get(name).map(|setting| setting.value.clone());
    Ok(Observed::of(in_recovery, &roles, &link_roles, setting))
}
