//! What kinds of links there are between nodes: where each keeps its connection string, how that is
//! changed, and what the nodes at both ends need. A new kind is a module here, with a [`TopologyKind`]
//! and a [`LinkPlace`] of its own.

mod cluster;
mod native;
mod pgd;
mod timescale;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

pub use cluster::Cluster;
pub(crate) use cluster::{Indexes, RoleUse};
pub use native::Native;
use pg_version::PgVersion;
pub use pgd::Pgd;
use serde::{Deserialize, Serialize};
pub use timescale::Timescale;

use crate::{
    conninfo::{ConnInfo, Host},
    demand::{ClientPlace, Demand, PairPlace},
    error::{Error, NodeContext as _},
    inspect::{Homes, NodeState, Setting},
    parallel,
    plan::Statement,
    spec::{ClusterSpec, Mode, NodeSpec, TopologyKind},
    text::Text,
};

/// A directed link: node `from` logs in to node `to`.
#[derive(Clone, Debug)]
pub struct Link {
    /// The node that connects.
    pub from: Text,
    /// The node that is connected to. A node may have a link to itself.
    pub to: Text,
    /// What the link is called where it is kept.
    pub name: Text,
    /// Where its connection string is kept.
    pub place: Arc<LinkPlace>,
    /// The connection string as it is now. Most links of a large mesh share theirs.
    pub conninfo: Arc<ConnInfo>,
    /// How its session on `to` is found.
    pub session: Arc<SessionKey>,
    /// Whether it is switched on; one that is not has no session.
    pub enabled: bool,
}

impl SessionKey {
    /// Whether the link has a session at all times, which can be waited for.
    #[must_use]
    pub const fn is_lasting(&self) -> bool {
        matches!(
            self,
            Self::Slot(_)
                | Self::Peer { .. }
                | Self::Walreceiver { .. }
                | Self::AnyWalreceiver { .. }
        )
    }
}

/// Where a link's connection string is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LinkPlace {
    /// A subscription, in this database of `from`.
    Subscription {
        /// The database.
        database: String,
    },
    /// `primary_conninfo` of a standby.
    PrimaryConninfo,
    /// The options of a foreign server and of a user mapping.
    ForeignServer(ForeignPlace),
    /// `bdr.node_interface`, in this database of `from`.
    BdrInterface {
        /// The database.
        database: String,
    },
    /// Nowhere: what the access node's settings and a foreign server say makes it.
    AccessNode,
}

/// A user mapping of `postgres_fdw`, and its server. It is the same place with other options, too.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ForeignPlace {
    /// The database on `from`.
    pub database: String,
    /// The foreign server.
    pub server: String,
    /// The local role; `None` for PUBLIC.
    pub local: Option<String>,
    /// Whether this is the mapping with which the server's own options are changed.
    pub first: bool,
    /// The names of the mapping's options now.
    pub mapping_options: Vec<String>,
    /// Whether a superuser must allow the mapping to do without a password of its own.
    pub without_password: bool,
    /// Whether certificates belong to the server's options.
    pub by_server: bool,
}

impl PartialEq for ForeignPlace {
    fn eq(&self, other: &Self) -> bool {
        (&self.database, &self.server, &self.local)
            == (&other.database, &other.server, &other.local)
    }
}

impl Eq for ForeignPlace {}

/// How a link's session is found on the node that it leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SessionKey {
    /// By the replication slot that it uses.
    Slot(String),
    /// By the application name of a WAL receiver without a slot: the one that comes from there, or the
    /// only one that comes from an address that no node is known by.
    Walreceiver {
        /// The application name.
        application: String,
        /// Where it comes from.
        address: std::net::IpAddr,
        /// Where the other nodes come from: it is none of theirs.
        #[serde(default)]
        others: Vec<std::net::IpAddr>,
    },
    /// By the application name of WAL receivers that nothing tells apart: the last one that came.
    AnyWalreceiver {
        /// The application name.
        application: String,
    },
    /// By what is known of the peer: the first of these that only one session fits.
    Peer {
        /// What the replication slot that it uses may be called.
        slots: Vec<String>,
        /// How the name of its replication slot ends.
        ending: String,
        /// The roles that it may log in as, from
        roles: Vec<String>,
        /// this address; `None` where others come from there, too.
        address: Option<std::net::IpAddr>,
    },
    /// There is one only while it is used: by this statement, run on `from` as this role.
    OnDemand {
        /// The database on `from`.
        database: String,
        /// The role on `from`.
        role: String,
        /// A statement that reads nothing and changes nothing, and needs the link.
        statement: String,
    },
    /// There is none to look for.
    None,
}

