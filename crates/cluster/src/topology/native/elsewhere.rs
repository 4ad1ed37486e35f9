//! What connects to servers that are none of the described nodes: a subscription that is fed by another
//! system, a standby of a server that somebody else looks after. It is no link of the cluster, and
//! stays as it is. But a described node may be called by a name that the description does not have, or
//! may have been forgotten there: its link would be neither secured nor let in any more. By what is seen
//! of the servers, not of names, that is told apart.

use std::net::IpAddr;

use crate::{
    conninfo::{ConnInfo, Host},
    inspect::{NodeState, SlotInUse},
    spec::{ClusterSpec, Directory, NodeSpec, is_own, is_own_machine},
    topology::{Elsewhere, Link, SessionKey, leads_nowhere},
};

/// Something that leads to none of the described nodes by its connection string.
pub(super) struct Stray<'a> {
    pub(super) node: &'a NodeState,
    /// What its connection string is of.
    pub(super) what: What<'a>,
    pub(super) conninfo: &'a ConnInfo,
}

/// What a connection string is of.
pub(super) enum What<'a> {
    Subscription { name: &'a str, slot: Option<&'a str> },
    PrimaryConninfo,
    ForeignServer { name: &'a str, database: &'a str },
}

impl What<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Subscription { name, .. } | Self::ForeignServer { name, .. } => name,
            Self::PrimaryConninfo => "primary_conninfo",
        }
    }

    fn words(&self) -> String {
        match self {
            Self::Subscription { name, .. } => format!("subscription {name}"),
            Self::PrimaryConninfo => "primary_conninfo".to_owned(),
            Self::ForeignServer { name, database } => {
                format!("the foreign server {name} of the database {database}")
            }
        }
    }
}

/// All that is known of the cluster.
pub(super) struct Known<'a> {
    pub(super) spec: &'a ClusterSpec,
    pub(super) directory: &'a Directory<'a>,
    pub(super) states: &'a [NodeState],
    pub(super) links: &'a [Link],
}

