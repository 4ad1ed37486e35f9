//! Decisions for many questions: an index over the rules.
//!
//! For each kind of connection, database name, user name and network the index knows which rules can
//! match, 64 rules to a word. A question takes the words for what it asks, keeps what all of them
//! have, and looks closely at the few rules that are left, in their order.

use alloc::{collections::BTreeMap, vec::Vec};
use core::net::IpAddr;

use crate::{
    address::prefix_len,
    decide::{Asked, Connection, Encryption, Network, Roles, Via},
    rules::{Address, DatabaseKind, Rule, Rules, UserKind},
    scope::kinds,
    tokenize::short,
};

/// Rules with an index over them: made by [`Rules::compile`].
///
/// ```
/// use hba_parser::{Connection, HbaDocument, PgVersion, RoleGraph, Server, UnknownNetwork};
///
/// let file = HbaDocument::parse(*b"local all all peer\n");
/// let rules = file.interpret(&Server::new(PgVersion::V16)).compile();
/// let who = Connection::local(b"app", b"alice");
/// let rule = rules.decide(&who, &RoleGraph::default(), &UnknownNetwork);
/// assert_eq!(rule.unwrap().line(), 1);
/// ```
#[derive(Debug)]
pub struct CompiledRules {
    rules: Rules,
    /// For Unix sockets, plain TCP, TLS, GSSAPI: the rules for them
    kinds: [Bits; 4],
    databases: Names,
    /// Rules for physical replication
    replication: Bits,
    users: Names,
    /// Rules for addresses that no network tells
    any_address: Bits,
    v4: Networks,
    v6: Networks,
}

/// A set of rules, 64 to a word.
#[derive(Debug, Default)]
struct Bits(Vec<u64>);

impl Bits {
    fn insert(&mut self, rule: u32) {
        let word = (rule / 64) as usize;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (rule % 64);
    }

    fn word(&self, word: usize) -> u64 {
        self.0.get(word).copied().unwrap_or(0)
    }
}

/// Rules in their order, as the words of 64 that are not empty: a name or network that few rules have
/// costs little memory, and one that all have is read 64 at a time.
#[derive(Debug, Default)]
struct Sparse(Vec<(u32, u64)>);

impl Sparse {
    fn insert(&mut self, rule: u32) {
        let (word, bit) = (rule / 64, 1 << (rule % 64));
        match self.0.last_mut() {
            Some(last) if last.0 == word => last.1 |= bit,
            _ => self.0.push((word, bit)),
        }
    }
}

/// Which rules name a name, and which may mean any.
#[derive(Debug, Default)]
struct Names {
    exact: BTreeMap<Vec<u8>, Sparse>,
    any: Bits,
}

impl Names {
    fn insert(&mut self, name: &[u8], rule: u32) {
        match self.exact.get_mut(name) {
            Some(rules) => rules.insert(rule),
            None => self.exact.entry(name.to_vec()).or_default().insert(rule),
        }
    }

    fn cursor(&self, name: &[u8]) -> Cursor<'_> {
        Cursor { words: self.exact.get(name).map_or(&[], |rules| rules.0.as_slice()) }
    }
}

/// Networks of one family, and which rules are for each.
#[derive(Debug, Default)]
struct Networks {
    networks: Vec<NetworkNode>,
    /// Where an address range begins that lies in the same networks, and the innermost of them
    ranges: Vec<(u128, Option<u32>)>,
}

#[derive(Debug)]
struct NetworkNode {
    first: u128,
    last: u128,
    rules: Sparse,
    /// The next larger network around it
    parent: Option<u32>,
}

impl Networks {
    /// From the first and last address of each network and the rule for it, in the rules' order.
    fn new(mut all: Vec<(u128, u128, u32)>) -> Self {
        all.sort_by(|one, other| one.0.cmp(&other.0).then(other.1.cmp(&one.1)));
        let mut out = Self::default();
        for (first, last, rule) in all {
            match out.networks.last_mut() {
                Some(same) if (same.first, same.last) == (first, last) => same.rules.insert(rule),
                _ => {
                    let mut rules = Sparse::default();
                    rules.insert(rule);
                    out.networks.push(NetworkNode { first, last, rules, parent: None });
                }
            }
        }
        let mut open: Vec<u32> = Vec::new();
        for index in 0..short(out.networks.len()) {
            let first = out.networks[index as usize].first;
            out.close(&mut open, Some(first));
            out.networks[index as usize].parent = open.last().copied();
            out.begin(first, Some(index));
            open.push(index);
        }
        out.close(&mut open, None);
        out
    }

    /// Ends the networks that end before an address, or all.
    fn close(&mut self, open: &mut Vec<u32>, before: Option<u128>) {
        while let Some(index) = open.last().copied() {
            let last = self.networks[index as usize].last;
            if before.is_some_and(|before| last >= before) {
                return;
            }
            open.pop();
            if let Some(next) = last.checked_add(1) {
                self.begin(next, open.last().copied());
            }
        }
    }

    fn begin(&mut self, first: u128, network: Option<u32>) {
        match self.ranges.last_mut() {
            Some(range) if range.0 == first => range.1 = network,
            _ => self.ranges.push((first, network)),
        }
    }

