//! Links get other connection strings: at no moment one by which they could not connect.

use std::sync::Arc;

use pg_version::PgVersion;

use super::{Action, AutoConf, LinkChange, Step, files};
use crate::{
    conninfo::ConnInfo,
    error::Error,
    inspect::NodeState,
    spec::Mode,
    text::Text,
    topology::{self, Cluster, Demands, Dsn, Link, LinkPlace, SessionKey, Switch, Topology},
};

/// What becomes of the links.
#[derive(Default)]
pub(super) struct Switches {
    /// For the reader.
    pub(super) changes: Vec<LinkChange>,
    /// Before the secured way is open: connection strings by which a link connects, whether it is
    /// open or not.
    pub(super) prepare: Vec<Step>,
    /// When it is open: the secured ones.
    pub(super) switch: Vec<Step>,
}

impl Switches {
    fn extend(&mut self, more: Self) {
        self.changes.extend(more.changes);
        self.prepare.extend(more.prepare);
        self.switch.extend(more.switch);
    }
}

/// A connection string, and what people see of it.
struct Shown<'a> {
    conninfo: &'a ConnInfo,
    /// Secrets masked.
    text: Text,
}

impl<'a> Shown<'a> {
    fn of(conninfo: &'a ConnInfo) -> Self {
        Self { conninfo, text: conninfo.to_masked_text().into() }
    }
}

/// Gives the links their secured connection strings.
pub(super) fn switch(
    topology: &dyn Topology,
    cluster: &Cluster<'_>,
    demands: &Demands,
) -> Result<Switches, Error> {
    // Each on its own, and there may be a million: all of the machine works on them.
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = cluster.links.len().div_ceil(threads).max(1024);
    let mut all = Switches::default();
    std::thread::scope(|scope| {
        let begin = |links| scope.spawn(move || switch_each(topology, cluster, demands, links));
        let working: Vec<_> = cluster.links.chunks(share).map(begin).collect();
        for (place, work) in working.into_iter().enumerate() {
            let done = work.join().map_err(|_| Error::Cancelled)??;
            if place == 0 {
                all = done;
            } else {
                all.extend(done);
            }
        }
        Ok(all)
    })
}

/// Gives some of the links their secured connection strings.
fn switch_each(
    topology: &dyn Topology,
    cluster: &Cluster<'_>,
    demands: &Demands,
    links: &[Link],
) -> Result<Switches, Error> {
    let mut all = Switches::default();
    for link in links {
        let after = topology::wanted(topology, cluster, demands, link)?;
        if after == link.conninfo {
            continue;
        }
        let change =
            |before: &Shown<'_>, after: &Shown<'_>| step(topology, cluster, link, before, after);
        let either = either_way(cluster, link, &after);
        let (found, after) = (Shown::of(&link.conninfo), Shown::of(&after));
        let either = either.as_ref().map(Shown::of);
        let between = either.as_ref().unwrap_or(&found);
        let Some(last) = change(between, &after) else { continue };
        all.prepare.extend(either.as_ref().and_then(|either| change(&found, either)));
        all.changes.push(LinkChange {
            from: link.from.clone(),
            to: link.to.clone(),
            name: link.name.clone(),
            place: link.place.clone(),
            before: found.text,
            after: after.text,
        });
        all.switch.push(last);
    }
    Ok(all)
}

