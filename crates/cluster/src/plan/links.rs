//! Links get other connection strings: at no moment one by which they could not connect.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    path::Path,
    sync::Arc,
};

use hba_parser::Method;
use pg_version::PgVersion;

use super::{Action, AutoConf, LinkChange, Step, Warning, files};
use crate::{
    conninfo::ConnInfo,
    error::Error,
    hba::{Question, Reading},
    inspect::NodeState,
    parallel,
    spec::Mode,
    text::Text,
    topology::{
        self, Client, Cluster, Demands, Dsn, Link, LinkPlace, SessionKey, Switch, Topology,
        Unsecured,
    },
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

/// Gives the links their secured connection strings.
pub(super) fn switch(
    topology: &dyn Topology,
    cluster: &Cluster<'_>,
    demands: &Demands,
    root: &str,
) -> Result<Switches, Error> {
    // Each on its own, and there may be a million.
    let switch_share = |links| Switcher::new(topology, cluster, demands, root).switch(links);
    let mut shares = parallel::shares(cluster.links, 1024, switch_share)?.into_iter();
    let mut all = shares.next().unwrap_or_else(|| Ok(Switches::default()))?;
    for share in shares {
        let Switches { changes, prepare, switch } = share?;
        all.changes.extend(changes);
        all.prepare.extend(prepare);
        all.switch.extend(switch);
    }
    Ok(all)
}

/// What waits for standbys that take another `primary_conninfo` at a restart only.
#[derive(Default)]
pub(super) struct Waits<'a> {
    /// The nodes that they come in to by what they have now, and so go on to let them in.
    pub(super) stays_open: BTreeSet<&'a str>,
    pub(super) warnings: Vec<Warning>,
}

/// The links that are as they shall be after a restart only (major 12): what they come in by now must not
/// be closed before.
pub(super) fn waiting_for_a_restart<'a>(
    cluster: &Cluster<'a>,
    changes: &[LinkChange],
) -> Waits<'a> {
    let mut waits = Waits::default();
    for change in changes.iter().filter(|change| *change.place == LinkPlace::PrimaryConninfo) {
        let Some(standby) = cluster.state(&change.from).filter(|it| takes_at_restart(it)) else {
            continue;
        };
        for link in cluster.links_from(&standby.name).filter(|link| *link.place == *change.place) {
            waits.stays_open.insert(&link.to);
            let others = topology::nodes_named(cluster.spec, &link.conninfo);
            waits.stays_open.extend(others.map(|node| node.name.as_str()));
        }
        let message = format!(
            "PostgreSQL 12 takes another primary_conninfo at a restart only. Until then the way that this \
             standby comes in by now stays open on {}: restart the standby when this is applied, then \
             apply again",
            change.to
        );
        waits.warnings.push(Warning::new(&standby.name, message));
    }
    waits
}

/// Whether a standby takes another `primary_conninfo` at a restart only.
fn takes_at_restart(standby: &NodeState) -> bool {
    standby.version < PgVersion::V13
}

/// Gives links their secured connection strings, and makes what many of them have in common once.
struct Switcher<'a> {
    topology: &'a dyn Topology,
    cluster: &'a Cluster<'a>,
    demands: &'a Demands,
    /// The certificate of the cluster's authority.
    root: &'a str,
    /// What links connect with, each with a number.
    starts: HashMap<Start<'a>, usize>,
    /// The node that the last link starts at, and what its links connect with.
    from: Option<(&'a Text, Start<'a>, usize)>,
    /// What becomes of the links of each kind; `None` where they are as they shall be.
    kinds: HashMap<Kind<'a>, Option<Change>>,
}

/// What the links that start at a node connect with.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Start<'a> {
    client: Client<'a>,
    /// Whether the authority that they verify servers by is replaced.
    gets_another_root: bool,
}

/// What decides about how a link is switched. A mesh of a thousand nodes has a million links, and a
/// thousand kinds of them.
#[derive(PartialEq, Eq, Hash)]
struct Kind<'a> {
    /// The number of what it connects with.
    start: usize,
    to: &'a str,
    /// One and the same in memory: looking at what it says would take longer than anything else here.
    conninfo: *const ConnInfo,
    /// As the connection string.
    place: *const LinkPlace,
    is_lasting: bool,
    /// [`Topology::application`]
    application: Option<Text>,
}

