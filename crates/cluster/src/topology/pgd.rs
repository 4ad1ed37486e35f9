//! EDB Postgres Distributed: a mesh in which every node is both server and client of every other.
//!
//! Source: EDB's page "Securing inter-node connections" (PGD 6.3). Where it does not lead to
//! authenticated links, this does otherwise: `ssl_ca_file` is set, rules come where they decide, the
//! role gets its password, and links with passwords verify the server by name
//! (`sslmode=verify-full`, `channel_binding=require`), because with `verify-ca` alone whoever has any
//! certificate of the same CA is given the password.
//!
//! The connection strings are each node's own `bdr.node_summary.interface_connstr`, one for every
//! node of the group; `bdr.alter_node_interface` changes them on the node that it is called on.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    net::IpAddr,
    path::PathBuf,
    sync::Arc,
};

use pg_version::PgVersion;
use postgres_protocol::escape::escape_identifier;

use super::{Cluster, Dsn, Link, LinkPlace, Places, SessionKey, Switch, Topology, Unsecured};
use crate::{
    conninfo::ConnInfo,
    credentials,
    demand::{ClientPlace, Databases, Demand, PairPlace, RoleDemand, WayIn},
    error::Error,
    inspect::{BdrState, Homes, NodeState},
    plan::Statement,
    spec::{ClusterSpec, Directory, Mode},
    sql::literal,
    text::Text,
};

/// A group of EDB Postgres Distributed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pgd;

const ROOT: &str = "root.crt";
const SERVER_CERTIFICATE: &str = "server.crt";
const SERVER_KEY: &str = "server.key";
const CLIENT_CERTIFICATE: &str = "bdr_client.crt";
const CLIENT_KEY: &str = "bdr_client.key";
/// In the home folder of the server process' user.
const PASSFILE: &str = ".pgpass";
/// The role whose members may do what links do.
const GROUP: &str = "bdr_superuser";
/// Statements on roles are replicated to the other nodes, which get their own.
const LOCAL: &str = "SET bdr.ddl_replication = off";

