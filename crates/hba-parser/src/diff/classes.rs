//! Connections that rules do not tell apart, as one: who connects to what from where.

use alloc::{collections::BTreeSet, format, string::String, vec::Vec};
use core::net::IpAddr;

use crate::{
    address::{in_range, masked, prefix_len},
    rules::Address,
    scope::{self, Scope, Token, Tokens},
    text::Text,
};

/// A user that stands for all that the rules do not tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Who<'a> {
    /// A user with this name, a member of no other role
    Name(&'a [u8]),
    /// The same, a member of this role
    NameIn(&'a [u8], &'a [u8]),
    /// Users without a name of their own in the rules
    Member(&'a [u8]),
    Matching(&'a [u8]),
    Other,
}

/// A database that stands for all that the rules do not tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What<'a> {
    Replication,
    Name(&'a [u8]),
    Matching(&'a [u8]),
    /// One with the user's name, one with the name of a role that the user is in
    SameUser,
    SameRole,
    Other,
}

/// A place that stands for all that the rules do not tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Where<'a> {
    Socket,
    /// A range of addresses: the first and the last
    Range(IpAddr, IpAddr),
    SameHost,
    SameNet,
    Host(&'a [u8]),
}

/// The classes of connections that a rule is for and that other rules tell apart.
pub(super) struct Classes<'a> {
    pub(super) users: Vec<Who<'a>>,
    pub(super) databases: Vec<What<'a>>,
    pub(super) places: Vec<Where<'a>>,
    /// Kinds of connections, as bits
    pub(super) kinds: u8,
}

impl<'a> What<'a> {
    /// The database that it is for users of a class: whoever has a name has the database of that name.
    pub(super) fn of(self, user: Who<'a>) -> Self {
        match (self, user) {
            (Self::SameUser, Who::Name(name) | Who::NameIn(name, _)) => Self::Name(name),
            _ => self,
        }
    }
}

impl<'a> Classes<'a> {
    /// `None` if they are more than `most`.
    pub(super) fn of(rule: &Scope<'a>, others: &[&Scope<'a>], most: usize) -> Option<Self> {
        let classes = Self {
            users: users(rule, others, most)?,
            databases: databases(rule, others),
            places: places(rule, others),
            kinds: scope::kinds(rule.rule.connection()),
        };
        (classes.len() <= most).then_some(classes)
    }

    /// How many connections they are.
    pub(super) fn len(&self) -> usize {
        let users = self.users.len().saturating_mul(self.databases.len());
        users.saturating_mul(self.places.len())
    }
}

pub(super) fn user_class(user: Token<'_>) -> Who<'_> {
    match user {
        Token::Member(role) => Who::Member(role),
        Token::Regex(regex) => Who::Matching(regex),
        Token::Name(name) => Who::Name(name),
        _ => Who::Other,
    }
}

fn users<'a>(rule: &Scope<'a>, others: &[&Scope<'a>], most: usize) -> Option<Vec<Who<'a>>> {
    let mut mentioned: BTreeSet<Who<'a>> =
        others.iter().flat_map(|other| other.users.iter()).map(user_class).collect();
    // Whose name a database has is told apart where that matters.
    if [rule].iter().chain(others).any(|scope| has_own_database(&scope.databases)) {
        let databases = others.iter().flat_map(|other| other.databases.iter());
        mentioned.extend(databases.filter_map(|database| match database {
            Token::Name(name) => Some(Who::Name(name)),
            _ => None,
        }));
    }
    let names = || mentioned.iter().filter(|who| matches!(who, Who::Name(_))).count();
    let roles = |whos: &mut dyn Iterator<Item = Who<'a>>| {
        whos.filter(|who| matches!(who, Who::Member(_))).count()
    };
    let all_roles =
        roles(&mut mentioned.iter().copied()) + roles(&mut rule.users.iter().map(user_class));
    if names().saturating_add(rule.users.len()).saturating_mul(all_roles) > most {
        return None;
    }
    let mut found: BTreeSet<Who<'a>> = rule.users.iter().map(user_class).collect();
    found.extend(mentioned.iter().filter(|who| is_user(&rule.users, **who)).copied());
    for role in rule.users.iter() {
        if let Token::Member(role) = role {
            found.extend(mentioned.iter().filter_map(|who| match who {
                Who::Name(name) => Some(Who::NameIn(name, role)),
                _ => None,
            }));
        }
    }
    // Whoever has a name may be a member of the roles besides.
    let names: Vec<_> = found
        .iter()
        .filter_map(|who| if let Who::Name(name) = who { Some(*name) } else { None })
        .collect();
    for who in &mentioned {
        if let Who::Member(role) = who {
            found.extend(
                names.iter().filter(|name| *name != role).map(|name| Who::NameIn(name, role)),
            );
        }
    }
    Some(found.into_iter().collect())
}

pub(super) fn database_class(database: Token<'_>) -> What<'_> {
    match database {
        Token::SameUser => What::SameUser,
        Token::SameRole => What::SameRole,
        Token::Replication => What::Replication,
        Token::Regex(regex) => What::Matching(regex),
        Token::Name(name) => What::Name(name),
        Token::All | Token::Member(_) => What::Other,
    }
}

fn databases<'a>(rule: &Scope<'a>, others: &[&Scope<'a>]) -> Vec<What<'a>> {
    let mut found: BTreeSet<What<'a>> = rule.databases.iter().map(database_class).collect();
    let mentioned = others.iter().flat_map(|other| other.databases.iter()).map(database_class);
    // Whose own a database is, is seen when a user is there.
    let own = has_own_database(&rule.databases);
    found.extend(mentioned.filter(|what| {
        own && matches!(what, What::Name(_)) || is_database(&rule.databases, *what, Who::Other)
    }));
    found.into_iter().collect()
}

/// Whether users have databases of their own.
fn has_own_database(databases: &Tokens<'_>) -> bool {
    databases.has(Token::SameUser) || databases.has(Token::SameRole)
}

/// The first and last address of a network, as numbers; `None` for masks with gaps.
fn limits(network: IpAddr, mask: IpAddr) -> Option<(u128, u128)> {
    prefix_len(mask)?;
    Some(match (masked(network, mask), mask) {
        (IpAddr::V4(first), IpAddr::V4(mask)) => {
            (first.to_bits().into(), (first.to_bits() | !mask.to_bits()).into())
        }
        (IpAddr::V6(first), IpAddr::V6(mask)) => {
            (first.to_bits(), first.to_bits() | !mask.to_bits())
        }
        _ => return None,
    })
}

fn places<'a>(rule: &Scope<'a>, others: &[&Scope<'a>]) -> Vec<Where<'a>> {
    let Some(address) = rule.rule.address() else { return Vec::from([Where::Socket]) };
    let mut places: BTreeSet<Where<'a>> = BTreeSet::new();
    // Where ranges of addresses begin.
    let (mut v4, mut v6) = (BTreeSet::from([0_u128]), BTreeSet::from([0_u128]));
    for address in others.iter().chain([&rule]).filter_map(|scope| scope.rule.address()) {
        match address {
            Address::All => {}
            Address::SameHost => drop(places.insert(Where::SameHost)),
            Address::SameNet => drop(places.insert(Where::SameNet)),
            Address::Host(name) | Address::Suffix(name) => drop(places.insert(Where::Host(name))),
            Address::Network(network, mask) => {
                let Some((first, last)) = limits(network, mask) else { continue };
                let begins = if network.is_ipv4() { &mut v4 } else { &mut v6 };
                begins.insert(first);
                let end = if network.is_ipv4() { u128::from(u32::MAX) } else { u128::MAX };
                if last < end {
                    begins.insert(last + 1);
                }
            }
        }
    }
    let v4_address = |bits: u128| IpAddr::V4(u32::try_from(bits).unwrap_or(u32::MAX).into());
    let v6_address = |bits: u128| IpAddr::V6(bits.into());
    let ranges = ranges(&v4, u32::MAX.into())
        .map(|(first, last)| Where::Range(v4_address(first), v4_address(last)))
        .chain(
            ranges(&v6, u128::MAX)
                .map(|(first, last)| Where::Range(v6_address(first), v6_address(last))),
        );
    places.into_iter().chain(ranges).filter(|place| is_at(Some(address), place)).collect()
}

fn ranges(begins: &BTreeSet<u128>, end: u128) -> impl Iterator<Item = (u128, u128)> + '_ {
    let next = begins.iter().skip(1).map(|next| next - 1).chain([end]);
    begins.iter().copied().zip(next)
}

/// Whether an address is that of a place.
pub(super) fn is_at(address: Option<Address<'_>>, place: &Where<'_>) -> bool {
    match (address, place) {
        (None, Where::Socket) => true,
        (None, _) | (_, Where::Socket) => false,
        (Some(Address::All), _) | (Some(Address::SameHost), Where::SameHost) => true,
        (Some(Address::SameNet), Where::SameNet | Where::SameHost) => true,
        (Some(Address::Network(network, mask)), Where::Range(first, _)) => {
            in_range(*first, network, mask)
        }
        (Some(host @ (Address::Host(_) | Address::Suffix(_))), Where::Host(name)) => {
            let name =
                if name.starts_with(b".") { Address::Suffix(name) } else { Address::Host(name) };
            scope::address_covers(Some(host), Some(name))
        }
        _ => false,
    }
}

/// Whether one of the tokens matches databases of a class that users of a class ask for.
pub(super) fn is_database<'a>(tokens: &Tokens<'a>, database: What<'a>, user: Who<'a>) -> bool {
    let all = tokens.has(Token::All);
    match database {
        What::Replication => tokens.has(Token::Replication),
        What::SameUser => all || tokens.has(Token::SameUser) || tokens.has(Token::SameRole),
        What::SameRole => all || tokens.has(Token::SameRole),
        What::Name(name) => {
            // A role is a member of itself.
            let (own, of_role) = match user {
                Who::Name(user) => (user == name, user == name),
                Who::NameIn(user, role) => (user == name, user == name || role == name),
                Who::Member(role) => (false, role == name),
                Who::Matching(_) | Who::Other => (false, false),
            };
            all || tokens.has(Token::Name(name))
                || tokens.has_regex_for(name)
                || own && tokens.has(Token::SameUser)
                || of_role && tokens.has(Token::SameRole)
        }
        What::Matching(regex) => all || tokens.has(Token::Regex(regex)),
        What::Other => all,
    }
}

/// Whether one of the tokens matches users of a class.
pub(super) fn is_user<'a>(tokens: &Tokens<'a>, user: Who<'a>) -> bool {
    let named = |name| {
        tokens.has(Token::Name(name))
            || tokens.has(Token::Member(name))
            || tokens.has_regex_for(name)
    };
    tokens.has(Token::All)
        || match user {
            Who::Name(name) => named(name),
            Who::NameIn(name, role) => named(name) || tokens.has(Token::Member(role)),
            Who::Member(role) => tokens.has(Token::Member(role)),
            Who::Matching(regex) => tokens.has(Token::Regex(regex)),
            Who::Other => false,
        }
}

pub(super) fn who_text(user: Who<'_>) -> String {
    match user {
        Who::Name(name) => format!("{}", Text::from(name)),
        Who::NameIn(name, role) => {
            format!("{} as a member of {}", Text::from(name), Text::from(role))
        }
        Who::Member(role) => format!("members of {}", Text::from(role)),
        Who::Matching(regex) => format!("users matching {}", Text::from(regex)),
        Who::Other => "other users".into(),
    }
}

pub(super) fn what_text(database: What<'_>) -> String {
    match database {
        What::Replication => "physical replication".into(),
        What::Name(name) => format!("{}", Text::from(name)),
        What::Matching(regex) => format!("databases matching {}", Text::from(regex)),
        What::SameUser => "the database with their name".into(),
        What::SameRole => "the database with the name of their role".into(),
        What::Other => "other databases".into(),
    }
}

pub(super) fn where_text(place: &Where<'_>, kinds: u8) -> String {
    let place = match place {
        Where::Socket => return "the Unix socket".into(),
        Where::Range(first, last) => range_text(*first, *last),
        Where::SameHost => "the server's own addresses".into(),
        Where::SameNet => "the server's own networks".into(),
        Where::Host(name) => format!("{}", Text::from(*name)),
    };
    let names: Vec<&str> = [(2, "plain"), (4, "TLS"), (8, "GSSAPI")]
        .into_iter()
        .filter(|(bit, _)| kinds & bit != 0)
        .map(|(_, name)| name)
        .collect();
    if names.len() == 3 { place } else { format!("{place} ({})", names.join(", ")) }
}

fn range_text(first: IpAddr, last: IpAddr) -> String {
    let bits = match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            let host = first.to_bits() ^ last.to_bits();
            let whole = host & first.to_bits() == 0 && host & host.wrapping_add(1) == 0;
            whole.then(|| host.leading_zeros())
        }
        (IpAddr::V6(first), IpAddr::V6(last)) => {
            let host = first.to_bits() ^ last.to_bits();
            let whole = host & first.to_bits() == 0 && host & host.wrapping_add(1) == 0;
            whole.then(|| host.leading_zeros())
        }
        _ => None,
    };
    match bits {
        Some(_) if first == last => format!("{first}"),
        Some(bits) => format!("{first}/{bits}"),
        None => format!("{first} to {last}"),
    }
}

/// Two ranges as one, if the second begins in the first or right behind it.
pub(super) fn joined<'a>(one: &Where<'a>, next: &Where<'a>) -> Option<Where<'a>> {
    let (Where::Range(first, last), Where::Range(begin, end)) = (one, next) else { return None };
    let follows = match (last, begin) {
        (IpAddr::V4(last), IpAddr::V4(begin)) => {
            begin.to_bits() <= last.to_bits().saturating_add(1)
        }
        (IpAddr::V6(last), IpAddr::V6(begin)) => {
            begin.to_bits() <= last.to_bits().saturating_add(1)
        }
        _ => false,
    };
    follows.then_some(Where::Range(*first, *last.max(end)))
}
