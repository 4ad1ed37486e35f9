//! Whether a rule decides about a role at all: connections that it is for are tried until one is found
//! that no rule before it takes.
//!
//! Where rules before it take part of what it is for, the rest begins at the borders of their networks:
//! these are the addresses that are tried, and likewise the databases that they name, with TLS and
//! without.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use hba_parser::{Address, ConnectionType, DatabaseKind, Rule};

use super::{
    names,
    reading::{Question, Reading},
};

/// Addresses that no host has (RFC 5737, RFC 3849), for rules that are for every one.
const ANY: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, 77)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x77)),
];

/// A database that no rule names.
const NO_DATABASE: &str = "pgward: none";

/// So many comparisons are made for a rule and a role; where it takes more, the rule is taken for one
/// that decides.
const WORK: usize = 2_000_000;

impl Reading {
    /// Whether a rule decides about a role, for some connection that it is for.
    pub(crate) fn decides_about(&self, rule: &Rule<'_>, user: &str) -> bool {
        if !names(rule, user, &self.roles) {
            return false;
        }
        let encryption: &[bool] = match rule.connection() {
            ConnectionType::Local => return false,
            ConnectionType::HostSsl => &[true],
            ConnectionType::HostNoSsl => &[false],
            ConnectionType::Host | ConnectionType::HostNoGssEnc => &[true, false],
            // Whom GSSAPI encrypts for is not asked about.
            ConnectionType::HostGssEnc => return true,
        };
        let before: Vec<Rule<'_>> =
            self.rules.iter().take_while(|other| other.location() != rule.location()).collect();
        let Some(addresses) = addresses(rule, &before) else {
            // Whom a name stands for, only the network can tell.
            return true;
        };
        let databases = databases(rule, &before, user);
        let count = addresses.len() * databases.len() * encryption.len();
        if count.saturating_mul(before.len() + 1) > WORK {
            return true;
        }
        let mut was_asked = false;
        for address in &addresses {
            for (database, physical) in &databases {
                for tls in encryption {
                    let question = Question {
                        address: Some(*address),
                        tls: *tls,
                        user,
                        database,
                        physical: *physical,
                    };
                    let connection = question.connection();
                    let decision = self.rules.decide(&connection, &self.roles, &self.network);
                    if decision.rule.is_some_and(|found| found.location() == rule.location()) {
                        return true;
                    }
                    let is_before = |found: Rule<'_>| {
                        before.iter().any(|before| before.location() == found.location())
                    };
                    was_asked |= decision.rule.is_some_and(is_before);
                }
            }
        }
        // An expression that no known name fits may fit others.
        !was_asked
    }
}

/// Addresses that a rule is for, those at the borders of the networks of earlier rules among them;
/// `None` where names say which.
fn addresses(rule: &Rule<'_>, before: &[Rule<'_>]) -> Option<BTreeSet<IpAddr>> {
    let mut all: BTreeSet<IpAddr> = match rule.address()? {
        Address::All | Address::SameNet => ANY.into(),
        Address::SameHost => [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()].into(),
        Address::Network(network, mask) => borders(network, mask)?.into(),
        Address::Host(_) | Address::Suffix(_) => return None,
    };
    let is_inside = |address: IpAddr| match rule.address() {
        Some(Address::Network(network, mask)) => is_in(address, network, mask),
        Some(Address::All | Address::SameNet) => true,
        _ => false,
    };
    for other in before {
        let Some(Address::Network(network, mask)) = other.address() else { continue };
        let Some([first, last]) = borders(network, mask) else { continue };
        let beside = [step(first, false), step(last, true)];
        let near = [first, last].into_iter().chain(beside.into_iter().flatten());
        all.extend(near.filter(|address| is_inside(*address)));
    }
    Some(all)
}

/// The first and the last address of a network.
fn borders(network: IpAddr, mask: IpAddr) -> Option<[IpAddr; 2]> {
    match (network, mask) {
        (IpAddr::V4(network), IpAddr::V4(mask)) => {
            let first = network.to_bits() & mask.to_bits();
            let last = first | !mask.to_bits();
            Some([first, last].map(|bits| Ipv4Addr::from_bits(bits).into()))
        }
        (IpAddr::V6(network), IpAddr::V6(mask)) => {
            let first = network.to_bits() & mask.to_bits();
            let last = first | !mask.to_bits();
            Some([first, last].map(|bits| Ipv6Addr::from_bits(bits).into()))
        }
        _ => None,
    }
}