impl Topology for Pgd {
    fn links(&self, spec: &ClusterSpec, nodes: &[NodeState]) -> Result<Vec<Link>, Error> {
        let directory = Directory::new(spec);
        let mut places: HashMap<&str, Arc<LinkPlace>> = HashMap::new();
        let mut interfaces: HashMap<(&str, &ConnInfo), Interface<'_>> = HashMap::new();
        let count = nodes.iter().flat_map(|node| &node.bdr).map(|bdr| bdr.interfaces.len()).sum();
        let mut links = Vec::with_capacity(count);
        for node in nodes {
            let Some(bdr) = &node.bdr else {
                return Err(Error::plan(format!(
                    "node {} has no schema bdr in the database {}: let its sql connect to the \
                     database that PGD replicates",
                    node.name, node.admin.database
                )));
            };
            let from: Text = (&node.name).into();
            let place = || LinkPlace::BdrInterface { database: bdr.database.clone() }.into();
            let place = places.entry(&bdr.database).or_insert_with(place);
            let mut sessions = Sessions::of(&directory, node, bdr, &spec.link_role);
            for (name, conninfo) in &bdr.interfaces {
                let interface = match interfaces.entry((name, conninfo)) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(new) => {
                        new.insert(Interface::of(&directory, node, name, conninfo)?)
                    }
                };
                links.push(Link {
                    from: from.clone(),
                    to: interface.to.clone(),
                    name: interface.name.clone(),
                    place: place.clone(),
                    conninfo: interface.conninfo.clone(),
                    session: sessions.to(interface),
                    enabled: true,
                });
            }
        }
        Ok(links)
    }

    /// Every node of a group knows how to connect to every other.
    fn missing<'s>(
        &self,
        spec: &'s ClusterSpec,
        nodes: &'s [NodeState],
        links: &[Link],
    ) -> Vec<(&'s str, &'s str)> {
        let there: HashSet<(&str, &str)> =
            links.iter().map(|link| (&*link.from, &*link.to)).collect();
        let mut missing = Vec::new();
        for from in nodes.iter().filter(|node| node.bdr.is_some()) {
            let others = spec.nodes.iter().filter(|to| to.name != from.name);
            let pairs = others.map(|to| (from.name.as_str(), to.name.as_str()));
            missing.extend(pairs.filter(|pair| !there.contains(pair)));
        }
        missing
    }

    fn demand(&self, cluster: &Cluster<'_>, state: &NodeState) -> Result<Demand, Error> {
        let spec = cluster.spec;
        let node = cluster.node(&state.name)?;
        let cert = spec.mode == Mode::Cert;
        let client = ClientPlace {
            role: spec.link_role.clone(),
            pair: PairPlace::new(CLIENT_CERTIFICATE, CLIENT_KEY),
        };
        let passfile = passfile(state.version, &state.homes);
        if !cert && passfile.is_none() {
            return Err(Error::plan(
                "the home folder of the server's user cannot be told, and the password file belongs \
                 there: its files must be readable (/etc/passwd, /proc)",
            ));
        }
        let name = escape_identifier(&spec.link_role);
        let role = RoleDemand {
            // On native replication REPLICATION is needed, and is not inherited from a group.
            replication: true,
            alter: true,
            member_of: state.role(GROUP).map(|group| group.name.clone()).into_iter().collect(),
            password: !cert,
            prelude: Some(LOCAL),
            ..RoleDemand::new(&spec.link_role)
        };
        let group =
            if role.member_of.is_empty() { String::new() } else { format!(" IN ROLE {GROUP}") };
        let create = role.local(&format!("CREATE ROLE {name} LOGIN REPLICATION{group}"));
        Ok(Demand {
            root: Some(ROOT.into()),
            server: Some(PairPlace::new(SERVER_CERTIFICATE, SERVER_KEY)),
            server_signs: false,
            clients: if cert { vec![client] } else { Vec::new() },
            passfile: passfile.filter(|_| !cert),
            settings: credentials::tls_settings(ROOT, SERVER_CERTIFICATE, SERVER_KEY),
            ways_in: vec![WayIn {
                role: spec.link_role.clone(),
                databases: vec![Databases::All, Databases::Replication],
                networks: node.peers_from.clone(),
                method: spec.mode.method(),
                tls: true,
                links_only: true,
            }],
            roles: vec![RoleDemand { create: Some(Statement::new(create)), ..role }],
            above_zero: Vec::new(),
            notes: Vec::new(),
            statements: Vec::new(),
        })
    }

    fn secured(&self, spec: &ClusterSpec, link: &Unsecured<'_>) -> ConnInfo {
        let mut conninfo = super::secured(spec, link);
        // libpq looks in the home folder by itself, and the connection string is the same on every
        // node.
        conninfo.remove("passfile");
        if spec.mode == Mode::Scram && spec.i_know.verify_ca_lets_nodes_pose_as_others {
            conninfo.set("sslmode", "verify-ca");
        }
        conninfo
    }

    fn switch(&self, link: &Link, dsn: Dsn<'_>) -> Option<Switch> {
        let LinkPlace::BdrInterface { database } = &*link.place else { return None };
        let alter = format!("SELECT bdr.alter_node_interface({},", literal(&link.name));
        let statement = dsn.after(alter).then(")");
        Some(Switch { statements: [(Some(database.into()), statement)].into(), reload: false })
    }

    fn realm(&self, _cluster: &Cluster<'_>, _state: &NodeState) -> String {
        // Roles are replicated, and so are their passwords.
        "the group".to_owned()
    }

    fn credential_paths(&self, _spec: &ClusterSpec, places: &Places<'_>) -> Vec<PathBuf> {
        let inside = [ROOT, SERVER_CERTIFICATE, SERVER_KEY, CLIENT_CERTIFICATE, CLIENT_KEY];
        inside
            .map(PathBuf::from)
            .into_iter()
            // Also where this libpq does not look: somebody may have put it there.
            .chain(
                [&places.homes.environment, &places.homes.account]
                    .into_iter()
                    .flatten()
                    .map(|home| home.join(PASSFILE)),
            )
            .collect()
    }
}