/// So many kinds are remembered: there are as many as links where no two are alike.
const KINDS: usize = 1 << 16;

impl<'a> Switcher<'a> {
    fn new(
        topology: &'a dyn Topology,
        cluster: &'a Cluster<'a>,
        demands: &'a Demands,
        root: &'a str,
    ) -> Self {
        let (starts, kinds) = (HashMap::new(), HashMap::new());
        Self { topology, cluster, demands, root, starts, from: None, kinds }
    }

    fn switch(mut self, links: &'a [Link]) -> Result<Switches, Error> {
        let mut all = Switches {
            changes: Vec::with_capacity(links.len()),
            prepare: Vec::new(),
            switch: Vec::with_capacity(links.len()),
        };
        for link in links {
            let (topology, cluster) = (self.topology, self.cluster);
            let Some(change) = self.change(link)? else { continue };
            let Some(named) = change.named(topology, link) else { continue };
            let steps = Stepper::new(topology, cluster, link, change, &named.name);
            let found = (&change.found, &named.found);
            let after = (&change.after, &named.after);
            match change.either.as_ref().zip(named.either.as_ref()) {
                Some(either) => {
                    all.prepare.push(steps.first(found, either));
                    all.switch.push(steps.step(either, after, None));
                }
                None => all.switch.push(steps.first(found, after)),
            }
            all.changes.push(LinkChange {
                from: link.from.clone(),
                to: change.to.clone(),
                name: named.name.clone(),
                place: change.place.clone(),
                before: change.found.text.clone(),
                after: change.after.text.clone(),
            });
        }
        Ok(all)
    }

    /// What becomes of a link.
    fn change(&mut self, link: &'a Link) -> Result<Option<&mut Change>, Error> {
        let (start, number) = self.start(&link.from)?;
        let kind = Kind {
            start: number,
            to: &link.to,
            conninfo: Arc::as_ptr(&link.conninfo),
            place: Arc::as_ptr(&link.place),
            is_lasting: link.session.is_lasting(),
            application: self.topology.application(self.cluster, link),
        };
        if self.kinds.len() >= KINDS && !self.kinds.contains_key(&kind) {
            self.kinds.clear();
        }
        let change = match self.kinds.entry(kind) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let Link { conninfo, place, .. } = link;
                let to = self.cluster.node(&link.to)?;
                let application = new.key().application.as_deref();
                let unsecured =
                    Unsecured { conninfo, place, client: start.client, to, application };
                let after = self.topology.secured(self.cluster.spec, &unsecured);
                let (cluster, demands, root) = (self.cluster, self.demands, self.root);
                let change = |after| {
                    let either = either_way(cluster, link, &after)
                        .filter(|it| agrees(cluster, demands, root, start, link, it))
                        .filter(|it| is_let_in(cluster, link, it));
                    Change::new(link, either, after)
                };
                new.insert(Some(after).filter(|after| *after != **conninfo).map(change))
            }
        };
        Ok(change.as_mut())
    }

    /// What the links that start at a node connect with, and its number.
    fn start(&mut self, from: &'a Text) -> Result<(Start<'a>, usize), Error> {
        if let Some((last, start, number)) = self.from
            && last == from
        {
            return Ok((start, number));
        }
        let client = topology::client(self.cluster, self.demands, from)?;
        let has_root =
            |path| self.cluster.state(from).is_some_and(|state| files::has(state, path, self.root));
        let start = Start { client, gets_another_root: !client.root.is_none_or(has_root) };
        let next = self.starts.len();
        let number = *self.starts.entry(start).or_insert(next);
        self.from = Some((from, start, number));
        Ok((start, number))
    }
}

