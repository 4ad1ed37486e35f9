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

use super::{
    elsewhere::{Stray, What},
    several,
};
use crate::{
    conninfo::ConnInfo,
    error::Error,
    inspect::{NodeState, SlotInUse, Subscription},
    spec::{Directory, NodeSpec},
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

    pub(super) fn links(
        &mut self,
        states: &[NodeState],
        node: &'a NodeState,
        links: &mut Vec<Link>,
        strays: &mut Vec<Stray<'a>>,
    ) {
        let from: Text = (&node.name).into();
        links.reserve(node.subscriptions.len());
        for subscription in &node.subscriptions {
            let Subscription { name, database, conninfo, slot, enabled, .. } = subscription;
            let of_one = self.target(&node.name, conninfo);
            let of_several = || {
                let database = conninfo.get("dbname").or(conninfo.get("user"));
                let is_its = |it: &SlotInUse| {
                    Some(&it.name) == slot.as_ref() && it.database.as_deref() == database
                };
                let feeds = |to: &NodeState| to.slots_in_use.iter().any(is_its);
                let to = several::target(self.directory, states, node, conninfo, feeds)?;
                Some(((&to.name).into(), Arc::new(conninfo.clone())))
            };
            let Some((to, conninfo)) = of_one.or_else(of_several) else {
                let what = What::Subscription { name, slot: slot.as_deref() };
                strays.push(Stray { node, what, conninfo });
                continue;
            };
            let place = || LinkPlace::Subscription { database: database.clone() }.into();
            links.push(Link {
                from: from.clone(),
                to,
                name: name.into(),
                place: self.places.entry(database).or_insert_with(place).clone(),
                conninfo,
                session: slot.clone().map_or(SessionKey::None, SessionKey::Slot).into(),
                enabled: *enabled,
            });
        }
    }

    fn target(&mut self, from: &str, conninfo: &'a ConnInfo) -> Option<(Text, Arc<ConnInfo>)> {
        let target = |to: &NodeSpec| ((&to.name).into(), Arc::new(conninfo.clone()));
        match self.targets.entry(conninfo) {
            Entry::Occupied(known) => Some(known.get().clone()),
            Entry::Vacant(new) => match self.directory.reached_by(conninfo) {
                Some(to) => Some(new.insert(target(to)).clone()),
                // Where its own machine's loopback leads is another's question on another machine.
                None => self.directory.reached_from(from, conninfo).map(target),
            },
        }
    }
}

pub(super) fn switch(link: &Link, database: &str, dsn: Dsn<'_>) -> Switch {
    let alter = format!("ALTER SUBSCRIPTION {} CONNECTION", escape_identifier(&link.name));
    Switch { statements: [(Some(database.into()), dsn.after(alter))].into(), reload: false }
}

/// What must be different before a subscription can do without a password of its own.
///
/// # Errors
/// [`Error::Plan`].
pub(super) fn check<'a>(
    state: &NodeState,
    mut links: impl Iterator<Item = &'a Link>,
) -> Result<(), Error> {
    // Few have such an owner, and there may be a thousand.
    let needs = |it: &&Subscription| it.owner_needs_password.is_some();
    let needing: Vec<_> = state.subscriptions.iter().filter(needs).collect();
    let owner = |link: &Link| {
        let LinkPlace::Subscription { database } = &*link.place else { return None };
        let mut all = needing.iter();
        let its = all.find(|it| link.name == *it.name && it.database == *database)?;
        Some((*its, its.owner_needs_password.as_deref()?))
    };
    if needing.is_empty() {
        return Ok(());
    }
    let Some((Subscription { name, database, .. }, owner)) = links.find_map(owner) else {
        return Ok(());
    };
    Err(Error::plan(format!(
        "the subscription {name} of the database {database} belongs to {owner}, who is no superuser: so it \
         must have its password in its connection string, and it shall have none. Let a superuser allow \
         that: ALTER SUBSCRIPTION {} SET (password_required = false)",
        escape_identifier(name)
    )))
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
