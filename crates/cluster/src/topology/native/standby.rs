//! Physical replication: a standby's `primary_conninfo` is its link to the server that it follows.
//!
//! `ALTER SYSTEM SET primary_conninfo` changes it, for `postgresql.auto.conf` has the last word, and
//! `pg_basebackup -R` puts it there, too. From major 13 on a reload makes the WAL receiver connect
//! anew (`walreceiver.c`, `StartupRequestWalReceiverRestart`); 12 takes it at a restart only.

use std::sync::Arc;

use super::{
    elsewhere::{Stray, What},
    several,
};
use crate::{
    conninfo::ConnInfo,
    error::Error,
    inspect::NodeState,
    spec::{Directory, Mode},
    text::Text,
    topology::{Cluster, Dsn, Link, LinkPlace, SessionKey, Switch, Unsecured},
};

pub(super) fn link<'a>(
    directory: &Directory<'_>,
    states: &[NodeState],
    node: &'a NodeState,
    strays: &mut Vec<Stray<'a>>,
) -> Option<Link> {
    let conninfo = node.primary_conninfo.as_ref()?;
    let of_several = || {
        let receives = |to: &NodeState| several::receives_from(directory, node, conninfo, to);
        several::target(directory, states, node, conninfo, receives)
    };
    let Some(to) = directory.reached_from(&node.name, conninfo).or_else(of_several) else {
        strays.push(Stray { node, what: What::PrimaryConninfo, conninfo });
        return None;
    };
    let address = directory.named(&node.name).map_or(to.address, |own| own.address);
    let slot = Some(node.setting("primary_slot_name")).filter(|slot| !slot.is_empty());
    let session = match slot {
        Some(slot) => SessionKey::Slot(slot.to_owned()),
        None => SessionKey::Walreceiver {
            application: application(node, conninfo),
            address,
            others: directory.addresses().filter(|other| *other != address).collect(),
        },
    };
    Some(Link {
        from: (&node.name).into(),
        to: (&to.name).into(),
        name: "primary_conninfo".into(),
        place: LinkPlace::PrimaryConninfo.into(),
        conninfo: Arc::new(conninfo.clone()),
        session: session.into(),
        enabled: true,
    })
}

/// The application name of a WAL receiver: `cluster_name` where none is given, else `walreceiver`
/// (`walreceiver.c`, `WalReceiverMain`).
fn application(node: &NodeState, conninfo: &ConnInfo) -> String {
    let named = conninfo.get("application_name").filter(|name| !name.is_empty());
    let cluster = Some(node.setting("cluster_name")).filter(|name| !name.is_empty());
    named.or(cluster).unwrap_or("walreceiver").to_owned()
}

/// The name that the WAL receiver of a standby gets, if it could be another's by its own.
pub(super) fn name_of_its_own(cluster: &Cluster<'_>, link: &Link) -> Option<Text> {
    is_ambiguous(cluster, link).then(|| name_for(cluster, &link.from).into())
}

pub(super) fn secured(link: &Unsecured<'_>, mut conninfo: ConnInfo) -> ConnInfo {
    if let Some(name) = link.application {
        conninfo.set("application_name", name);
    }
    conninfo
}

/// An application name that the server shows as it is: it replaces what is not ASCII, and cuts what is
/// longer than 63 octets.
fn name_for(cluster: &Cluster<'_>, node: &str) -> String {
    if node.len() < 64 && node.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
        return node.to_owned();
    }
    let place = cluster.spec.nodes.iter().position(|described| described.name == node);
    format!("pgward-node-{}", place.unwrap_or_default() + 1)
}

/// Whether the WAL receiver of another standby of the same server has the same name, and addresses do
/// not tell them apart: standbys on one machine, or behind one address.
fn is_ambiguous(cluster: &Cluster<'_>, link: &Link) -> bool {
    let SessionKey::Walreceiver { application, .. } = &*link.session else { return false };
    let mut addresses = Vec::new();
    for other in cluster.links_to(&link.to) {
        match &*other.session {
            SessionKey::Walreceiver { application: name, address, .. } if name == application => {
                addresses.push(*address);
            }
            _ => {}
        }
    }
    let count = addresses.len();
    addresses.sort();
    addresses.dedup();
    // Whether both are there at this moment or not.
    if addresses.len() < count {
        return true;
    }
    if count < 2 {
        return false;
    }
    let receivers = cluster.state(&link.to).map_or(&[][..], |to| &to.receivers);
    let named = receivers.iter().filter(|(name, _)| name == application);
    let mut seen: Vec<_> = named.map(|(_, address)| *address).collect();
    let count = seen.len();
    seen.sort();
    seen.dedup();
    let known = |address: &Option<_>| address.is_some_and(|address| addresses.contains(&address));
    seen.len() < count || !seen.iter().all(known)
}

