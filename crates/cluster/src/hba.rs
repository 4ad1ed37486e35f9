//! `pg_hba.conf` of a node: who decides about a link, and how the file becomes one that lets the
//! link role in by one way only.

mod example;
mod reading;

use std::net::IpAddr;

use hba_parser::{
    Address, AddressSpec, ConnectionType, DatabaseKind, DatabaseSpec, EditError, HbaDocument,
    LineClass, Method, NewRule, RoleGraph, Roles as _, Rule, Rules, Server, Severity,
    UnknownNetwork, UserKind, UserSpec, Verdict, regex::Regex,
};
use ipnet::IpNet;
use pg_version::PgVersion;

pub(crate) use self::reading::{DecidingRule, Question, Reading, is_for_own_machine};
use crate::{
    demand::{Databases, WayIn},
    error::Error,
    inspect::{AdminSession, NodeState},
};

/// What becomes of a node's file.
#[derive(Debug)]
pub(crate) struct HbaEdit {
    /// With the secured way in, and every other one still open.
    pub(crate) open: Vec<u8>,
    /// With the secured way in only.
    pub(crate) closed: Vec<u8>,
    /// What the administrator should know.
    pub(crate) notes: Vec<String>,
}

/// Edits the file: the rules for the links come where they take effect, then everything else is shut
/// to the link role, and rules that trust the network it comes from become comments.
///
/// # Errors
/// [`Error::Plan`] where the administrator's own way in would be another one, or none.
pub(crate) fn secure(state: &NodeState, ways: &[WayIn]) -> Result<HbaEdit, Error> {
    let file = File { state, server: server(state), roles: roles(state), ways };
    let found = file.found();
    let before = file.interpret(&found);
    let open = if file.is_secured(&before) { found.clone() } else { file.open(&found)? };
    let (closed, notes) = file.close(&open)?;
    for (stage, document) in [("opening the secured way", &open), ("closing the open one", &closed)]
    {
        file.admin_still_gets_in(&before, &file.interpret(document), stage)?;
    }
    let mut notes = notes;
    notes.dedup();
    let bytes = |document: &HbaDocument| document.to_bytes().into_owned();
    Ok(HbaEdit { open: bytes(&open), closed: bytes(&closed), notes })
}

/// Looks at the file that is on the disk before the server reads it: it must be one that is loaded,
/// and that lets this administrator in.
///
/// # Errors
/// [`Error::NotTaken`].
pub(crate) fn check_on_disk(state: &NodeState) -> Result<(), Error> {
    let file = File { state, server: server(state), roles: roles(state), ways: &[] };
    let rules = file.interpret(&file.found());
    let refused = |what: String| {
        let path = state.hba_file().display();
        Err(Error::NotTaken { reason: format!("{path} is not one to be loaded: {what}") })
    };
    match rules.verdict() {
        Verdict::Loaded => {}
        Verdict::ServerDown(crash) => return refused(crash.to_string()),
        _ => {
            let first = rules.diagnostics().iter().find(|found| found.severity == Severity::Error);
            return refused(first.map_or_else(String::new, ToString::to_string));
        }
    }
    let AdminSession { user, database, .. } = &state.admin;
    let mut decision =
        rules.decide(&question(&state.admin).connection(), &file.roles, &UnknownNetwork);
    if decision.is_rejected() && state.setting("ssl") == "on" && state.admin.tls_if_spoken {
        let by_tls = Question { tls: true, ..question(&state.admin) };
        decision = rules.decide(&by_tls.connection(), &file.roles, &UnknownNetwork);
    }
    // Whom a name or `samenet` stands for, only the node can tell.
    let by_name = |rule: &Rule<'_>| {
        !matches!(rule.address(), None | Some(Address::All | Address::Network(..)))
    };
    if !decision.is_rejected() || decision.passed.iter().any(|(rule, _)| by_name(rule)) {
        return Ok(());
    }
    match decision.rule {
        Some(rule) => refused(format!(
            "line {} would shut your own way in as {user} to {database}",
            rule.line()
        )),
        None => refused(format!("no line would let you in as {user} to {database}")),
    }
}

/// Whether the rules as they are let this administrator in by the password that the server stores for
/// the role.
pub(crate) fn asks_admin_for_password(state: &NodeState) -> bool {
    let file = File { state, server: server(state), roles: roles(state), ways: &[] };
    let rules = file.interpret(&file.found());
    file.admins_rule(&rules).is_some_and(|rule| asks_for_password(rule.method()))
}

