//! Which rule decides about a connection: `check_hba`.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::net::IpAddr;

use crate::{
    ConnectionType,
    address::in_range,
    rules::{Address, DatabaseKind, Rule, Rules, UserKind},
};

/// Who wants to connect, and how.
///
/// ```
/// use hba_parser::{Connection, Encryption};
///
/// let connection = Connection::tcp([10, 0, 0, 7].into(), Encryption::Tls, b"app", b"alice");
/// let local = Connection::local(b"app", b"alice");
/// let walreceiver = Connection::local(b"", b"repl").physical_replication();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection<'a> {
    /// Over what.
    pub via: Via,
    /// The database that is asked for. Logical replication asks for one like everybody else. A client
    /// that names none asks for the one with its role's name, and servers cut names off after 63
    /// bytes: that is up to the caller.
    pub database: &'a [u8],
    /// The role that is asked for.
    pub user: &'a [u8],
    /// Whether it is physical replication (`replication=true`): it matches no database, only the
    /// keyword `replication`.
    pub physical_replication: bool,
}

/// Over what a connection comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Via {
    /// A Unix socket.
    Local,
    /// TCP.
    Tcp {
        /// The client's address.
        address: IpAddr,
        /// How it is encrypted.
        encryption: Encryption,
    },
}

/// How a TCP connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "lowercase"))]
pub enum Encryption {
    /// Not at all.
    None,
    /// With TLS.
    Tls,
    /// With GSSAPI.
    Gss,
}

impl<'a> Connection<'a> {
    /// Over a Unix socket.
    #[must_use]
    pub const fn local(database: &'a [u8], user: &'a [u8]) -> Self {
        Self { via: Via::Local, database, user, physical_replication: false }
    }

    /// Over TCP.
    #[must_use]
    pub const fn tcp(
        address: IpAddr,
        encryption: Encryption,
        database: &'a [u8],
        user: &'a [u8],
    ) -> Self {
        Self { via: Via::Tcp { address, encryption }, database, user, physical_replication: false }
    }

    /// The same for physical replication.
    #[must_use]
    pub const fn physical_replication(mut self) -> Self {
        self.physical_replication = true;
        self
    }
}

/// Who is a member of which role.
pub trait Roles {
    /// Whether `user` is `role`, or a member of it, directly or over others, inherited or not. A
    /// superuser is a member only of what it was made a member of. False if either does not exist.
    fn is_member(&self, user: &[u8], role: &[u8]) -> bool;
}

/// Roles and memberships in memory.
///
/// ```
/// use hba_parser::{RoleGraph, Roles};
///
/// let mut roles = RoleGraph::default();
/// roles.grant("staff", "alice");
/// roles.grant("everybody", "staff");
/// assert!(roles.is_member(b"alice", b"everybody"));
/// assert!(!roles.is_member(b"bob", b"bob"), "there is no bob");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleGraph {
    /// What each role is directly a member of
    member_of: BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>>,
}

impl RoleGraph {
    /// Adds a role without memberships.
    pub fn create(&mut self, role: impl AsRef<[u8]>) {
        self.member_of.entry(role.as_ref().to_vec()).or_default();
    }

    /// `GRANT role TO member`: makes `member` a member of `role`. Roles that are not there yet are
    /// created.
    pub fn grant(&mut self, role: impl AsRef<[u8]>, member: impl AsRef<[u8]>) {
        self.create(role.as_ref());
        let member = self.member_of.entry(member.as_ref().to_vec()).or_default();
        member.insert(role.as_ref().to_vec());
    }
}

impl Roles for RoleGraph {
    fn is_member(&self, user: &[u8], role: &[u8]) -> bool {
        if !self.member_of.contains_key(role) {
            return false;
        }
        let mut seen: BTreeSet<&[u8]> = BTreeSet::new();
        let mut next = Vec::from([user]);
        while let Some(current) = next.pop() {
            let Some(above) = self.member_of.get(current) else { continue };
            if current == role {
                return true;
            }
            if seen.insert(current) {
                next.extend(above.iter().map(Vec::as_slice));
            }
        }
        false
    }
}

