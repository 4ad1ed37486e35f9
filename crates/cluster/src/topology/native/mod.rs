//! PostgreSQL's own links: [subscriptions](subscription), [standbys](standby) and
//! [postgres_fdw](foreign), alone or together.

pub(crate) mod foreign;
mod standby;
mod subscription;

use std::{path::PathBuf, sync::Arc};

use super::{Cluster, Dsn, Link, LinkEnd, LinkPlace, Places, SessionKey, Switch, Topology};
use crate::{
    conninfo::ConnInfo,
    credentials,
    demand::{ClientPlace, Databases, Demand, PairPlace, RoleDemand, WayIn},
    error::Error,
    inspect::NodeState,
    spec::{ClusterSpec, Directory, Mode, NodeSpec},
};

/// PostgreSQL's own links.
#[derive(Clone, Copy, Debug, Default)]
pub struct Native;

/// The authority's certificate.
const ROOT: &str = "pgward/root.crt";
const SERVER_CERTIFICATE: &str = "pgward/server.crt";
const SERVER_KEY: &str = "pgward/server.key";
const PASSFILE: &str = "pgward/passfile";

impl Topology for Native {
    fn links(&self, spec: &ClusterSpec, nodes: &[NodeState]) -> Result<Vec<Link>, Error> {
        let directory = Directory::new(spec);
        let mut links = Vec::new();
        for node in nodes {
            // A standby has its primary's catalogue: subscriptions and servers are not its own.
            if node.in_recovery {
                links.extend(standby::link(&directory, node)?);
            } else {
                links.extend(subscription::links(&directory, node)?);
                links.extend(foreign::links(spec, &directory, node)?);
            }
        }
        Ok(links)
    }

    fn demand(&self, cluster: &Cluster<'_>, state: &NodeState) -> Result<Demand, Error> {
        let spec = cluster.spec;
        let node = cluster.node(&state.name)?;
        // Every node has the same rules: the roles of publisher and subscriber may change.
        let ways_in = spec.link_roles().filter_map(|role| {
            let databases = targets(cluster, role);
            (!databases.is_empty()).then(|| WayIn {
                role: role.to_owned(),
                databases,
                networks: node.peers_from.clone(),
                method: spec.mode.method(),
                tls: true,
                links_only: true,
            })
        });
        let from = || cluster.links_from(&state.name);
        let clients = spec
            .link_roles()
            .filter(|role| {
                spec.mode == Mode::Cert && from().any(|link| logs_in_as(spec, link) == *role)
            })
            .map(|role| ClientPlace { role: role.to_owned(), pair: client_pair(spec, role) });
        let mut notes = Vec::new();
        if let Some(link) = from().find(|link| *link.place == LinkPlace::PrimaryConninfo) {
            standby::check(cluster, state, link)?;
            notes.extend(standby::note(state));
        }
        notes.extend(from().filter_map(|link| subscription::note(link, logs_in_as(spec, link))));
        Ok(Demand {
            root: Some(ROOT.into()),
            server: Some(PairPlace::new(SERVER_CERTIFICATE, SERVER_KEY)),
            server_signs: false,
            clients: clients.collect(),
            passfile: (spec.mode == Mode::Scram && from().next().is_some())
                .then(|| PASSFILE.into()),
            settings: credentials::tls_settings(ROOT, SERVER_CERTIFICATE, SERVER_KEY),
            ways_in: ways_in.collect(),
            roles: roles(cluster, state),
            above_zero: Vec::new(),
            notes,
            statements: Vec::new(),
        })
    }

    fn secured(&self, cluster: &Cluster<'_>, link: &Link, end: &LinkEnd<'_>) -> ConnInfo {
        let conninfo = super::secured(cluster.spec, link, end);
        match &*link.place {
            LinkPlace::ForeignServer(place) => foreign::secured(place, conninfo),
            LinkPlace::PrimaryConninfo => standby::secured(cluster, link, conninfo),
            _ => conninfo,
        }
    }

    fn session(&self, link: &Link, conninfo: &ConnInfo) -> Arc<SessionKey> {
        standby::session(link, conninfo)
    }

