//! A rule to be written into pg_hba.conf.

use alloc::{format, vec::Vec};
use core::net::IpAddr;

use super::{
    BuildError,
    quoting::{comment_text, name_text, option_text, quote, regex_text, writable},
};
use crate::{
    Address, ConnectionType, DatabaseKind, HbaDocument, Method, PgVersion, Rule, Server, UserKind,
    address, text::Text,
};

/// A rule to be written into a file.
///
/// Names are quoted where they must be. [`NewRule::check`] reads the rule as the server would, and
/// finds every way in which it is invalid or means something else; all edits do so.
///
/// ```
/// use hba_parser::{AddressSpec, ConnectionType, DatabaseSpec, Method, NewRule, PgVersion, Server, UserSpec};
///
/// let rule = NewRule::new(ConnectionType::HostSsl, Method::ScramSha256)
///     .database(DatabaseSpec::name("my app"))
///     .user(UserSpec::member("web"))
///     .address(AddressSpec::network([10, 0, 0, 0], 8))
///     .option("clientcert", "verify-full");
/// let server = Server::new(PgVersion::V16);
/// assert_eq!(
///     rule.to_line(&server)?,
///     *"hostssl \"my app\" +web 10.0.0.0/8 scram-sha-256 clientcert=verify-full"
/// );
///
/// let wrong = NewRule::new(ConnectionType::Host, Method::Cert).all();
/// assert_eq!(
///     wrong.check(&server).unwrap_err().to_string(),
///     "the server would refuse the rule: cert authentication is only supported on hostssl \
///      connections (write hostssl)"
/// );
/// # Ok::<(), hba_parser::BuildError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRule {
    connection: ConnectionType,
    databases: Vec<DatabaseSpec>,
    users: Vec<UserSpec>,
    address: Option<AddressSpec>,
    method: Method,
    options: Vec<(Vec<u8>, Vec<u8>)>,
    comment: Option<Vec<u8>>,
}

/// Databases of a [`NewRule`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseSpec {
    /// `all`
    All,
    /// `sameuser`
    SameUser,
    /// `samerole`
    SameRole,
    /// `replication`: physical replication.
    Replication,
    /// The database with this very name.
    Name(Vec<u8>),
    /// All databases whose names match (16 and newer).
    Regex(Vec<u8>),
}

impl DatabaseSpec {
    /// The database with this very name, be it `all`.
    #[must_use]
    pub fn name(name: impl AsRef<[u8]>) -> Self {
        Self::Name(name.as_ref().to_vec())
    }

    /// All databases whose names match (16 and newer).
    #[must_use]
    pub fn regex(regex: impl AsRef<[u8]>) -> Self {
        Self::Regex(regex.as_ref().to_vec())
    }
}

/// Users of a [`NewRule`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserSpec {
    /// `all`
    All,
    /// `+role`: the role's members.
    Member(Vec<u8>),
    /// The role with this very name.
    Name(Vec<u8>),
    /// All roles whose names match (16 and newer).
    Regex(Vec<u8>),
}

impl UserSpec {
    /// The role with this very name, be it `all`.
    #[must_use]
    pub fn name(name: impl AsRef<[u8]>) -> Self {
        Self::Name(name.as_ref().to_vec())
    }

    /// `+role`: the role's members.
    #[must_use]
    pub fn member(role: impl AsRef<[u8]>) -> Self {
        Self::Member(role.as_ref().to_vec())
    }

    /// All roles whose names match (16 and newer).
    #[must_use]
    pub fn regex(regex: impl AsRef<[u8]>) -> Self {
        Self::Regex(regex.as_ref().to_vec())
    }
}

/// Addresses of a [`NewRule`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressSpec {
    /// `all`
    All,
    /// `samehost`
    SameHost,
    /// `samenet`
    SameNet,
    /// A host name, or with a leading dot the end of one.
    Host(Vec<u8>),
    /// An address and how many of its bits count.
    Network(IpAddr, u8),
    /// An address and a mask.
    Masked(IpAddr, IpAddr),
}

impl AddressSpec {
    /// An address and how many of its bits count.
    #[must_use]
    pub fn network(address: impl Into<IpAddr>, bits: u8) -> Self {
        Self::Network(address.into(), bits)
    }

    /// One address.
    #[must_use]
    pub fn host(address: impl Into<IpAddr>) -> Self {
        let address = address.into();
        Self::Network(address, if address.is_ipv4() { 32 } else { 128 })
    }

    /// A host name, or with a leading dot the end of one.
    #[must_use]
    pub fn name(name: impl AsRef<[u8]>) -> Self {
        Self::Host(name.as_ref().to_vec())
    }
}

impl NewRule {
    /// A rule without databases and users yet, and without an address.
    #[must_use]
    pub const fn new(connection: ConnectionType, method: Method) -> Self {
        Self {
            connection,
            databases: Vec::new(),
            users: Vec::new(),
            address: None,
            method,
            options: Vec::new(),
            comment: None,
        }
    }

