//! Logical replication: each subscription is a link from the subscriber to the publisher.
//!
//! The connection string is `pg_subscription.subconninfo`. `ALTER SUBSCRIPTION … CONNECTION` changes
//! it; the apply worker notices, ends, and is started again with the new one (`worker.c`,
//! `maybe_reread_subscription`).

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use postgres_protocol::escape::escape_identifier;

use super::leads_nowhere;
use crate::{
    conninfo::ConnInfo,
    error::Error,
    inspect::{NodeState, Subscription},
    spec::Directory,
    text::Text,
    topology::{Dsn, Link, LinkPlace, SessionKey, Switch},
};

/// The subscriptions of many nodes, which have much in common.
pub(super) struct Subscriptions<'a> {
    directory: &'a Directory<'a>,
    /// What a connection string leads to.
    targets: HashMap<&'a ConnInfo, (Text, Arc<ConnInfo>)>,
    /// By database.
    places: HashMap<&'a str, Arc<LinkPlace>>,
}

impl<'a> Subscriptions<'a> {
    pub(super) fn new(directory: &'a Directory<'a>) -> Self {
        Self { directory, targets: HashMap::new(), places: HashMap::new() }
    }

    pub(super) fn links(&mut self, node: &'a NodeState) -> Result<Vec<Link>, Error> {
        let from: Text = (&node.name).into();
        let mut links = Vec::with_capacity(node.subscriptions.len());
        for subscription in &node.subscriptions {
            let Subscription { name, database, conninfo, slot, enabled } = subscription;
            let (to, conninfo) = match self.targets.entry(conninfo) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    let to = self.directory.reached_by(conninfo).ok_or_else(|| {
                        let what = format!("subscription {name} of node {}", node.name);
                        leads_nowhere(&what, conninfo)
                    })?;
                    new.insert(((&to.name).into(), Arc::new(conninfo.clone())))
                }
            };
            let place = || LinkPlace::Subscription { database: database.clone() }.into();
            links.push(Link {
                from: from.clone(),
                to: to.clone(),
                name: name.into(),
                place: self.places.entry(database).or_insert_with(place).clone(),
                conninfo: conninfo.clone(),
                session: slot.clone().map_or(SessionKey::None, SessionKey::Slot).into(),
                enabled: *enabled,
            });
        }
        Ok(links)
    }
}

pub(super) fn switch(link: &Link, database: &str, dsn: Dsn<'_>) -> Switch {
    let alter = format!("ALTER SUBSCRIPTION {} CONNECTION", escape_identifier(&link.name));
    Switch { statements: [(Some(database.into()), dsn.after(alter))].into(), reload: false }
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