/// The address behind one, or before it.
fn step(address: IpAddr, forward: bool) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => {
            let bits = address.to_bits();
            let next = if forward { bits.checked_add(1) } else { bits.checked_sub(1) };
            next.map(|bits| Ipv4Addr::from_bits(bits).into())
        }
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            let next = if forward { bits.checked_add(1) } else { bits.checked_sub(1) };
            next.map(|bits| Ipv6Addr::from_bits(bits).into())
        }
    }
}

fn is_in(address: IpAddr, network: IpAddr, mask: IpAddr) -> bool {
    match (address, network, mask) {
        (IpAddr::V4(address), IpAddr::V4(network), IpAddr::V4(mask)) => {
            (address.to_bits() ^ network.to_bits()) & mask.to_bits() == 0
        }
        (IpAddr::V6(address), IpAddr::V6(network), IpAddr::V6(mask)) => {
            (address.to_bits() ^ network.to_bits()) & mask.to_bits() == 0
        }
        _ => false,
    }
}

/// Databases that a rule may be for, those that earlier rules name among them; and whether it is for
/// physical replication.
fn databases(rule: &Rule<'_>, before: &[Rule<'_>], user: &str) -> BTreeSet<(String, bool)> {
    let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    let mut all = BTreeSet::new();
    for database in rule.databases() {
        let named: Vec<String> = match database.kind() {
            DatabaseKind::Replication => {
                all.insert((String::new(), true));
                continue;
            }
            DatabaseKind::Name(name) => vec![text(name)],
            DatabaseKind::SameUser | DatabaseKind::SameRole => vec![user.to_owned()],
            DatabaseKind::All | DatabaseKind::Regex(_) => {
                let named = before.iter().flat_map(Rule::databases);
                let named = named.filter_map(|database| match database.kind() {
                    DatabaseKind::Name(name) => Some(text(name)),
                    _ => None,
                });
                named.chain(["postgres", NO_DATABASE, user].map(str::to_owned)).collect()
            }
        };
        all.extend(named.into_iter().map(|name| (name, false)));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::sample;

    #[test]
    fn what_earlier_rules_leave_is_found() {
        for (before, rule, expected) in [
            ("", "host all all 10.0.0.0/8 trust", true),
            ("host all all 10.0.0.1/32 reject", "host all all 10.0.0.0/8 trust", true),
            ("host all all 10.0.0.0/9 reject", "host all all 10.0.0.0/8 trust", true),
            (
                "host all all 10.0.0.0/9 reject\nhost all all 10.128.0.0/9 reject",
                "host all all 10.0.0.0/8 trust",
                false,
            ),
            ("host all all 0.0.0.0/0 reject", "host all all all trust", true),
            ("host all all all reject", "host all all all trust", false),
            ("host postgres all all reject", "host all all all trust", true),
            ("host app all all reject", "host app,other all all trust", true),
            ("hostssl all all all cert", "host all all all trust", true),
            (
                "hostssl all all all cert\nhostnossl all all all reject",
                "host all all all trust",
                false,
            ),
            ("host all all all reject", "hostnossl replication all all trust", true),
            ("host all,replication all all reject", "host replication all all trust", false),
            ("", "host /^app all all trust", true),
            ("host /^app all all reject", "host /^app all all trust", true),
            ("host all all all reject", "host /^app all all trust", false),
            ("", "host all +web all trust", false),
            ("", "host all repl all trust", false),
            ("", "host all all samehost trust", true),
            ("host all all samehost reject", "host all all samenet trust", true),
            ("host all all all reject", "host all all db.example.com trust", true),
        ] {
            let hba = format!("{before}\n{rule}\n");
            let reading = Reading::of(&sample::node(hba.as_bytes(), &[]), [10, 0, 0, 1].into());
            let rules: Vec<_> = reading.trusting().collect();
            assert_eq!(rules.len(), 1, "{hba}");
            assert_eq!(reading.decides_about(&rules[0], "postgres"), expected, "{hba}");
        }
    }
}