impl Link {
    /// Whether nothing that can be looked for ever comes by it: a node's way to itself, or to one that it
    /// shares no changes with in a group.
    pub(crate) fn is_idle(&self) -> bool {
        self.from == self.to
            || matches!(*self.place, LinkPlace::BdrInterface { .. })
                && *self.session == SessionKey::None
    }

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

/// How a link's connection string is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switch {
    /// Statements on `from`, each with its database; the administrator's own if none.
    pub statements: Arc<[(Option<Text>, Statement)]>,
    /// Whether the server must read its configuration afterwards.
    pub reload: bool,
}

/// A connection string that is to be written somewhere: as it is, or the vault's secret of a name.
#[derive(Clone, Copy, Debug)]
pub enum Dsn<'a> {
    /// It has no secret; as text it is this.
    Plain(&'a ConnInfo, &'a Text),
    /// It has one, and so has the vault.
    Secret(&'a str),
}

impl Dsn<'_> {
    /// A statement that ends with it as a quoted literal.
    #[must_use]
    pub fn after(self, text: impl Into<Text>) -> Statement {
        match self {
            Self::Plain(_, conninfo) => Statement::with_literal(text, conninfo.clone()),
            Self::Secret(name) => Statement::with_secret(text, name),
        }
    }
}

/// What there is to find on the nodes.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Every link between nodes of the description.
    pub links: Vec<Link>,
    /// What leads out of the cluster, and is to be told.
    pub elsewhere: Vec<Elsewhere>,
}

impl From<Vec<Link>> for Found {
    fn from(links: Vec<Link>) -> Self {
        Self { links, elsewhere: Vec::new() }
    }
}

/// Something that connects to none of the described nodes by its connection string. It is no link of the
/// cluster: nothing becomes of it.
#[derive(Clone, Debug)]
pub struct Elsewhere {
    /// The node that connects.
    pub from: String,
    /// What it is called where it is kept.
    pub name: String,
    /// Its connection string.
    pub conninfo: ConnInfo,
    /// What is to be told of it.
    pub message: String,
    /// Whether it belongs to the cluster by what is seen of the servers: then the description must say
    /// where it leads before anything is done.
    pub is_node: bool,
}

/// How one kind of cluster is found, and what it needs.
pub trait Topology: Sync {
    /// The links, from what inspection found, and what is none.
    ///
    /// # Errors
    /// [`Error::Plan`] for a link that is not as one of the cluster can be, or where a topology has no
    /// links but the cluster's, for one whose other end is none of the nodes.
    fn find(&self, spec: &ClusterSpec, nodes: &[NodeState]) -> Result<Found, Error>;

    /// Every link between nodes of the description, from what inspection found.
    ///
    /// # Errors
    /// As [`Topology::find`].
    fn links(&self, spec: &ClusterSpec, nodes: &[NodeState]) -> Result<Vec<Link>, Error> {
        Ok(self.find(spec, nodes)?.links)
    }

    /// The links that there should be by the description and are not there: from, and to. By default it
    /// does not tell.
    fn missing<'s>(
        &self,
        _spec: &'s ClusterSpec,
        _nodes: &'s [NodeState],
        _links: &[Link],
    ) -> Vec<(&'s str, &'s str)> {
        Vec::new()
    }

    /// What a node needs for its links.
    ///
    /// # Errors
    /// [`Error::Plan`] where something must be different before.
    fn demand(&self, cluster: &Cluster<'_>, state: &NodeState) -> Result<Demand, Error>;

    /// The link's connection string as it shall be. The default verifies the server by name and has
    /// the credentials of the demand of `from`.
    fn secured(&self, spec: &ClusterSpec, link: &Unsecured<'_>) -> ConnInfo {
        secured(spec, link)
    }

    /// The application name that the link's session gets so that it can be told from others; by default
    /// it keeps what it has.
    fn application(&self, _cluster: &Cluster<'_>, _link: &Link) -> Option<Text> {
        None
    }

    /// How the link's session is found when it has connected by this connection string, which is not
    /// the one that inspection found. By default nothing of it tells.
    fn session(&self, link: &Link, _conninfo: &ConnInfo) -> Arc<SessionKey> {
        link.session.clone()
    }

    /// How the link on `link.from` gets another connection string and connects anew; `None` for a
    /// link that has no connection string of its own. Unless that is a secret, it is the same for
    /// links that are the same but for `from` and `session`.
    fn switch(&self, link: &Link, dsn: Dsn<'_>) -> Option<Switch>;

    /// The nodes among which one role has one password: those of one realm share it. By default each
    /// node is a realm of its own.
    fn realm(&self, _cluster: &Cluster<'_>, state: &NodeState) -> String {
        state.name.clone()
    }

    /// The files that inspection must read beside those that the settings name, relative to the data
    /// directory: the places of credentials.
    fn credential_paths(&self, spec: &ClusterSpec, state: &Places<'_>) -> Vec<PathBuf>;

    /// The files that nodes have where another node has its own, by the node: inspection reads them when
    /// it knows all nodes. By default there are none.
    fn paths_of_others(
        &self,
        _spec: &ClusterSpec,
        _states: &[NodeState],
    ) -> BTreeMap<String, Vec<PathBuf>> {
        BTreeMap::new()
    }
}

/// What is known of a node before its files are read.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// The node's name.
    pub node: &'a str,
    /// The server's major version.
    pub version: PgVersion,
    /// The data directory.
    pub data_directory: &'a Path,
    /// Where the server's libpq looks for password files.
    pub homes: &'a Homes,
    /// The settings that inspection reads.
    pub settings: &'a BTreeMap<String, Setting>,
}

impl Places<'_> {
    /// The value of a setting that inspection reads; `None` where it is empty or there is none.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(|setting| setting.value.as_str()).filter(|v| !v.is_empty())
    }
}