/// Whether a link that connects anew before the servers have read what was put in place agrees with them
/// on the authority. Its node may have another than the server's certificate is still of, and its own
/// certificate may be of another than the server still asks for.
fn agrees(
    cluster: &Cluster<'_>,
    demands: &Demands,
    root: &str,
    start: Start<'_>,
    link: &Link,
    either: &ConnInfo,
) -> bool {
    let Some(to) = cluster.state(&link.to).filter(|to| to.setting("ssl") == "on") else {
        return true;
    };
    let verifies_by_it = || {
        let from = cluster.state(&link.from)?;
        let place = |path: &Path| from.in_data_directory(path);
        Some(place(either.get("sslrootcert")?.as_ref()) == place(start.client.root?))
    };
    let asks_for_another = || {
        let asked = Some(to.setting("ssl_ca_file")).filter(|it| !it.is_empty())?;
        let ours = demands.get(&*link.to)?.root.as_deref()?;
        let is_ours = to.in_data_directory(asked) == to.in_data_directory(ours);
        Some(!is_ours || !files::has(to, ours, root))
    };
    let takes_another = start.gets_another_root && verifies_by_it().unwrap_or_default();
    let shows_another = cluster.spec.mode == Mode::Cert && asks_for_another().unwrap_or_default();
    !takes_another && !shows_another
}

/// Whether the rules from before let a link in that connects anew. Where they do not, it only works until
/// its session ends. Of several that differ in nothing but where they come from, one speaks for all: one
/// that is taken to be shut out is switched when the secured way is open.
fn is_let_in(cluster: &Cluster<'_>, link: &Link, either: &ConnInfo) -> bool {
    let (Some(to), Ok(node)) = (cluster.state(&link.to), cluster.node(&link.to)) else {
        return true;
    };
    let Ok(from) = cluster.node(&link.from) else { return true };
    let Some(user) = either.get("user") else { return true };
    let speaks_tls = to.setting("ssl") == "on";
    let plain_too = matches!(either.get("sslmode").unwrap_or("prefer"), "prefer" | "allow");
    let reading = Reading::of(to, node.address);
    let lets_in_from = |address, tls| {
        let question = Question {
            address: Some(address),
            tls,
            user,
            database: either.get("dbname").unwrap_or(user),
            physical: *link.place == LinkPlace::PrimaryConninfo,
        };
        reading.decide(&question).is_some_and(|rule| match rule.method {
            Method::Reject => false,
            // Without authorities the server takes nobody's.
            Method::Cert => !to.setting("ssl_ca_file").is_empty(),
            _ => true,
        })
    };
    // It need not come from the address by which others reach its node.
    let networks = node.peers_from.iter();
    let others = networks.map(|network| network.hosts().next().unwrap_or_else(|| network.addr()));
    let addresses: Vec<_> = std::iter::once(from.address).chain(others).collect();
    let lets_in = |tls| addresses.iter().any(|address| lets_in_from(*address, tls));
    (speaks_tls && lets_in(true)) || ((plain_too || !speaks_tls) && lets_in(false))
}

/// What becomes of the links of one kind.
struct Change {
    /// The names are this one's own: all processors count their uses of what they share.
    to: Text,
    place: Arc<LinkPlace>,
    found: Shown,
    /// On the way, where the one that was found would not do.
    either: Option<Shown>,
    after: Shown,
    /// How the last link was switched: most links of a kind have the same name, too.
    last: Option<Arc<Named>>,
}

/// A connection string, and what people see of it.
struct Shown {
    conninfo: ConnInfo,
    /// Secrets masked.
    text: Text,
    /// As it is written where it has none: what was found comes back to the letter.
    written: Text,
    has_secret: bool,
}

impl From<ConnInfo> for Shown {
    fn from(conninfo: ConnInfo) -> Self {
        let text: Text = conninfo.to_masked_text().into();
        let has_secret = conninfo.has_secret();
        let written = conninfo.to_text_as_read();
        let written =
            if has_secret || **written == *text { text.clone() } else { written.as_str().into() };
        Self { conninfo, text, written, has_secret }
    }
}

/// How links of one name get each of their connection strings.
struct Named {
    name: Text,
    found: Switch,
    either: Option<Switch>,
    after: Switch,
}

impl Change {
    fn new(link: &Link, either: Option<ConnInfo>, after: ConnInfo) -> Self {
        Self {
            to: (&*link.to).into(),
            place: Arc::new((*link.place).clone()),
            either: either.map(Shown::from),
            found: (*link.conninfo).clone().into(),
            after: after.into(),
            last: None,
        }
    }

