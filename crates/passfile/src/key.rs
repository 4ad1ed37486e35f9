//! What a password is looked up by: the host, port, database and user of a connection.

use std::{borrow::Cow, fmt};

use crate::Libpq;

/// A connection parameter, as bytes: a host, a port, a name. Made from text, bytes or a number.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Value<'a>(Cow<'a, [u8]>);

impl Value<'_> {
    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The value with bytes of its own.
    #[must_use]
    pub fn into_owned(self) -> Value<'static> {
        Value(Cow::Owned(self.0.into_owned()))
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(&self.0), f)
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&String::from_utf8_lossy(&self.0), f)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(value: &'a str) -> Self {
        Self(Cow::Borrowed(value.as_bytes()))
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(value: &'a String) -> Self {
        Self(Cow::Borrowed(value.as_bytes()))
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(value: &'a [u8]) -> Self {
        Self(Cow::Borrowed(value))
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Value<'a> {
    fn from(value: &'a [u8; N]) -> Self {
        Self(Cow::Borrowed(value))
    }
}

impl From<String> for Value<'_> {
    fn from(value: String) -> Self {
        Self(Cow::Owned(value.into_bytes()))
    }
}

impl From<Vec<u8>> for Value<'_> {
    fn from(value: Vec<u8>) -> Self {
        Self(Cow::Owned(value))
    }
}

impl From<u16> for Value<'_> {
    /// A port, as libpq would be given it: in decimal, without leading zeros.
    fn from(port: u16) -> Self {
        port.to_string().into()
    }
}

/// What libpq searches a password file by, for one host of a connection.
///
/// Values are compared byte by byte: no case folding, no name resolution, no numeric comparison of
/// ports. What is not given or empty has libpq's default: the host is `localhost`, the port 5432,
/// the database that of the user's name. Without a user nothing is found.
///
/// ```
/// use passfile::{Key, Libpq, PassFile};
///
/// let file = PassFile::parse("db1:5433:app:bob:secret\n")?;
/// let key = Key::new("bob").host("db1").port(5433).dbname("app");
/// let found = file.lookup(&key, &Libpq::default()).ok_or("no password")?;
/// assert_eq!((found.line(), found.password().expose()), (1, &b"secret"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key<'a> {
    host: Option<Value<'a>>,
    hostaddr: Option<Value<'a>>,
    port: Option<Value<'a>>,
    dbname: Option<Value<'a>>,
    user: Value<'a>,
}

impl<'a> Key<'a> {
    /// A connection of this user (`user`), everything else by default.
    #[must_use]
    pub fn new(user: impl Into<Value<'a>>) -> Self {
        Self { host: None, hostaddr: None, port: None, dbname: None, user: user.into() }
    }

    /// To this host (`host`): a name, an address, or a folder of Unix sockets. libpq's default
    /// socket folder is the same as `localhost`; another one is its path.
    #[must_use]
    pub fn host(mut self, host: impl Into<Value<'a>>) -> Self {
        self.host = Some(host.into());
        self
    }

    /// To this address (`hostaddr`); searched by only where there is no host.
    #[must_use]
    pub fn hostaddr(mut self, hostaddr: impl Into<Value<'a>>) -> Self {
        self.hostaddr = Some(hostaddr.into());
        self
    }

    /// To this port (`port`), compared as text.
    #[must_use]
    pub fn port(mut self, port: impl Into<Value<'a>>) -> Self {
        self.port = Some(port.into());
        self
    }

    /// To this database (`dbname`). A physical replication connection of a standby uses
    /// `replication`.
    #[must_use]
    pub fn dbname(mut self, dbname: impl Into<Value<'a>>) -> Self {
        self.dbname = Some(dbname.into());
        self
    }