/// What the secured connection string of a link is made of.
#[derive(Clone, Copy, Debug)]
pub struct Unsecured<'a> {
    /// The connection string as it is now.
    pub conninfo: &'a ConnInfo,
    /// Where it is kept.
    pub place: &'a LinkPlace,
    /// What the node that connects has for it.
    pub client: Client<'a>,
    /// The node that is connected to.
    pub to: &'a NodeSpec,
    /// [`Topology::application`]
    pub application: Option<&'a str>,
}

/// What the links that start at a node connect with. Many nodes of a large cluster have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Client<'a> {
    /// The major of the server, and so of its libpq.
    pub version: PgVersion,
    /// [`Demand::root`]
    pub root: Option<&'a Path>,
    /// [`Demand::clients`]
    pub certificates: &'a [ClientPlace],
    /// [`Demand::passfile`]
    pub passfile: Option<&'a Path>,
}

/// What a connection string calls one of the nodes that it leads to: host, address and port.
pub(crate) fn host_of<'c>(spec: &ClusterSpec, conninfo: &'c ConnInfo, to: &NodeSpec) -> Host<'c> {
    let mut several = conninfo.several_hosts().unwrap_or_default().into_iter();
    let leads_there = |host: &Host<'_>| {
        spec.node_at(host.name, host.address, host.port).is_some_and(|node| node.name == to.name)
    };
    several.find(leads_there).unwrap_or_else(|| Host {
        name: conninfo.get("host"),
        address: conninfo.get("hostaddr"),
        port: conninfo.get("port").and_then(|port| port.parse().ok()).unwrap_or(to.port),
    })
}

/// The described nodes that a connection string names beside one another: it connects to the first that
/// answers and is what it asks for. None for one of a single host.
pub(crate) fn nodes_named<'s>(
    spec: &'s ClusterSpec,
    conninfo: &ConnInfo,
) -> impl Iterator<Item = &'s NodeSpec> {
    let hosts = conninfo.several_hosts().unwrap_or_default().into_iter();
    let nodes = hosts.filter_map(|host| spec.node_at(host.name, host.address, host.port));
    nodes.collect::<Vec<_>>().into_iter()
}

/// The topology of a description.
#[must_use]
pub fn of(kind: TopologyKind) -> &'static dyn Topology {
    match kind {
        TopologyKind::Native => &Native,
        TopologyKind::Pgd => &Pgd,
        TopologyKind::Timescale => &Timescale,
    }
}

/// What a topology asks of each node, by the node's name.
pub(crate) type Demands = BTreeMap<String, Demand>;

/// What the topology asks of every node that was inspected.
pub(crate) fn demands(topology: &dyn Topology, cluster: &Cluster<'_>) -> Result<Demands, Error> {
    let demand = |state: &NodeState| -> Result<_, Error> {
        let demand = topology.demand(cluster, state).on_node(&state.name)?;
        Ok((state.name.clone(), demand))
    };
    // A node may have thousands of links to be looked at.
    let shares = parallel::shares(cluster.states, 16, |states| {
        states.iter().map(demand).collect::<Result<Vec<_>, _>>()
    })?;
    let demands: Vec<_> = shares.into_iter().collect::<Result<_, _>>()?;
    Ok(demands.into_iter().flatten().collect())
}

