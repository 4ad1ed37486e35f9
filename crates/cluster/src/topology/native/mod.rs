//! PostgreSQL's own links: [subscriptions](subscription), [standbys](standby) and
//! [postgres_fdw](foreign), alone or together.

mod elsewhere;
mod foreign;
mod several;
mod standby;
mod subscription;

use std::{path::PathBuf, sync::Arc};

use self::{
    elsewhere::{Known, Stray},
    subscription::Subscriptions,
};
use super::{
    Cluster, Dsn, Found, Link, LinkPlace, Places, RoleUse, SessionKey, Switch, Topology, Unsecured,
};
use crate::{
    conninfo::ConnInfo,
    credentials,
    demand::{ClientPlace, Databases, Demand, PairPlace, RoleDemand, WayIn},
    error::Error,
    inspect::NodeState,
    parallel,
    spec::{ClusterSpec, Directory, Mode},
    text::Text,
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
    fn find(&self, spec: &ClusterSpec, nodes: &[NodeState]) -> Result<Found, Error> {
        let directory = Directory::new(spec);
        let (mut links, mut strays) = (Vec::new(), Vec::new());
        // There may be a million.
        let find = |share| links_of(spec, &directory, nodes, share);
        for share in parallel::shares(nodes, 16, find)? {
            let (of_share, strays_of_share) = share?;
            links.extend(of_share);
            strays.extend(strays_of_share);
        }
        let known = Known { spec, directory: &directory, states: nodes, links: &links };
        let elsewhere = strays.iter().filter_map(|stray: &Stray<'_>| known.judge(stray)).collect();
        Ok(Found { links, elsewhere })
    }

    fn demand(&self, cluster: &Cluster<'_>, state: &NodeState) -> Result<Demand, Error> {
        let spec = cluster.spec;
        let node = cluster.node(&state.name)?;
        // Every node has the same rules: the roles of publisher and subscriber may change.
        let ways_in = spec.link_roles().filter_map(|role| {
            let databases = targets(cluster.uses().get(role)?);
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
                spec.mode == Mode::Cert && from().any(|link| spec.role_of(link.user()) == *role)
            })
            .map(|role| ClientPlace { role: role.to_owned(), pair: client_pair(spec, role) });
        let mut notes = Vec::new();
        if let Some(link) = from().find(|link| *link.place == LinkPlace::PrimaryConninfo) {
            standby::check(cluster, state, link)?;
        }
        standby::check_passwords(cluster, state)?;
        subscription::check(state, from())?;
        several::check(cluster, state, from())?;
        foreign::check(spec, state, from())?;
        notes.extend(foreign::notes(cluster, state));
        notes.extend(from().filter_map(|link| subscription::note(link, spec.role_of(link.user()))));
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

    fn secured(&self, spec: &ClusterSpec, link: &Unsecured<'_>) -> ConnInfo {
        let conninfo = super::secured(spec, link);
        match link.place {
            LinkPlace::ForeignServer(place) => foreign::secured(place, conninfo),
            LinkPlace::PrimaryConninfo => standby::secured(link, conninfo),
            _ => conninfo,
        }
    }

    fn application(&self, cluster: &Cluster<'_>, link: &Link) -> Option<Text> {
        standby::name_of_its_own(cluster, link)
    }

    fn session(&self, link: &Link, conninfo: &ConnInfo) -> Arc<SessionKey> {
        standby::session(link, conninfo)
    }

    fn switch(&self, link: &Link, dsn: Dsn<'_>) -> Option<Switch> {
        match &*link.place {
            LinkPlace::Subscription { database } => Some(subscription::switch(link, database, dsn)),
            LinkPlace::PrimaryConninfo => Some(standby::switch(dsn)),
            LinkPlace::ForeignServer(place) => Some(foreign::switch(link, place, dsn)),
            _ => None,
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
fn targets(used: &RoleUse) -> Vec<Databases> {
    let mut targets = Vec::new();
    if !used.databases.is_empty() {
        targets.push(Databases::Names(used.databases.iter().cloned().collect()));
    }
    if used.physical {
        targets.push(Databases::Replication);
    }
    targets
}

/// The links of some of the nodes, and what leads elsewhere.
fn links_of<'a>(
    spec: &ClusterSpec,
    directory: &'a Directory<'a>,
    nodes: &'a [NodeState],
    some: &'a [NodeState],
) -> Result<(Vec<Link>, Vec<Stray<'a>>), Error> {
    let mut subscriptions = Subscriptions::new(directory);
    let (mut links, mut strays) = (Vec::new(), Vec::new());
    for node in some {
        // A standby has its primary's catalogue: subscriptions and servers are not its own.
        if node.in_recovery {
            links.extend(standby::link(directory, nodes, node, &mut strays));
        } else {
            subscriptions.links(nodes, node, &mut links, &mut strays);
            links.extend(foreign::links(spec, directory, nodes, node, &mut strays)?);
        }
    }
    Ok((links, strays))
}

/// The roles that links log in to a node as. A standby has its primary's.
fn roles(cluster: &Cluster<'_>, state: &NodeState) -> Vec<RoleDemand> {
    if state.in_recovery {
        return Vec::new();
    }
    let spec = cluster.spec;
    // Links to its standbys need them, too.
    let is_here = |to: &Text| {
        let to = cluster.state(to);
        to.is_some_and(|to| standby::primary_of(cluster, to).name == state.name)
    };
    let demand = |role: &str| {
        let used = cluster.uses().get(role);
        // Where no link leads to, nobody logs in.
        let leads_here =
            |used: &&RoleUse| used.to.contains(state.name.as_str()) || used.to.iter().any(is_here);
        let Some(used) = used.filter(leads_here) else {
            return (used.is_none() && role == spec.link_role).then(|| RoleDemand::new(role));
        };
        Some(RoleDemand {
            replication: used.replicates,
            password: spec.mode == Mode::Scram,
            ..RoleDemand::new(role)
        })
    };
    spec.link_roles().filter_map(demand).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::{Subscription, sample};

    /// Nobody logs in to a node that only connects to others: its roles are its own.
    #[test]
    fn a_role_is_asked_for_where_links_lead_to() -> Result<(), Box<dyn std::error::Error>> {
        let text = "topology = \"native\"\nmode = \"scram\"\nlink-role = \"repl\"\nsecrets = \"s\"\n\
            [[nodes]]\nname = \"n\"\naddress = \"10.0.0.1\"\npeers-from = [\"10.0.0.0/8\"]\nsql = \"host=h\"\n\
            [[nodes]]\nname = \"m\"\naddress = \"10.0.0.2\"\npeers-from = [\"10.0.0.0/8\"]\nsql = \"host=h\"\n";
        let spec = ClusterSpec::from_toml(text, "/".as_ref())?;
        let publisher = sample::node(b"", &[]);
        let mut subscriber = sample::node(b"", &[]);
        subscriber.name = "m".to_owned();
        let asked = |states: &[NodeState]| -> Result<Vec<Vec<String>>, Error> {
            let links = Native.links(&spec, states)?;
            let cluster = Cluster::new(&spec, states, &links);
            let of = |state| {
                let demand = Native.demand(&cluster, state)?;
                Ok(demand.roles.into_iter().map(|role| role.name).collect())
            };
            states.iter().map(of).collect()
        };
        let repl = || vec!["repl".to_owned()];
        // There is no link yet.
        assert_eq!(asked(&[publisher.clone(), subscriber.clone()])?, [repl(), repl()]);
        subscriber.subscriptions = vec![Subscription {
            name: "s".to_owned(),
            database: "app".to_owned(),
            conninfo: "host=10.0.0.1 dbname=app user=repl".parse()?,
            slot: Some("s".to_owned()),
            enabled: true,
            owner_needs_password: None,
        }];
        assert_eq!(asked(&[publisher, subscriber])?, [repl(), Vec::new()]);
        Ok(())
    }
}