/// Whether a method asks for the password that the server stores.
fn asks_for_password(method: Method) -> bool {
    matches!(method, Method::ScramSha256 | Method::Md5 | Method::Password)
}

/// The rules that ask others than the links for certificates, as they are written.
pub(crate) fn others_with_certificates(state: &NodeState, ways: &[WayIn]) -> Vec<String> {
    let file = File { state, server: server(state), roles: roles(state), ways };
    let found = file.found();
    let rules = file.interpret(&found);
    let asks =
        |rule: &Rule<'_>| rule.method() == Method::Cert || rule.options().client_cert.is_some();
    // The same roles may come from elsewhere as well, from another access node.
    let is_ours = |rule: &Rule<'_>| {
        file.only_links(rule)
            && ways.iter().any(|way| {
                way.links_only
                    || way.networks.iter().any(|network| overlaps(rule.address(), network))
            })
    };
    let others = rules.iter().filter(|rule| asks(rule) && !is_ours(rule));
    others.map(|rule| words(&found, &rule, state.version)).collect()
}

/// The server as it will read the file: with TLS, for that is what the plan turns on.
fn server(state: &NodeState) -> Server {
    Server::new(state.version)
}

fn roles(state: &NodeState) -> RoleGraph {
    let mut graph = RoleGraph::default();
    for role in &state.roles {
        graph.create(&role.name);
        for group in &role.member_of {
            graph.grant(group, &role.name);
        }
    }
    graph
}

struct File<'a> {
    state: &'a NodeState,
    server: Server,
    roles: RoleGraph,
    ways: &'a [WayIn],
}

