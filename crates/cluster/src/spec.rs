//! The description of a cluster: the one thing that a person writes.
//!
//! Everything else is found by [inspection](crate::inspect). A description is read from TOML by
//! [`ClusterSpec::from_toml`], or built by a program.

mod check;
mod directory;
mod error;

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
};

use hba_parser::Method;
use ipnet::IpNet;
use pki::KeyAlgorithm;
use serde::{Deserialize, Serialize};

use crate::{conninfo::ConnInfo, transport::FilesSpec};

pub(crate) use directory::Directory;
pub use error::{Place, SpecError};

/// A cluster: its nodes, and how their links shall be secured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ClusterSpec {
    /// What kind of links the nodes have to one another.
    pub topology: TopologyKind,
    /// How a node proves who it is to its peers.
    pub mode: Mode,
    /// The role that the links log in as. Where it is left out: `pgd_replication` for `pgd`,
    /// `postgres` for `timescale`; `native` needs it.
    #[serde(default)]
    pub link_role: String,
    /// Further roles that links log in as: those for which a TimescaleDB access node connects to its
    /// data nodes, or that user mappings of postgres_fdw name.
    #[serde(default)]
    pub roles: Vec<String>,
    /// The folder on this machine that keeps what must stay secret: the authority's key, and what is
    /// needed to take a run back. A relative path is relative to the description's folder.
    pub secrets: PathBuf,
    /// How certificates are made.
    #[serde(default)]
    pub certificates: CertificatePolicy,
    /// What is weaker than what pgward does by itself, and wanted all the same.
    #[serde(default)]
    pub i_know: IKnow,
    /// What only `timescale` has.
    #[serde(default)]
    pub timescale: Option<TimescaleSpec>,
    /// The nodes, each with a name of its own.
    pub nodes: Vec<NodeSpec>,
}

/// What kind of links a cluster has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TopologyKind {
    /// PostgreSQL's own: subscriptions, standbys, postgres_fdw.
    Native,
    /// EDB Postgres Distributed: every node is both server and client of every other.
    Pgd,
    /// TimescaleDB multi-node: an access node connects to its data nodes.
    Timescale,
}

/// How the links authenticate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// By a client certificate of the cluster's CA over TLS, the server verified by name.
    Cert,
    /// By a password (SCRAM-SHA-256, bound to the channel) over TLS, the server verified by name.
    Scram,
    /// Not at all: whoever comes from the peers' addresses is let in. Only for `timescale`, whose
    /// documentation has it, and only with `i-know.trust-lets-anybody-in`.
    Trust,
}

impl Mode {
    /// The method as `pg_hba.conf` has it.
    #[must_use]
    pub const fn hba_method(self) -> &'static str {
        self.method().as_str()
    }

    pub(crate) const fn method(self) -> Method {
        match self {
            Self::Cert => Method::Cert,
            Self::Scram => Method::ScramSha256,
            Self::Trust => Method::Trust,
        }
    }
}

/// What is weaker than what pgward does by itself. Each must be asked for by name, and each is
/// reported by every verification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct IKnow {
    /// `mode = "trust"`: everybody at a peer's address is every role.
    pub trust_lets_anybody_in: bool,
    /// `sslmode=verify-ca` in links with passwords, as EDB's page has it: whoever has any certificate
    /// of the same CA can pose as a node.
    pub verify_ca_lets_nodes_pose_as_others: bool,
    /// Passwords without TLS between the nodes: everybody on the way reads what is replicated.
    pub plain_text_can_be_read: bool,
}

/// How the cluster's certificates are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct CertificatePolicy {
    /// How long the CA is valid, in days.
    pub ca_days: u16,
    /// How long the nodes' certificates are valid, in days; never longer than the CA.
    pub leaf_days: u16,
    /// What keys are made.
    #[serde(with = "key_name")]
    pub key: KeyAlgorithm,
    /// Who signs the certificates of roles.
    pub user_chain: UserChain,
}