/// The link's connection string with the credentials of the secured one and nothing else of it, so
/// that it connects under the rules from before and under those that let both ways in. `None` where it
/// does so as it is.
///
/// A link that speaks TLS to whoever offers it (`prefer` is libpq's default) comes to the secured way
/// as soon as that is open. Refused for its certificate, libpq tries once more without TLS; asked for
/// a password that it has not, it gives up (`fe-connect.c`, majors 12 to 18).
///
/// A link that has a session only while it is used needs none: who uses it at that moment tries again.
pub(crate) fn either_way(cluster: &Cluster<'_>, link: &Link, after: &ConnInfo) -> Option<ConnInfo> {
    if !link.session.is_lasting() {
        return None;
    }
    let sslmode = link.conninfo.get("sslmode").unwrap_or("prefer");
    if sslmode == "disable" {
        return None;
    }
    let mut either = link.conninfo.clone();
    match cluster.spec.mode {
        Mode::Trust => return None,
        Mode::Cert => {
            let speaks_tls = cluster.state(&link.to).is_some_and(|to| to.setting("ssl") == "on");
            if matches!(sslmode, "prefer" | "allow") && !speaks_tls {
                return None;
            }
            for keyword in ["sslcert", "sslkey"] {
                either.set(keyword, after.get(keyword)?);
            }
        }
        Mode::Scram => {
            if link.conninfo.get("password").is_some() {
                return None;
            }
            either.set("passfile", after.get("passfile")?);
        }
    }
    if let Some(name) = after.get("application_name") {
        either.set("application_name", name);
    }
    (either != link.conninfo).then_some(either)
}

/// The step that gives a link another connection string.
fn step(
    topology: &dyn Topology,
    cluster: &Cluster<'_>,
    link: &Link,
    before: &Shown<'_>,
    after: &Shown<'_>,
) -> Option<Step> {
    let from = cluster.state(&link.from);
    // The WAL receiver of major 12 takes another primary_conninfo at a restart only.
    let physical = *link.place == LinkPlace::PrimaryConninfo;
    let restarts = physical && from.is_some_and(|from| from.version < PgVersion::V13);
    // A link that is switched off does not replicate, before or after.
    let wait = link.enabled && link.session.is_lasting() && !restarts;
    let auto_conf = from.filter(|_| physical).and_then(auto_conf).map(Box::new);
    let renamed = topology.session(link, after.conninfo) != link.session;
    let session = |conninfo: &ConnInfo| match &*link.session {
        // It gets a name of its own because it could not be told from others.
        SessionKey::Walreceiver { application, .. } if renamed && *conninfo == link.conninfo => {
            Arc::new(SessionKey::AnyWalreceiver { application: application.clone() })
        }
        _ => topology.session(link, conninfo),
    };
    let action = |from: &Shown<'_>, to: &Shown<'_>, wait, put_back| {
        let name = to.conninfo.has_secret().then(|| {
            if *to.conninfo == link.conninfo { as_found(link) } else { with_credentials(link) }
        });
        let dsn = match &name {
            Some(name) => Dsn::Secret(name),
            None => Dsn::Plain(to.conninfo, &to.text),
        };
        let Switch { statements, reload } = topology.switch(link, dsn)?;
        Some(Action::SwitchLink {
            to: link.to.clone(),
            name: link.name.clone(),
            place: link.place.clone(),
            session: session(to.conninfo),
            before: from.text.clone(),
            after: to.text.clone(),
            statements,
            reload,
            wait,
            put_back,
        })
    };
    // What was found comes back when the link is as it was found.
    let last = auto_conf.filter(|_| *before.conninfo == link.conninfo);
    let there = action(before, after, wait, None)?;
    Some(Step { node: link.from.clone(), action: there, undo: action(after, before, false, last) })
}

/// `ALTER SYSTEM` writes its whole file anew: what takes it back ends with the bytes that were there.
fn auto_conf(state: &NodeState) -> Option<AutoConf> {
    let path = state.auto_conf();
    let access = state.file(&path)?.access;
    Some(AutoConf { access, content: files::as_found(&state.name, &path), path })
}

/// The vault's name of a link's connection string as inspection found it.
pub(crate) fn as_found(link: &Link) -> String {
    // A name is unique in its place only.
    format!("{}: connection string of {} ({:?}) as found", link.from, link.name, link.place)
}

/// The vault's name of that connection string with the credentials of the secured one.
pub(crate) fn with_credentials(link: &Link) -> String {
    format!("{}, with credentials", as_found(link))
}
