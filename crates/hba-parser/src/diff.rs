//! What two files change in meaning: who gains and who loses access.
//!
//! The connections that the rules of both files tell apart are tried out one by one: each name, role
//! and expression that is mentioned and one that is not, each range of addresses between the limits
//! of networks, each kind of connection.

use alloc::{collections::BTreeSet, format, string::String, vec::Vec};
use core::{fmt, net::IpAddr};

use crate::{
    Method,
    address::{in_range, prefix_len},
    options::without_secret,
    rules::{Address, DatabaseKind, Rule, Rules, UserKind},
    scope,
    text::Text,
};

/// How many connections are tried out at most.
const MAX_TRIED: usize = 400_000;

/// What two files change: made by [`Rules::diff`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Difference {
    /// What becomes of connections that are not decided as before.
    pub changes: Vec<Change>,
    /// Whether all connections were tried out. Files with very many names and networks make too
    /// many.
    pub complete: bool,
}

/// What becomes of some connections.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Change {
    /// Who.
    pub user: String,
    /// To which database.
    pub database: String,
    /// From where: addresses, or the Unix socket; each with the kinds of connections.
    pub from: Vec<String>,
    /// How it was.
    pub before: Access,
    /// How it is.
    pub after: Access,
}

/// How a connection is let in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "lowercase"))]
#[non_exhaustive]
pub enum Access {
    /// Not at all.
    Rejected,
    /// With this method and these options.
    Allowed {
        /// The method.
        method: Method,
        /// Its options, as the server shows them, but for secrets.
        options: Vec<Text>,
    },
}

impl Access {
    fn without_secrets(self) -> Self {
        match self {
            Self::Rejected => self,
            Self::Allowed { method, options } => {
                let options = options.into_iter().map(without_secret).collect();
                Self::Allowed { method, options }
            }
        }
    }
}

/// What a change is for those whom it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "lowercase"))]
pub enum Effect {
    /// They were rejected, and can log in now.
    Gains,
    /// They could log in, and are rejected now.
    Loses,
    /// They log in in another way.
    Differs,
}

impl Change {
    /// What it is for those whom it is about.
    #[must_use]
    pub fn effect(&self) -> Effect {
        match (&self.before, &self.after) {
            (Access::Rejected, _) => Effect::Gains,
            (_, Access::Rejected) => Effect::Loses,
            _ => Effect::Differs,
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected => f.write_str("rejected"),
            Self::Allowed { method, options } => {
                write!(f, "{method}")?;
                options.iter().try_for_each(|option| write!(f, " {option}"))
            }
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, database, from, before, after } = self;
        write!(f, "{user} to {database} from {}: {before} -> {after}", from.join(", "))
    }
}