impl Known<'_> {
    /// What is to be told of what leads out of the cluster; `None` for a foreign server that has nothing
    /// in common with it.
    pub(super) fn judge(&self, stray: &Stray<'_>) -> Option<Elsewhere> {
        let Stray { node, what, conninfo } = stray;
        let tell = |message: String, is_node: bool| {
            Some(Elsewhere {
                from: node.name.clone(),
                name: what.name().to_owned(),
                conninfo: (*conninfo).clone(),
                message,
                is_node,
            })
        };
        let words = what.words();
        if let Some(strangers) = self.beside_nodes(conninfo) {
            let message = format!(
                "{words} names several servers ({}), and not all of them are described: {}. It must be let \
                 in by whichever it tries first: describe them, too, or let it name described nodes only",
                conninfo.to_masked_text(),
                strangers.join(", ")
            );
            return tell(message, true);
        }
        if self.is_peers_socket(node, conninfo) {
            return tell(leads_nowhere(&words, conninfo).to_string(), true);
        }
        let leads =
            format!("{words} leads to none of the described nodes ({})", conninfo.to_masked_text());
        if let Some((other, why)) = self.is_node(stray) {
            return tell(format!("{leads}, but {why}: {}", name_it(other)), true);
        }
        let stays = format!("{leads}: it is no link of the cluster, and stays as it is");
        match self.may_be_node(node, conninfo) {
            Some(why) => tell(
                format!(
                    "{stays}. But {why}: if it is a described node, name it as the description does, or it \
                     will be neither secured nor let in"
                ),
                false,
            ),
            None if matches!(what, What::ForeignServer { .. }) => None,
            None => tell(stays, false),
        }
    }

    /// The hosts that are no described nodes, of several of which some are.
    fn beside_nodes(&self, conninfo: &ConnInfo) -> Option<Vec<String>> {
        let hosts = conninfo.several_hosts()?;
        let is_node =
            |host: &&Host<'_>| self.directory.at(host.name, host.address, host.port).is_some();
        let strangers: Vec<_> = hosts.iter().filter(|host| !is_node(host)).collect();
        (strangers.len() < hosts.len()).then(|| {
            let name = |host: &&Host<'_>| {
                format!("{}:{}", host.name.or(host.address).unwrap_or_default(), host.port)
            };
            strangers.iter().map(name).collect()
        })
    }

    /// Whether it goes over the Unix socket of another described node, on the same machine.
    fn is_peers_socket(&self, node: &NodeState, conninfo: &ConnInfo) -> bool {
        let host = conninfo.get("host").unwrap_or_default();
        let service = conninfo.get("service");
        if conninfo.get("hostaddr").is_some()
            || !(host.starts_with(['/', '@']) || host.is_empty() && service.is_none())
        {
            return false;
        }
        let port = conninfo.get("port").unwrap_or("5432");
        let listens = |state: &NodeState| {
            let mut folders = state.setting("unix_socket_directories").split(',').map(str::trim);
            state.setting("port") == port && (host.is_empty() || folders.any(|it| it == host))
        };
        !listens(node)
            && self.states.iter().any(|other| {
                other.name != node.name && listens(other) && self.on_one_machine(node, other)
            })
    }

    fn on_one_machine(&self, one: &NodeState, other: &NodeState) -> bool {
        let address = |state: &NodeState| self.directory.named(&state.name).map(|it| it.address);
        match (address(one), address(other)) {
            (Some(one), Some(other)) => one == other || one.is_loopback() && other.is_loopback(),
            _ => false,
        }
    }

    /// The described node that it leads to by what that node shows, and what that is; no name for one
    /// that is not described and belongs to the cluster.
    fn is_node(&self, stray: &Stray<'_>) -> Option<(Option<&str>, String)> {
        let Stray { node, what, conninfo } = stray;
        let others = || self.states.iter().filter(|other| other.name != node.name);
        let slot = match what {
            What::Subscription { slot, .. } => *slot,
            What::PrimaryConninfo => {
                let is_primary = |other: &&NodeState| {
                    !other.in_recovery
                        && other.system_identifier.is_some()
                        && other.system_identifier == node.system_identifier
                };
                if let Some(primary) = others().find(is_primary) {
                    let why = format!("its system identifier is that of node {}", primary.name);
                    return Some((Some(&primary.name), why));
                }
                Some(node.setting("primary_slot_name")).filter(|slot| !slot.is_empty())
            }
            What::ForeignServer { .. } => return None,
        };
        let database = match what {
            What::Subscription { .. } => conninfo.get("dbname").or(conninfo.get("user")),
            _ => None,
        };
        // Nobody of the cluster is known to use it.
        let is_free = |other: &NodeState, used: &str| {
            let is_its = |link: &Link| {
                link.to == *other.name
                    && matches!(&*link.session, SessionKey::Slot(slot) if slot == used)
            };
            !self.links.iter().any(is_its)
        };
        if let Some(slot) = slot {
            let is_it = |other: &&NodeState| {
                let mut there = other.slots_in_use.iter();
                there.any(|it| it.name == slot && it.database.as_deref() == database)
                    && is_free(other, slot)
            };
            if let Some(other) = others().find(is_it) {
                let why = format!(
                    "its replication slot {slot} is in use on node {}, by nobody else that is described",
                    other.name
                );
                return Some((Some(&other.name), why));
            }
        }
        let role = conninfo.get("user").filter(|user| self.is_link_role(user))?;
        let used = self.states.iter().find_map(|state| {
            let mut slots = state.slots_in_use.iter();
            let is_strangers = |slot: &&SlotInUse| {
                slot.role.as_deref() == Some(role) && is_free(state, &slot.name)
            };
            Some((state, slots.find(is_strangers)?))
        });
        let (state, slot) = used?;
        let why = format!(
            "it logs in as {role} like the cluster's links, and somebody who is not described does so at \
             node {} (replication slot {})",
            state.name, slot.name
        );
        Some((None, why))
    }

    fn is_link_role(&self, name: &str) -> bool {
        self.spec.link_roles().any(|role| role == name)
    }

    /// What it has in common with a described node.
    fn may_be_node(&self, node: &NodeState, conninfo: &ConnInfo) -> Option<String> {
        let host = conninfo.get("host").filter(|host| !host.is_empty());
        let address = conninfo.get("hostaddr").or(host);
        let Some(address) = address else {
            return conninfo.get("service").map(|service| {
                format!("only its own machine can read the service file (service={service})")
            });
        };
        let is_own = self.directory.named(&node.name).is_some_and(|own| is_own(own, conninfo));
        if address.starts_with(['/', '@']) || is_own {
            return None;
        }
        if let Ok(address) = address.parse::<IpAddr>() {
            let address = address.to_canonical();
            let mut nodes = self.spec.nodes.iter();
            if let Some(node) = nodes.find(|it| it.address.to_canonical() == address) {
                return Some(format!(
                    "its address is that of node {}, which is described with port {}",
                    node.name, node.port
                ));
            }
        } else if let Some(host) = host.filter(|host| !is_own_machine(host)) {
            let port = conninfo.get("port").unwrap_or("5432");
            let mut nodes = self.spec.nodes.iter();
            if let Some(node) = nodes.find(|node| is_called_alike(node, host, port)) {
                return Some(format!("its host is called like node {}", node.name));
            }
        }
        let role = conninfo.get("user").filter(|user| self.is_link_role(user))?;
        Some(format!("it logs in as {role} like the cluster's links"))
    }
}