impl Default for CertificatePolicy {
    fn default() -> Self {
        Self {
            ca_days: 3650,
            leaf_days: 397,
            key: KeyAlgorithm::EcdsaP256,
            user_chain: UserChain::default(),
        }
    }
}

/// Who signs the certificates that roles log in with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UserChain {
    /// The cluster's authority: root, leaf.
    #[default]
    Root,
    /// The access node's own certificate, as TimescaleDB's page has it: root, access node, leaf. The
    /// access node can then make a certificate for any role.
    AccessNode,
}

/// Keys by the names that `openssl` and people use.
mod key_name {
    use pki::KeyAlgorithm;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    const NAMES: [(&str, KeyAlgorithm); 5] = [
        ("ecdsa-p256", KeyAlgorithm::EcdsaP256),
        ("ecdsa-p384", KeyAlgorithm::EcdsaP384),
        ("rsa-2048", KeyAlgorithm::Rsa2048),
        ("rsa-3072", KeyAlgorithm::Rsa3072),
        ("rsa-4096", KeyAlgorithm::Rsa4096),
    ];

    pub(super) fn serialize<S: Serializer>(
        key: &KeyAlgorithm,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let name = NAMES.iter().find(|(_, algorithm)| algorithm == key).map(|(name, _)| *name);
        serializer.serialize_str(name.ok_or_else(|| {
            serde::ser::Error::custom("a key that servers and libpq do not all take")
        })?)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<KeyAlgorithm, D::Error> {
        let given = String::deserialize(deserializer)?;
        let found = NAMES.iter().find(|(name, _)| *name == given);
        found.map(|(_, algorithm)| *algorithm).ok_or_else(|| {
            let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
            D::Error::custom(format!(
                "unknown kind of key \"{given}\", expected one of {}",
                names.join(", ")
            ))
        })
    }
}

/// What only a TimescaleDB cluster has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TimescaleSpec {
    /// The name of the access node; every other node is a data node.
    pub access_node: String,
    /// Whether data nodes connect to one another, too: `move_chunk` and `copy_chunk` make them, with
    /// the access node's paths of certificates and password file.
    #[serde(default)]
    pub copy_chunk: bool,
}

/// A node: a PostgreSQL server.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct NodeSpec {
    /// What the node is called here and in its certificate.
    pub name: String,
    /// The host name that peers know it by, if another than `name`.
    #[serde(default)]
    pub host: Option<String>,
    /// The address that peers connect to.
    pub address: IpAddr,
    /// The port that peers connect to.
    #[serde(default = "default_port")]
    pub port: u16,
    /// The networks that its peers' connections come from, as this node sees them.
    pub peers_from: Vec<IpNet>,
    /// How an administrator connects to it: a libpq connection string. With `files = { ssh = … }` it
    /// holds as seen from the node. A parameter that pgward cannot keep as libpq would (`service`,
    /// `sslcrl`, `gssencmode=require` and others) is refused; `require_auth` holds over TLS.
    pub sql: String,
    /// How its files are reached.
    #[serde(default)]
    pub files: FilesSpec,
}

/// Stars for a password in `sql`.
impl fmt::Debug for NodeSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sql = self.sql.parse::<ConnInfo>();
        f.debug_struct("NodeSpec")
            .field("name", &self.name)
            .field("host", &self.host)
            .field("address", &self.address)
            .field("port", &self.port)
            .field("peers_from", &self.peers_from)
            .field("sql", &sql.map_or_else(|error| error.to_string(), |sql| sql.to_masked_text()))
            .field("files", &self.files)
            .finish()
    }
}

const fn default_port() -> u16 {
    5432
}

impl NodeSpec {
    /// The name that peers connect to and that the server certificate has.
    #[must_use]
    pub fn host(&self) -> &str {
        self.host.as_deref().unwrap_or(&self.name)
    }
}

/// Whether an address is what `localhost` stands for.
pub(crate) fn is_localhost(address: IpAddr) -> bool {
    address == Ipv4Addr::LOCALHOST || address == Ipv6Addr::LOCALHOST
}

