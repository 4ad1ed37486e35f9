//! `pg_hba.conf`: which rule decides about the links, with TLS and without, and whom else the network
//! is open to.

use std::net::IpAddr;

use hba_parser::{Method, Rule};

use crate::{
    conninfo::ConnInfo,
    demand::{Databases, Demand, WayIn},
    hba::{self, Question, Reading},
    inspect::NodeState,
    spec::{ClusterSpec, NodeSpec},
    topology::{Cluster, Link},
    verify::{
        code::Code,
        finding::{Finding, Severity},
    },
};

pub(super) fn check(
    cluster: &Cluster<'_>,
    links: &[(Link, ConnInfo)],
    state: &NodeState,
    demand: &Demand,
    findings: &mut Vec<Finding>,
) {
    let Ok(node) = cluster.node(&state.name) else { return };
    let reading = Reading::of(state, node.address);
    if let Some(refusal) = reading.refusal() {
        // Which rules the server has instead, nothing tells. What it says itself has been said.
        if state.hba_errors.is_empty() {
            let what = format!("{}: {refusal}", state.hba_file().display());
            findings.push(Finding::error(Code::ReloadRefused, &state.name, what));
        }
        return;
    }
    for way in &demand.ways_in {
        for address in link_addresses(cluster.spec, links, way, &state.name) {
            for (database, physical) in targets(way) {
                let question = |tls| Question {
                    address: Some(address),
                    tls,
                    user: &way.role,
                    database: &database,
                    physical,
                };
                check_way(&reading, way, &state.name, question, findings);
            }
        }
    }
    if !demand.ways_in.iter().any(|way| way.method == Method::Trust) {
        check_trust(&reading, state, node, demand, findings);
    }
}

/// Where links come from: the peers' own addresses where they lie in the networks, else an address of
/// each network.
pub(in crate::verify) fn link_addresses(
    spec: &ClusterSpec,
    links: &[(Link, ConnInfo)],
    way: &WayIn,
    to: &str,
) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    let peers = links.iter().filter(|(link, _)| link.to == to && link.from != to);
    for peer in peers.filter_map(|(link, _)| spec.node(&link.from)).map(|node| node.address) {
        if way.networks.iter().any(|network| network.contains(&peer)) && !addresses.contains(&peer)
        {
            addresses.push(peer);
        }
    }
    for network in &way.networks {
        if !addresses.iter().any(|address| network.contains(address)) {
            addresses.push(network.hosts().next().unwrap_or_else(|| network.addr()));
        }
    }
    addresses
}

/// What links connect to, each with whether it is physical replication.
fn targets(way: &WayIn) -> Vec<(String, bool)> {
    let mut targets = Vec::new();
    for databases in &way.databases {
        match databases {
            Databases::All => targets.push(("postgres".to_owned(), false)),
            Databases::Replication => targets.push((String::new(), true)),
            Databases::Names(names) => {
                targets.extend(names.iter().map(|name| (name.clone(), false)));
            }
        }
    }
    targets
}

fn check_way<'q>(
    reading: &Reading,
    way: &WayIn,
    node: &str,
    question: impl Fn(bool) -> Question<'q>,
    findings: &mut Vec<Finding>,
) {
    let with_tls = question(way.tls);
    let to = if with_tls.physical {
        "replication".to_owned()
    } else {
        format!("database {}", with_tls.database)
    };
    let from = with_tls.address.map(|address| format!(" from {address}")).unwrap_or_default();
    let who = format!("{}{from} to {to}", way.role);
    let wanted = way.method.as_str();
    let mut find = |code, what| findings.push(Finding::error(code, node, what));
    match reading.decide(&with_tls) {
        None => find(Code::NoRule, format!("{who}: no rule matches")),
        Some(rule) if rule.rejects() => find(Code::NoRule, format!("{who}: {rule}, decides")),
        Some(rule) if rule.method != way.method => {
            find(Code::Shadowed, format!("{who}: {rule}, decides, not {wanted}"));
        }
        Some(rule) if rule.map.is_some() => {
            find(
                Code::Shadowed,
                format!("{who}: {rule}, decides: the map lets others be the role"),
            );
        }
        Some(_) => {}
    }
    if way.tls
        && let Some(rule) = reading.decide(&question(false))
        && !rule.rejects()
    {
        find(Code::PlainTextOpen, format!("{who}: {rule}, lets it in without TLS"));
    }
}

/// Rules that let the network in without a password, as whoever could do everything that links do.
fn check_trust(
    reading: &Reading,
    state: &NodeState,
    node: &NodeSpec,
    demand: &Demand,
    findings: &mut Vec<Finding>,
) {
    let admin = &state.admin;
    let admins_rule = reading.decide(&Question {
        address: admin.address,
        tls: admin.tls,
        user: &admin.user,
        database: &admin.database,
        physical: false,
    });
    let powerful = || {
        let superusers = state.roles.iter().filter(|role| role.superuser && role.can_login);
        let links = demand.ways_in.iter().map(|way| way.role.as_str());
        superusers.map(|role| role.name.as_str()).chain(links)
    };
    for rule in reading.trusting() {
        let words = reading.words(&rule);
        let is_admins =
            admins_rule.as_ref().is_some_and(|admins| admins.place() == reading.place(&rule));
        let from_network = !hba::is_for_own_machine(&rule) || is_for_peers(&rule, node);
        let lets_in = powerful().find(|role| reading.decides_about(&rule, role));
        let (severity, what) = match lets_in {
            Some(role) if is_admins => {
                (Severity::Warning, format!("{words}: whoever is there is {role}, as you are"))
            }
            // Who logs in to a node that no links lead to is not the links' business.
            Some(role) if from_network => {
                let links_lead_here = !demand.ways_in.is_empty();
                let severity = if links_lead_here { Severity::Error } else { Severity::Warning };
                (severity, format!("{words}: whoever is there is {role}"))
            }
            Some(role) => {
                (Severity::Warning, format!("{words}: whoever is on this machine is {role}"))
            }
            None => (Severity::Warning, words),
        };
        let finding = Finding::error(Code::TrustOpen, &state.name, what);
        findings.push(Finding { severity, ..finding });
    }
}

/// Whether a rule is for addresses that peers come from.
fn is_for_peers(rule: &Rule<'_>, node: &NodeSpec) -> bool {
    node.peers_from.iter().any(|network| hba::overlaps(rule.address(), network))
}