/// What is to be done about a described node that is called otherwise.
fn name_it(node: Option<&str>) -> String {
    match node {
        Some(node) => format!(
            "let it name the node as the description does, or give node {node} this host in the description"
        ),
        None => {
            "describe that server too; if it is none of the cluster's, give it a role of its own"
                .to_owned()
        }
    }
}

/// Whether a host has a node's name and a domain, or the node's name without its domain.
fn is_called_alike(node: &NodeSpec, host: &str, port: &str) -> bool {
    let begins = |long: &str, short: &str| {
        let rest = long.get(short.len()..);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            && long.get(..short.len()).is_some_and(|first| first.eq_ignore_ascii_case(short))
    };
    let host = host.trim_end_matches('.');
    let alike =
        |name: &str| name.parse::<IpAddr>().is_err() && (begins(host, name) || begins(name, host));
    port.parse() == Ok(node.port) && (alike(node.host()) || alike(&node.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        inspect::{ForeignServer, Subscription, sample},
        topology::{Native, Topology as _},
    };

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    fn spec() -> Result<ClusterSpec, crate::spec::SpecError> {
        let begin = "topology = \"native\"\nmode = \"cert\"\nlink-role = \"repl\"";
        let nodes =
            [("db1", "10.0.0.1", 5432), ("db2", "10.0.0.2", 5432), ("db3", "10.0.0.2", 5433)];
        sample::spec(begin, &nodes)
    }

    fn states() -> Vec<NodeState> {
        let node = |(name, port): (&str, &str)| {
            let mut node = sample::node(b"", &[]);
            node.name = name.to_owned();
            sample::set(&mut node, "port", port);
            sample::set(&mut node, "unix_socket_directories", "/run/pg, /tmp");
            node
        };
        [("db1", "5432"), ("db2", "5432"), ("db3", "5433")].map(node).into()
    }

    fn subscription(conninfo: &str) -> Result<Subscription, crate::conninfo::ConnInfoError> {
        Ok(Subscription {
            name: "s".to_owned(),
            database: "app".to_owned(),
            conninfo: conninfo.parse()?,
            slot: Some("s".to_owned()),
            enabled: true,
            owner_needs_password: None,
        })
    }

    fn slot(name: &str, database: Option<&str>) -> SlotInUse {
        let (database, role) = (database.map(str::to_owned), Some("repl".to_owned()));
        SlotInUse { name: name.to_owned(), database, role }
    }

    /// What is told of a subscription of db2: whether it is a node, and words.
    #[test]
    fn what_leads_out_is_left_and_what_seems_to_is_told() -> Outcome {
        let stays = "is no link of the cluster, and stays as it is";
        for (conninfo, is_node, words) in [
            ("host=legacy dbname=app user=feed", Some(false), stays),
            ("host=db1 dbname=app user=repl", None, ""),
            // By the loopback of the machine that db3 is on, too.
            ("host=localhost port=5433 dbname=app user=repl", None, ""),
            ("host=localhost dbname=other user=repl", Some(false), stays),
            ("dbname=other user=repl", Some(false), stays),
            ("host=/run/pg dbname=other user=repl", Some(false), stays),
            ("host=/run/pg port=5433 dbname=app user=repl", Some(true), "over a Unix socket"),
            ("host=db1,db3 port=5432,5433 dbname=app user=repl", None, ""),
            (
                "host=db1,legacy dbname=app user=repl",
                Some(true),
                "not all of them are described: legacy:5432",
            ),
            ("host=one,other dbname=app user=feed", Some(false), stays),
            ("service=feed dbname=app", Some(false), "the service file (service=feed)"),
            (
                "host=10.0.0.1 port=6432 dbname=app user=feed",
                Some(false),
                "address is that of node db1",
            ),
            (
                "host=DB1.example.com dbname=app user=feed",
                Some(false),
                "host is called like node db1",
            ),
            ("host=db11.example.com dbname=app user=feed", Some(false), stays),
            ("host=legacy dbname=app user=repl", Some(false), "it logs in as repl"),
        ] {
            let mut states = states();
            states[1].subscriptions = vec![subscription(conninfo)?];
            let found = Native.find(&spec()?, &states)?;
            let told = found.elsewhere.first();
            assert_eq!(told.map(|it| it.is_node), is_node, "{conninfo}: {told:?}");
            let message = told.map_or("", |it| it.message.as_str());
            assert!(message.contains(words), "{conninfo}: {message}");
            assert_eq!(words == stays, message.ends_with(stays), "{conninfo}: {message}");
            assert_eq!(found.links.len() + found.elsewhere.len(), 1, "{conninfo}");
        }
        Ok(())
    }

    #[test]
    fn a_node_by_another_name_is_known_by_its_slot() -> Outcome {
        let told = |put: &dyn Fn(&mut Vec<NodeState>) -> Outcome| -> Result<_, Box<dyn std::error::Error>> {
            let mut states = states();
            states[1].subscriptions = vec![subscription("host=vip dbname=app user=repl")?];
            put(&mut states)?;
            let mut told = Native.find(&spec()?, &states)?.elsewhere;
            told.retain(|it| it.is_node);
            Ok(told.into_iter().map(|it| it.message).collect::<String>())
        };
        let in_use = |slots: Vec<SlotInUse>| {
            move |states: &mut Vec<NodeState>| {
                states[0].slots_in_use.clone_from(&slots);
                Ok(())
            }
        };
        let its = told(&in_use(vec![slot("s", Some("app"))]))?;
        assert!(its.contains("slot s is in use on node db1"), "{its}");
        // Somebody who is not described: it may be that server.
        for other in [slot("t", Some("app")), slot("s", Some("other")), slot("s", None)] {
            let told = told(&in_use(vec![other]))?;
            assert!(told.contains("somebody who is not described does so at node db1"), "{told}");
        }
        let strangers = SlotInUse { role: Some("backup".to_owned()), ..slot("t", None) };
        assert_eq!(told(&in_use(vec![strangers]))?, "");
        // Another node's subscription of the same name uses it.
        let others = told(&|states: &mut Vec<NodeState>| {
            states[0].slots_in_use = vec![slot("s", Some("app"))];
            states[2].subscriptions = vec![subscription("host=db1 dbname=app user=repl")?];
            Ok(())
        })?;
        assert_eq!(others, "");
        Ok(())
    }

    #[test]
    fn a_primary_by_another_name_is_known_by_its_identifier() -> Outcome {
        for (identifier, in_recovery, is_node) in [
            (Some("7"), false, true),
            (Some("7"), true, false),
            (Some("8"), false, false),
            (None, false, false),
        ] {
            let mut states = states();
            states[0].system_identifier = identifier.map(str::to_owned);
            states[0].in_recovery = in_recovery;
            states[1].system_identifier = identifier.map(|_| "7".to_owned());
            states[1].in_recovery = true;
            states[1].primary_conninfo = Some("host=vip user=standby".parse()?);
            let told = Native.find(&spec()?, &states)?.elsewhere;
            assert_eq!(told.iter().map(|it| it.is_node).collect::<Vec<_>>(), [is_node], "{told:?}");
        }
        Ok(())
    }

    #[test]
    fn a_foreign_server_is_told_of_where_it_may_be_a_node() -> Outcome {
        for (options, told) in [
            ("host=legacy", None),
            ("dbname=other", None),
            ("host=10.0.0.1 port=6432", Some(false)),
            ("host=db1.example.com", Some(false)),
            ("host=db1,legacy", Some(true)),
            ("service=feed", Some(false)),
        ] {
            let mut states = states();
            states[1].foreign_servers = vec![ForeignServer {
                name: "f".to_owned(),
                wrapper: "postgres_fdw".to_owned(),
                database: "app".to_owned(),
                options: options.parse()?,
                mappings: Vec::new(),
                usable_by: Vec::new(),
                distributed_exec: None,
                tables: Vec::new(),
            }];
            let found = Native.find(&spec()?, &states)?.elsewhere;
            assert_eq!(found.first().map(|it| it.is_node), told, "{options}: {found:?}");
        }
        Ok(())
    }
}
