//! Logical replication: each subscription is a link from the subscriber to the publisher.
//!
//! The connection string is `pg_subscription.subconninfo`. `ALTER SUBSCRIPTION … CONNECTION` changes
//! it; the apply worker notices, ends, and is started again with the new one (`worker.c`,
//! `maybe_reread_subscription`).

use postgres_protocol::escape::escape_identifier;

use super::described;
use crate::{
    error::Error,
    inspect::NodeState,
    spec::ClusterSpec,
    topology::{Dsn, Link, LinkPlace, SessionKey, Switch},
};

pub(super) fn links(spec: &ClusterSpec, node: &NodeState) -> Result<Vec<Link>, Error> {
    let mut links = Vec::new();
    for subscription in &node.subscriptions {
        let conninfo = &subscription.conninfo;
        let Some(to) = described(spec, conninfo) else {
            return Err(Error::plan(format!(
                "subscription {} of node {} leads to none of the described nodes ({}): describe that \
                 node too, or drop the subscription",
                subscription.name,
                node.name,
                conninfo.to_masked_text()
            )));
        };
        links.push(Link {
            from: node.name.clone(),
            to: to.name.clone(),
            name: subscription.name.clone(),
            place: LinkPlace::Subscription { database: subscription.database.clone() },
            conninfo: conninfo.clone(),
            session: subscription.slot.clone().map_or(SessionKey::None, SessionKey::Slot),
            enabled: subscription.enabled,
        });
    }
    Ok(links)
}

pub(super) fn switch(link: &Link, database: &str, dsn: Dsn<'_>) -> Switch {
    let alter = format!("ALTER SUBSCRIPTION {} CONNECTION", escape_identifier(&link.name));
    Switch { statements: vec![(Some(database.to_owned()), dsn.after(alter))], reload: false }
}
