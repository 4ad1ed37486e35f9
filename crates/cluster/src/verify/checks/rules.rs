//! `pg_hba.conf`: which rule decides about the links, with TLS and without, and whom else the network
//! is open to.

use std::{collections::BTreeSet, net::IpAddr};

use hba_parser::{Address, Method, Rule};
use ipnet::IpNet;
use pg_version::PgVersion;

use crate::{
    conninfo::ConnInfo,
    demand::{Databases, Demand, WayIn},
    hba::{self, DecidingRule, Question, Reading},
    inspect::{HbaError, NodeState, Role},
    plan::files,
    spec::ClusterSpec,
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
        // Which rules the server has instead, nothing tells.
        refused(state, &reading, &refusal, findings);
        return;
    }
    // What is the same for several databases is said once.
    let mut said: Vec<(Code, String, Vec<String>, String)> = Vec::new();
    for login in logins(cluster.spec, links, demand, &state.name) {
        let who = format!("{} from {}", login.way.role, login.address);
        let to = login.database.clone().unwrap_or_else(|| "replication".to_owned());
        for (code, what) in login.judge(&reading) {
            let mut same = said.iter_mut();
            match same.find(|same| (same.0, &same.1, &same.3) == (code, &who, &what)) {
                Some(same) => same.2.push(to.clone()),
                None => said.push((code, who.clone(), vec![to.clone()], what)),
            }
        }
    }
    if said.is_empty() {
        findings.extend(beside(state, demand));
    }
    for (code, who, to, what) in said {
        let what = format!("{who} to {}: {what}", to.join(", "));
        findings.push(Finding::error(code, &state.name, what));
    }
    if !demand.ways_in.iter().any(|way| way.method == Method::Trust) {
        let nodes = &cluster.spec.nodes;
        let site = Site {
            peers_from: &node.peers_from,
            has_neighbours: nodes.iter().any(|n| n.name != node.name && n.address == node.address),
        };
        check_trust(&reading, state, &site, demand, findings);
    }
}

/// What the rules have for the links' roles beside what the peers' addresses show: from elsewhere in the
/// networks, or behind the rules for the links.
fn beside(state: &NodeState, demand: &Demand) -> Option<Finding> {
    let edit = hba::secure(state, &demand.ways_in).ok()?;
    let path = state.hba_file();
    let found = state.file(path)?;
    if *found.bytes == edit.closed {
        return None;
    }
    let what = format!(
        "{} has other rules for the links' roles beside those that the peers' addresses come to: applied, \
         the description would change it",
        path.display()
    );
    let diff = files::diff(path, Some(&found.bytes), &edit.closed);
    Some(Finding::error(Code::Shadowed, &state.name, what).with_detail(diff))
}

/// Where links to a node come from: the peers' own addresses where they lie in the networks, else an address of
/// each network.
pub(in crate::verify) fn link_addresses(
    spec: &ClusterSpec,
    links: &[(Link, ConnInfo)],
    way: &WayIn,
    to: &str,
) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    let peers = links.iter().filter(|(link, _)| link.from != to);
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

/// The lines that the server would not load, in its words, and else in ours.
fn refused(state: &NodeState, reading: &Reading, refusal: &str, findings: &mut Vec<Finding>) {
    let path = state.hba_file().display();
    let mut find = |what| findings.push(Finding::error(Code::ReloadRefused, &state.name, what));
    if state.hba_errors.is_empty() {
        find(format!("{path}: {refusal}"));
    }
    for HbaError { line, message } in &state.hba_errors {
        // Of some lines only the log tells why.
        let own = u32::try_from(*line).ok().and_then(|line| reading.problem_at(line));
        let message = own.as_deref().unwrap_or(message);
        find(format!("line {line} of {path}: {message}"));
    }
}

/// A login of the links that the rules of a node decide about.
pub(in crate::verify) struct Login<'a> {
    pub(in crate::verify) way: &'a WayIn,
    pub(in crate::verify) address: IpAddr,
    /// `None` for physical replication.
    pub(in crate::verify) database: Option<String>,
}

/// Each role, from wherever links come, to everything that they connect to on a node.
pub(in crate::verify) fn logins<'a>(
    spec: &ClusterSpec,
    links: &[(Link, ConnInfo)],
    demand: &'a Demand,
    to: &str,
) -> Vec<Login<'a>> {
    let mut logins = Vec::new();
    for way in &demand.ways_in {
        for address in link_addresses(spec, links, way, to) {
            let targets = targets(links, way).into_iter();
            logins.extend(targets.map(|database| Login { way, address, database }));
        }
    }
    logins
}

/// What links connect to; `None` for physical replication.
fn targets(links: &[(Link, ConnInfo)], way: &WayIn) -> Vec<Option<String>> {
    let mut targets = Vec::new();
    for databases in &way.databases {
        match databases {
            Databases::All => {
                let own = links.iter().filter_map(|(link, _)| link.database());
                let own = own.chain(["postgres"]);
                let own: BTreeSet<&str> = own.collect();
                targets.extend(own.into_iter().map(|name| Some(name.to_owned())));
            }
            Databases::Replication => targets.push(None),
            Databases::Names(names) => targets.extend(names.iter().cloned().map(Some)),
        }
    }
    targets
}