/// How the session of a standby is found when it has connected by this connection string.
pub(super) fn session(link: &Link, conninfo: &ConnInfo) -> Arc<SessionKey> {
    let SessionKey::Walreceiver { address, others, .. } = &*link.session else {
        return link.session.clone();
    };
    let name = |conninfo: &ConnInfo| conninfo.get("application_name").map(str::to_owned);
    match name(conninfo) {
        Some(application) if name(&link.conninfo).as_ref() != Some(&application) => {
            let (address, others) = (*address, others.clone());
            Arc::new(SessionKey::Walreceiver { application, address, others })
        }
        _ => link.session.clone(),
    }
}

/// What must be different before a standby can get another connection string.
///
/// # Errors
/// [`Error::Plan`].
pub(super) fn check(cluster: &Cluster<'_>, state: &NodeState, link: &Link) -> Result<(), Error> {
    if state.setting("allow_alter_system") == "off" {
        return Err(Error::plan(
            "allow_alter_system is off, and ALTER SYSTEM is how a standby gets another \
             primary_conninfo: turn it on for as long as this takes",
        ));
    }
    let waits_for =
        cluster.state(&link.to).map_or("", |to| to.setting("synchronous_standby_names"));
    if !waits_for.is_empty() && !waits_for.contains('*') && is_ambiguous(cluster, link) {
        return Err(Error::plan(format!(
            "another standby of {} has the same application name and comes from the same address: \
             set application_name in primary_conninfo on each, and name them in \
             synchronous_standby_names there",
            link.to
        )));
    }
    Ok(())
}

pub(super) fn switch(dsn: Dsn<'_>) -> Switch {
    let statement = dsn.after("ALTER SYSTEM SET primary_conninfo =");
    Switch { statements: [(None, statement)].into(), reload: true }
}

/// Roles and their passwords are the primary's, and a standby has them from there.
///
/// # Errors
/// [`Error::Plan`] for a standby that links lead to, by passwords that nobody could set.
pub(super) fn check_passwords(cluster: &Cluster<'_>, state: &NodeState) -> Result<(), Error> {
    let is_led_to = || cluster.links_to(&state.name).next().is_some();
    if cluster.spec.mode == Mode::Scram && primary_of(cluster, state).in_recovery && is_led_to() {
        return Err(Error::plan(
            "links lead to this standby, and their roles' passwords are kept by its primary, which is not \
             described: describe it, too, or let mode be cert",
        ));
    }
    Ok(())
}