impl File<'_> {
    fn found(&self) -> HbaDocument {
        let file = self.state.file(self.state.hba_file());
        HbaDocument::parse(file.map(|file| file.bytes.to_vec()).unwrap_or_default())
    }

    fn interpret(&self, document: &HbaDocument) -> Rules {
        use std::os::unix::ffi::OsStrExt as _;

        let path = self.state.hba_file().as_os_str().as_bytes();
        document.interpret_at(path, &self.server, &self.state.hba_included)
    }

    /// The rules that let the links in, in their order.
    fn accept(&self) -> Vec<NewRule> {
        let mut rules = Vec::new();
        for way in self.ways {
            for network in &way.networks {
                for databases in &way.databases {
                    let connection =
                        if way.tls { ConnectionType::HostSsl } else { ConnectionType::Host };
                    let rule = NewRule::new(connection, way.method)
                        .user(UserSpec::name(&way.role))
                        .address(AddressSpec::network(network.network(), network.prefix_len()));
                    let rule = match databases {
                        Databases::All => rule.database(DatabaseSpec::All),
                        Databases::Replication => rule.database(DatabaseSpec::Replication),
                        Databases::Names(names) => names
                            .iter()
                            .fold(rule, |rule, name| rule.database(DatabaseSpec::name(name))),
                    };
                    rules.push(rule);
                }
            }
        }
        rules
    }

    /// The rules that shut everything else to the links' roles.
    fn reject(&self) -> Vec<(&str, NewRule)> {
        let rule = |role, address| {
            let rule = NewRule::new(ConnectionType::Host, Method::Reject)
                .database(DatabaseSpec::All)
                .database(DatabaseSpec::Replication)
                .user(UserSpec::name(role))
                .address(address);
            (role, rule)
        };
        let mut rules = Vec::new();
        let mut done: Vec<(&str, Option<&IpNet>)> = Vec::new();
        for way in self.ways.iter().filter(|way| way.method != Method::Trust) {
            let role = way.role.as_str();
            if way.links_only {
                if !done.contains(&(role, None)) {
                    done.push((role, None));
                    rules.push(rule(role, AddressSpec::All));
                }
                continue;
            }
            for network in &way.networks {
                if !done.contains(&(role, Some(network))) {
                    done.push((role, Some(network)));
                    let address = AddressSpec::network(network.network(), network.prefix_len());
                    rules.push(rule(role, address));
                }
            }
        }
        rules
    }

    /// Whether the rules for the links stand where they decide: nothing that concerns the links
    /// comes before them.
    fn is_secured(&self, rules: &Rules) -> bool {
        let mut missing = self.accept();
        for rule in rules.iter() {
            if missing.is_empty() {
                return true;
            }
            if let Some(place) = missing.iter().position(|accept| accept.is_read_as(&rule)) {
                missing.remove(place);
            } else if self.concerns(&rule) {
                return false;
            }
        }
        missing.is_empty()
    }

    fn open(&self, found: &HbaDocument) -> Result<HbaDocument, Error> {
        let mut document = found.clone();
        let rules = self.interpret(found);
        let accept = self.accept();
        let place = self.place(found, &accept, &rules);
        let mut edit = document.edit(&self.server);
        for rule in &accept {
            // One that stands where it never decides would only mislead.
            let shadowed = rules.iter().find(|there| in_main_file(there) && rule.is_read_as(there));
            if let Some(shadowed) = shadowed {
                edit = edit.remove(shadowed.line()).map_err(refused)?;
            }
            edit = match place {
                Some(line) => edit.insert_before(line, rule),
                None => edit.insert_effective_among(rule, &rules),
            }
            .map_err(refused)?;
        }
        edit.apply().map_err(refused)?;
        Ok(document)
    }

    /// The line before which all rules for the links come, so that they stand together: what shuts
    /// everything else comes behind the last of them, and so before each rule that concerns any of the
    /// links, with TLS or without. `None` where no rule does.
    fn place(&self, found: &HbaDocument, accept: &[NewRule], rules: &Rules) -> Option<u32> {
        let ours = |rule: &Rule<'_>| accept.iter().any(|accept| accept.is_read_as(rule));
        let first = rules.iter().find(|rule| !ours(rule) && self.concerns(rule))?;
        let own = in_main_file(&first).then(|| first.line());
        if own.is_some() && rules.diagnostics().is_empty() {
            return own;
        }
        // What an include record brings is not known, or it brings the first such rule.
        let mut lines = found.lines(self.state.version);
        let include = lines.find(|line| matches!(line.class(), LineClass::Include(_)));
        own.into_iter().chain(include.map(|line| line.number())).min()
    }

    fn close(&self, open: &HbaDocument) -> Result<(HbaDocument, Vec<String>), Error> {
        let rules = self.interpret(open);
        let mut document = open.clone();
        let mut notes = Vec::new();
        let mut edit = document.edit(&self.server);

        let accept = self.accept();
        if accept.is_empty() {
            return Ok((document, notes));
        }
        let last = rules.iter().rfind(|rule| accept.iter().any(|accept| accept.is_read_as(rule)));
        let Some(last) = last else {
            return Err(Error::plan("the rules for the links are not read as they were written"));
        };
        // Right behind the last of them, so that nothing comes between.
        let rejects = self.reject();
        for (role, reject) in &rejects {
            let ours = |rule: &Rule<'_>| rejects.iter().any(|(_, reject)| reject.is_read_as(rule));
            let closed = rules
                .iter()
                .skip_while(|rule| rule.location() != last.location())
                .skip(1)
                .find(|rule| {
                    reject.is_read_as(rule) || (self.concerns_role(rule, role) && !ours(rule))
                })
                .is_some_and(|rule| reject.is_read_as(&rule));
            if !closed {
                edit = edit.insert_after(last.line(), reject).map_err(refused)?;
            }
        }

        let admins_rule = self.admins_rule(&rules).map(|rule| rule.location());
        for rule in rules.iter().filter(|rule| rule.method() == Method::Trust) {
            if rule.connection() == ConnectionType::Local
                || accept.iter().any(|accept| accept.is_read_as(&rule))
            {
                continue;
            }
            let concerns = self.ways.iter().any(|way| {
                self.concerns_role(&rule, &way.role)
                    && way.networks.iter().any(|network| overlaps(rule.address(), network))
            });
            let place = format!(
                "\"{}\" in {}",
                words(open, &rule, self.state.version),
                rules.path(rule.file())
            );
            if !concerns {
                notes.push(format!(
                    "{place} lets others in from the network without a password (trust)"
                ));
            } else if Some(rule.location()) == admins_rule {
                notes.push(format!(
                    "{place} trusts the network that links come from, and stays because you come in \
                     by it: connect over the Unix socket to have it closed"
                ));
            } else if in_main_file(&rule) {
                edit = edit.comment_out(rule.line()).map_err(refused)?;
                if !self.only_links(&rule) {
                    notes.push(format!(
                        "{place} let everybody in from the network that links come from (trust); it \
                         becomes a comment: others who used it need a rule of their own"
                    ));
                }
            } else {
                notes.push(format!(
                    "{place}, an included file, trusts the network that links come from; it is left \
                     alone, and the links' roles are shut out before it"
                ));
            }
        }
        edit.apply().map_err(refused)?;
        Ok((document, notes))
    }

    /// Whether a rule could decide about a link, encrypted or not, or lets its role in from the network to
    /// what is shut behind the rules for the links.
    fn concerns(&self, rule: &Rule<'_>) -> bool {
        let lets_in = rule.method() != Method::Reject;
        self.ways.iter().any(|way| {
            let for_peers = way.networks.iter().any(|network| overlaps(rule.address(), network));
            let decides =
                || for_peers && way.databases.iter().any(|databases| leads_to(rule, databases));
            let is_to_be_shut = way.links_only
                && way.method != Method::Trust
                && lets_in
                && (for_peers || !is_for_own_machine(rule));
            self.concerns_role(rule, &way.role) && (is_to_be_shut || decides())
        })
    }

    /// Whether a rule for TCP could decide about this role.
    fn concerns_role(&self, rule: &Rule<'_>, role: &str) -> bool {
        rule.connection() != ConnectionType::Local && names(rule, role, &self.roles)
    }

    /// Whether a rule is for the links' roles alone.
    fn only_links(&self, rule: &Rule<'_>) -> bool {
        let is_link = |name: &[u8]| self.ways.iter().any(|way| way.role.as_bytes() == name);
        rule.users().all(|user| matches!(user.kind(), UserKind::Name(name) if is_link(name)))
    }

    fn admins_rule<'r>(&self, rules: &'r Rules) -> Option<Rule<'r>> {
        self.rule_for(&question(&self.state.admin), rules)
    }

    fn rule_for<'r>(&self, asked: &Question<'_>, rules: &'r Rules) -> Option<Rule<'r>> {
        rules.decide(&asked.connection(), &self.roles, &UnknownNetwork).rule
    }

    /// The administrator must get in as before: by the same method, with the same options. Where the links
    /// get TLS the server speaks it, and who takes it then comes in with it; where they log in by SCRAM as
    /// the administrator's role, its password stays and is stored for SCRAM before.
    fn admin_still_gets_in(&self, before: &Rules, after: &Rules, stage: &str) -> Result<(), Error> {
        let admin = question(&self.state.admin);
        let old = self.admins_rule(before);
        let is_as_before = |new: Option<Rule<'_>>| match (old, new) {
            (Some(old), Some(new)) => {
                let is_scram = || {
                    asks_for_password(old.method())
                        && new.method() == Method::ScramSha256
                        && self.accept().iter().any(|accept| accept.is_read_as(&new))
                };
                old.options() == new.options() && (old.method() == new.method() || is_scram())
            }
            (old, new) => old.is_none() && new.is_none(),
        };
        let plain_or_not = self.admins_rule(after);
        let takes_tls = self.state.admin.tls_if_spoken && self.ways.iter().any(|way| way.tls);
        let by_tls = || self.rule_for(&Question { tls: true, ..admin }, after);
        if is_as_before(plain_or_not) || (takes_tls && is_as_before(by_tls())) {
            return Ok(());
        }
        let AdminSession { user, database, .. } = &self.state.admin;
        let words = |rule: Option<Rule<'_>>| rule.map_or("nothing", |rule| rule.method().as_str());
        Err(Error::plan(format!(
            "{stage} would shut your own way in as {user} to {database}: {} lets you in now, {} \
             would then; connect as another role or over the Unix socket",
            words(old),
            words(plain_or_not)
        )))
    }
}