    /// How a link is switched; `None` for one that has no connection string of its own.
    fn named(&mut self, topology: &dyn Topology, link: &Link) -> Option<Arc<Named>> {
        // A secret has a name of its own for each link.
        let has_secret = self.found.has_secret || self.after.has_secret;
        if let Some(last) = self.last.as_ref().filter(|last| last.name == link.name && !has_secret)
        {
            return Some(last.clone());
        }
        let switch = |shown: &Shown, secret: fn(&Link) -> String| {
            let name = shown.has_secret.then(|| secret(link));
            let dsn = match &name {
                Some(name) => Dsn::Secret(name),
                None => Dsn::Plain(&shown.conninfo, &shown.written),
            };
            topology.switch(link, dsn)
        };
        let named = Named {
            name: (&*link.name).into(),
            found: switch(&self.found, as_found)?,
            either: match &self.either {
                Some(either) => Some(switch(either, with_credentials)?),
                None => None,
            },
            after: switch(&self.after, with_credentials)?,
        };
        Some(self.last.insert(named.into()).clone())
    }
}

/// Steps that give a link another connection string.
struct Stepper<'a> {
    topology: &'a dyn Topology,
    link: &'a Link,
    change: &'a Change,
    name: &'a Text,
    /// Whether to wait until it works.
    wait: bool,
    /// The end of taking back to what was found.
    put_back: Option<Box<AutoConf>>,
    /// Whether its session gets a name of its own, because it could not be told from others.
    is_named_anew: bool,
}

/// A connection string, and how a link gets it.
type Way<'a> = (&'a Shown, &'a Switch);

impl<'a> Stepper<'a> {
    fn new(
        topology: &'a dyn Topology,
        cluster: &Cluster<'_>,
        link: &'a Link,
        change: &'a Change,
        name: &'a Text,
    ) -> Self {
        let physical = *link.place == LinkPlace::PrimaryConninfo;
        let standby = physical.then(|| cluster.state(&link.from)).flatten();
        let restarts = standby.is_some_and(takes_at_restart);
        Self {
            topology,
            link,
            change,
            name,
            // A link that is switched off does not replicate, before or after.
            wait: link.enabled && link.session.is_lasting() && !restarts,
            put_back: standby.and_then(auto_conf).map(Box::new),
            is_named_anew: physical
                && topology.session(link, &change.after.conninfo) != link.session,
        }
    }

    /// What was found comes back with the file that it was in.
    fn first(&self, before: Way<'_>, after: Way<'_>) -> Step {
        self.step(before, after, self.put_back.clone())
    }

    fn step(&self, before: Way<'_>, after: Way<'_>, put_back: Option<Box<AutoConf>>) -> Step {
        Step {
            node: self.link.from.clone(),
            action: self.action(before, after, self.wait, None),
            undo: Some(self.action(after, before, false, put_back)),
        }
    }

    /// How the session is found that it has by a connection string.
    fn session(&self, conninfo: &ConnInfo) -> Arc<SessionKey> {
        match &*self.link.session {
            SessionKey::Walreceiver { application, .. }
                if self.is_named_anew && *conninfo == *self.link.conninfo =>
            {
                Arc::new(SessionKey::AnyWalreceiver { application: application.clone() })
            }
            _ => self.topology.session(self.link, conninfo),
        }
    }

    fn action(
        &self,
        (before, _): Way<'_>,
        (after, switch): Way<'_>,
        wait: bool,
        put_back: Option<Box<AutoConf>>,
    ) -> Action {
        Action::SwitchLink {
            to: self.change.to.clone(),
            name: self.name.clone(),
            place: self.change.place.clone(),
            session: self.session(&after.conninfo),
            before: before.text.clone(),
            after: after.text.clone(),
            statements: switch.statements.clone(),
            reload: switch.reload,
            wait,
            put_back,
        }
    }
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
    let mut either = (*link.conninfo).clone();
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
            match after.get("passfile") {
                Some(passfile) => either.set("passfile", passfile),
                None => either.remove("passfile"),
            }
            // It has lines for the names that the node is known by, and for no other.
            for keyword in ["host", "hostaddr"] {
                if let Some(value) = after.get(keyword) {
                    either.set(keyword, value);
                }
            }
        }
    }
    if let Some(name) = after.get("application_name") {
        either.set("application_name", name);
    }
    (either != *link.conninfo).then_some(either)
}