/// The server at the beginning of the chain of standbys that a node is in: itself, if it is none.
pub(super) fn primary_of<'a>(cluster: &Cluster<'a>, state: &'a NodeState) -> &'a NodeState {
    let mut at = state;
    // A chain is never longer than the cluster.
    for _ in cluster.states {
        if !at.in_recovery {
            break;
        }
        let link = cluster.links_from(&at.name).find(|l| *l.place == LinkPlace::PrimaryConninfo);
        match link.and_then(|link| cluster.state(&link.to)) {
            Some(next) => at = next,
            None => break,
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use pg_version::PgVersion;

    use super::*;
    use crate::{
        demand::Databases,
        inspect::sample,
        topology::{Native, Topology as _},
    };

    /// Whether each of two standbys of a node gets a name of its own; the receivers are those that the
    /// node has.
    fn named_anew(
        addresses: [&str; 2],
        receivers: &[&str],
    ) -> Result<[bool; 2], Box<dyn std::error::Error>> {
        let begin = "topology = \"native\"\nmode = \"cert\"\nlink-role = \"repl\"";
        let nodes =
            [("n", "10.0.0.1", 5432), ("one", addresses[0], 5432), ("two", addresses[1], 5433)];
        let spec = sample::spec(begin, &nodes)?;
        let mut primary = sample::node(b"", &[]);
        let address = |text: &&str| Ok(("walreceiver".to_owned(), Some(text.parse()?)));
        let receivers: Result<_, std::net::AddrParseError> =
            receivers.iter().map(address).collect();
        primary.receivers = receivers?;
        let mut states = vec![primary];
        for name in ["one", "two"] {
            let mut standby = sample::node(b"", &[]);
            standby.name = name.to_owned();
            standby.in_recovery = true;
            standby.primary_conninfo = Some("host=10.0.0.1 user=repl".parse()?);
            states.push(standby);
        }
        let links = Native.links(&spec, &states)?;
        let cluster = Cluster::new(&spec, &states, &links);
        Ok([0, 1].map(|at| Native.application(&cluster, &links[at]).is_some()))
    }

    /// A standby of 17 or later synchronizes slots by a session of the database that it names; before,
    /// nothing came of a name.
    #[test]
    fn a_standby_is_let_in_to_the_database_that_it_synchronizes_slots_by()
    -> Result<(), Box<dyn std::error::Error>> {
        let begin = "topology = \"native\"\nmode = \"cert\"\nlink-role = \"repl\"";
        let spec = sample::spec(begin, &[("n", "10.0.0.1", 5432), ("m", "10.0.0.2", 5432)])?;
        let named = || Databases::Names(vec!["app".to_owned()]);
        for (version, more, expected) in [
            (PgVersion::V17, " dbname=app", vec![named(), Databases::Replication]),
            (PgVersion::V17, "", vec![Databases::Replication]),
            (PgVersion::V16, " dbname=app", vec![Databases::Replication]),
        ] {
            let mut standby = sample::node(b"", &[]);
            standby.name = "m".to_owned();
            standby.version = version;
            standby.in_recovery = true;
            standby.primary_conninfo = Some(format!("host=10.0.0.1 user=repl{more}").parse()?);
            let states = [sample::node(b"", &[]), standby];
            let links = Native.links(&spec, &states)?;
            let cluster = Cluster::new(&spec, &states, &links);
            let demand = Native.demand(&cluster, &states[0])?;
            assert_eq!(demand.ways_in[0].databases, expected, "{version}{more}");
        }
        Ok(())
    }

    /// Roles and passwords of a standby whose primary is not described are nobody's here: that matters
    /// where links lead to it, and they have passwords.
    #[test]
    fn passwords_of_links_to_a_strangers_standby_are_refused()
    -> Result<(), Box<dyn std::error::Error>> {
        let demands = |mode: &str, is_led_to: bool| -> Result<Result<(), String>, _> {
            let begin = format!("topology = \"native\"\nmode = \"{mode}\"\nlink-role = \"repl\"");
            let nodes = [("n", "10.0.0.1", 5432), ("standby", "10.0.0.2", 5432)];
            let spec = sample::spec(&begin, &nodes)?;
            let mut standby = sample::node(b"", &[]);
            standby.name = "standby".to_owned();
            standby.in_recovery = true;
            standby.primary_conninfo = Some("host=192.0.2.1 user=theirs".parse()?);
            let mut node = sample::node(b"", &[]);
            if is_led_to {
                node.in_recovery = true;
                node.primary_conninfo = Some("host=standby user=repl".parse()?);
            }
            let states = [node, standby];
            let links = Native.links(&spec, &states)?;
            assert_eq!(links.len(), usize::from(is_led_to));
            let cluster = Cluster::new(&spec, &states, &links);
            let demand = |state| Native.demand(&cluster, state).map(|demand| demand.roles);
            let roles = states.iter().map(demand).collect::<Result<Vec<_>, _>>();
            Ok::<_, Box<dyn std::error::Error>>(match roles {
                // A standby's roles are never asked for.
                Ok(roles) => {
                    assert!(roles[1].is_empty());
                    Ok(())
                }
                Err(error) => Err(error.to_string()),
            })
        };
        assert_eq!(demands("scram", false)?, Ok(()));
        assert_eq!(demands("cert", true)?, Ok(()));
        let refused = demands("scram", true)?.err().unwrap_or_default();
        assert!(refused.contains("its primary, which is not described"), "{refused}");
        Ok(())
    }

    #[test]
    fn a_standby_that_could_be_another_gets_a_name() -> Result<(), Box<dyn std::error::Error>> {
        let apart = ["10.0.0.2", "10.0.0.3"];
        assert_eq!(named_anew(apart, &apart)?, [false, false]);
        assert_eq!(named_anew(apart, &["10.0.0.2"])?, [false, false]);
        // Both come by way of one address, or of one that nobody is known by.
        assert_eq!(named_anew(apart, &["10.0.0.2", "10.0.0.2"])?, [true, true]);
        assert_eq!(named_anew(apart, &["10.0.0.2", "10.0.0.9"])?, [true, true]);
        // On one machine they could be one another whenever both are there.
        let together = ["10.0.0.2", "10.0.0.2"];
        for receivers in [&together[..], &together[..1], &[]] {
            assert_eq!(named_anew(together, receivers)?, [true, true]);
        }
        Ok(())
    }
}