    /// The four values that lines are compared with, in their order; `None` if nothing can match:
    /// there is no user, or a NUL that no C string could hold.
    pub(crate) fn tokens<'k>(&'k self, libpq: &'k Libpq) -> Option<[&'k [u8]; 4]> {
        let given = |value: &'k Option<Value<'_>>| {
            value.as_ref().map(Value::as_bytes).filter(|value| !value.is_empty())
        };
        let user = self.user.as_bytes();
        let host = given(&self.host)
            .or_else(|| given(&self.hostaddr))
            .filter(|host| !libpq.is_default_socket_dir(host))
            .unwrap_or(DEFAULT_HOST);
        let port = given(&self.port).unwrap_or(libpq.default_port().as_bytes());
        let dbname = given(&self.dbname).unwrap_or(user);
        let tokens = [host, port, dbname, user];
        let possible = !user.is_empty() && !tokens.iter().any(|token| token.contains(&0));
        possible.then_some(tokens)
    }
}

/// `DefaultHost` of fe-connect.c.
const DEFAULT_HOST: &[u8] = b"localhost";

/// The parameters of a connection that may name several hosts, as in a connection string:
/// `host=db1,db2 port=5432,5433`.
///
/// ```
/// use passfile::{Connection, Key};
///
/// let connection =
///     Connection { host: Some("db1,db2".into()), port: Some(5433.into()), ..Connection::new("bob") };
/// assert_eq!(
///     connection.keys()?,
///     [Key::new("bob").host("db1").port(5433), Key::new("bob").host("db2").port(5433)]
/// );
/// # Ok::<(), passfile::HostListError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection<'a> {
    /// `host`: one or more, separated by commas
    pub host: Option<Value<'a>>,
    /// `hostaddr`: one or more, separated by commas, as many as hosts if both are given
    pub hostaddr: Option<Value<'a>>,
    /// `port`: one for all, or as many as hosts
    pub port: Option<Value<'a>>,
    /// `dbname`
    pub dbname: Option<Value<'a>>,
    /// `user`
    pub user: Value<'a>,
}

impl<'a> Connection<'a> {
    /// A connection of this user, everything else by default.
    #[must_use]
    pub fn new(user: impl Into<Value<'a>>) -> Self {
        Self { host: None, hostaddr: None, port: None, dbname: None, user: user.into() }
    }

    /// The key of each host, in the order in which libpq tries them. There is always one at least.
    ///
    /// # Errors
    /// [`HostListError`] where libpq refuses the connection for the same reason.
    pub fn keys(&self) -> Result<Vec<Key<'_>>, HostListError> {
        let hosts = list(self.host.as_ref());
        let addresses = list(self.hostaddr.as_ref());
        let ports = list(self.port.as_ref());
        let count = match (addresses.len(), hosts.len()) {
            (0, 0) => 1,
            (0, hosts) => hosts,
            (addresses, _) => addresses,
        };
        if !hosts.is_empty() && hosts.len() != count {
            return Err(HostListError::Addresses { hosts: hosts.len(), addresses: count });
        }
        if ports.len() > 1 && ports.len() != count {
            return Err(HostListError::Ports { ports: ports.len(), hosts: count });
        }
        let key = |index: usize| Key {
            host: hosts.get(index).copied().map(Value::from),
            hostaddr: addresses.get(index).copied().map(Value::from),
            port: ports.get(index).or(ports.first()).copied().map(Value::from),
            dbname: self.dbname.as_ref().map(|dbname| dbname.as_bytes().into()),
            user: self.user.as_bytes().into(),
        };
        Ok((0..count).map(key).collect())
    }
}

/// The elements of a list; a parameter that is not given or empty has none.
fn list<'v>(value: Option<&'v Value<'_>>) -> Vec<&'v [u8]> {
    match value.map(Value::as_bytes) {
        None | Some([]) => Vec::new(),
        Some(value) => value.split(|byte| *byte == b',').collect(),
    }
}

/// Lists of a connection's parameters do not fit together; libpq refuses such a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HostListError {
    /// Both `host` and `hostaddr`, but not as many.
    #[error(
        "could not match {hosts} host names to {addresses} hostaddr values: give one address for \
         each host, or no addresses"
    )]
    Addresses {
        /// How many hosts there are.
        hosts: usize,
        /// How many addresses there are.
        addresses: usize,
    },
    /// More than one port, but not as many as hosts.
    #[error(
        "could not match {ports} port numbers to {hosts} hosts: give one port, or one for each host"
    )]
    Ports {
        /// How many ports there are.
        ports: usize,
        /// How many hosts there are.
        hosts: usize,
    },
}
