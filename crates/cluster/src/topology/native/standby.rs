//! Physical replication: a standby's `primary_conninfo` is its link to the server that it follows.
//!
//! `ALTER SYSTEM SET primary_conninfo` changes it, for `postgresql.auto.conf` has the last word, and
//! `pg_basebackup -R` puts it there, too. From major 13 on a reload makes the WAL receiver connect
//! anew (`walreceiver.c`, `StartupRequestWalReceiverRestart`); 12 takes it at a restart only.

use std::sync::Arc;

use pg_version::PgVersion;

use crate::{
    conninfo::ConnInfo,
    error::Error,
    inspect::NodeState,
    spec::Directory,
    topology::{Cluster, Dsn, Link, LinkPlace, SessionKey, Switch},
};

pub(super) fn link(directory: &Directory<'_>, node: &NodeState) -> Result<Option<Link>, Error> {
    let Some(conninfo) = &node.primary_conninfo else { return Ok(None) };
    let Some(to) = directory.reached_by(conninfo) else {
        return Err(Error::plan(format!(
            "primary_conninfo of node {} leads to none of the described nodes ({}): describe that node \
             too",
            node.name,
            conninfo.to_masked_text()
        )));
    };
    let slot = Some(node.setting("primary_slot_name")).filter(|slot| !slot.is_empty());
    let session = match slot {
        Some(slot) => SessionKey::Slot(slot.to_owned()),
        None => SessionKey::Walreceiver {
            application: application(node, conninfo),
            address: directory.named(&node.name).map_or(to.address, |own| own.address),
        },
    };
    Ok(Some(Link {
        from: (&node.name).into(),
        to: (&to.name).into(),
        name: "primary_conninfo".into(),
        place: LinkPlace::PrimaryConninfo.into(),
        conninfo: Arc::new(conninfo.clone()),
        session: session.into(),
        enabled: true,
    }))
}

/// The application name of a WAL receiver: `cluster_name` where none is given, else `walreceiver`
/// (`walreceiver.c`, `WalReceiverMain`).
fn application(node: &NodeState, conninfo: &ConnInfo) -> String {
    let named = conninfo.get("application_name").filter(|name| !name.is_empty());
    let cluster = Some(node.setting("cluster_name")).filter(|name| !name.is_empty());
    named.or(cluster).unwrap_or("walreceiver").to_owned()
}

pub(super) fn switch(dsn: Dsn<'_>) -> Switch {
    let statement = dsn.after("ALTER SYSTEM SET primary_conninfo =");
    Switch { statements: [(None, statement)].into(), reload: true }
}

/// What an administrator of a standby must know.
pub(super) fn note(state: &NodeState) -> Option<String> {
    (state.version < PgVersion::V13).then(|| {
        "PostgreSQL 12 takes another primary_conninfo at a restart only: restart this standby before \
         the way that it comes in by now is closed"
            .to_owned()
    })
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