    /// The networks that an address is in, from the smallest on.
    fn around(&self, address: u128) -> impl Iterator<Item = &NetworkNode> {
        let range = self.ranges.partition_point(|range| range.0 <= address);
        let mut next = range.checked_sub(1).and_then(|range| self.ranges[range].1);
        core::iter::from_fn(move || {
            let network = &self.networks[next? as usize];
            next = network.parent;
            Some(network)
        })
    }
}

/// A [`Sparse`] set of rules, read word by word.
#[derive(Clone, Copy)]
struct Cursor<'r> {
    words: &'r [(u32, u64)],
}

impl Cursor<'_> {
    fn word(&mut self, word: u32) -> u64 {
        while let [(first, bits), rest @ ..] = self.words
            && *first <= word
        {
            self.words = rest;
            if *first == word {
                return *bits;
            }
        }
        0
    }
}

/// The first and last address of a network, and whether it is IPv4; `None` for masks with gaps.
fn range(network: IpAddr, mask: IpAddr) -> Option<(u128, u128, bool)> {
    let bits = u32::from(prefix_len(mask)?);
    Some(match network {
        IpAddr::V4(network) => {
            let host = u32::MAX.checked_shr(bits).unwrap_or(0);
            let first = network.to_bits() & !host;
            (first.into(), (first | host).into(), true)
        }
        IpAddr::V6(network) => {
            let host = u128::MAX.checked_shr(bits).unwrap_or(0);
            let first = network.to_bits() & !host;
            (first, first | host, false)
        }
    })
}

impl Rules {
    /// Makes an index for many [decisions](CompiledRules::decide).
    #[must_use]
    pub fn compile(self) -> CompiledRules {
        CompiledRules::new(self)
    }
}

impl CompiledRules {
    fn new(rules: Rules) -> Self {
        let mut by_kind: [Bits; 4] = Default::default();
        let (mut databases, mut users) = (Names::default(), Names::default());
        let (mut replication, mut any_address) = (Bits::default(), Bits::default());
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for rule in rules.iter() {
            let number = short(rule.index());
            let kinds = kinds(rule.connection());
            for (bit, bits) in by_kind.iter_mut().enumerate() {
                if kinds & (1 << bit) != 0 {
                    bits.insert(number);
                }
            }
            for database in rule.databases() {
                match database.kind() {
                    DatabaseKind::Replication => replication.insert(number),
                    DatabaseKind::Name(name) => databases.insert(name, number),
                    _ => databases.any.insert(number),
                }
            }
            for user in rule.users() {
                match user.kind() {
                    UserKind::Name(name) => users.insert(name, number),
                    _ => users.any.insert(number),
                }
            }
            let network = match rule.address() {
                Some(Address::Network(network, mask)) => range(network, mask),
                _ => None,
            };
            match network {
                Some((first, last, true)) => v4.push((first, last, number)),
                Some((first, last, false)) => v6.push((first, last, number)),
                None => any_address.insert(number),
            }
        }
        Self {
            rules,
            kinds: by_kind,
            databases,
            replication,
            users,
            any_address,
            v4: Networks::new(v4),
            v6: Networks::new(v6),
        }
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Without the index.
    #[must_use]
    pub fn into_rules(self) -> Rules {
        self.rules
    }

    /// Which rule decides: the same as [`Rules::decide`] says, but faster, and without the reasons.
    /// Its time hardly depends on how many rules there are, unless many of them have regular
    /// expressions, roles with a plus, or host names.
    #[must_use]
    pub fn decide(
        &self,
        connection: &Connection<'_>,
        roles: &dyn Roles,
        network: &dyn Network,
    ) -> Option<Rule<'_>> {
        let kind = match connection.via {
            Via::Local => 0,
            Via::Tcp { encryption: Encryption::None, .. } => 1,
            Via::Tcp { encryption: Encryption::Tls, .. } => 2,
            Via::Tcp { encryption: Encryption::Gss, .. } => 3,
        };
        let kind = &self.kinds[kind];
        let physical = connection.physical_replication;
        let mut database = self.databases.cursor(connection.database);
        let mut user = self.users.cursor(connection.user);
        let (networks, address) = match connection.via {
            Via::Local => (None, 0),
            Via::Tcp { address: IpAddr::V4(address), .. } => {
                (Some(&self.v4), address.to_bits().into())
            }
            Via::Tcp { address: IpAddr::V6(address), .. } => (Some(&self.v6), address.to_bits()),
        };
        let mut around: Vec<Cursor<'_>> = Vec::new();
        if let Some(networks) = networks {
            let cursors = networks.around(address).map(|node| Cursor { words: &node.rules.0 });
            around.extend(cursors);
        }
        let mut asked = Asked::new(connection, roles, network);
        for word in 0..kind.0.len() {
            let number = short(word);
            let mut candidates = kind.word(word);
            if candidates == 0 {
                continue;
            }
            candidates &= if physical {
                self.replication.word(word)
            } else {
                self.databases.any.word(word) | database.word(number)
            };
            if candidates == 0 {
                continue;
            }
            candidates &= self.users.any.word(word) | user.word(number);
            if candidates == 0 {
                continue;
            }
            let near = around.iter_mut().map(|cursor| cursor.word(number));
            candidates &= near.fold(self.any_address.word(word), |bits, more| bits | more);
            while candidates != 0 {
                let index = word * 64 + candidates.trailing_zeros() as usize;
                candidates &= candidates - 1;
                if let Some(rule) = self.rules.get(index)
                    && asked.compare(&rule).is_none()
                {
                    return Some(rule);
                }
            }
        }
        None
    }
}
