//! Rules that never decide: earlier ones match all that they are for.
//!
//! A rule is taken apart into what is either matched by one earlier rule as a whole or not at all: a
//! kind of connection, an address or network, a database, a user. The earlier rules are kept by just
//! these, so that a question costs a few look-ups and a file of many rules is no square of them.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec::Vec,
};
use core::net::IpAddr;

use super::{Finding, Lint, names::Names};
use crate::{
    ConnectionType,
    address::{masked, prefix_len},
    rules::{Address, Rule},
    scope::{self, Scope, Token, database_token, user_token},
    tokenize::short,
};

/// What a file may cost. What would take more (lists of many databases and many users in each of many
/// rules, many expressions and many names) is not looked for any more, and a finding says so.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// How many look-ups and comparisons
    pub(super) work: usize,
    /// How many pairs of a database and a user all rules may have: each takes about 200 bytes
    pub(super) pairs: usize,
}

impl Limits {
    pub(super) const USUAL: Self = Self { work: 50_000_000, pairs: 4_000_000 };
}

/// Which of several rules it takes to shadow another is found out if their lists are no longer than
/// this together.
const MAX_TOKENS: usize = 4096;

/// A rule for more databases times users than this is kept apart, and compared as a whole.
const WIDE: usize = 4096;

/// How many rules that shadow one together are examined for which of them it takes.
const MAX_EXAMINED: usize = 32;

/// The earlier rules, to be asked which of them match what.
pub(super) struct Earlier<'r> {
    rules: Vec<Rule<'r>>,
    databases: Names<'r>,
    users: Names<'r>,
    /// For a type, a database and a user, by their numbers: the node
    nodes: BTreeMap<(ConnectionType, u32, u32), u32>,
    /// For each node, the masks that its networks have
    masks: Vec<Vec<IpAddr>>,
    /// For a node and an address: the rules
    leaves: BTreeMap<(u32, Place), Vec<u32>>,
    wide: Vec<(u32, Scope<'r>)>,
    /// Networks of leading bits: whether IPv4, first address, how many bits
    networks: BTreeSet<(bool, u128, u8)>,
    work: usize,
    pairs: usize,
    limits: Limits,
}

/// An address, so that the same ones are equal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    None,
    All,
    SameHost,
    SameNet,
    /// In small letters, with the dot of an end of a name
    Name(Vec<u8>),
    /// With the bits that count
    Network(IpAddr, IpAddr),
}

fn place(address: Option<Address<'_>>) -> Place {
    match address {
        None => Place::None,
        Some(Address::All) => Place::All,
        Some(Address::SameHost) => Place::SameHost,
        Some(Address::SameNet) => Place::SameNet,
        Some(Address::Host(name) | Address::Suffix(name)) => Place::Name(name.to_ascii_lowercase()),
        Some(Address::Network(network, mask)) => Place::Network(mask, masked(network, mask)),
    }
}

/// A part of what a rule is for. Every earlier rule matches all of it or is not said to match it.
#[derive(Clone, Copy)]
struct Part<'r> {
    /// Kinds of connections, as bits
    kinds: u8,
    address: Option<Address<'r>>,
    database: Token<'r>,
    user: Token<'r>,
}

