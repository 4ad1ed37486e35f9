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

use super::{
    Cluster, Dsn, Found, Link, LinkPlace, Places, SessionKey, Switch, Topology, Unsecured,
    leads_nowhere,
};
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
    fn find(&self, spec: &ClusterSpec, nodes: &[NodeState]) -> Result<Found, Error> {
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
            if bdr.local_node.is_none() {
                return Err(Error::plan(format!(
                    "node {} is in no group of PGD: bdr.local_node_summary is empty",
                    node.name
                )));
            }
            let from: Text = (&node.name).into();
            let place = || LinkPlace::BdrInterface { database: bdr.database.clone() }.into();
            let place = places.entry(&bdr.database).or_insert_with(place);
            let mut sessions = Sessions::of(&directory, spec, node, bdr);
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
        Ok(links.into())
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
        directory: &Directory<'a>,
        from: &NodeState,
        name: &str,
        conninfo: &'a ConnInfo,
    ) -> Result<Self, Error> {
        // Of several hosts libpq takes whichever answers: the name does not tell which.
        let names_several = ["host", "hostaddr"]
            .iter()
            .any(|key| conninfo.get(key).is_some_and(|it| it.contains(',')));
        if names_several {
            let what = format!("the interface of PGD node {name} on node {}", from.name);
            return Err(leads_nowhere(&what, conninfo));
        }
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
            target: target(directory, conninfo),
            user: conninfo.get("user"),
        })
    }
}

/// Where a connection string leads to: a node of the description, or a host and a port that it does not
/// tell of; and the database there, if it says so.
type Target<'a> = (Where<'a>, Option<&'a str>);

#[derive(PartialEq, Eq, Hash)]
enum Where<'a> {
    Node(&'a str),
    Host(Option<&'a str>, &'a str),
}

fn target<'a>(directory: &Directory<'a>, conninfo: &'a ConnInfo) -> Target<'a> {
    let place = match directory.reached_by(conninfo) {
        Some(node) => Where::Node(&node.name),
        None => Where::Host(
            conninfo.get("hostaddr").or(conninfo.get("host")),
            conninfo.get("port").unwrap_or("5432"),
        ),
    };
    (place, conninfo.get("dbname"))
}

/// How the sessions of a node's links are found on the nodes that they lead to.
struct Sessions<'a> {
    /// The node's own name in the group, and where it comes from.
    own: Option<(&'a str, IpAddr)>,
    bdr: &'a BdrState,
    /// A group on native subscriptions tells its slots.
    slots: HashMap<Target<'a>, &'a String>,
    link_role: &'a str,
    /// The other nodes that come from the same address.
    neighbours: HashSet<&'a str>,
    /// Most links of a node differ in nothing of it.
    found: HashMap<Peer<'a>, Arc<SessionKey>>,
    none: Arc<SessionKey>,
}

/// What tells a node's sessions on one peer from those on another.
#[derive(PartialEq, Eq, Hash)]
struct Peer<'a> {
    slot: Option<&'a String>,
    user: Option<&'a str>,
    /// Whether only this node's sessions come there from its address.
    alone: bool,
}

impl<'a> Sessions<'a> {
    fn of(
        directory: &Directory<'a>,
        spec: &'a ClusterSpec,
        node: &'a NodeState,
        bdr: &'a BdrState,
    ) -> Self {
        let address = directory.named(&node.name).map(|from| from.address);
        let mut slots = HashMap::new();
        // In another database it is somebody else's.
        for subscription in node.subscriptions.iter().filter(|it| it.database == bdr.database) {
            if let Some(slot) = &subscription.slot {
                slots.entry(target(directory, &subscription.conninfo)).or_insert(slot);
            }
        }
        let others = spec.nodes.iter().filter(|other| other.name != node.name);
        let neighbours = others.filter(|other| Some(other.address) == address);
        Self {
            own: bdr.local_node.as_deref().zip(address),
            bdr,
            slots,
            link_role: &spec.link_role,
            neighbours: neighbours.map(|other| other.name.as_str()).collect(),
            found: HashMap::new(),
            none: Arc::new(SessionKey::None),
        }
    }

    fn to(&mut self, interface: &Interface<'a>) -> Arc<SessionKey> {
        let Some((local, address)) = self.own.filter(|(local, _)| {
            interface.name != **local && replicates(self.bdr, &interface.name, local)
        }) else {
            return self.none.clone();
        };
        let user = interface.user.filter(|user| *user != self.link_role);
        let of_peer = usize::from(self.neighbours.contains(&*interface.to));
        let peer = Peer {
            slot: self.slots.get(&interface.target).copied(),
            user,
            alone: self.neighbours.len() == of_peer,
        };
        if let Some(known) = self.found.get(&peer) {
            return known.clone();
        }
        let key = Arc::new(match peer.slot {
            Some(slot) => SessionKey::Slot(slot.clone()),
            None => {
                let mut roles = vec![self.link_role.to_owned()];
                roles.extend(user.map(str::to_owned));
                let ending =
                    local.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "_");
                SessionKey::Peer {
                    slots: self.bdr.slots.clone(),
                    ending: format!("_{ending}"),
                    roles,
                    address: peer.alone.then_some(address),
                }
            }
        });
        self.found.insert(peer, key.clone());
        key
    }
}