/// `ALTER SYSTEM` writes its whole file anew: what takes it back ends with the bytes that were there.
pub(super) fn auto_conf(state: &NodeState) -> Option<AutoConf> {
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

/// The vault's name of a secret parameter of a link's connection string as inspection found it, for
/// links that keep each parameter apart.
pub(crate) fn option_as_found(link: &Link, option: &str) -> String {
    format!("{}, {option}", as_found(link))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        inspect::{BdrState, Subscription, sample},
        spec::ClusterSpec,
        topology::{Native, Pgd},
    };

    type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

    const NODES: &str = "secrets = \"s\"\nlink-role = \"repl\"\n\
        [[nodes]]\nname = \"n\"\naddress = \"10.0.0.1\"\npeers-from = [\"10.0.0.0/8\"]\nsql = \"host=h\"\n\
        [[nodes]]\nname = \"db2\"\naddress = \"10.0.0.2\"\npeers-from = [\"10.0.0.0/8\"]\nsql = \"host=h\"\n";

    /// By what the link `n -> db2` connects while both ways in are open.
    fn on_the_way(
        topology: &dyn Topology,
        kind: &str,
        put: impl Fn(&mut NodeState),
    ) -> Outcome<Option<String>> {
        let head = format!("topology = \"{kind}\"\nmode = \"scram\"\n");
        let spec = ClusterSpec::from_toml(&(head + NODES), "/".as_ref())?;
        let mut from = sample::node(b"", &[]);
        from.homes.environment = Some("/home".into());
        put(&mut from);
        let mut to = sample::node(b"", &[]);
        to.name = "db2".to_owned();
        to.homes.environment = Some("/home".into());
        put(&mut to);
        let states = [from, to];
        let links = topology.links(&spec, &states)?;
        let link =
            links.iter().find(|link| link.from == "n" && link.to == "db2").ok_or("no link")?;
        let cluster = Cluster::new(&spec, &states, &links);
        let demands = topology::demands(topology, &cluster)?;
        let after = topology::wanted(topology, &cluster, &demands, link)?;
        Ok(either_way(&cluster, link, &after).map(|either| either.to_masked_text()))
    }

    /// A password file has lines for the names that the description has: a link by another name of the
    /// same node would find none, and libpq gives up then.
    #[test]
    fn the_password_is_found_by_whatever_name_the_link_had() -> Outcome {
        let by = |host: &str| format!("host={host} dbname=app user=repl");
        let subscription = |conninfo: &str| -> Outcome<_> {
            Ok(Subscription {
                name: "s".to_owned(),
                database: "app".to_owned(),
                conninfo: conninfo.parse()?,
                slot: None,
                enabled: true,
                owner_needs_password: None,
            })
        };
        for (conninfo, expected) in [
            (by("db2"), "host=db2 dbname=app user=repl passfile=pgward/passfile"),
            (by("DB2"), "host=db2 dbname=app user=repl passfile=pgward/passfile hostaddr=10.0.0.2"),
        ] {
            let mut it = subscription(&conninfo)?;
            it.slot = Some("s".to_owned());
            let put = |state: &mut NodeState| {
                if state.name == "n" {
                    state.subscriptions = vec![it.clone()];
                }
            };
            let told = on_the_way(&Native, "native", put)?;
            assert_eq!(told.as_deref(), Some(expected));
        }

        let interface = |text: &str| -> Outcome<Option<String>> {
            let conninfo: ConnInfo = text.parse()?;
            let own: ConnInfo = by("n").parse()?;
            let put = |state: &mut NodeState| {
                state.bdr = Some(BdrState {
                    database: "app".to_owned(),
                    local_node: Some(state.name.clone()),
                    slots: Vec::new(),
                    interfaces: vec![
                        ("db2".to_owned(), conninfo.clone()),
                        ("n".to_owned(), own.clone()),
                    ],
                    kinds: std::collections::BTreeMap::new(),
                });
            };
            on_the_way(&Pgd, "pgd", put)
        };
        // libpq looks in the home folder by itself.
        assert_eq!(interface(&by("db2"))?, None);
        assert_eq!(
            interface(&by("alias"))?.as_deref(),
            Some("host=db2 dbname=app user=repl hostaddr=10.0.0.2")
        );
        assert_eq!(
            interface(&(by("db2") + " passfile=/own"))?.as_deref(),
            Some("host=db2 dbname=app user=repl")
        );
        Ok(())
    }

    /// A mode, a connection string, the authority that it verifies by, the server's file of those that it
    /// takes, what it holds, and whether the link connects anew before the secured way is open.
    type Case<'a> = (&'a str, &'a str, Option<&'a str>, &'a str, Option<&'a str>, bool);

    /// What is put in place is there before the server reads it: a link whose ends would go by two
    /// authorities at that moment waits until the server has. So does one that the rules shut out.
    #[test]
    fn a_link_is_made_anew_only_where_it_would_be_let_in() -> Outcome {
        // The links come from the peers' network, and not from the address of the node.
        let nodes = NODES.replace("10.0.0.1", "192.0.2.1");
        let text = |mode: &str| format!("topology = \"native\"\nmode = \"{mode}\"\n{nodes}");
        let plain = "host=alias dbname=app user=repl sslmode=require";
        let rooted =
            "host=alias dbname=app user=repl sslmode=verify-full sslrootcert=pgward/root.crt";
        let (none, ours, theirs) = (None, Some("ours"), Some("theirs"));
        let (open, shut) = ("host all all all trust", "host all all all reject");
        let (certs, postgres) = ("hostssl all all all cert", "host all postgres all trust");
        let by = |hba, it: Case<'static>| (hba, it);
        let shut_out = ["cert", "scram"].map(|mode| (mode, plain, none, "", none, false));
        let open = [
            ("cert", plain, none, "", none, true),
            ("cert", plain, none, "own.crt", none, false),
            ("cert", plain, none, "pgward/root.crt", theirs, false),
            ("cert", plain, theirs, "pgward/root.crt", ours, true),
            ("cert", rooted, ours, "pgward/root.crt", ours, true),
            ("cert", rooted, theirs, "pgward/root.crt", ours, false),
            ("scram", plain, theirs, "own.crt", theirs, true),
            ("scram", rooted, theirs, "own.crt", theirs, false),
            ("scram", rooted, ours, "own.crt", theirs, true),
        ]
        .map(|it| by(open, it));
        let shut = [shut, postgres].into_iter().flat_map(|hba| shut_out.map(|it| by(hba, it)));
        let for_peers = "host all all 10.0.0.0/8 trust";
        let peers =
            ["cert", "scram"].map(|mode| by(for_peers, (mode, plain, none, "", none, true)));
        let no_authority = by(certs, ("cert", plain, none, "", none, false));
        for (hba, (mode, conninfo, from_has, ssl_ca_file, to_has, expected)) in
            open.into_iter().chain(shut).chain(peers).chain([no_authority])
        {
            let spec = ClusterSpec::from_toml(&text(mode), "/".as_ref())?;
            let has = |state: &mut NodeState, root: Option<&str>| {
                let found = root.map(|root| sample::file(root.as_bytes()));
                sample::put(state, "/d/pgward/root.crt", found);
            };
            let mut from = sample::node(b"", &[]);
            from.subscriptions = vec![Subscription {
                name: "s".to_owned(),
                database: "app".to_owned(),
                conninfo: conninfo.parse()?,
                slot: Some("s".to_owned()),
                enabled: true,
                owner_needs_password: None,
            }];
            has(&mut from, from_has);
            let mut to = sample::node(hba.as_bytes(), &[]);
            to.name = "db2".to_owned();
            has(&mut to, to_has);
            sample::set(&mut to, "ssl", "on");
            sample::set(&mut to, "ssl_ca_file", ssl_ca_file);
            let states = [from, to];
            let mut link = sample::link("n", "db2");
            link.place = LinkPlace::Subscription { database: "app".to_owned() }.into();
            link.conninfo = conninfo.parse::<ConnInfo>()?.into();
            link.session = SessionKey::Slot("s".to_owned()).into();
            let links = [link];
            let cluster = Cluster::new(&spec, &states, &links);
            let demands = topology::demands(&Native, &cluster)?;
            let prepare = switch(&Native, &cluster, &demands, "ours")?.prepare;
            let when = format!("{mode} {conninfo} {from_has:?} {ssl_ca_file} {to_has:?} {hba}");
            assert_eq!(!prepare.is_empty(), expected, "{when}");
        }
        Ok(())
    }
}