fn question(admin: &AdminSession) -> Question<'_> {
    Question {
        address: admin.address,
        tls: admin.tls,
        user: &admin.user,
        database: &admin.database,
        physical: false,
    }
}

/// A rule as it is written, in single blanks, as far as we have it so; its numbers in the file are not
/// those that the administrator sees.
fn words(document: &HbaDocument, rule: &Rule<'_>, version: PgVersion) -> String {
    let line = document.line(rule.line(), version).filter(|_| in_main_file(rule));
    let text = line.map(|line| String::from_utf8_lossy(line.bytes()).into_owned());
    match text {
        Some(text) => text.split_whitespace().collect::<Vec<_>>().join(" "),
        None => reading::fields(rule),
    }
}

/// Whether a role is among a rule's users.
fn names(rule: &Rule<'_>, role: &str, roles: &RoleGraph) -> bool {
    rule.users().any(|user| match user.kind() {
        UserKind::All => true,
        UserKind::Member(group) => roles.is_member(role.as_bytes(), group),
        UserKind::Regex(regex) => could_match(regex, role),
        UserKind::Name(name) => name == role.as_bytes(),
    })
}

/// A pattern that is too much work to follow could match anything.
fn could_match(regex: &Regex, name: &str) -> bool {
    regex.is_match(name.as_bytes()).unwrap_or(true)
}