/// A user that stands for all that the rules do not tell apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Who<'a> {
    Name(&'a [u8]),
    Member(&'a [u8]),
    Matching(&'a [u8]),
    Other,
}

/// A database that stands for all that the rules do not tell apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What<'a> {
    Replication,
    Name(&'a [u8]),
    Matching(&'a [u8]),
    /// One with the user's name, one with the name of a role that the user is in
    SameUser,
    SameRole,
    Other,
}

/// A place that stands for all that the rules do not tell apart.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Where<'a> {
    Socket,
    /// A range of addresses, and the first of them
    Range(IpAddr, IpAddr),
    SameHost,
    SameNet,
    Host(&'a [u8]),
}

impl Rules {
    /// What `after` decides otherwise than these rules do. Both should be read for the same server,
    /// or for those before and after an upgrade.
    ///
    /// ```
    /// use hba_parser::{Effect, HbaDocument, PgVersion, Server};
    ///
    /// let server = Server::new(PgVersion::V16);
    /// let before = HbaDocument::parse(*b"host all all 10.0.0.0/8 md5\n").interpret(&server);
    /// let after = HbaDocument::parse(*b"\
    /// hostssl app web 10.1.0.0/16 cert
    /// host all all 10.0.0.0/8 md5
    /// ").interpret(&server);
    /// let difference = before.diff(&after);
    /// assert_eq!(difference.changes.len(), 1);
    /// assert_eq!(difference.changes[0].effect(), Effect::Differs);
    /// assert_eq!(
    ///     difference.changes[0].to_string(),
    ///     "web to app from 10.1.0.0/16 (TLS): md5 -> cert clientcert=verify-full"
    /// );
    /// ```
    #[must_use]
    pub fn diff(&self, after: &Self) -> Difference {
        let both = || self.iter().chain(after.iter());
        let (users, databases, places) = (who(both()), what(both()), places(both()));
        let mut difference = Difference { changes: Vec::new(), complete: true };
        let mut tried = 0;
        for user in &users {
            for database in &databases {
                let mut found: Vec<(Access, Access, Vec<String>)> = Vec::new();
                for place in &places {
                    let kinds: &[u8] = if *place == Where::Socket { &[0] } else { &[1, 2, 3] };
                    let mut here: Vec<(Access, Access, Vec<u8>)> = Vec::new();
                    for kind in kinds {
                        tried += 1;
                        if tried > MAX_TRIED {
                            difference.complete = false;
                            return difference;
                        }
                        let decide = |rules: &Self| access(rules, *user, *database, place, *kind);
                        let (before, after) = (decide(self), decide(after));
                        if before == after {
                            continue;
                        }
                        match here.iter_mut().find(|same| same.0 == before && same.1 == after) {
                            Some(same) => same.2.push(*kind),
                            None => here.push((before, after, Vec::from([*kind]))),
                        }
                    }
                    for (before, after, kinds) in here {
                        let text = place_text(place, &kinds);
                        match found.iter_mut().find(|same| same.0 == before && same.1 == after) {
                            Some(same) => same.2.push(text),
                            None => found.push((before, after, Vec::from([text]))),
                        }
                    }
                }
                for (before, after, from) in found {
                    let (before, after) = (before.without_secrets(), after.without_secrets());
                    let (user, database) = (who_text(*user), what_text(*database));
                    difference.changes.push(Change { user, database, from, before, after });
                }
            }
        }
        difference
    }
}

fn who<'a>(rules: impl Iterator<Item = Rule<'a>>) -> Vec<Who<'a>> {
    let mut users: BTreeSet<Who<'a>> = BTreeSet::from([Who::Other]);
    for user in rules.flat_map(|rule| rule.users()) {
        users.insert(match user.kind() {
            UserKind::All => Who::Other,
            UserKind::Member(role) => Who::Member(role),
            UserKind::Regex(_) => Who::Matching(user.text()),
            UserKind::Name(name) => Who::Name(name),
        });
    }
    users.into_iter().collect()
}

fn what<'a>(rules: impl Iterator<Item = Rule<'a>>) -> Vec<What<'a>> {
    let mut databases: BTreeSet<What<'a>> = BTreeSet::from([What::Other, What::Replication]);
    for database in rules.flat_map(|rule| rule.databases()) {
        databases.insert(match database.kind() {
            DatabaseKind::All => What::Other,
            DatabaseKind::SameUser => What::SameUser,
            DatabaseKind::SameRole => What::SameRole,
            DatabaseKind::Replication => What::Replication,
            DatabaseKind::Regex(_) => What::Matching(database.text()),
            DatabaseKind::Name(name) => What::Name(name),
        });
    }
    databases.into_iter().collect()
}

/// The first and last address of a network, as numbers.
fn limits(network: IpAddr, mask: IpAddr) -> Option<(u128, u128)> {
    prefix_len(mask)?;
    Some(match (network, mask) {
        (IpAddr::V4(network), IpAddr::V4(mask)) => {
            let first = network.to_bits() & mask.to_bits();
            (first.into(), (first | !mask.to_bits()).into())
        }
        (IpAddr::V6(network), IpAddr::V6(mask)) => {
            let first = network.to_bits() & mask.to_bits();
            (first, first | !mask.to_bits())
        }
        _ => return None,
    })
}

fn places<'a>(rules: impl Iterator<Item = Rule<'a>>) -> Vec<Where<'a>> {
    let mut places: BTreeSet<Where<'a>> = BTreeSet::from([Where::Socket]);
    let mut v4: BTreeSet<u128> = BTreeSet::from([0]);
    let mut v6: BTreeSet<u128> = BTreeSet::from([0]);
    for rule in rules {
        match rule.address() {
            None | Some(Address::All) => {}
            Some(Address::SameHost) => drop(places.insert(Where::SameHost)),
            Some(Address::SameNet) => drop(places.insert(Where::SameNet)),
            Some(Address::Host(name) | Address::Suffix(name)) => {
                places.insert(Where::Host(name));
            }
            Some(Address::Network(network, mask)) => {
                let Some((first, last)) = limits(network, mask) else { continue };
                let (begins, end) = if network.is_ipv4() {
                    (&mut v4, u128::from(u32::MAX))
                } else {
                    (&mut v6, u128::MAX)
                };
                begins.insert(first);
                if last < end {
                    begins.insert(last + 1);
                }
            }
        }
    }
    let v4_address = |bits: u128| IpAddr::V4(u32::try_from(bits).unwrap_or(u32::MAX).into());
    let v6_address = |bits: u128| IpAddr::V6(bits.into());
    let mut all: Vec<Where<'a>> = places.into_iter().collect();
    all.extend(
        ranges(&v4, u32::MAX.into())
            .map(|(first, last)| Where::Range(v4_address(first), v4_address(last))),
    );
    all.extend(
        ranges(&v6, u128::MAX)
            .map(|(first, last)| Where::Range(v6_address(first), v6_address(last))),
    );
    all
}

