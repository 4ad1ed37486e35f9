//! Links whose connection string names several nodes, as what follows whichever is the primary has it
//! (`host=db1,db2 target_session_attrs=read-write`).
//!
//! Such a link leads to the node that it is connected to now. All others that it names let it in, too:
//! libpq goes on to the next host where one does not answer or is not what `target_session_attrs` asks
//! for, but not where one refuses the login (`fe-connect.c`, `PQconnectPoll`; documentation, "Specifying
//! Multiple Hosts").

use crate::{
    conninfo::ConnInfo,
    error::Error,
    inspect::NodeState,
    spec::{Directory, NodeSpec},
    topology::{Cluster, Link, nodes_named},
};

/// The node that a connection string of several leads to: the one that `is_connected` says so of, else the
/// one that libpq would take. `None` where one of its hosts is not described.
pub(super) fn target<'s>(
    directory: &Directory<'s>,
    states: &[NodeState],
    from: &NodeState,
    conninfo: &ConnInfo,
    is_connected: impl Fn(&NodeState) -> bool,
) -> Option<&'s NodeSpec> {
    let named = directory.all_named(conninfo)?;
    // One and the same for every node of a cluster, it names the node that has it, too.
    let others: Vec<_> = named.into_iter().filter(|to| to.name != from.name).collect();
    let state = |to: &NodeSpec| states.iter().find(|state| state.name == to.name);
    let connected = || others.iter().find(|to| state(to).is_some_and(&is_connected));
    let is_asked_for = |to: &&&NodeSpec| {
        let in_recovery = state(to).is_some_and(|state| state.in_recovery);
        match conninfo.get("target_session_attrs") {
            Some("read-write" | "primary") => !in_recovery,
            Some("read-only" | "standby" | "prefer-standby") => in_recovery,
            _ => true,
        }
    };
    let to = connected().or_else(|| others.iter().find(is_asked_for)).or(others.first());
    to.copied()
}

/// Whether a standby receives WAL from a node by this connection string.
pub(super) fn receives_from(
    directory: &Directory<'_>,
    standby: &NodeState,
    conninfo: &ConnInfo,
    node: &NodeState,
) -> bool {
    let Some((sender, port)) = &standby.receives_from else { return false };
    conninfo.several_hosts().unwrap_or_default().into_iter().any(|host| {
        host.name.or(host.address) == Some(sender)
            && host.port == *port
            && directory
                .at(host.name, host.address, host.port)
                .is_some_and(|to| to.name == node.name)
    })
}