fn in_main_file(rule: &Rule<'_>) -> bool {
    rule.file() == hba_parser::FileId::MAIN
}

/// Whether a rule could decide about connections to one of these.
fn leads_to(rule: &Rule<'_>, databases: &Databases) -> bool {
    rule.databases().any(|database| match (database.kind(), databases) {
        // Physical replication matches nothing but the keyword.
        (DatabaseKind::Replication, databases) => *databases == Databases::Replication,
        (_, Databases::Replication) => false,
        (DatabaseKind::All | DatabaseKind::SameUser | DatabaseKind::SameRole, _)
        | (_, Databases::All) => true,
        (DatabaseKind::Regex(regex), Databases::Names(names)) => {
            names.iter().any(|name| could_match(regex, name))
        }
        (DatabaseKind::Name(name), Databases::Names(names)) => {
            names.iter().any(|database| database.as_bytes() == name)
        }
    })
}

/// Whether a rule's addresses and a network have one in common. Names could be anything.
pub(crate) fn overlaps(address: Option<Address<'_>>, network: &IpNet) -> bool {
    match address {
        Some(Address::Network(IpAddr::V4(address), IpAddr::V4(mask))) => match network {
            IpNet::V4(network) => {
                let common = mask.to_bits() & network.netmask().to_bits();
                (address.to_bits() ^ network.network().to_bits()) & common == 0
            }
            IpNet::V6(_) => false,
        },
        Some(Address::Network(IpAddr::V6(address), IpAddr::V6(mask))) => match network {
            IpNet::V6(network) => {
                let common = mask.to_bits() & network.netmask().to_bits();
                (address.to_bits() ^ network.network().to_bits()) & common == 0
            }
            IpNet::V4(_) => false,
        },
        Some(_) => true,
        None => false,
    }
}

