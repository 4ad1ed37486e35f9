//! What a topology asks of a node: what must be on its disk, in its configuration, among its roles
//! and in its `pg_hba.conf` for the links to work. The [plan](crate::plan) is what is missing.

use std::path::PathBuf;

use hba_parser::Method;
use ipnet::IpNet;

use crate::plan::Statement;

/// What a topology asks of one node. Relative paths are relative to the data directory, as the server
/// and its links take them.
#[derive(Clone, Debug, Default)]
pub struct Demand {
    /// The authority's certificate, which server and links check their peers by.
    pub root: Option<PathBuf>,
    /// The server's certificate and key; `None` for a server that speaks no TLS for the links.
    pub server: Option<PairPlace>,
    /// Whether the server's certificate signs those of the node's links, in place of the cluster's
    /// authority.
    pub server_signs: bool,
    /// The certificates that the node's links log in with.
    pub clients: Vec<ClientPlace>,
    /// The password file that the node's links log in with.
    pub passfile: Option<PathBuf>,
    /// Settings and their values.
    pub settings: Vec<(&'static str, String)>,
    /// Settings that must be above 0. They need a restart, so an administrator changes them.
    pub above_zero: Vec<&'static str>,
    /// How links come in.
    pub ways_in: Vec<WayIn>,
    /// The roles that must be there.
    pub roles: Vec<RoleDemand>,
    /// What the administrator should know, in sentences.
    pub notes: Vec<String>,
    /// What else must be done in a database, once: after the roles are there, before links are
    /// switched.
    pub statements: Vec<DemandedStatement>,
}

impl Demand {
    /// Every certificate with its key.
    pub fn pairs(&self) -> impl Iterator<Item = &PairPlace> {
        self.server.iter().chain(self.clients.iter().map(|client| &client.pair))
    }

    /// Whether the roles' links log in to this node with a password.
    #[must_use]
    pub fn wants_password(&self, role: &str) -> bool {
        self.roles.iter().any(|demand| demand.name == role && demand.password)
    }
}

/// Where a certificate and its key are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PairPlace {
    /// The certificate, with its chain.
    pub certificate: PathBuf,
    /// The key.
    pub key: PathBuf,
}

impl PairPlace {
    /// A certificate and its key.
    pub fn new(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self { certificate: certificate.into(), key: key.into() }
    }
}

/// A certificate that a node's links log in with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientPlace {
    /// The role; the certificate's common name.
    pub role: String,
    /// Where it is.
    pub pair: PairPlace,
}

/// A way in for links: what `pg_hba.conf` must say, at a place where it decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WayIn {
    /// As which role.
    pub role: String,
    /// To what; each becomes a line of its own.
    pub databases: Vec<Databases>,
    /// From where.
    pub networks: Vec<IpNet>,
    /// By which method.
    pub method: Method,
    /// Whether only over TLS (`hostssl`).
    pub tls: bool,
    /// Whether the role is for links only, so that every other way in from the network is shut to it;
    /// if not, every other one from these networks.
    pub links_only: bool,
}

/// What a way in leads to, as the database field of `pg_hba.conf` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Databases {
    /// `all`: every database, and not physical replication.
    All,
    /// `replication`: physical replication.
    Replication,
    /// Databases by their names.
    Names(Vec<String>),
}

/// A role that must be there.
#[derive(Clone, Debug)]
pub struct RoleDemand {
    /// Its name.
    pub name: String,
    /// How it is made where it is missing; `None` where an administrator must.
    pub create: Option<Statement>,
    /// Whether attributes that it lacks are given to it, or an administrator must.
    pub alter: bool,
    /// Whether it needs the attribute LOGIN.
    pub login: bool,
    /// Whether it needs the attribute REPLICATION (or SUPERUSER).
    pub replication: bool,
    /// The roles that it must be a member of.
    pub member_of: Vec<String>,
    /// Whether the links log in to this node as it with a password.
    pub password: bool,
    /// What keeps statements on roles on this node, where the cluster would replicate them.
    pub prelude: Option<&'static str>,
}

impl RoleDemand {
    /// A role that an administrator makes, and that may log in.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            create: None,
            alter: false,
            login: true,
            replication: false,
            member_of: Vec::new(),
            password: false,
            prelude: None,
        }
    }

    /// A statement on the role that stays on this node.
    #[must_use]
    pub fn local(&self, text: &str) -> String {
        self.prelude.map_or_else(|| text.to_owned(), |prelude| format!("{prelude}; {text}"))
    }
}

/// Something that must be done in a database, once.
#[derive(Clone, Debug)]
pub struct DemandedStatement {
    /// The database; the administrator's own if none.
    pub database: Option<String>,
    /// What is done.
    pub statement: Statement,
    /// What takes it back.
    pub undo: Option<Statement>,
}