/// A way to a node of the group, by which most nodes connect to it.
struct Interface<'a> {
    /// What the node that it leads to is called in the description.
    to: Text,
    /// What that node is called in the group.
    name: Text,
    conninfo: Arc<ConnInfo>,
    target: Target<'a>,
    user: Option<&'a str>,
}

impl<'a> Interface<'a> {
    /// It leads to the node of the description at its address, else to the one of its name.
    fn of(
        directory: &Directory<'_>,
        from: &NodeState,
        name: &str,
        conninfo: &'a ConnInfo,
    ) -> Result<Self, Error> {
        let to = directory.reached_by(conninfo).or_else(|| directory.named(name)).ok_or_else(|| {
            Error::plan(format!(
                "PGD node {name}, which node {} connects to ({}), is none of the described nodes: \
                 describe it too",
                from.name,
                conninfo.to_masked_text()
            ))
        })?;
        Ok(Self {
            to: (&to.name).into(),
            name: name.into(),
            conninfo: Arc::new(conninfo.clone()),
            target: target(conninfo),
            user: conninfo.get("user"),
        })
    }
}

/// Where a connection string leads to.
type Target<'a> = (Option<&'a str>, &'a str);

fn target(conninfo: &ConnInfo) -> Target<'_> {
    let host = conninfo.get("hostaddr").or(conninfo.get("host"));
    (host, conninfo.get("port").unwrap_or("5432"))
}

/// How the sessions of a node's links are found on the nodes that they lead to.
struct Sessions<'a> {
    /// The node's own name in the group, and where it comes from.
    own: Option<(&'a str, IpAddr)>,
    bdr: &'a BdrState,
    /// A group on native subscriptions tells its slots.
    slots: HashMap<Target<'a>, Option<&'a String>>,
    link_role: &'a str,
    /// Most links of a node differ in nothing of it: by slot and user.
    found: HashMap<(Option<&'a String>, Option<&'a str>), Arc<SessionKey>>,
    none: Arc<SessionKey>,
}

impl<'a> Sessions<'a> {
    fn of(
        directory: &Directory<'a>,
        node: &'a NodeState,
        bdr: &'a BdrState,
        link_role: &'a str,
    ) -> Self {
        let address = directory.named(&node.name).map(|from| from.address);
        let mut slots = HashMap::new();
        for subscription in &node.subscriptions {
            let target = target(&subscription.conninfo);
            slots.entry(target).or_insert(subscription.slot.as_ref());
        }
        Self {
            own: bdr.local_node.as_deref().zip(address),
            bdr,
            slots,
            link_role,
            found: HashMap::new(),
            none: Arc::new(SessionKey::None),
        }
    }

    fn to(&mut self, interface: &Interface<'a>) -> Arc<SessionKey> {
        let Some((local, address)) = self.own.filter(|(local, _)| interface.name != **local) else {
            return self.none.clone();
        };
        let slot = self.slots.get(&interface.target).copied().flatten();
        let user = interface.user.filter(|user| *user != self.link_role);
        let key = || {
            let mut roles = vec![self.link_role.to_owned()];
            roles.extend(user.map(str::to_owned));
            let ending = local.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "_");
            Arc::new(SessionKey::Peer {
                slots: slot.map_or_else(|| self.bdr.slots.clone(), |slot| vec![slot.clone()]),
                ending: format!("_{ending}"),
                roles,
                address,
            })
        };
        self.found.entry((slot, user)).or_insert_with(key).clone()
    }
}

/// The password file of the server process' libpq: 15 and newer take `HOME`, older ones the home
/// folder of the operating system's user (fe-connect.c, `pqGetHomeDirectory`).
fn passfile(version: PgVersion, homes: &Homes) -> Option<PathBuf> {
    let home = if version >= PgVersion::V15 {
        homes.environment.as_ref().or(homes.account.as_ref())
    } else {
        homes.account.as_ref()
    };
    home.map(|home| home.join(PASSFILE))
}