fn refused(error: EditError) -> Error {
    Error::plan(format!("pg_hba.conf cannot be edited: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::sample;

    fn closed(hba: &[u8], included: &[(&str, &str)], networks: &[&str]) -> Result<String, Error> {
        let ways = [WayIn {
            role: "repl".to_owned(),
            databases: vec![Databases::Names(vec!["app".to_owned()])],
            networks: networks.iter().flat_map(|text| text.parse()).collect(),
            method: Method::Cert,
            tls: true,
            links_only: true,
        }];
        let edit = secure(&sample::node(hba, included), &ways)?;
        // What it makes is what it would leave alone.
        let again = secure(&sample::node(&edit.closed, included), &ways)?;
        assert_eq!((&again.open, &again.closed), (&edit.closed, &edit.closed));
        Ok(String::from_utf8_lossy(&edit.closed).into_owned())
    }

    #[test]
    fn the_links_come_first_and_nothing_else_lets_their_role_in() -> Result<(), Error> {
        const ACCEPT: &str = "hostssl app repl 10.0.0.0/8 cert\n";
        const REJECT: &str = "host all,replication repl all reject\n";
        type Case = (&'static str, &'static str, &'static [(&'static str, &'static str)]);
        // `{}` is where the rules come; ours are all that is new, and `trust` becomes a comment.
        let cases: [Case; 8] = [
            ("local all all peer\n{}", "host all all 10.0.0.0/8 trust", &[]),
            ("local all all peer\n{}", "host all \\\n all 10.0.0.0/8 \\\n trust\n", &[]),
            (
                "local all all peer\n{}",
                "host @dbs @users samenet trust\n",
                &[("/d/dbs", "app"), ("/d/users", "repl")],
            ),
            ("local all all peer\n{}", "host app,\"x\" /^re all scram-sha-256\n", &[]),
            // What is included is not ours to change.
            (
                "{}",
                "include more.conf\n",
                &[("/d/more.conf", "local all all peer\nhost all all all trust\n")],
            ),
            ("local all all peer\n{}", "host all all db.example.com trust\n", &[]),
            // Behind it, what shuts the rest would come too late.
            (
                "local all all peer\n{}",
                "hostnossl all all 10.0.0.0/8 md5\nhost all all all md5\n",
                &[],
            ),
            ("{}", "include more.conf\n", &[("/d/more.conf", "hostnossl all all all md5\n")]),
        ];
        for (start, end, included) in cases {
            let found = start.replace("{}", "") + end;
            let comment = if end.contains("trust") { "# " } else { "" };
            let comment = if end.starts_with("include") { "" } else { comment };
            let expected = start.replace("{}", &[ACCEPT, REJECT, comment].concat()) + end;
            assert_eq!(closed(found.as_bytes(), included, &["10.0.0.0/8"])?, expected);
        }
        Ok(())
    }

    /// The role of a standby gets in to no database, whatever rule for databases stands before those for
    /// replication; and a publisher's to no other than the published.
    #[test]
    fn what_is_for_other_databases_comes_behind_what_shuts_them() -> Result<(), Error> {
        let published = || Databases::Names(vec!["app".to_owned()]);
        for (databases, own) in [(Databases::Replication, "replication"), (published(), "app")] {
            let way = WayIn {
                role: "repl".to_owned(),
                databases: vec![databases],
                networks: vec![ipnet::Ipv4Net::new_assert([10, 0, 0, 0].into(), 8).into()],
                method: Method::ScramSha256,
                tls: true,
                links_only: true,
            };
            let ours = format!(
                "hostssl {own} repl 10.0.0.0/8 scram-sha-256\nhost all,replication repl all reject\n"
            );
            for (start, end) in [
                // As initdb and Debian order them.
                ("", "host all all 10.0.0.0/8 md5\nhost replication all 10.0.0.0/8 md5\n"),
                ("", "host other all 192.0.2.0/24 md5\nhost all repl 10.0.0.0/8 md5\n"),
                // Of use to whoever is on the machine only.
                ("host all all 127.0.0.1/32 md5\n", "host all all samenet md5\n"),
                (
                    "host all all 192.0.2.0/24 reject\nhost app web all md5\n",
                    "host other all all md5\n",
                ),
            ] {
                let start = format!("local all all peer\n{start}");
                let found = format!("{start}{end}");
                let edit =
                    secure(&sample::node(found.as_bytes(), &[]), std::slice::from_ref(&way))?;
                let closed = String::from_utf8_lossy(&edit.closed);
                assert_eq!(closed, format!("{start}{ours}{end}"));
                let again = secure(&sample::node(&edit.closed, &[]), std::slice::from_ref(&way))?;
                assert_eq!((&again.open, &again.closed), (&edit.closed, &edit.closed));
            }
        }
        Ok(())
    }

    /// Each has a rule of its own, and none of the others' stands between them and what shuts the rest.
    #[test]
    fn lines_for_databases_and_for_replication_stand_together() -> Result<(), Error> {
        const OURS: &str = "hostssl all repl 10.0.0.0/8 cert\n\
                            hostssl replication repl 10.0.0.0/8 cert\n\
                            host all,replication repl all reject\n";
        let ways = [WayIn {
            role: "repl".to_owned(),
            databases: vec![Databases::All, Databases::Replication],
            networks: vec![ipnet::Ipv4Net::new_assert([10, 0, 0, 0].into(), 8).into()],
            method: Method::Cert,
            tls: true,
            links_only: true,
        }];
        for (start, end) in [
            ("local all all peer\n", "host all all all md5\nhost replication all all md5\n"),
            ("local all all peer\n", "host replication all 10.0.0.0/8 md5\nhost all all all md5\n"),
            ("local all all peer\n", "host replication all 10.0.0.1/32 md5\n"),
            ("host all app 10.0.0.0/8 md5\n", "hostnossl replication +repl samenet md5\n"),
        ] {
            let found = format!("{start}{end}");
            let edit = secure(&sample::node(found.as_bytes(), &[]), &ways)?;
            let closed = String::from_utf8_lossy(&edit.closed);
            assert_eq!(closed, format!("{start}{OURS}{end}"));
            let again = secure(&sample::node(&edit.closed, &[]), &ways)?;
            assert_eq!((&again.open, &again.closed), (&edit.closed, &edit.closed));
        }
        Ok(())
    }

    #[test]
    fn who_else_is_asked_for_certificates() {
        let hba = b"local all all peer\nhostssl all repl all cert\n\
                    hostssl  all app 10.0.0.0/8  cert map=m\n\
                    hostssl all +web all scram-sha-256 clientcert=verify-ca\nhost all all all md5\n";
        let ways = [WayIn {
            role: "repl".to_owned(),
            databases: vec![Databases::All],
            networks: Vec::new(),
            method: Method::Cert,
            tls: true,
            links_only: true,
        }];
        assert_eq!(
            others_with_certificates(&sample::node(hba, &[]), &ways),
            [
                "hostssl all app 10.0.0.0/8 cert map=m",
                "hostssl all +web all scram-sha-256 clientcert=verify-ca",
            ]
        );
    }

    /// For an access node that comes as the role that people use, too.
    fn for_superuser(method: Method) -> WayIn {
        WayIn {
            role: "postgres".to_owned(),
            databases: vec![Databases::All],
            networks: "10.0.0.1/32".parse().into_iter().collect(),
            method,
            tls: true,
            links_only: false,
        }
    }

    /// Another access node comes as the same roles.
    #[test]
    fn the_links_roles_from_elsewhere_are_others() {
        let way = for_superuser(Method::Cert);
        let hba = "hostssl all postgres 10.0.0.1/32 cert\nhostssl all postgres 10.9.9.9/32 cert\n";
        let others =
            |way: WayIn| others_with_certificates(&sample::node(hba.as_bytes(), &[]), &[way]);
        assert_eq!(others(way.clone()), ["hostssl all postgres 10.9.9.9/32 cert"]);
        assert!(others(WayIn { links_only: true, ..way }).is_empty());
    }

    /// An administrator on the access node's machine, with the password that the links have.
    #[test]
    fn who_comes_by_a_password_still_does_so_by_tls() -> Result<(), Error> {
        let gets_in = |method: &str, tls_if_spoken, links: Method| {
            let hba = format!("local all all peer\nhost all all all {method}\n");
            let mut state = sample::node(hba.as_bytes(), &[]);
            state.admin.address = Some([10, 0, 0, 1].into());
            state.admin.tls_if_spoken = tls_if_spoken;
            let edit = secure(&state, &[for_superuser(links)])?;
            // Before its server reads it: the session is still the one from before.
            sample::set(&mut state, "ssl", "on");
            sample::put(&mut state, "/d/pg_hba.conf", Some(sample::file(&edit.closed)));
            check_on_disk(&state)
        };
        for method in ["scram-sha-256", "md5"] {
            gets_in(method, true, Method::ScramSha256)?;
            for (tls_if_spoken, links) in [(false, Method::ScramSha256), (true, Method::Cert)] {
                let refused = gets_in(method, tls_if_spoken, links).err();
                let refused = refused.map(|error| error.to_string()).unwrap_or_default();
                let words = format!("{method} lets you in now, reject would then");
                assert!(refused.contains(&words), "{refused}");
            }
        }
        Ok(())
    }

    #[test]
    fn bytes_line_ends_and_families_stay_as_they_are() -> Result<(), Error> {
        let windows = b"local all all peer\r\nhost all all 10.0.0.0/8 md5\r\n";
        assert_eq!(
            closed(windows, &[], &["10.0.0.0/24"])?,
            "local all all peer\r\nhostssl app repl 10.0.0.0/24 cert\r\n\
             host all,replication repl all reject\r\nhost all all 10.0.0.0/8 md5\r\n"
        );
        // No last newline, every network, a host's address in place of its network's.
        assert_eq!(
            closed(b"local all all peer", &[], &["0.0.0.0/0", "fd00::5/8"])?,
            "local all all peer\nhostssl app repl 0.0.0.0/0 cert\nhostssl app repl fd00::/8 cert\n\
             host all,replication repl all reject\n"
        );
        Ok(())
    }
}