/// The network as the server sees it. The default knows nothing: no interface, no name.
pub trait Network {
    /// The addresses and masks of the server's own interfaces, for `samehost` and `samenet`.
    fn interfaces(&self) -> Vec<(IpAddr, IpAddr)> {
        Vec::new()
    }

    /// The host name of an address (reverse lookup).
    fn name_of(&self, address: IpAddr) -> Option<Vec<u8>> {
        let _ = address;
        None
    }

    /// The addresses of a host name: a rule with a name matches only if the name of the client's
    /// address leads back to that address.
    fn addresses_of(&self, name: &[u8]) -> Vec<IpAddr> {
        let _ = name;
        Vec::new()
    }
}

/// A network that nothing is known of: see [`Network`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnknownNetwork;

impl Network for UnknownNetwork {}

/// A network in memory.
///
/// ```
/// use hba_parser::{
///     Connection, Encryption, HbaDocument, PgVersion, RoleGraph, Server, StaticNetwork,
/// };
///
/// let file = HbaDocument::parse(*b"host all all .example.com md5\nhost all all samenet trust\n");
/// let rules = file.interpret(&Server::new(PgVersion::V16));
/// let mut network = StaticNetwork::default();
/// network.hosts.push((b"web.example.com".to_vec(), [192, 0, 2, 7].into()));
/// network.interfaces.push(([10, 0, 0, 1].into(), [255, 255, 255, 0].into()));
/// let line = |address: [u8; 4]| {
///     let who = Connection::tcp(address.into(), Encryption::Tls, b"app", b"web");
///     rules.decide(&who, &RoleGraph::default(), &network).rule.map(|rule| rule.line())
/// };
/// assert_eq!(line([192, 0, 2, 7]), Some(1));
/// assert_eq!(line([10, 0, 0, 99]), Some(2));
/// assert_eq!(line([10, 0, 1, 99]), None);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StaticNetwork {
    /// Addresses and masks of the server's interfaces.
    pub interfaces: Vec<(IpAddr, IpAddr)>,
    /// Host names and their addresses; the first name of an address is what it resolves to.
    pub hosts: Vec<(Vec<u8>, IpAddr)>,
}

impl Network for StaticNetwork {
    fn interfaces(&self) -> Vec<(IpAddr, IpAddr)> {
        self.interfaces.clone()
    }

    fn name_of(&self, address: IpAddr) -> Option<Vec<u8>> {
        self.hosts.iter().find(|host| host.1 == address).map(|host| host.0.clone())
    }

    fn addresses_of(&self, name: &[u8]) -> Vec<IpAddr> {
        let same = self.hosts.iter().filter(|host| host.0.eq_ignore_ascii_case(name));
        same.map(|host| host.1).collect()
    }
}

/// Why a rule does not decide: the first reason, in the order in which the server looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Mismatch {
    /// The rule is for Unix sockets, the connection comes over TCP.
    OnlyLocal,
    /// The rule is for TCP, the connection comes over a Unix socket.
    NotLocal,
    /// The rule asks for TLS.
    NeedsTls,
    /// The rule is for connections without TLS.
    RefusesTls,
    /// The rule asks for GSSAPI encryption.
    NeedsGss,
    /// The rule is for connections without GSSAPI encryption.
    RefusesGss,
    /// The client has another address.
    Address,
    /// The client's address has another host name, or none, or the name does not lead back.
    HostName,
    /// The rule is for other databases.
    Database,
    /// The rule is for other users.
    User,
}

impl core::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(match self {
            Self::OnlyLocal => "it is for Unix sockets",
            Self::NotLocal => "it is for TCP connections",
            Self::NeedsTls => "it is for connections with TLS",
            Self::RefusesTls => "it is for connections without TLS",
            Self::NeedsGss => "it is for connections with GSSAPI encryption",
            Self::RefusesGss => "it is for connections without GSSAPI encryption",
            Self::Address => "the client has another address",
            Self::HostName => "the client has another host name",
            Self::Database => "it is for other databases",
            Self::User => "it is for other users",
        })
    }
}

