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

use std::path::PathBuf;

use pg_version::PgVersion;
use postgres_protocol::escape::{escape_identifier, escape_literal};

use super::{Cluster, Dsn, Link, LinkEnd, LinkPlace, Places, SessionKey, Switch, Topology};
use crate::{
    conninfo::ConnInfo,
    credentials,
    demand::{ClientPlace, Databases, Demand, PairPlace, RoleDemand, WayIn},
    error::Error,
    inspect::{BdrState, Homes, NodeState},
    plan::Statement,
    spec::{ClusterSpec, Mode, NodeSpec},
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
        let mut links = Vec::new();
        for node in nodes {
            let Some(bdr) = &node.bdr else {
                return Err(Error::plan(format!(
                    "node {} has no schema bdr in the database {}: let its sql connect to the \
                     database that PGD replicates",
                    node.name, node.admin.database
                )));
            };
            for (name, conninfo) in &bdr.interfaces {
                let to = described(spec, name, conninfo).ok_or_else(|| {
                    Error::plan(format!(
                        "PGD node {name}, which node {} connects to ({}), is none of the described \
                         nodes: describe it too",
                        node.name,
                        conninfo.to_masked_text()
                    ))
                })?;
                links.push(Link {
                    from: node.name.clone(),
                    to: to.name.clone(),
                    name: name.clone(),
                    place: LinkPlace::BdrInterface { database: bdr.database.clone() },
                    conninfo: conninfo.clone(),
                    session: session(spec, node, bdr, name, conninfo),
                    enabled: true,
                });
            }
        }
        Ok(links)
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
                method: credentials::hba_method(spec.mode),
                tls: true,
                links_only: true,
            }],
            roles: vec![RoleDemand { create: Some(Statement::new(create)), ..role }],
            above_zero: Vec::new(),
            notes: Vec::new(),
            statements: Vec::new(),
        })
    }

    fn secured(&self, cluster: &Cluster<'_>, link: &Link, end: &LinkEnd<'_>) -> ConnInfo {
        let mut conninfo = super::secured(cluster.spec, link, end);
        // libpq looks in the home folder by itself, and the connection string is the same on every
        // node.
        conninfo.remove("passfile");
        // Everybody else logs in as somebody else: the links' role is theirs alone.
        conninfo.set("user", &cluster.spec.link_role);
        if cluster.spec.mode == Mode::Cert {
            conninfo.set("sslcert", CLIENT_CERTIFICATE);
            conninfo.set("sslkey", CLIENT_KEY);
        } else if cluster.spec.i_know.verify_ca_lets_nodes_pose_as_others {
            conninfo.set("sslmode", "verify-ca");
        }
        conninfo
    }

    fn switch(&self, link: &Link, dsn: Dsn<'_>) -> Option<Switch> {
        let LinkPlace::BdrInterface { database } = &link.place else { return None };
        let name = escape_literal(&link.name);
        let alter = format!("SELECT bdr.alter_node_interface({},", name.trim_start());
        let statements = vec![(Some(database.clone()), dsn.after(alter).then(")"))];
        Some(Switch { statements, reload: false })
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

/// The node of the description that a PGD node is: the one at its address, else the one of its name.
fn described<'s>(spec: &'s ClusterSpec, name: &str, conninfo: &ConnInfo) -> Option<&'s NodeSpec> {
    let port = conninfo.get("port").map_or(Ok(5432), str::parse).ok()?;
    spec.node_at(conninfo.get("host"), conninfo.get("hostaddr"), port).or_else(|| spec.node(name))
}

/// How the session of a node's link to `name` is found there.
fn session(
    spec: &ClusterSpec,
    node: &NodeState,
    bdr: &BdrState,
    name: &str,
    conninfo: &ConnInfo,
) -> SessionKey {
    let Some(local) = &bdr.local_node else { return SessionKey::None };
    let Some(from) = spec.node(&node.name).filter(|_| local != name) else {
        return SessionKey::None;
    };
    let place = |conninfo: &ConnInfo| {
        let host = conninfo.get("hostaddr").or(conninfo.get("host")).map(str::to_owned);
        (host, conninfo.get("port").unwrap_or("5432").to_owned())
    };
    // A group on native subscriptions tells its slots.
    let subscription = node.subscriptions.iter().find(|s| place(&s.conninfo) == place(conninfo));
    let slot = subscription.and_then(|subscription| subscription.slot.clone());
    let mut roles = vec![spec.link_role.clone()];
    roles.extend(conninfo.get("user").filter(|user| *user != spec.link_role).map(str::to_owned));
    let ending = local.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    SessionKey::Peer {
        slots: slot.map_or_else(|| bdr.slots.clone(), |slot| vec![slot]),
        ending: format!("_{ending}"),
        roles,
        address: from.address,
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