impl<'r> Earlier<'r> {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            rules: Vec::new(),
            databases: Names::default(),
            users: Names::default(),
            nodes: BTreeMap::new(),
            masks: Vec::new(),
            leaves: BTreeMap::new(),
            wide: Vec::new(),
            networks: BTreeSet::new(),
            work: 0,
            pairs: 0,
            limits,
        }
    }

    /// Whether it would take too long to go on: nothing is found any more.
    pub(super) fn is_exhausted(&self) -> bool {
        self.work > self.limits.work || self.pairs > self.limits.pairs
    }

    /// Adds the next rule.
    pub(super) fn push(&mut self, rule: Rule<'r>) {
        if self.is_exhausted() {
            return;
        }
        let index = short(self.rules.len());
        self.rules.push(rule);
        self.add_network(rule.address());
        let pairs = rule.databases().len() * rule.users().len();
        if pairs > WIDE {
            let scope = Scope::of(rule);
            self.work += scope.size();
            self.wide.push((index, scope));
            return;
        }
        self.work += pairs;
        self.pairs += pairs;
        let numbers = |names: &mut Names<'r>, tokens: Vec<_>| -> Vec<u32> {
            tokens.into_iter().map(|token| names.insert(token)).collect()
        };
        let databases = numbers(
            &mut self.databases,
            rule.databases().map(|name| database_token(&name)).collect(),
        );
        let users = numbers(&mut self.users, rule.users().map(|name| user_token(&name)).collect());
        let place = place(rule.address());
        for database in databases {
            for user in &users {
                let next = short(self.masks.len());
                let key = (rule.connection(), database, *user);
                let node = *self.nodes.entry(key).or_insert(next);
                if node == next {
                    self.masks.push(Vec::new());
                }
                if let Place::Network(mask, _) = place
                    && let Some(masks) = self.masks.get_mut(node as usize)
                {
                    self.work += masks.len();
                    if !masks.contains(&mask) {
                        masks.push(mask);
                    }
                }
                self.leaves.entry((node, place.clone())).or_default().push(index);
            }
        }
    }

    /// Networks around this one are taken apart.
    fn add_network(&mut self, address: Option<Address<'r>>) {
        if let Some(Address::Network(network, mask)) = address
            && let Some(bits) = prefix_len(mask)
        {
            self.networks.insert((network.is_ipv4(), number(masked(network, mask)), bits));
        }
    }

    /// The rules that match all of a part, each list in its order.
    fn covering(&mut self, part: &Part<'r>) -> Vec<&[u32]> {
        let databases = self.databases.covering(part.database, &mut self.work);
        let users = self.users.covering(part.user, &mut self.work);
        let mut nodes = Vec::new();
        for connection in ConnectionType::ALL {
            if part.kinds & !scope::kinds(connection) != 0 {
                continue;
            }
            for database in &databases {
                for user in &users {
                    nodes.extend(self.nodes.get(&(connection, *database, *user)));
                }
            }
        }
        let places = outer_places(part.address);
        let mut lists: Vec<&[u32]> = Vec::new();
        for node in nodes {
            let mut add = |place: Place| {
                lists.extend(self.leaves.get(&(node, place)).map(Vec::as_slice));
            };
            places.iter().cloned().for_each(&mut add);
            if let Some(Address::Network(network, mask)) = part.address {
                let masks = self.masks.get(node as usize).map_or(&[][..], Vec::as_slice);
                self.work += masks.len();
                for outer in masks.iter().filter(|outer| scope::mask_within(**outer, mask)) {
                    add(Place::Network(*outer, masked(network, *outer)));
                }
            }
            self.work += 1 + places.len();
        }
        let kinds = part.kinds;
        for (index, scope) in &self.wide {
            self.work += scope.work(1);
            let covers = kinds & !scope::kinds(scope.rule.connection()) == 0
                && scope::address_covers(scope.rule.address(), part.address)
                && scope.databases.cover(part.database)
                && scope.users.cover(part.user);
            if covers {
                lists.push(core::slice::from_ref(index));
            }
        }
        lists
    }

    /// The parts of a rule that differ in databases and users.
    fn parts(rule: &Rule<'r>) -> impl Iterator<Item = Part<'r>> + use<'r> {
        let (kinds, address) = (scope::kinds(rule.connection()), rule.address());
        let users = rule.users();
        rule.databases().flat_map(move |database| {
            let database = database_token(&database).0;
            users.clone().map(move |user| Part {
                kinds,
                address,
                database,
                user: user_token(&user).0,
            })
        })
    }

    /// Whether earlier rules match all that a rule is for.
    pub(super) fn shadow(&mut self, rule: &Rule<'r>) -> Option<Finding> {
        if self.is_exhausted() {
            return None;
        }
        if let Some(outer) = self.shadowing(rule) {
            // What matches it can be a mask with gaps, which does not say where to take apart.
            self.add_network(rule.address());
            let message = format!(
                "line {} ({}) matches all that this rule is for: it never decides",
                outer.line(),
                outer.method()
            );
            return Some(Finding {
                lint: Lint::Unreachable,
                message,
                location: rule.location(),
                other: Some(outer.location()),
            });
        }
        let together = self.shadowing_together(rule)?;
        let lines: Vec<String> = together
            .iter()
            .take(MAX_EXAMINED)
            .map(|earlier| format!("{}", earlier.line()))
            .collect();
        let more = match together.len().checked_sub(lines.len()) {
            None | Some(0) => String::new(),
            Some(more) => format!(" and {more} more"),
        };
        let message = format!(
            "lines {}{more} together match all that this rule is for: it never decides",
            lines.join(", ")
        );
        Some(Finding {
            lint: Lint::UnreachableTogether,
            message,
            location: rule.location(),
            other: together.first().map(Rule::location),
        })
    }

    /// The first rule that alone matches all that a rule is for.
    fn shadowing(&mut self, rule: &Rule<'r>) -> Option<Rule<'r>> {
        // It is among those that match the part that the fewest match.
        let mut fewest: Option<(usize, Part<'r>)> = None;
        for part in Self::parts(rule) {
            let count = self.covering(&part).into_iter().map(<[u32]>::len).sum();
            if fewest.is_none_or(|(fewest, _)| count < fewest) {
                fewest = Some((count, part));
            }
            if count == 0 || self.is_exhausted() {
                break;
            }
        }
        let (count, part) = fewest.filter(|(count, _)| *count > 0)?;
        self.work += count;
        let mut candidates = self.covering(&part).concat();
        candidates.sort_unstable();
        candidates.dedup();
        let inner = rule.databases().len() + rule.users().len();
        for index in candidates {
            let scope = Scope::of(self.rules[index as usize]);
            self.work += scope.size() + scope.work(inner);
            if scope.covers(rule) {
                return Some(scope.rule);
            }
            if self.is_exhausted() {
                break;
            }
        }
        None
    }

    /// Rules that together match all that a rule is for, and none that it does not take.
    fn shadowing_together(&mut self, rule: &Rule<'r>) -> Option<Vec<Rule<'r>>> {
        let mut found = self.covered(rule)?;
        let rules = &self.rules;
        let of = |indices: &[u32]| -> Vec<Rule<'r>> {
            indices.iter().map(|index| rules[*index as usize]).collect()
        };
        let tokens = |rule: &Rule<'r>| rule.databases().len() + rule.users().len();
        let all_tokens = tokens(rule) + of(&found).iter().map(tokens).sum::<usize>();
        if found.len() > MAX_EXAMINED || all_tokens > MAX_TOKENS {
            return Some(of(&found));
        }
        let mut index = found.len();
        while let Some(last) = index.checked_sub(1) {
            let needed = found.remove(last);
            // Which of them it takes is worth no more than what is left of the work: without any,
            // none is found to be needless.
            let left = self.limits.work.saturating_sub(self.work);
            let mut others = Self::new(Limits { work: left, ..self.limits });
            of(&found).into_iter().for_each(|earlier| others.push(earlier));
            if others.covered(rule).is_none() {
                found.insert(last, needed);
            }
            self.work += others.work;
            index = last;
        }
        Some(of(&found))
    }

    /// A rule for each part of a rule, in their order; `None` if a part has none.
    fn covered(&mut self, rule: &Rule<'r>) -> Option<Vec<u32>> {
        let any_v4 = Address::Network([0, 0, 0, 0].into(), [0, 0, 0, 0].into());
        let any_v6 = Address::Network(IpAddr::V6(0_u128.into()), IpAddr::V6(0_u128.into()));
        let addresses = match rule.address() {
            Some(Address::All) => Vec::from([Some(any_v4), Some(any_v6)]),
            other => Vec::from([other]),
        };
        let mut found = BTreeSet::new();
        for part in Self::parts(rule) {
            for kind in (0..4).map(|bit| 1 << bit).filter(|kind| part.kinds & kind != 0) {
                for address in &addresses {
                    let part = Part { kinds: kind, address: *address, ..part };
                    if !self.covered_part(&part, &mut found) {
                        return None;
                    }
                }
            }
        }
        Some(found.into_iter().collect())
    }

    /// Adds the rules that match a part: one, or, for a network, those that match its halves.
    fn covered_part(&mut self, part: &Part<'r>, found: &mut BTreeSet<u32>) -> bool {
        if self.is_exhausted() {
            return false;
        }
        let first = self.covering(part).into_iter().filter_map(|list| list.first()).min().copied();
        if let Some(first) = first {
            found.insert(first);
            return true;
        }
        let Some(Address::Network(network, mask)) = part.address else { return false };
        let Some(halves) = self.halves(network, mask) else { return false };
        halves.into_iter().all(|(network, mask)| {
            let address = Some(Address::Network(network, mask));
            self.covered_part(&Part { address, ..*part }, found)
        })
    }

    /// The halves of a network, if rules are for networks within it.
    fn halves(&self, network: IpAddr, mask: IpAddr) -> Option<[(IpAddr, IpAddr); 2]> {
        let bits = prefix_len(mask)?;
        let v4 = network.is_ipv4();
        let width = if v4 { 32 } else { 128 };
        if bits >= width {
            return None;
        }
        let host = 1_u128.checked_shl(u32::from(width - bits)).map_or(u128::MAX, |size| size - 1);
        let first = number(masked(network, mask));
        self.networks.range((v4, first, bits + 1)..=(v4, first | host, width)).next()?;
        let half = 1_u128 << (width - bits - 1);
        let of = |bits: u128| -> IpAddr {
            if v4 {
                IpAddr::V4(u32::try_from(bits).unwrap_or(u32::MAX).into())
            } else {
                IpAddr::V6(bits.into())
            }
        };
        let all = if v4 { u128::from(u32::MAX) } else { u128::MAX };
        let mask = of(all & !(half - 1));
        Some([(of(first), mask), (of(first | half), mask)])
    }
}

/// The address as a number.
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The addresses of rules that match all of an address, but for networks.
fn outer_places(address: Option<Address<'_>>) -> Vec<Place> {
    let Some(address) = address else { return Vec::from([Place::None]) };
    let mut places = Vec::from([Place::All]);
    match address {
        Address::All | Address::Network(..) => {}
        Address::SameHost => places.extend([Place::SameHost, Place::SameNet]),
        Address::SameNet => places.push(Place::SameNet),
        Address::Host(name) | Address::Suffix(name) => {
            let name = name.to_ascii_lowercase();
            let dots = name.iter().enumerate().filter(|(_, byte)| **byte == b'.');
            let ends =
                dots.filter(|(place, _)| *place > 0).map(|(place, _)| name[place..].to_vec());
            places.extend(ends.map(Place::Name));
            places.push(Place::Name(name));
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HbaDocument, PgVersion, Server};

    /// The lines that never decide, and why.
    fn shadowed(text: &str) -> Vec<(u32, String)> {
        let rules = HbaDocument::parse(text).interpret(&Server::new(PgVersion::V16));
        assert_eq!(rules.diagnostics(), []);
        let findings = rules.lint().into_iter();
        let shadowed = findings
            .filter(|found| matches!(found.lint, Lint::Unreachable | Lint::UnreachableTogether));
        shadowed
            .map(|found| {
                let lines = found.message.split(|c: char| !c.is_ascii_digit());
                let lines = lines.filter(|number| !number.is_empty()).collect::<Vec<_>>().join(" ");
                (found.location.line, lines)
            })
            .collect()
    }

    #[test]
    fn one_rule_shadows_another() {
        for (outer, inner) in [
            ("host all all all", "hostssl app web 10.0.0.0/8"),
            ("host all all 10.0.0.0/8", "host all all 10.1.0.0/16"),
            ("host all all 10.0.0.1 255.0.0.255", "host all all 10.3.3.1/32"),
            ("host a,b x,y samenet", "hostnossl b y samehost"),
            ("host /^a all .example.com", "host app all WWW.Example.com"),
            ("host /^a all .example.com", "host app all .www.example.com"),
            ("host all +web all", "host all web,+web ::1/128"),
            ("local all /^a$ ", "local sameuser a "),
            ("host samerole \"/x\" all", "hostssl samegroup \"/x\" all"),
        ] {
            let (both, apart) =
                (format!("{outer} md5\n{inner} trust\n"), format!("{inner} md5\n{outer} trust\n"));
            assert_eq!(shadowed(&both).first().map(|found| found.0), Some(2), "{outer} | {inner}");
            assert_eq!(shadowed(&apart), [], "{outer} | {inner}");
        }
        for (outer, inner) in [
            ("host all all 0.0.0.0/0", "host all all all"),
            ("hostssl all all all", "host all all all"),
            ("local all all ", "local replication all "),
            ("host a,b x all", "host a,b,c x all"),
            ("host all all example.com", "host all all www.example.com"),
            ("host all a all", "host all +a all"),
        ] {
            assert_eq!(shadowed(&format!("{outer} md5\n{inner} trust\n")), [], "{outer} | {inner}");
        }
    }

    #[test]
    fn several_rules_shadow_another_together() {
        let found = |text: &str| shadowed(text).pop().map(|(_, lines)| lines);
        assert_eq!(
            found("host a all all md5\nlocal x x md5\nhost b all all md5\nhost b,a x all trust\n")
                .as_deref(),
            Some("1 3"),
        );
        assert_eq!(
            found("hostssl all all all md5\nhostnossl all all all md5\nhost all x all trust\n")
                .as_deref(),
            Some("1 2"),
        );
        // Networks: halves, and halves of halves. The third rule is shadowed by the first, of md5.
        let halves = "host all all 10.0.0.0/9 md5\nhost all all 10.128.0.0/10 md5\nhost all all 10.64.0.0/16 md5\n";
        assert_eq!(
            found(&format!("{halves}host all all 10.0.0.0/8 trust\n")).as_deref(),
            Some("1 5")
        );
        assert_eq!(
            found(&format!("{halves}host all all 10.192.0.0/10 md5\nhost x y 10.0.0.0/8 trust\n"))
                .as_deref(),
            Some("1 2 4"),
        );
        assert_eq!(
            found("host all all 0.0.0.0/0 md5\nhost all all ::/1 md5\nhost all all 8000::/1 md5\nhost all all all trust\n")
                .as_deref(),
            Some("1 2 3"),
        );
        assert_eq!(
            found("host all all 0.0.0.0/0 md5\nhost all all ::/1 md5\nhost all all all trust\n"),
            None
        );
        // The second rule is shadowed by the first, and shows where the last can be taken apart.
        assert_eq!(
            found(
                "host all all 10.0.0.0 255.0.0.255 md5\nhost all all 10.3.3.0/32 md5\n\
                 host all all 10.0.0.1 255.0.0.255 md5\nhost all all 10.3.3.0/31 trust\n"
            )
            .as_deref(),
            Some("1 3"),
        );
    }

    proptest::proptest! {
        /// The look-ups find what comparing each rule with all before it finds.
        #[test]
        fn look_ups_find_what_comparing_finds(picks in proptest::collection::vec(proptest::prelude::any::<[u8; 8]>(), 1..40)) {
            let pick = |from: &[&'static str], byte: u8| from[usize::from(byte) % from.len()];
            let databases = ["all", "a", "b", "ab", "/^a", "sameuser", "samerole", "replication", "\"all\""];
            let users = ["all", "x", "y", "+x", "/x", "/^.$"];
            let addresses = [
                "all", "samehost", "samenet", "h.example", ".example", ".EXAMPLE", "x.h.example", "10.0.0.0/8",
                "10.0.0.0/9", "10.128.0.0/9", "10.1.2.3/32", "0.0.0.0/0", "::/0", "10.0.0.3 255.0.0.255",
            ];
            let types = ["host", "host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc", "local"];
            let mut text = String::new();
            for [a, b, c, d, e, f, g, _] in &picks {
                let databases = [pick(&databases, *a), pick(&databases, *b)][..usize::from(f % 2) + 1].join(",");
                let users = [pick(&users, *c), pick(&users, *d)][..usize::from(f / 2 % 2) + 1].join(",");
                let connection = pick(&types, *e);
                let address = if connection == "local" { "" } else { pick(&addresses, *g) };
                text.push_str(&format!("{connection} {databases} {users} {address} md5\n"));
            }
            let rules = HbaDocument::parse(text.as_str()).interpret(&Server::new(PgVersion::V16));
            let mut earlier = Earlier::new(Limits::USUAL);
            for (index, rule) in rules.iter().enumerate() {
                let first = rules.iter().take(index).find(|outer| Scope::of(*outer).covers(&rule));
                let found = earlier.shadowing(&rule);
                proptest::prop_assert_eq!(found.map(|rule| rule.line()), first.map(|rule| rule.line()), "{}", text);
                earlier.push(rule);
            }
        }
    }

    #[test]
    fn a_rule_with_very_long_lists_is_compared_all_the_same() {
        let list = |prefix: &str, count: usize| -> String {
            (0..count).map(|name| format!("{prefix}{name}")).collect::<Vec<_>>().join(",")
        };
        let wide = format!("host {} {} all md5\n", list("d", 100), list("u", 100));
        assert_eq!(shadowed(&format!("{wide}host d1,d99 u3 all md5\n")), [(2, "1 5".into())]);
        assert_eq!(shadowed(&format!("{wide}host d1,d100 u3 all md5\n")), []);
    }
}