/// What must be different before a link of several nodes can be secured.
///
/// # Errors
/// [`Error::Plan`] for a node that its own link names, and that would not let itself in.
pub(super) fn check<'a>(
    cluster: &Cluster<'_>,
    state: &NodeState,
    mut links: impl Iterator<Item = &'a Link>,
) -> Result<(), Error> {
    let own = cluster.node(&state.name)?;
    let is_let_in = own.peers_from.iter().any(|network| network.contains(&own.address));
    // Over the loopback it comes from whichever of its addresses.
    if own.address.is_loopback() || is_let_in {
        return Ok(());
    }
    let names_itself = |link: &&Link| {
        nodes_named(cluster.spec, &link.conninfo).any(|named| named.name == own.name)
    };
    let Some(link) = links.find(names_itself) else { return Ok(()) };
    Err(Error::plan(format!(
        "{} names several servers, and this node among them: libpq tries no other where one refuses the \
         login, so the node must let itself in. Add its own address {} to its peers-from, or take it out \
         of {0}",
        link.name, own.address
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        inspect::{SlotInUse, Subscription, sample},
        spec::ClusterSpec,
        topology::{Native, Topology as _, demands, wanted},
    };

    type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

    const NODES: [(&str, &str, u16); 3] =
        [("db1", "10.0.0.1", 5432), ("db2", "10.0.0.2", 5433), ("db3", "10.0.0.3", 5432)];
    const LIST: &str = "host=db1,db2,db3 port=5432,5433,5432 user=repl target_session_attrs=";

    fn spec() -> Outcome<ClusterSpec> {
        let begin = "topology = \"native\"\nmode = \"scram\"\nlink-role = \"repl\"";
        Ok(sample::spec(begin, &NODES)?)
    }

    /// The first is the primary, the second its standby, the third has the link.
    fn states() -> Vec<NodeState> {
        let node = |(name, ..): (&str, &str, u16)| {
            let mut node = sample::node(b"", &[]);
            node.name = name.to_owned();
            node
        };
        let mut states: Vec<_> = NODES.map(node).into();
        states[1].in_recovery = true;
        states
    }

    fn standby(conninfo: &str) -> Outcome<Vec<NodeState>> {
        let mut states = states();
        states[2].in_recovery = true;
        states[2].primary_conninfo = Some(conninfo.parse()?);
        Ok(states)
    }

    /// Where the third node's link leads to.
    fn leads_to(states: &[NodeState]) -> Outcome<Vec<String>> {
        let links = Native.links(&spec()?, states)?.into_iter();
        Ok(links.map(|link| link.to.to_string()).collect())
    }

    #[test]
    fn a_standby_leads_to_the_server_that_it_receives_from() -> Outcome {
        for (wants, receives_from, expected) in [
            ("read-write", None, "db1"),
            ("any", Some(("db2", 5433)), "db2"),
            ("any", Some(("db2", 5432)), "db1"),
            ("standby", None, "db2"),
        ] {
            let mut states = standby(&format!("{LIST}{wants}"))?;
            states[2].receives_from =
                receives_from.map(|(host, port): (&str, u16)| (host.to_owned(), port));
            assert_eq!(leads_to(&states)?, [expected], "{wants} {receives_from:?}");
        }
        // After a failover it is another.
        let mut states = standby(&format!("{LIST}read-write"))?;
        (states[0].in_recovery, states[1].in_recovery) = (true, false);
        assert_eq!(leads_to(&states)?, ["db2"]);
        // By address, and by one port.
        assert_eq!(leads_to(&standby("hostaddr=10.0.0.3,10.0.0.1 user=repl")?)?, ["db1"]);
        Ok(())
    }

    #[test]
    fn a_subscription_leads_to_where_its_slot_is_in_use() -> Outcome {
        let mut states = states();
        let subscription = Subscription {
            name: "s".to_owned(),
            database: "app".to_owned(),
            conninfo: format!("{LIST}any dbname=app").parse()?,
            slot: Some("s".to_owned()),
            enabled: true,
            owner_needs_password: None,
        };
        states[2].subscriptions = vec![subscription];
        assert_eq!(leads_to(&states)?, ["db1"]);
        let (name, database) = ("s".to_owned(), Some("app".to_owned()));
        states[1].slots_in_use = vec![SlotInUse { name, database, role: None }];
        assert_eq!(leads_to(&states)?, ["db2"]);
        Ok(())
    }

    #[test]
    fn every_host_is_kept_and_verified_by_name() -> Outcome {
        for (hosts, expected) in [
            ("host=db1,db2 port=5432,5433", "host=db1,db2 port=5432,5433"),
            ("host=10.0.0.1,db3", "host=10.0.0.1,db3"),
            // One of them by a name that no certificate has.
            (
                "host=DB1,db2 port=5432,5433",
                "host=db1,db2 port=5432,5433 hostaddr=10.0.0.1,10.0.0.2",
            ),
            ("hostaddr=10.0.0.1,10.0.0.3", "hostaddr=10.0.0.1,10.0.0.3 host=db1,db3"),
            ("host=x,db3 hostaddr=10.0.0.1,10.0.0.3", "host=db1,db3 hostaddr=10.0.0.1,10.0.0.3"),
        ] {
            let (spec, states) = (spec()?, standby(&format!("{hosts} user=repl"))?);
            let links = Native.links(&spec, &states)?;
            let cluster = Cluster::new(&spec, &states, &links);
            let demands = demands(&Native, &cluster)?;
            let mut after = wanted(&Native, &cluster, &demands, &links[0])?;
            let others = "user sslmode sslrootcert passfile channel_binding require_auth";
            after.remove_all(&others.split(' ').collect::<Vec<_>>());
            assert_eq!(after.to_masked_text(), expected, "{hosts}");
        }
        Ok(())
    }

    #[test]
    fn a_node_must_let_itself_in_where_its_link_names_it() -> Outcome {
        let states = standby(&format!("{LIST}read-write"))?;
        let refused = |peers_from: &str| -> Outcome<Option<String>> {
            let mut spec = spec()?;
            spec.nodes[2].peers_from = vec![peers_from.parse()?];
            let links = Native.links(&spec, &states)?;
            let cluster = Cluster::new(&spec, &states, &links);
            Ok(Native.demand(&cluster, &states[2]).err().map(|error| error.to_string()))
        };
        assert_eq!(refused("10.0.0.0/24")?, None);
        let told = refused("10.0.0.0/31")?.unwrap_or_default();
        assert!(told.contains("Add its own address 10.0.0.3 to its peers-from"), "{told}");
        Ok(())
    }
}