    fn switch(&self, link: &Link, dsn: Dsn<'_>) -> Option<Switch> {
        match &*link.place {
            LinkPlace::Subscription { database } => Some(subscription::switch(link, database, dsn)),
            LinkPlace::PrimaryConninfo => Some(standby::switch(dsn)),
            LinkPlace::ForeignServer(place) => Some(foreign::switch(link, place, dsn)),
            LinkPlace::BdrInterface { .. } | LinkPlace::AccessNode => None,
        }
    }

    fn realm(&self, cluster: &Cluster<'_>, state: &NodeState) -> String {
        standby::primary_of(cluster, state).name.clone()
    }

    fn credential_paths(&self, spec: &ClusterSpec, _places: &Places<'_>) -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> =
            [ROOT, SERVER_CERTIFICATE, SERVER_KEY, PASSFILE].map(PathBuf::from).into();
        for role in spec.link_roles() {
            let pair = client_pair(spec, role);
            paths.extend([pair.certificate, pair.key]);
        }
        paths
    }
}

/// The node that a connection string leads to.
fn described<'s>(directory: &Directory<'s>, conninfo: &ConnInfo) -> Option<&'s NodeSpec> {
    let port = conninfo.get("port").map_or(Ok(5432), str::parse).ok()?;
    directory.at(conninfo.get("host"), conninfo.get("hostaddr"), port)
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
            "{what} leads to none of the described nodes ({}): describe that node too",
            conninfo.to_masked_text()
        ),
    })
}

/// The role that a link will log in as: the one that it names if it is one of the description's.
fn logs_in_as<'s>(spec: &'s ClusterSpec, link: &Link) -> &'s str {
    let named = spec.link_roles().find(|role| link.user() == Some(role));
    named.unwrap_or(&spec.link_role)
}

/// Where the certificate of a role is. A role's name may hold what no file name should.
fn client_pair(spec: &ClusterSpec, role: &str) -> PairPlace {
    if role == spec.link_role {
        return PairPlace::new("pgward/client.crt", "pgward/client.key");
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let name =
        if role.chars().all(plain) { role.to_owned() } else { crate::plan::hex(role.as_bytes()) };
    PairPlace::new(format!("pgward/client-{name}.crt"), format!("pgward/client-{name}.key"))
}

/// What links connect to as a role.
fn targets(cluster: &Cluster<'_>, role: &str) -> Vec<Databases> {
    let links = || cluster.links.iter().filter(|link| logs_in_as(cluster.spec, link) == role);
    let physical = |link: &&Link| *link.place == LinkPlace::PrimaryConninfo;
    let mut names: Vec<String> = links()
        .filter(|link| !physical(link))
        .filter_map(|link| link.database().map(str::to_owned))
        .collect();
    names.sort();
    names.dedup();
    let mut targets = Vec::new();
    if !names.is_empty() {
        targets.push(Databases::Names(names));
    }
    if links().any(|link| physical(&link)) {
        targets.push(Databases::Replication);
    }
    targets
}

/// The roles that links log in to a node as. A standby has its primary's.
fn roles(cluster: &Cluster<'_>, state: &NodeState) -> Vec<RoleDemand> {
    if state.in_recovery {
        return Vec::new();
    }
    let spec = cluster.spec;
    // Links to its standbys need them, too.
    let leads_here = |link: &Link| {
        cluster
            .state(&link.to)
            .is_some_and(|to| standby::primary_of(cluster, to).name == state.name)
    };
    let demand = |role: &str| {
        let as_role = |link: &&Link| logs_in_as(spec, link) == role;
        let replicates = |link: &Link| !matches!(*link.place, LinkPlace::ForeignServer(_));
        let used = cluster.links.iter().filter(as_role);
        RoleDemand {
            replication: used.clone().any(replicates),
            password: spec.mode == Mode::Scram && used.clone().any(leads_here),
            ..RoleDemand::new(role)
        }
    };
    let used = |role: &&str| {
        *role == spec.link_role || cluster.links.iter().any(|link| logs_in_as(spec, link) == *role)
    };
    spec.link_roles().filter(used).map(demand).collect()
}