/// Whether a host name is that of whichever machine it is used on.
pub(crate) fn is_own_machine(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
}

/// Whether a connection string leads to the machine that it is used on, over TCP.
fn is_loopback(conninfo: &ConnInfo) -> bool {
    let host = conninfo.get("hostaddr").or(conninfo.get("host")).unwrap_or_default();
    is_own_machine(host) || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// Whether a connection string that a node has leads to that node itself, by its machine's loopback.
pub(crate) fn is_own(node: &NodeSpec, conninfo: &ConnInfo) -> bool {
    is_loopback(conninfo) && conninfo.get("port").unwrap_or("5432").parse() == Ok(node.port)
}

impl ClusterSpec {
    /// The node of a name.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&NodeSpec> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// Which node a connection string leads to: its `hostaddr` or `host`, and its port. `localhost` is
    /// the machine's own addresses, 127.0.0.1 and ::1 (RFC 6761, section 6.3).
    #[must_use]
    pub fn node_at(
        &self,
        host: Option<&str>,
        hostaddr: Option<&str>,
        port: u16,
    ) -> Option<&NodeSpec> {
        self.nodes.iter().filter(|node| node.port == port).find(|node| match (hostaddr, host) {
            (Some(address), _) => address.parse() == Ok(node.address),
            (None, Some(host)) => {
                host.eq_ignore_ascii_case(node.host())
                    || host.eq_ignore_ascii_case(&node.name)
                    || host.parse() == Ok(node.address)
                    || is_own_machine(host) && is_localhost(node.address)
            }
            (None, None) => false,
        })
    }

    /// Every role that links log in as, the link role first.
    pub fn link_roles(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.link_role.as_str()).chain(self.roles.iter().map(String::as_str))
    }

    /// The role that a link will log in as: the one that it names if it is one of the description's,
    /// else the link role. In a PGD group everybody else logs in as somebody else: the links' role is
    /// theirs alone.
    pub(crate) fn role_of(&self, named: Option<&str>) -> &str {
        let named = named.filter(|_| self.topology != TopologyKind::Pgd);
        self.link_roles().find(|role| named == Some(*role)).unwrap_or(&self.link_role)
    }

    /// Reads a description; relative paths in it become relative to `folder`. What was left out has
    /// its default then.
    ///
    /// # Errors
    /// [`SpecError`] with line and column.
    pub fn from_toml(text: &str, folder: &Path) -> Result<Self, SpecError> {
        let mut spec: Self =
            toml::from_str(text).map_err(|error| SpecError::from_toml(&error, text))?;
        if spec.link_role.is_empty() {
            spec.link_role = match spec.topology {
                TopologyKind::Native => String::new(),
                TopologyKind::Pgd => "pgd_replication".to_owned(),
                TopologyKind::Timescale => "postgres".to_owned(),
            };
        }
        spec.secrets = folder.join(&spec.secrets);
        spec.check().map_err(|error| error.placed_in(text))?;
        Ok(spec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_shown_has_the_administrators_password() -> Result<(), SpecError> {
        let read = |sql: &str| {
            let text = format!(
                "topology = \"native\"\nmode = \"cert\"\nlink-role = \"r\"\nsecrets = \"s\"\n\
                 [[nodes]]\nname = \"n\"\naddress = \"10.0.0.1\"\npeers-from = [\"10.0.0.0/8\"]\n\
                 sql = \"{sql}\"\n"
            );
            ClusterSpec::from_toml(&text, "/".as_ref())
        };
        let shown = format!("{:?}", read("host=h password=hunter2")?);
        assert!(shown.contains("host=h password=********"), "{shown}");
        // No host, and what no connection string is.
        for sql in ["password=hunter2", "host=h password='hunter2", "hunter2"] {
            let refused = read(sql).map(|_| "nothing");
            let Err(error) = &refused else { panic!("{refused:?}") };
            assert!(error.place.is_some_and(|place| place.line == 9), "{error}");
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("hunter2"), "{shown}");
        }
        Ok(())
    }
}