/// What decides about a connection.
///
/// ```
/// use hba_parser::{
///     Connection, Encryption, HbaDocument, Mismatch, PgVersion, RoleGraph, Server, UnknownNetwork,
/// };
///
/// let file = HbaDocument::parse(*b"\
/// hostssl app web 10.0.0.0/8 cert
/// host    all all 10.0.0.0/8 scram-sha-256
/// ");
/// let rules = file.interpret(&Server::new(PgVersion::V16));
/// let who = Connection::tcp([10, 1, 2, 3].into(), Encryption::None, b"app", b"web");
/// let decision = rules.decide(&who, &RoleGraph::default(), &UnknownNetwork);
/// assert_eq!(decision.rule.unwrap().line(), 2);
/// let (passed, why) = decision.passed[0];
/// assert_eq!((passed.line(), why), (1, Mismatch::NeedsTls));
/// ```
#[derive(Clone, Debug)]
pub struct Decision<'a> {
    /// The rule that decides; without one the server rejects the connection.
    pub rule: Option<Rule<'a>>,
    /// The rules before it, and why each does not decide.
    pub passed: Vec<(Rule<'a>, Mismatch)>,
}

impl Decision<'_> {
    /// Whether the connection is rejected: by a rule with the method `reject`, or because none
    /// matches.
    #[must_use]
    pub fn is_rejected(&self) -> bool {
        self.rule.is_none_or(|rule| rule.method() == crate::Method::Reject)
    }
}

impl Rules {
    /// Which rule decides about a connection, and why those before it do not. Ask for the
    /// [verdict](Rules::verdict) first: a server that refused the file still has its old rules.
    ///
    /// ```
    /// use hba_parser::{Connection, Encryption, HbaDocument, PgVersion, Mismatch, RoleGraph, Server, UnknownNetwork};
    ///
    /// let file = HbaDocument::parse(*b"local all all peer\nhostssl app +web 10.0.0.0/8 cert\n");
    /// let rules = file.interpret(&Server::new(PgVersion::V16));
    /// let mut roles = RoleGraph::default();
    /// roles.grant("web", "alice");
    ///
    /// let who = Connection::tcp([10, 1, 2, 3].into(), Encryption::Tls, b"app", b"alice");
    /// let decision = rules.decide(&who, &roles, &UnknownNetwork);
    /// assert_eq!(decision.rule.unwrap().line(), 2);
    /// assert_eq!(decision.passed[0].1, Mismatch::OnlyLocal);
    /// ```
    #[must_use]
    pub fn decide(
        &self,
        connection: &Connection<'_>,
        roles: &dyn Roles,
        network: &dyn Network,
    ) -> Decision<'_> {
        let mut asked = Asked::new(connection, roles, network);
        let mut passed = Vec::new();
        for rule in self.iter() {
            match asked.compare(&rule) {
                None => return Decision { rule: Some(rule), passed },
                Some(mismatch) => passed.push((rule, mismatch)),
            }
        }
        Decision { rule: None, passed }
    }
}

/// A connection, and what was looked up for it.
pub(crate) struct Asked<'q> {
    connection: &'q Connection<'q>,
    roles: &'q dyn Roles,
    network: &'q dyn Network,
    interfaces: Option<Vec<(IpAddr, IpAddr)>>,
    /// The client's host name, once it was looked up, and whether it leads back to the client
    host: Option<Option<(Vec<u8>, bool)>>,
}

impl<'q> Asked<'q> {
    pub(crate) fn new(
        connection: &'q Connection<'q>,
        roles: &'q dyn Roles,
        network: &'q dyn Network,
    ) -> Self {
        Self { connection, roles, network, interfaces: None, host: None }
    }