fn ranges(begins: &BTreeSet<u128>, end: u128) -> impl Iterator<Item = (u128, u128)> + '_ {
    let next = begins.iter().skip(1).map(|next| next - 1).chain([end]);
    begins.iter().copied().zip(next)
}

/// How a connection is let in that stands for others.
fn access(rules: &Rules, user: Who<'_>, database: What<'_>, place: &Where<'_>, kind: u8) -> Access {
    let decides = rules.iter().find(|rule| {
        scope::kinds(rule.connection()) & (1 << kind) != 0
            && at(rule.address(), place)
            && rule.databases().any(|name| is_database(name.kind(), name.text(), database))
            && rule.users().any(|name| is_user(name.kind(), name.text(), user))
    });
    match decides {
        Some(rule) if rule.method() != Method::Reject => {
            Access::Allowed { method: rule.method(), options: rule.shown_options() }
        }
        _ => Access::Rejected,
    }
}

fn at(address: Option<Address<'_>>, place: &Where<'_>) -> bool {
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

fn is_database(kind: DatabaseKind<'_>, text: &[u8], database: What<'_>) -> bool {
    match (kind, database) {
        (DatabaseKind::Replication, What::Replication)
        | (DatabaseKind::SameUser, What::SameUser)
        | (DatabaseKind::SameRole, What::SameRole | What::SameUser) => true,
        (DatabaseKind::Replication, _) | (_, What::Replication) => false,
        (DatabaseKind::All, _) => true,
        (DatabaseKind::Name(name), What::Name(wanted)) => name == wanted,
        (DatabaseKind::Regex(regex), What::Name(name)) => regex.is_match(name).unwrap_or(false),
        (DatabaseKind::Regex(_), What::Matching(wanted)) => text == wanted,
        _ => false,
    }
}

fn is_user(kind: UserKind<'_>, text: &[u8], user: Who<'_>) -> bool {
    match (kind, user) {
        (UserKind::All, _) => true,
        (UserKind::Name(name) | UserKind::Member(name), Who::Name(wanted)) => name == wanted,
        (UserKind::Member(role), Who::Member(wanted)) => role == wanted,
        (UserKind::Regex(regex), Who::Name(name)) => regex.is_match(name).unwrap_or(false),
        (UserKind::Regex(_), Who::Matching(wanted)) => text == wanted,
        _ => false,
    }
}

fn who_text(user: Who<'_>) -> String {
    match user {
        Who::Name(name) => format!("{}", Text::from(name)),
        Who::Member(role) => format!("members of {}", Text::from(role)),
        Who::Matching(regex) => format!("users matching {}", Text::from(regex)),
        Who::Other => "other users".into(),
    }
}

fn what_text(database: What<'_>) -> String {
    match database {
        What::Replication => "physical replication".into(),
        What::Name(name) => format!("{}", Text::from(name)),
        What::Matching(regex) => format!("databases matching {}", Text::from(regex)),
        What::SameUser => "the database with their name".into(),
        What::SameRole => "the database with the name of their role".into(),
        What::Other => "other databases".into(),
    }
}

fn place_text(place: &Where<'_>, kinds: &[u8]) -> String {
    let place = match place {
        Where::Socket => return "the Unix socket".into(),
        Where::Range(first, last) => range_text(*first, *last),
        Where::SameHost => "the server's own addresses".into(),
        Where::SameNet => "the server's own networks".into(),
        Where::Host(name) => format!("{}", Text::from(*name)),
    };
    if kinds.len() == 3 {
        return place;
    }
    let names: Vec<&str> = kinds
        .iter()
        .map(|kind| ["socket", "plain", "TLS", "GSSAPI"][usize::from(kind & 3)])
        .collect();
    format!("{place} ({})", names.join(", "))
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