impl Login<'_> {
    /// The rule that decides about it, over TLS or without.
    pub(in crate::verify) fn decide(&self, reading: &Reading, tls: bool) -> Option<DecidingRule> {
        reading.decide(&Question {
            address: Some(self.address),
            tls,
            user: &self.way.role,
            database: self.database.as_deref().unwrap_or_default(),
            physical: self.database.is_none(),
        })
    }

    /// What is wrong with the rules that decide about it.
    pub(in crate::verify) fn judge(&self, reading: &Reading) -> Vec<(Code, String)> {
        let way = self.way;
        let mut wrong = Vec::new();
        match self.decide(reading, way.tls) {
            None => wrong.push((Code::NoRule, "no rule matches".to_owned())),
            Some(rule) if rule.rejects() => wrong.push((Code::NoRule, format!("{rule} decides"))),
            Some(rule) if rule.method != way.method => {
                let wanted = way.method.as_str();
                wrong.push((Code::Shadowed, format!("{rule} decides, not {wanted}")));
            }
            Some(rule) if rule.map.is_some() => {
                let what = format!("{rule} decides, and its map lets others be the role");
                wrong.push((Code::Shadowed, what));
            }
            Some(_) => {}
        }
        if way.tls
            && let Some(rule) = self.decide(reading, false)
            && !rule.rejects()
        {
            wrong.push((Code::PlainTextOpen, format!("{rule} lets it in without TLS")));
        }
        wrong
    }
}

/// Where a node's peers are.
struct Site<'a> {
    peers_from: &'a [IpNet],
    /// Whether others are on its machine, at its own address.
    has_neighbours: bool,
}

/// Rules that let the network in without a password, as whoever could do everything that links do.
fn check_trust(
    reading: &Reading,
    state: &NodeState,
    site: &Site<'_>,
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
    // Superusers first: that says most.
    let (superusers, others): (Vec<&Role>, Vec<&Role>) =
        state.roles.iter().filter(|role| role.can_login).partition(|role| role.superuser);
    let mighty = others.into_iter().filter(|role| is_mighty(role, state, reading));
    let links = demand.ways_in.iter().map(|way| way.role.as_str());
    let powerful: Vec<&str> =
        superusers.into_iter().chain(mighty).map(|role| role.name.as_str()).chain(links).collect();
    for rule in reading.trusting() {
        let words = reading.words(&rule);
        let is_admins =
            admins_rule.as_ref().is_some_and(|admins| admins.place() == reading.place(&rule));
        let from_network = !hba::is_for_own_machine(&rule) || is_for_peers(&rule, site);
        let lets_in = powerful.iter().find(|role| reading.decides_about(&rule, role));
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
                (Severity::Warning, format!("{words}: whoever is on the node's machine is {role}"))
            }
            None => (Severity::Warning, words),
        };
        let finding = Finding::error(Code::TrustOpen, &state.name, what);
        findings.push(Finding { severity, ..finding });
    }
}

/// Whether a role that is no superuser gets at everything that links do, and at the keys of the server: it
/// copies the data directory, reads or writes the server's files, or can make itself such a one.
fn is_mighty(role: &Role, state: &NodeState, reading: &Reading) -> bool {
    const GROUPS: [&str; 3] =
        ["pg_execute_server_program", "pg_read_server_files", "pg_write_server_files"];
    // Until 15 whoever makes roles may be any of them but a superuser.
    let makes_roles = state.version < PgVersion::V16
        && role.attributes.split(' ').any(|attribute| attribute == "CREATEROLE");
    let superusers =
        state.roles.iter().filter(|role| role.superuser).map(|role| role.name.as_str());
    role.replication
        || makes_roles
        || GROUPS.into_iter().chain(superusers).any(|group| reading.is_member(&role.name, group))
}

