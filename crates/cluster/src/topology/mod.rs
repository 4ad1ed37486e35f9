//! What kinds of links there are between nodes: where each keeps its connection string and how that
//! is changed. A new kind is one file.

mod native;

pub use native::Native;

use crate::{
    conninfo::ConnInfo,
    error::Error,
    inspect::NodeState,
    plan::Statement,
    spec::{ClusterSpec, TopologyKind},
};

/// A directed link: node `from` logs in to node `to`.
#[derive(Clone, Debug)]
pub struct Link {
    /// The node that connects.
    pub from: String,
    /// The node that is connected to.
    pub to: String,
    /// What the link is called where it is kept.
    pub name: String,
    /// The database on `from` that keeps it.
    pub kept_in: String,
    /// The connection string as it is now.
    pub conninfo: ConnInfo,
    /// The replication slot on `to` by which the link's session there is found.
    pub slot: Option<String>,
    /// Whether it is switched on; one that is not has no session.
    pub enabled: bool,
}

impl Link {
    /// The role that the link logs in as: libpq takes the operating system's user where none is
    /// given, and for a server process that is the user it runs as.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.conninfo.get("user")
    }

    /// The database on `to`; the user's name where none is given.
    #[must_use]
    pub fn database(&self) -> Option<&str> {
        self.conninfo.get("dbname").or_else(|| self.user())
    }
}

/// How one kind of link is found and changed.
pub trait Topology {
    /// Every link between nodes of the description, from what inspection found.
    ///
    /// # Errors
    /// [`Error::Plan`] for a link whose other end is none of the nodes.
    fn links(&self, spec: &ClusterSpec, nodes: &[NodeState]) -> Result<Vec<Link>, Error>;

    /// The statement on `link.from`, in the database `link.kept_in`, that gives the link another
    /// connection string and makes it connect anew.
    fn switch(&self, link: &Link, conninfo: &ConnInfo) -> Statement;

    /// The same, with a connection string that holds a password: the vault's secret of that name.
    fn switch_to_secret(&self, link: &Link, secret: String) -> Statement;
}

/// The topology of a description.
#[must_use]
pub fn of(kind: TopologyKind) -> &'static dyn Topology {
    match kind {
        TopologyKind::Native => &Native,
    }
}