    /// For all databases and users, from everywhere if it is for TCP.
    #[must_use]
    pub fn all(self) -> Self {
        let local = self.connection == ConnectionType::Local;
        let rule = self.database(DatabaseSpec::All).user(UserSpec::All);
        if local { rule } else { rule.address(AddressSpec::All) }
    }

    /// For this database, too.
    #[must_use]
    pub fn database(mut self, database: DatabaseSpec) -> Self {
        self.databases.push(database);
        self
    }

    /// For this user, too.
    #[must_use]
    pub fn user(mut self, user: UserSpec) -> Self {
        self.users.push(user);
        self
    }

    /// From this address.
    #[must_use]
    pub fn address(mut self, address: AddressSpec) -> Self {
        self.address = Some(address);
        self
    }

    /// With this option.
    #[must_use]
    pub fn option(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.options.push((name.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    /// With a comment at the end of its line.
    #[must_use]
    pub fn comment(mut self, comment: impl AsRef<[u8]>) -> Self {
        self.comment = Some(comment.as_ref().to_vec());
        self
    }

    /// Whether the server takes the rule, and understands it as it is meant.
    ///
    /// # Errors
    /// [`BuildError`]
    pub fn check(&self, server: &Server) -> Result<(), BuildError> {
        self.checked_fields(server).map(|_| ())
    }

    /// The rule as a line without a line end, its fields one blank apart.
    ///
    /// # Errors
    /// [`BuildError`] if the server would refuse the rule, or understand it otherwise.
    pub fn to_line(&self, server: &Server) -> Result<Text, BuildError> {
        Ok(self.checked_fields(server)?.join().into())
    }

    /// The rule's fields as they are written, found good.
    pub(crate) fn checked_fields(&self, server: &Server) -> Result<RuleText, BuildError> {
        let text = self.fields(server)?;
        let line = text.join();
        let rules = HbaDocument::parse(line).interpret(server);
        if let Some(diagnostic) = rules.diagnostics().first() {
            return Err(BuildError::Refused {
                code: diagnostic.code,
                message: diagnostic.message.clone(),
            });
        }
        match rules.get(0).filter(|_| rules.len() == 1) {
            Some(rule) if self.is_read_as(&rule) => Ok(text),
            _ => Err(BuildError::ReadOtherwise),
        }
    }

    fn fields(&self, server: &Server) -> Result<RuleText, BuildError> {
        let local = self.connection == ConnectionType::Local;
        if self.databases.is_empty() {
            return Err(BuildError::NoDatabase);
        }
        if self.users.is_empty() {
            return Err(BuildError::NoUser);
        }
        let address = match (&self.address, local) {
            (None, true) => None,
            (Some(address), false) => Some(address_text(address)?),
            (None, false) => return Err(BuildError::NoAddress),
            (Some(_), true) => return Err(BuildError::AddressOnLocal),
        };
        let databases: Result<Vec<_>, _> =
            self.databases.iter().map(|database| database_text(database, server)).collect();
        let users: Result<Vec<_>, _> =
            self.users.iter().map(|user| user_text(user, server)).collect();
        let mut options = Vec::new();
        for (name, value) in &self.options {
            options.push(option_text(name, value)?);
        }
        let comment = self.comment.as_deref().map(comment_text).transpose()?;
        Ok(RuleText {
            connection: self.connection.as_str().into(),
            databases: databases?.join(&b','),
            users: users?.join(&b','),
            address,
            method: self.method.as_str().into(),
            options,
            comment,
        })
    }

    /// Whether a rule of a file says this: the same type, databases, users, address, method and
    /// options, however they are written.
    ///
    /// ```
    /// use hba_parser::{ConnectionType, HbaDocument, Method, NewRule, PgVersion, Server};
    ///
    /// let rule = NewRule::new(ConnectionType::Local, Method::Peer).all();
    /// let file = HbaDocument::parse(*b"local  all  all  peer  # us\n");
    /// let rules = file.interpret(&Server::new(PgVersion::V16));
    /// assert!(rules.iter().all(|there| rule.is_read_as(&there)));
    /// ```
    #[must_use]
    pub fn is_read_as(&self, rule: &Rule<'_>) -> bool {
        let databases =
            rule.databases().zip(&self.databases).all(|(read, meant)| match (read.kind(), meant) {
                (DatabaseKind::All, DatabaseSpec::All)
                | (DatabaseKind::SameUser, DatabaseSpec::SameUser)
                | (DatabaseKind::SameRole, DatabaseSpec::SameRole)
                | (DatabaseKind::Replication, DatabaseSpec::Replication) => true,
                (DatabaseKind::Name(name), DatabaseSpec::Name(meant)) => name == meant,
                (DatabaseKind::Regex(_), DatabaseSpec::Regex(meant)) => {
                    read.text().strip_prefix(b"/") == Some(meant)
                }
                _ => false,
            });
        let users = rule.users().zip(&self.users).all(|(read, meant)| match (read.kind(), meant) {
            (UserKind::All, UserSpec::All) => true,
            (UserKind::Member(name), UserSpec::Member(meant))
            | (UserKind::Name(name), UserSpec::Name(meant)) => name == meant,
            (UserKind::Regex(_), UserSpec::Regex(meant)) => {
                read.text().strip_prefix(b"/") == Some(meant)
            }
            _ => false,
        });
        let address = match (rule.address(), &self.address) {
            (None, None)
            | (Some(Address::All), Some(AddressSpec::All))
            | (Some(Address::SameHost), Some(AddressSpec::SameHost))
            | (Some(Address::SameNet), Some(AddressSpec::SameNet)) => true,
            (Some(Address::Host(name) | Address::Suffix(name)), Some(AddressSpec::Host(meant))) => {
                name == meant
            }
            (Some(Address::Network(network, mask)), Some(AddressSpec::Network(meant, bits))) => {
                network == *meant && address::prefix_len(mask) == Some(*bits)
            }
            (Some(Address::Network(network, mask)), Some(AddressSpec::Masked(meant, as_mask))) => {
                network == *meant && mask == *as_mask
            }
            _ => false,
        };
        let ident_as_peer = self.connection == ConnectionType::Local
            && self.method == Method::Ident
            && rule.method() == Method::Peer;
        let given = rule.options().given.iter().zip(&self.options).all(|(read, meant)| {
            read.name.as_bytes() == meant.0 && read.value.as_bytes() == meant.1
        });
        rule.connection() == self.connection
            && databases
            && rule.databases().len() == self.databases.len()
            && users
            && rule.users().len() == self.users.len()
            && address
            && (rule.method() == self.method || ident_as_peer)
            && given
            && rule.options().given.len() == self.options.len()
    }
}

/// The fields of a rule as they are written.
#[derive(Clone, Debug)]
pub(crate) struct RuleText {
    pub(crate) connection: Vec<u8>,
    pub(crate) databases: Vec<u8>,
    pub(crate) users: Vec<u8>,
    /// With a mask behind a blank, if it has one
    pub(crate) address: Option<Vec<u8>>,
    pub(crate) method: Vec<u8>,
    pub(crate) options: Vec<Vec<u8>>,
    pub(crate) comment: Option<Vec<u8>>,
}

impl RuleText {
    /// The fields in their order; without an address there is a gap.
    pub(crate) fn fields(&self) -> Vec<Option<&[u8]>> {
        let mut fields = Vec::from([
            Some(self.connection.as_slice()),
            Some(&self.databases),
            Some(&self.users),
            self.address.as_deref(),
            Some(&self.method),
        ]);
        fields.extend(self.options.iter().map(|option| Some(option.as_slice())));
        fields
    }

    pub(crate) fn join(&self) -> Vec<u8> {
        let fields = self.fields().into_iter().flatten().chain(self.comment.as_deref());
        fields.collect::<Vec<_>>().join(&b' ')
    }
}

fn database_text(database: &DatabaseSpec, server: &Server) -> Result<Vec<u8>, BuildError> {
    match database {
        DatabaseSpec::All => Ok(b"all".into()),
        DatabaseSpec::SameUser => Ok(b"sameuser".into()),
        DatabaseSpec::SameRole => Ok(b"samerole".into()),
        DatabaseSpec::Replication => Ok(b"replication".into()),
        DatabaseSpec::Name(name) => name_text(name, server.version >= PgVersion::V16),
        DatabaseSpec::Regex(regex) => regex_text(regex),
    }
}

fn user_text(user: &UserSpec, server: &Server) -> Result<Vec<u8>, BuildError> {
    match user {
        UserSpec::All => Ok(b"all".into()),
        UserSpec::Member(role) => {
            writable(role)?;
            // The quotes come after the plus: before it they would take its meaning.
            Ok([b"+", quote(role, false).as_slice()].concat())
        }
        UserSpec::Name(name) => name_text(name, server.version >= PgVersion::V16),
        UserSpec::Regex(regex) => regex_text(regex),
    }
}

fn address_text(address: &AddressSpec) -> Result<Vec<u8>, BuildError> {
    Ok(match address {
        AddressSpec::All => b"all".into(),
        AddressSpec::SameHost => b"samehost".into(),
        AddressSpec::SameNet => b"samenet".into(),
        AddressSpec::Host(name) => {
            writable(name)?;
            quote(name, true)
        }
        AddressSpec::Network(address, bits) => format!("{address}/{bits}").into_bytes(),
        AddressSpec::Masked(address, mask) => format!("{address} {mask}").into_bytes(),
    })
}