/// Whether a rule is for addresses that peers come from.
fn is_for_peers(rule: &Rule<'_>, site: &Site<'_>) -> bool {
    site.peers_from.iter().any(|network| match rule.address() {
        // Peers on the same machine, each with an address of its own.
        Some(Address::SameHost) => site.has_neighbours || network.addr().is_loopback(),
        address => hba::overlaps(address, network),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::sample;

    /// What is said of the trusting rules of a file on a node whose peers come from 10.0.0.0/8.
    fn trust(hba: &str, admin: Option<[u8; 4]>) -> Vec<(Severity, String)> {
        trust_beside(hba, admin, false)
    }

    fn trust_beside(
        hba: &str,
        admin: Option<[u8; 4]>,
        has_neighbours: bool,
    ) -> Vec<(Severity, String)> {
        let mut state = sample::node(hba.as_bytes(), &[]);
        let like = state.roles[1].clone();
        for (name, replication, group) in [
            ("backup", true, "nobody"),
            ("runner", false, "pg_execute_server_program"),
            ("heir", false, "postgres"),
            ("web", false, "nobody"),
        ] {
            let member_of = vec![group.to_owned()];
            let name = name.to_owned();
            state.roles.push(Role { name, replication, member_of, ..like.clone() });
        }
        state.admin.address = admin.map(IpAddr::from);
        let address: IpAddr = [10, 0, 0, 1].into();
        let peers_from: Vec<IpNet> = "10.0.0.0/8".parse().into_iter().collect();
        let way = WayIn {
            role: "repl".to_owned(),
            databases: vec![Databases::All],
            networks: peers_from.clone(),
            method: Method::Cert,
            tls: true,
            links_only: true,
        };
        let demand = Demand { ways_in: vec![way], ..Demand::default() };
        let mut findings = Vec::new();
        let reading = Reading::of(&state, address);
        let site = Site { peers_from: &peers_from, has_neighbours };
        check_trust(&reading, &state, &site, &demand, &mut findings);
        findings.into_iter().map(|found| (found.severity, found.what)).collect()
    }

    #[test]
    fn a_rule_that_trusts_the_network_is_as_bad_as_whom_it_lets_in() {
        use Severity::{Error, Warning};

        for (hba, severity, end) in [
            ("host all all 10.1.0.0/16 trust", Error, "whoever is there is postgres"),
            ("host all all 192.0.2.0/24 trust", Error, "whoever is there is postgres"),
            ("host all all samenet trust", Error, "whoever is there is postgres"),
            ("host all all db.example.com trust", Error, "whoever is there is postgres"),
            ("host replication repl all trust", Error, "whoever is there is repl"),
            ("host app all all trust", Error, "whoever is there is postgres"),
            // Nobody that could do anything.
            ("host app web 192.0.2.0/24 trust", Warning, "/d/pg_hba.conf"),
            (
                "host all all 127.0.0.1/32 trust",
                Warning,
                "whoever is on the node's machine is postgres",
            ),
            (
                "host all all samehost trust",
                Warning,
                "whoever is on the node's machine is postgres",
            ),
            ("host all all ::1/128 trust", Warning, "whoever is on the node's machine is postgres"),
        ] {
            let found = trust(hba, None);
            assert_eq!(found.len(), 1, "{hba}: {found:?}");
            assert_eq!(found[0].0, severity, "{hba}: {found:?}");
            assert!(found[0].1.ends_with(end), "{hba}: {found:?}");
        }
        // Who copies the data directory, or runs programs as the server, has its keys.
        for role in ["backup", "runner", "heir"] {
            let found = trust(&format!("host all,replication {role} 192.0.2.0/24 trust"), None);
            assert_eq!(found[0].0, Error, "{role}: {found:?}");
        }
        // Others on the machine are peers.
        assert_eq!(trust_beside("host all all samehost trust", None, true)[0].0, Error);
        // Whoever comes without TLS, from elsewhere in the network, to another database.
        for before in [
            "hostssl all all all cert",
            "host all all 10.0.0.0/9 reject",
            "host postgres all all reject",
        ] {
            let found = trust(&format!("{before}\nhost all all 10.0.0.0/8 trust"), None);
            assert_eq!(found[0].0, Error, "{before}: {found:?}");
        }
        // What stands before it decides.
        let hidden = "host all repl,postgres,backup,runner,heir all reject\n\
                      host all all 10.0.0.0/8 trust";
        assert_eq!(trust(hidden, None)[0].0, Warning);
        // The administrator's own way in.
        let found = trust("host all all 192.0.2.0/24 trust", Some([192, 0, 2, 9]));
        assert_eq!(found[0].0, Warning);
        assert!(found[0].1.ends_with("whoever is there is postgres, as you are"), "{found:?}");
        assert_eq!(trust("local all all trust\nhostssl all all all cert", None), []);
    }

    #[test]
    fn other_ways_in_than_the_peers_are_found() {
        let way = WayIn {
            role: "repl".to_owned(),
            databases: vec![Databases::All],
            networks: "10.0.0.0/8".parse().into_iter().collect(),
            method: Method::Cert,
            tls: true,
            links_only: true,
        };
        let demand = Demand { ways_in: vec![way], ..Demand::default() };
        let ours = "hostssl all repl 10.0.0.0/8 cert\n";
        let reject = "host all,replication repl all reject\n";
        for (hba, is_found) in [
            ([ours, reject].concat(), false),
            ([ours, reject, "host all all all md5\n"].concat(), false),
            ([ours, "host all all all scram-sha-256\n"].concat(), true),
            (["hostnossl all all 10.7.0.0/16 md5\n", ours, reject].concat(), true),
            (["host all /^re 10.7.0.0/16 md5\n", ours, reject].concat(), true),
            (["host all web 10.7.0.0/16 md5\n", ours, reject].concat(), false),
            (["hostssl all repl 10.0.0.0/8 cert clientname=DN\n", reject].concat(), true),
        ] {
            let found = beside(&sample::node(hba.as_bytes(), &[]), &demand);
            assert_eq!(found.is_some(), is_found, "{hba}: {found:?}");
            assert!(found.is_none_or(|found| found.detail.is_some()), "{hba}");
        }
    }
}
