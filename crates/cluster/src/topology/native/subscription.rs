//! Logical replication: each subscription is a link from the subscriber to the publisher.
//!
//! The connection string is `pg_subscription.subconninfo`. `ALTER SUBSCRIPTION … CONNECTION` changes
//! it; the apply worker notices, ends, and is started again with the new one (`worker.c`,
//! `maybe_reread_subscription`).

use postgres_protocol::escape::escape_identifier;

use super::{described, leads_nowhere};
use crate::{
    error::Error,
    inspect::NodeState,
    spec::Directory,
    text::Text,
    topology::{Dsn, Link, LinkPlace, SessionKey, Switch},
};

pub(super) fn links(directory: &Directory<'_>, node: &NodeState) -> Result<Vec<Link>, Error> {
    let from: Text = (&node.name).into();
    let mut links = Vec::new();
    for subscription in &node.subscriptions {
        let conninfo = &subscription.conninfo;
        let Some(to) = described(directory, conninfo) else {
            let what = format!("subscription {} of node {}", subscription.name, node.name);
            return Err(leads_nowhere(&what, conninfo));
        };
        let session = subscription.slot.clone().map_or(SessionKey::None, SessionKey::Slot);
        links.push(Link {
            from: from.clone(),
            to: (&to.name).into(),
            name: (&subscription.name).into(),
            place: LinkPlace::Subscription { database: subscription.database.clone() }.into(),
            conninfo: conninfo.clone(),
            session: session.into(),
            enabled: subscription.enabled,
        });
    }
    Ok(links)
}

pub(super) fn switch(link: &Link, database: &str, dsn: Dsn<'_>) -> Switch {
    let alter = format!("ALTER SUBSCRIPTION {} CONNECTION", escape_identifier(&link.name));
    Switch { statements: vec![(Some(database.into()), dsn.after(alter))], reload: false }
}

/// What an administrator of a subscription must know that will log in as another role.
pub(super) fn note(link: &Link, role: &str) -> Option<String> {
    let now = link.user().filter(|user| *user != role)?;
    matches!(*link.place, LinkPlace::Subscription { .. }).then(|| {
        format!(
            "the subscription {} logs in as {now} and will as {role}, which needs SELECT on the published \
             tables of {} to copy those that are added later",
            link.name, link.to
        )
    })
}
