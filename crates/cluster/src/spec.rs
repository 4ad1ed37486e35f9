//! The description of a cluster: the one thing that a person writes.
//!
//! Everything else is found by [inspection](crate::inspect). A description is read from TOML by any
//! serde reader, or built by a program.

use std::{net::IpAddr, path::PathBuf};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// A cluster: its nodes, and how their links shall be secured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ClusterSpec {
    /// What kind of links the nodes have to one another.
    pub topology: TopologyKind,
    /// How a node proves who it is to its peers.
    pub mode: Mode,
    /// The role that the links log in as.
    pub link_role: String,
    /// The folder on this machine that keeps what must stay secret: the CA's key.
    pub secrets: PathBuf,
    /// How certificates are made.
    #[serde(default)]
    pub certificates: CertificatePolicy,
    /// The nodes, each with a name of its own.
    pub nodes: Vec<NodeSpec>,
}

/// What kind of links a cluster has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TopologyKind {
    /// PostgreSQL's own logical replication: subscriptions.
    Native,
}

/// How the links authenticate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// By a client certificate of the cluster's CA over TLS, the server verified by name.
    Cert,
    /// By a password (SCRAM-SHA-256, bound to the channel) over TLS, the server verified by name.
    Scram,
}

impl Mode {
    /// The method as `pg_hba.conf` has it.
    #[must_use]
    pub const fn hba_method(self) -> &'static str {
        match self {
            Self::Cert => "cert",
            Self::Scram => "scram-sha-256",
        }
    }
}

/// How the cluster's certificates are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct CertificatePolicy {
    /// How long the CA is valid, in days.
    pub ca_days: u16,
    /// How long the nodes' certificates are valid, in days; never longer than the CA.
    pub leaf_days: u16,
}

impl Default for CertificatePolicy {
    fn default() -> Self {
        Self { ca_days: 3650, leaf_days: 397 }
    }
}

/// A node: a PostgreSQL server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    pub port: u16,
    /// The networks that its peers' connections come from, as this node sees them.
    pub peers_from: Vec<IpNet>,
    /// How an administrator connects to it: a libpq connection string.
    pub sql: String,
}

impl NodeSpec {
    /// The name that peers connect to and that the server certificate has.
    #[must_use]
    pub fn host(&self) -> &str {
        self.host.as_deref().unwrap_or(&self.name)
    }
}

impl ClusterSpec {
    /// The node of a name.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&NodeSpec> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// Which node a connection string leads to: its `hostaddr` or `host`, and its port.
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
            }
            (None, None) => false,
        })
    }

    /// Finds what no cluster can be: no node, two of one name, two at one address, no network.
    ///
    /// # Errors
    /// The first thing wrong.
    pub fn check(&self) -> Result<(), SpecError> {
        if self.nodes.is_empty() {
            return Err(SpecError::NoNodes);
        }
        if self.link_role.is_empty() {
            return Err(SpecError::NoLinkRole);
        }
        for (index, node) in self.nodes.iter().enumerate() {
            if node.peers_from.is_empty() {
                return Err(SpecError::NoNetworks { node: node.name.clone() });
            }
            for other in &self.nodes[..index] {
                if other.name == node.name {
                    return Err(SpecError::SameName { name: node.name.clone() });
                }
                if (other.address, other.port) == (node.address, node.port) {
                    return Err(SpecError::SameAddress {
                        node: node.name.clone(),
                        other: other.name.clone(),
                    });
                }
            }
        }
        Ok(())
    }
}

/// What is wrong with a description.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// There is no node.
    #[error("the cluster has no node: describe each with its name, address and port")]
    NoNodes,
    /// The role that links log in as is missing.
    #[error("link-role is empty: name the role that the links log in as")]
    NoLinkRole,
    /// Nobody may connect to the node.
    #[error("node {node}: peers-from is empty: name the networks that its peers connect from")]
    NoNetworks {
        /// Which node.
        node: String,
    },
    /// Two nodes of one name.
    #[error("two nodes are called {name}: each needs a name of its own")]
    SameName {
        /// The name.
        name: String,
    },
    /// Two nodes at one address and port.
    #[error("the nodes {other} and {node} have the same address and port")]
    SameAddress {
        /// The later one.
        node: String,
        /// The earlier one.
        other: String,
    },
}
