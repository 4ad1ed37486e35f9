//! `pg_hba.conf`: which rule decides about the links, with TLS and without.

use std::net::IpAddr;

use hba_parser::Method;

use crate::{
    demand::{Databases, Demand, WayIn},
    hba::{self, Question},
    inspect::NodeState,
    topology::Cluster,
    verify::{code::Code, finding::Finding},
};

pub(super) fn check(
    cluster: &Cluster<'_>,
    state: &NodeState,
    demand: &Demand,
    findings: &mut Vec<Finding>,
) {
    for way in &demand.ways_in {
        for address in addresses(cluster, state, way) {
            for (database, physical) in targets(way) {
                check_way(state, way, address, &database, physical, findings);
            }
        }
    }
    for open in hba::trusted_networks(state) {
        let wanted = demand.ways_in.iter().any(|way| way.method == Method::Trust);
        if !wanted {
            findings.push(Finding::warning(Code::TrustOpen, &state.name, open));
        }
    }
}

/// Where links come from: the peers' own addresses where they lie in the networks, else an address of
/// each network.
fn addresses(cluster: &Cluster<'_>, state: &NodeState, way: &WayIn) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    let peers = cluster.links_to(&state.name).filter_map(|link| cluster.node(&link.from).ok());
    for peer in peers.map(|node| node.address) {
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

fn check_way(
    state: &NodeState,
    way: &WayIn,
    address: IpAddr,
    database: &str,
    physical: bool,
    findings: &mut Vec<Finding>,
) {
    let question =
        |tls| Question { address: Some(address), tls, user: &way.role, database, physical };
    let to = if physical { "replication".to_owned() } else { format!("database {database}") };
    let who = format!("{} from {address} to {to}", way.role);
    let wanted = way.method.as_str();
    let find = |code, what| Finding::error(code, &state.name, what);
    match hba::decide(state, &question(way.tls)) {
        None => findings.push(find(Code::NoRule, format!("{who}: no rule matches"))),
        Some(rule) if rule.method == "reject" => {
            findings.push(find(Code::NoRule, format!("{who}: line {} rejects it", rule.line)));
        }
        Some(rule) if rule.method != wanted => findings.push(find(
            Code::Shadowed,
            format!("{who}: line {} decides, by {}, not by {wanted}", rule.line, rule.method),
        )),
        Some(_) => {}
    }
    if way.tls
        && let Some(rule) = hba::decide(state, &question(false))
        && rule.method != "reject"
    {
        findings.push(find(
            Code::PlainTextOpen,
            format!("{who}: line {} lets it in without TLS, by {}", rule.line, rule.method),
        ));
    }
}