/// Whether changes flow from one node of the group to another: a witness has none, and only nodes that
/// hold data for writers send them (PGD's documentation, "Node management", "Witness nodes",
/// "Subscriber-only nodes", "Logical standby nodes").
fn replicates(bdr: &BdrState, from: &str, to: &str) -> bool {
    let kind = |node| bdr.kinds.get(node).map_or("data", String::as_str);
    kind(from) == "data" && kind(to) != "witness"
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::inspect::{Subscription, sample};

    type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

    /// Nodes n, n2 … at these addresses.
    fn spec(addresses: &[&str]) -> Outcome<ClusterSpec> {
        let names: Vec<String> = (1..=addresses.len())
            .map(|n| if n == 1 { "n".to_owned() } else { format!("n{n}") })
            .collect();
        let nodes = names.iter().zip(addresses).zip(5433..);
        let nodes: Vec<_> =
            nodes.map(|((name, address), port)| (name.as_str(), *address, port)).collect();
        Ok(sample::spec("topology = \"pgd\"\nmode = \"cert\"", &nodes)?)
    }

    /// The first node, as it is inspected.
    fn state(spec: &ClusterSpec) -> Outcome<NodeState> {
        let interface = |node: &crate::spec::NodeSpec| {
            let text = format!("host={} port={} dbname=app user=repl", node.address, node.port);
            Ok::<_, Box<dyn std::error::Error>>((node.name.clone(), text.parse()?))
        };
        let mut state = sample::node(b"", &[]);
        state.bdr = Some(BdrState {
            database: "app".to_owned(),
            local_node: Some("n".to_owned()),
            slots: vec!["bdr_app_group_n".to_owned()],
            interfaces: spec.nodes.iter().map(interface).collect::<Outcome<_>>()?,
            kinds: BTreeMap::new(),
        });
        Ok(state)
    }

    fn subscription(database: &str, conninfo: &str) -> Outcome<Subscription> {
        Ok(Subscription {
            name: "s".to_owned(),
            database: database.to_owned(),
            conninfo: conninfo.parse()?,
            slot: Some("a_slot".to_owned()),
            enabled: true,
            owner_needs_password: None,
        })
    }

    #[test]
    fn a_slot_that_is_known_is_the_links() -> Outcome {
        let spec = spec(&["10.0.0.1", "10.0.0.2"])?;
        let mut state = state(&spec)?;
        // As another name of the same.
        let to_the_other = "host=n2 port=5434 dbname=app user=repl application_name=x";
        let elsewhere = "host=10.0.0.2 port=5434 dbname=other user=repl";
        let by_an_alias = "host=alias port=5434 dbname=app user=repl";
        for (database, conninfo, is_known) in [
            ("app", to_the_other, true),
            ("app", by_an_alias, false),
            // Somebody's own subscriptions.
            ("postgres", to_the_other, false),
            ("app", elsewhere, false),
        ] {
            state.subscriptions = vec![subscription(database, conninfo)?];
            let links = Pgd.links(&spec, &[state.clone()])?;
            let key = &*links[1].session;
            assert_eq!(*key == SessionKey::Slot("a_slot".to_owned()), is_known, "{key:?}");
        }
        Ok(())
    }

    /// Where several come from one address, the only session from there is anybody's: the others may
    /// just be connecting anew.
    #[test]
    fn an_address_tells_of_its_only_node() -> Outcome {
        for (addresses, tells) in [
            (&["10.0.0.1", "10.0.0.2", "10.0.0.3"][..], true),
            (&["10.0.0.1", "10.0.0.1"], true),
            (&["10.0.0.1", "10.0.0.1", "10.0.0.1"], false),
        ] {
            let spec = spec(addresses)?;
            let links = Pgd.links(&spec, &[state(&spec)?])?;
            for link in &links[1..] {
                let SessionKey::Peer { address, .. } = &*link.session else {
                    return Err("not a peer".into());
                };
                assert_eq!(address.is_some(), tells, "{addresses:?}");
            }
        }
        Ok(())
    }

    #[test]
    fn a_witness_replicates_nothing() -> Outcome {
        let spec = spec(&["10.0.0.1", "10.0.0.2", "10.0.0.3"])?;
        let mut state = state(&spec)?;
        for (own, other, idle) in [
            ("data", "witness", [true, true, false]),
            ("data", "subscriber-only", [true, true, false]),
            ("subscriber-only", "data", [true, false, false]),
            ("witness", "data", [true, true, true]),
        ] {
            let bdr = state.bdr.as_mut().ok_or("none")?;
            bdr.kinds =
                [("n", own), ("n2", other)].map(|(n, k)| (n.to_owned(), k.to_owned())).into();
            bdr.kinds.retain(|_, kind| kind != "data");
            let links = Pgd.links(&spec, &[state.clone()])?;
            let found: Vec<bool> = links.iter().map(Link::is_idle).collect();
            assert_eq!(found, idle, "{own} -> {other}");
        }
        Ok(())
    }

    #[test]
    fn what_leads_nowhere_is_refused() -> Outcome {
        let spec = spec(&["10.0.0.1", "10.0.0.2"])?;
        let refused = |state: NodeState| {
            Pgd.links(&spec, &[state]).err().map(|error| error.to_string()).unwrap_or_default()
        };
        let mut several = state(&spec)?;
        let bdr = several.bdr.as_mut().ok_or("none")?;
        bdr.interfaces[1].1 = "host=10.0.0.2,10.0.0.3 port=5434 dbname=app".parse()?;
        let told = refused(several);
        assert!(told.contains("PGD node n2 on node n names several servers"), "{told}");
        let mut alone = state(&spec)?;
        alone.bdr.as_mut().ok_or("none")?.local_node = None;
        assert_eq!(refused(alone), "node n is in no group of PGD: bdr.local_node_summary is empty");
        Ok(())
    }
}