/// The connection string that a link shall have.
pub(crate) fn wanted(
    topology: &dyn Topology,
    cluster: &Cluster<'_>,
    demands: &Demands,
    link: &Link,
) -> Result<ConnInfo, Error> {
    let Link { conninfo, place, .. } = link;
    let client = client(cluster, demands, &link.from)?;
    let to = cluster.node(&link.to)?;
    let application = topology.application(cluster, link);
    let application = application.as_deref();
    Ok(topology.secured(cluster.spec, &Unsecured { conninfo, place, client, to, application }))
}

/// What the links that start at a node connect with.
pub(crate) fn client<'a>(
    cluster: &Cluster<'_>,
    demands: &'a Demands,
    node: &str,
) -> Result<Client<'a>, Error> {
    let missing = || Error::plan(format!("node {node} was not inspected"));
    let version = cluster.state(node).ok_or_else(missing)?.version;
    let demand = demands.get(node).ok_or_else(missing)?;
    Ok(Client {
        version,
        root: demand.root.as_deref(),
        certificates: &demand.clients,
        passfile: demand.passfile.as_deref(),
    })
}

/// A link's connection string with the server verified by name and the client by the cluster's mode.
/// Everything else stays as it was.
fn secured(spec: &ClusterSpec, link: &Unsecured<'_>) -> ConnInfo {
    let Unsecured { client, to, .. } = link;
    let text = |path: &Path| path.display().to_string();
    let mut conninfo = link.conninfo.clone();
    // The certificate has the node's names and its address: whichever of them the link uses stays.
    let known =
        |host: &str, to: &NodeSpec| [to.host(), &to.name, &to.address.to_string()].contains(&host);
    let (mut hosts, mut is_known) = (Vec::new(), true);
    match conninfo.several_hosts() {
        Some(several) => {
            for host in several {
                let to = spec.node_at(host.name, host.address, host.port).unwrap_or(to);
                is_known &= host.name.is_some_and(|name| known(name, to));
                hosts.push(to);
            }
        }
        None => {
            hosts.push(*to);
            is_known = known(conninfo.get("host").unwrap_or_default(), to);
        }
    }
    if !is_known {
        let list = |item: &dyn Fn(&NodeSpec) -> String| {
            hosts.iter().map(|to| item(to)).collect::<Vec<_>>().join(",")
        };
        conninfo.set("host", list(&|to| to.host().to_owned()));
        conninfo.set("hostaddr", list(&|to| to.address.to_string()));
    }
    let role = spec.role_of(conninfo.get("user")).to_owned();
    conninfo.set("user", &role);
    conninfo.set("sslmode", "verify-full");
    // libpq takes a relative path from the server process' working folder: the data directory.
    conninfo.set("sslrootcert", client.root.map(text).unwrap_or_default());
    conninfo.remove_secrets();
    match spec.mode {
        Mode::Cert => {
            if let Some(own) = client.certificates.iter().find(|own| own.role == role) {
                let PairPlace { certificate, key } = &own.pair;
                conninfo.set("sslcert", text(certificate));
                conninfo.set("sslkey", text(key));
            }
            let stale = ["passfile", "channel_binding", "require_auth", "sslcertmode"];
            conninfo.remove_all(&stale);
        }
        Mode::Scram | Mode::Trust => {
            match client.passfile {
                Some(passfile) => conninfo.set("passfile", text(passfile)),
                None => conninfo.remove("passfile"),
            }
            // A second lock beside the verified name: whoever relays the login to the real server
            // gets nothing.
            if client.version >= PgVersion::V13 {
                conninfo.set("channel_binding", "require");
            }
            if client.version >= PgVersion::V16 {
                conninfo.set("require_auth", "scram-sha-256");
            }
            conninfo.remove_all(&["sslcert", "sslkey"]);
        }
    }
    conninfo
}

/// Why it cannot be told which of the described nodes something leads to by its connection string.
fn leads_nowhere(what: &str, conninfo: &ConnInfo) -> Error {
    let host = conninfo.get("host").unwrap_or_default();
    let one_node = "a link must name the one node that it leads to";
    Error::plan(match (host, conninfo.get("hostaddr"), conninfo.get("service")) {
        ("", None, Some(service)) => format!(
            "{what} takes its server from a service file (service={service}), which only its own \
             machine can read: {one_node}, by host and port"
        ),
        (_, Some(list), _) | (list, _, _) if list.contains(',') => {
            format!("{what} names several servers (host={list}): {one_node}")
        }
        ("", None, None) => format!("{what} names no server: {one_node}, by host and port"),
        (socket, None, _) if socket.starts_with(['/', '@']) => format!(
            "{what} goes over a Unix socket (host={socket}), where there is no TLS: {one_node}, by host \
             name or address"
        ),
        _ => format!(
            "{what} leads to none of the described nodes ({}): describe that node too, or give the one \
             that it is this host",
            conninfo.to_masked_text()
        ),
    })
}
