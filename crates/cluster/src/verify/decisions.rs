//! Which rule of each node's `pg_hba.conf` decides about the links, over TLS and without.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;

use super::{LinksTo, checks::logins};
use crate::{
    demand::WayIn,
    hba::{DecidingRule, Reading},
    topology::{Cluster, Demands},
};

/// What the rules of a node have for a login of the links.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Decision {
    /// The node whose rules they are.
    pub node: String,
    /// The role that logs in.
    pub role: String,
    /// The database; `None` for physical replication.
    pub database: Option<String>,
    /// The network of the description that it comes from, if the links have one of their own.
    pub network: Option<IpNet>,
    /// The address there that the rules were asked about: a peer's where one is in the network.
    pub address: IpAddr,
    /// The method that the description wants.
    pub wanted: String,
    /// The rule that decides about it over TLS; `None` where none does, so that it is refused.
    pub over_tls: Option<RuleSeen>,
    /// The rule that decides about it without TLS.
    pub plain_text: Option<RuleSeen>,
    /// What is not as the description wants it.
    pub missing: Vec<String>,
}

impl Decision {
    /// Whether the rules decide as the description wants.
    #[must_use]
    pub fn proved(&self) -> bool {
        self.missing.is_empty()
    }
}

/// A rule, and where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RuleSeen {
    /// Its file.
    pub file: String,
    /// Its line there, from 1.
    pub line: u32,
    /// Its method.
    pub method: String,
    /// The rule as the server reads it, without the options that may be secret.
    pub text: String,
}

impl From<DecidingRule> for RuleSeen {
    fn from(rule: DecidingRule) -> Self {
        let DecidingRule { file, line, method, text, .. } = rule;
        Self { file, line, method: method.as_str().to_owned(), text }
    }
}

/// For each node: each role, from each network, to everything that links connect to.
pub(super) fn all(cluster: &Cluster<'_>, demands: &Demands, links: &LinksTo) -> Vec<Decision> {
    let mut decisions = Vec::new();
    for state in cluster.states {
        let (Some(demand), Ok(node)) = (demands.get(&state.name), cluster.node(&state.name)) else {
            continue;
        };
        let coming = links.get(state.name.as_str()).map_or(&[][..], Vec::as_slice);
        let reading = Reading::of(state, node.address);
        let refusal = reading.refusal();
        for login in logins(cluster.spec, coming, demand, &state.name) {
            let missing = match &refusal {
                Some(refusal) => vec![format!("the server refuses the file: {refusal}")],
                None => login.judge(&reading).into_iter().map(|(_, what)| what).collect(),
            };
            decisions.push(Decision {
                node: state.name.clone(),
                role: login.way.role.clone(),
                network: network(login.way, login.address),
                address: login.address,
                wanted: login.way.method.as_str().to_owned(),
                over_tls: login.decide(&reading, true).map(RuleSeen::from),
                plain_text: login.decide(&reading, false).map(RuleSeen::from),
                database: login.database,
                missing,
            });
        }
    }
    decisions
}

fn network(way: &WayIn, address: IpAddr) -> Option<IpNet> {
    way.networks.iter().find(|network| network.contains(&address)).copied()
}