    /// Why the rule does not decide; `None` if it does.
    pub(crate) fn compare(&mut self, rule: &Rule<'_>) -> Option<Mismatch> {
        if let Some(mismatch) = self.compare_type(rule.connection()) {
            return Some(mismatch);
        }
        if let Via::Tcp { address, .. } = self.connection.via
            && let Some(mismatch) =
                rule.address().and_then(|rule| self.compare_address(address, rule))
        {
            return Some(mismatch);
        }
        if !rule.databases().any(|database| self.matches_database(database.kind())) {
            return Some(Mismatch::Database);
        }
        if !rule.users().any(|user| self.matches_user(user.kind())) {
            return Some(Mismatch::User);
        }
        None
    }

    fn compare_type(&self, rule: ConnectionType) -> Option<Mismatch> {
        let Via::Tcp { encryption, .. } = self.connection.via else {
            return (rule != ConnectionType::Local).then_some(Mismatch::NotLocal);
        };
        let (tls, gss) = (encryption == Encryption::Tls, encryption == Encryption::Gss);
        match rule {
            ConnectionType::Local => Some(Mismatch::OnlyLocal),
            ConnectionType::HostSsl if !tls => Some(Mismatch::NeedsTls),
            ConnectionType::HostNoSsl if tls => Some(Mismatch::RefusesTls),
            ConnectionType::HostGssEnc if !gss => Some(Mismatch::NeedsGss),
            ConnectionType::HostNoGssEnc if gss => Some(Mismatch::RefusesGss),
            _ => None,
        }
    }

    fn compare_address(&mut self, client: IpAddr, rule: Address<'_>) -> Option<Mismatch> {
        let (matches, mismatch) = match rule {
            Address::All => (true, Mismatch::Address),
            Address::Network(network, mask) => (in_range(client, network, mask), Mismatch::Address),
            Address::SameHost => {
                let same = self.interfaces().iter().any(|interface| interface.0 == client);
                (same, Mismatch::Address)
            }
            Address::SameNet => {
                let near = |(address, mask): &(IpAddr, IpAddr)| in_range(client, *address, *mask);
                (self.interfaces().iter().any(near), Mismatch::Address)
            }
            Address::Host(name) => {
                let same = |host: &[u8]| host.eq_ignore_ascii_case(name);
                (self.matches_host(client, same), Mismatch::HostName)
            }
            Address::Suffix(suffix) => {
                let ends = |host: &[u8]| {
                    let start = host.len().checked_sub(suffix.len());
                    start.is_some_and(|start| host[start..].eq_ignore_ascii_case(suffix))
                };
                (self.matches_host(client, ends), Mismatch::HostName)
            }
        };
        (!matches).then_some(mismatch)
    }

    fn interfaces(&mut self) -> &[(IpAddr, IpAddr)] {
        let network = self.network;
        self.interfaces.get_or_insert_with(|| network.interfaces())
    }

    /// `check_hostname`: the client's name must match, and must lead back to its address.
    fn matches_host(&mut self, client: IpAddr, matches: impl Fn(&[u8]) -> bool) -> bool {
        let network = self.network;
        let host = self.host.get_or_insert_with(|| {
            let name = network.name_of(client)?;
            let back = network.addresses_of(&name).contains(&client);
            Some((name, back))
        });
        host.as_ref().is_some_and(|(name, back)| *back && matches(name))
    }

    /// `check_db`
    fn matches_database(&self, database: DatabaseKind<'_>) -> bool {
        let Connection { database: wanted, user, physical_replication, .. } = *self.connection;
        if physical_replication {
            return matches!(database, DatabaseKind::Replication);
        }
        match database {
            DatabaseKind::All => true,
            DatabaseKind::SameUser => wanted == user,
            DatabaseKind::SameRole => self.roles.is_member(user, wanted),
            DatabaseKind::Replication => false,
            DatabaseKind::Regex(regex) => regex.is_match(wanted).unwrap_or(false),
            DatabaseKind::Name(name) => name == wanted,
        }
    }

    /// `check_role`
    fn matches_user(&self, user: UserKind<'_>) -> bool {
        let wanted = self.connection.user;
        match user {
            UserKind::All => true,
            UserKind::Member(role) => self.roles.is_member(wanted, role),
            UserKind::Regex(regex) => regex.is_match(wanted).unwrap_or(false),
            UserKind::Name(name) => name == wanted,
        }
    }
}
