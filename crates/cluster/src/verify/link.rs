//! How each link really authenticates, from the node that it leads to.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::SystemTime,
};

use pg_version::PgVersion;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio_postgres::Client;

use super::{
    Code, Context, Finding, checks,
    log::{self, Told},
    moment,
};
use crate::{
    conninfo::ConnInfo,
    deadline::Deadline,
    demand::Demand,
    error::{Error, NodeContext as _},
    hba::{DecidingRule, Question, Reading},
    inspect::{Node, NodeState, load_time},
    sessions::{self, OnDemand, SecuredWay, Session, Usage},
    spec::{ClusterSpec, Mode},
    sql,
    topology::{Link, LinkPlace, SessionKey},
};

/// What was found out about a directed link, and from where it is known.
///
/// Role, TLS, certificate and state are those of the session's rows in `pg_stat_replication` (or
/// `pg_stat_activity`) and `pg_stat_ssl` on the node that is connected to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LinkProof {
    /// The node that connects.
    pub from: String,
    /// The node that is connected to.
    pub to: String,
    /// The link's name.
    pub name: String,
    /// The role that it logged in as.
    pub user: String,
    /// The method really used; `None` where nothing tells it.
    pub method: Option<String>,
    /// The file on `to` with the line that decided: `pg_hba.conf`, or one that it includes.
    pub hba_file: Option<String>,
    /// The line that decided.
    pub hba_line: Option<u32>,
    /// How the method and the line are known.
    pub method_from: MethodSource,
    /// `TLSv1.3`; `None` for plain text.
    pub tls: Option<String>,
    /// The cipher.
    pub cipher: Option<String>,
    /// The subject of the client certificate that was presented.
    pub certificate: Option<String>,
    /// Whether changes flow through it.
    pub replicating: bool,
    /// The session that all this is of, and what it was found by, in words.
    pub session: Option<String>,
    /// The words of the log, or the rule, that tell the method.
    pub evidence: Option<String>,
    /// What keeps it from being what the description wants; empty for a proved link.
    pub missing: Vec<String>,
}

impl LinkProof {
    /// Whether the link is what the description wants.
    #[must_use]
    pub fn proved(&self) -> bool {
        self.missing.is_empty()
    }

    /// A link of which nothing is known, and why.
    pub(super) fn unknown(link: &Link, why: impl Into<String>) -> Self {
        Self { missing: vec![why.into()], ..Self::of(link) }
    }

    fn of(link: &Link) -> Self {
        Self {
            from: link.from.to_string(),
            to: link.to.to_string(),
            name: link.name.to_string(),
            user: link.user().unwrap_or_default().to_owned(),
            method: None,
            hba_file: None,
            hba_line: None,
            method_from: MethodSource::Unknown,
            tls: None,
            cipher: None,
            certificate: None,
            replicating: false,
            session: None,
            evidence: None,
            missing: Vec::new(),
        }
    }
}

/// How a link's method is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MethodSource {
    /// The server's log tells it of this very session.
    Log,
    /// The rules decide so for a session like this one; the log does not tell (majors 12 and 13
    /// never do, later ones only with `log_connections`).
    Rules,
    /// Nothing tells it.
    Unknown,
}

/// What came of proving the links that lead to one node.
#[derive(Default)]
pub(super) struct Proved {
    pub(super) links: Vec<(LinkProof, Vec<Finding>)>,
    /// Sessions of the links' roles that are no links.
    pub(super) beside: Vec<Finding>,
}

/// Proves the links that lead to one node.
pub(super) async fn prove(
    context: &Arc<Context>,
    to: &Node,
    state: &NodeState,
    demand: &Demand,
) -> Result<Proved, Error> {
    let links: Vec<&(Link, ConnInfo)> = context.links_to(&to.spec.name).collect();
    if links.is_empty() {
        return Ok(Proved::default());
    }
    let prove = async {
        let client = Arc::new(sql::connect(&to.spec, None).await?);
        let reconnected = if context.options.reconnect {
            reconnect(&client, &links, context).await?
        } else {
            BTreeSet::new()
        };
        let used = use_on_demand(context, &client, &links).await?;
        let (senders, rules_since) =
            tokio::try_join!(sessions::walsenders(&client), load_time(&client))?;
        let session = |index: usize, link: &Link| match used.get(&index) {
            Some(Ok(used)) => used.session.clone(),
            Some(Err(_)) => None,
            None => sessions::pick(&link.session, &senders),
        };
        let found: Vec<Option<Session>> =
            links.iter().enumerate().map(|(index, (link, _))| session(index, link)).collect();
        let mut ids: Vec<_> =
            found.iter().flatten().map(|found| (found.pid, found.start)).collect();
        let pids: Vec<i32> = ids.iter().map(|(pid, _)| *pid).collect();
        let others = others(&client, demand, rules_since, &pids).await?;
        ids.extend(others.iter().map(|(other, _)| (other.pid, other.start)));
        let judge = Judge {
            spec: &context.spec,
            told: log::tell(&client, state, &ids).await?,
            reading: Reading::of(state, to.spec.address),
            rules_since,
        };
        let beside = others.iter().filter_map(|(session, is_inside)| {
            judge
                .beside(demand, session, *is_inside)
                .map(|what| Finding::error(Code::OldSession, &to.spec.name, what))
        });
        let beside = beside.collect();
        let mut proofs = Vec::new();
        for (index, ((link, wanted), session)) in links.into_iter().zip(found).enumerate() {
            if let Some(Err(error)) = used.get(&index) {
                proofs.push(failing(link, error));
            } else if let Some(session) = session {
                let (mut proof, about) = judge.judge(link, wanted, session);
                if let Some(from) = context.state(&link.from) {
                    let others = checks::otherwise(from, link, wanted);
                    proof.missing.extend(others.into_iter().map(|other| other.what));
                }
                proofs.push((proof, about));
            } else if !link.is_idle() {
                let why = sessions::of_several(&link.session, &senders);
                proofs.push(down(link, reconnected.contains(&index), why));
            }
        }
        Ok::<_, Error>(Proved { links: proofs, beside })
    };
    prove.await.on_node(&to.spec.name)
}

/// The sessions of roles that are for links only, and that are no links; and whether each comes from where
/// links do.
async fn others(
    client: &Client,
    demand: &Demand,
    since: SystemTime,
    links: &[i32],
) -> Result<Vec<(Session, bool)>, Error> {
    let ways = || demand.ways_in.iter().filter(|way| way.links_only);
    let roles: Vec<String> = ways().map(|way| way.role.clone()).collect();
    let networks = ways().flat_map(|way| &way.networks).map(ToString::to_string);
    let way = SecuredWay {
        roles: &roles,
        networks: networks.collect(),
        tls: ways().all(|way| way.tls),
        since,
    };
    sessions::beside(client, &way, links).await
}

/// Has the links of this node connect anew, all at the same time, and waits until they work. Returns
/// those that were cut.
async fn reconnect(
    client: &Client,
    links: &[&(Link, ConnInfo)],
    context: &Context,
) -> Result<BTreeSet<usize>, Error> {
    let before = sessions::walsenders(client).await?;
    let mut cut: BTreeMap<usize, Session> = BTreeMap::new();
    for (index, (link, _)) in links.iter().enumerate() {
        cut.extend(sessions::pick(&link.session, &before).map(|session| (index, session)));
    }
    let pids: Vec<i32> = cut.values().map(|session| session.pid).collect();
    sessions::end_all(client, &pids).await?;
    let deadline = Deadline::new("the links to connect anew", context.options.patience);
    loop {
        let now = sessions::walsenders(client).await?;
        let is_back = |(index, old): (&usize, &Session)| {
            let new = links.get(*index).and_then(|(link, _)| sessions::pick(&link.session, &now));
            new.is_some_and(|new| new.works && !new.is(old))
        };
        // Those that do not come back are told of one by one.
        if cut.iter().all(is_back) || deadline.pause().await.is_err() {
            return Ok(cut.into_keys().collect());
        }
    }
}

/// What came of using the links that have a session only while they are used, by their places in the
/// list: the session, or what the node says that could not use it.
type Used = BTreeMap<usize, Result<OnDemand, Error>>;

async fn use_on_demand(
    context: &Arc<Context>,
    client: &Arc<Client>,
    links: &[&(Link, ConnInfo)],
) -> Result<Used, Error> {
    // Where a session cannot be given a name it is told from others by its role: then the links of one
    // role are used one after another.
    let mut in_turns: BTreeMap<Turn<'_>, Vec<(usize, Link)>> = BTreeMap::new();
    for (index, (link, _)) in links.iter().enumerate() {
        if let SessionKey::OnDemand { role, .. } = &*link.session {
            let turn = if is_named(context, link) {
                Turn::Own(index)
            } else {
                Turn::Role(link.user().unwrap_or(role))
            };
            in_turns.entry(turn).or_default().push((index, link.clone()));
        }
    }
    let mut using = JoinSet::new();
    for links in in_turns.into_values() {
        let (context, client) = (context.clone(), client.clone());
        using.spawn(async move {
            let mut used = Vec::new();
            for (index, link) in links {
                used.push((index, use_link(&context, &client, &link).await));
            }
            used
        });
    }
    let mut used = BTreeMap::new();
    while let Some(ended) = using.join_next().await {
        used.extend(ended.map_err(|_| Error::Cancelled)?);
    }
    Ok(used)
}

/// When a link is used.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Turn<'a> {
    /// Beside all others.
    Own(usize),
    /// After the others of its role.
    Role(&'a str),
}

/// Whether the link's session can be given a name: `postgres_fdw.application_name`, from major 15 on.
fn is_named(context: &Context, link: &Link) -> bool {
    matches!(*link.place, LinkPlace::ForeignServer(_))
        && context.state(&link.from).is_some_and(|from| from.version >= PgVersion::V15)
}

async fn use_link(context: &Context, client: &Client, link: &Link) -> Result<OnDemand, Error> {
    let SessionKey::OnDemand { database, role, statement } = &*link.session else {
        return Err(Error::plan("the link has a session of its own"));
    };
    let from = context.node(&link.from)?;
    let uses = context.uses.get(&from.spec.name).ok_or(Error::Cancelled)?;
    let _use = uses.acquire().await.map_err(|_| Error::Cancelled)?;
    let usage = Usage { database, role, statement, is_named: is_named(context, link) };
    sessions::open(client, &from.spec, link, usage).await
}

fn failing(link: &Link, error: &Error) -> (LinkProof, Vec<Finding>) {
    let proof = LinkProof::unknown(link, error.to_string());
    let code = if error.is_failing_link() { Code::NotWorking } else { Code::NodeSilent };
    let finding = Finding::error(code, &link.from, format!("{}: {error}", title(link)));
    (proof, vec![finding.of_link(&link.from, &link.to)])
}

fn down(link: &Link, was_cut: bool, of_several: Option<String>) -> (LinkProof, Vec<Finding>) {
    let why = match (link.enabled, was_cut) {
        (false, _) => "the link is disabled",
        (true, true) => "the link did not connect anew",
        (true, false) => "the link has no session",
    };
    let why = of_several.unwrap_or_else(|| why.to_owned());
    let what = format!("{}: {why}", title(link));
    let finding = Finding::error(Code::LinkDown, &link.to, what).of_link(&link.from, &link.to);
    (LinkProof::unknown(link, why), vec![finding])
}

/// What a link is called in a message. An access node has one for each role by the same name.
fn title(link: &Link) -> String {
    match (&*link.place, link.user()) {
        (LinkPlace::AccessNode, Some(role)) => format!("{} as {role}", link.name),
        _ => link.name.to_string(),
    }
}

/// What the links to one node are judged by.
struct Judge<'a> {
    spec: &'a ClusterSpec,
    told: BTreeMap<i32, Told>,
    reading: Reading,
    rules_since: SystemTime,
}

impl Judge<'_> {
    fn judge(&self, link: &Link, wanted: &ConnInfo, session: Session) -> (LinkProof, Vec<Finding>) {
        let mut proof = LinkProof::of(link);
        let mut findings = Vec::new();
        let about = |code, what: &str| {
            Finding::error(code, &link.to, format!("{}: {what}", title(link)))
                .of_link(&link.from, &link.to)
        };
        let told = self.told.get(&session.pid);
        let rule = self.rule_for(link, &session);
        self.tell_method(&mut proof, told, rule.as_ref());
        if let Some((severe, what)) = self.age(&session, told, rule.as_ref()) {
            let finding = about(Code::OldSession, &what);
            findings.push(if severe { finding } else { finding.into_warning() });
        }
        let start = moment(session.start.into());
        proof.session =
            Some(format!("process {} since {start}: {}", session.pid, session.found_by));
        proof.replicating = session.works;
        proof.user = session.user;
        proof.tls = session.tls;
        proof.cipher = session.cipher;
        proof.certificate = session.certificate;

        let method_wanted = self.spec.mode.hba_method();
        let role_wanted = wanted.get("user").unwrap_or(&self.spec.link_role);
        let tls_wanted = wanted_tls(self.spec, link, wanted);
        let mut missing = |so: bool, code: Option<Code>, what: String| {
            if !so {
                findings.extend(code.map(|code| about(code, &what)));
                proof.missing.push(what);
            }
        };
        missing(
            proof.tls.is_some() || !tls_wanted,
            Some(Code::NoTls),
            "the session has no TLS".to_owned(),
        );
        missing(
            proof.user == role_wanted,
            Some(Code::OtherRole),
            format!("the session's role is {}, not {role_wanted}", proof.user),
        );
        match &proof.method {
            Some(method) => missing(
                method == method_wanted,
                Some(Code::OtherMethod),
                format!("authenticated by {method}, not by {method_wanted}"),
            ),
            None => missing(
                false,
                Some(Code::MethodUnknown),
                "nothing tells by which method it was authenticated".to_owned(),
            ),
        }
        // What the server sees says nothing of whether the link would take another server for this
        // one.
        let now = |keyword| link.conninfo.get(keyword).unwrap_or_default();
        let sslmode = link.conninfo.get("sslmode").unwrap_or("prefer");
        let sslmode_wanted = wanted.get("sslmode").unwrap_or("prefer");
        missing(
            sslmode == sslmode_wanted,
            None,
            format!("it does not verify the server: sslmode is {sslmode}, not {sslmode_wanted}"),
        );
        let (roots, roots_wanted) =
            (now("sslrootcert"), wanted.get("sslrootcert").unwrap_or_default());
        missing(
            roots == roots_wanted,
            None,
            format!("it verifies the server by \"{roots}\", not by {roots_wanted}"),
        );
        if self.spec.mode == Mode::Cert {
            missing(
                proof.certificate.is_some(),
                Some(Code::NoClientCertificate),
                "no client certificate was presented".to_owned(),
            );
        }
        missing(
            proof.replicating,
            Some(Code::NotWorking),
            format!("it does not replicate (state {})", session.state),
        );
        (proof, findings)
    }

    /// What is wrong with a session of a link's role that is no link.
    fn beside(&self, demand: &Demand, session: &Session, is_inside: bool) -> Option<String> {
        let wanted = self.spec.mode.hba_method();
        let tls = demand.ways_in.iter().all(|way| way.tls);
        let how = match self.told.get(&session.pid) {
            Some(told) if told.method != wanted => format!("came in by {}", told.method),
            _ if tls && session.tls.is_none() => "came in without TLS".to_owned(),
            _ if !is_inside => "comes from where no link does".to_owned(),
            _ => return None,
        };
        let from = session.address.map_or_else(String::new, |address| format!(" from {address}"));
        Some(format!(
            "a session of {}{from} that is no link {how} (process {} since {}), and stays until it ends: \
             see whose it is, and end it (pg_terminate_backend)",
            session.user,
            session.pid,
            moment(session.start.into())
        ))
    }

    /// The rule that would decide about a session like this one.
    fn rule_for(&self, link: &Link, session: &Session) -> Option<DecidingRule> {
        self.reading.decide(&Question {
            address: session.address,
            tls: session.tls.is_some(),
            user: &session.user,
            database: link.database().unwrap_or_default(),
            physical: *link.place == LinkPlace::PrimaryConninfo,
        })
    }

    fn tell_method(&self, proof: &mut LinkProof, told: Option<&Told>, rule: Option<&DecidingRule>) {
        if let Some(told) = told {
            proof.method_from = MethodSource::Log;
            proof.method = Some(told.method.clone());
            if let Some((file, line)) = &told.place {
                proof.hba_file = Some(file.clone());
                proof.hba_line = Some(*line);
            }
            proof.evidence = Some(told.evidence.clone());
        } else if let Some(rule) = rule {
            proof.method_from = MethodSource::Rules;
            proof.method = Some(rule.method.as_str().to_owned());
            proof.hba_file = Some(rule.file.clone());
            proof.hba_line = Some(rule.line);
            proof.evidence = Some(format!("such a session is decided about by {rule}"));
        }
    }

    /// What is to be said of a session that began before the rules that are in force, and whether it
    /// is more than a doubt.
    fn age(
        &self,
        session: &Session,
        told: Option<&Told>,
        rule: Option<&DecidingRule>,
    ) -> Option<(bool, String)> {
        // A file that the server refuses is not what is in force.
        if session.start >= self.rules_since || self.reading.refusal().is_some() {
            return None;
        }
        let start = format!(
            "the session began at {}, before the rules in force were read at {}",
            moment(session.start.into()),
            moment(self.rules_since.into())
        );
        let Some(told) = told else {
            let doubt = "and no log tells how it was let in: let it connect anew";
            return Some((false, format!("{start}, {doubt}")));
        };
        let decision = match rule {
            Some(rule) if rule.method.as_str() == told.method => return None,
            Some(rule) => format!("a new one is decided about by {rule}"),
            None => "a new one finds no rule that lets it in".to_owned(),
        };
        Some((true, format!("{start}; it came in by {}, {decision}", told.method)))
    }
}

/// Whether the link shall have TLS.
fn wanted_tls(spec: &ClusterSpec, link: &Link, wanted: &ConnInfo) -> bool {
    // An access node's links have no connection string that says so: what a foreign server has of it is
    // as somebody left it, and an access node that speaks TLS goes by its own.
    let is_said = *link.place != LinkPlace::AccessNode && wanted.get("sslmode").is_some();
    spec.mode != Mode::Trust && (is_said || !spec.i_know.plain_text_can_be_read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::sample;

    #[test]
    fn what_a_foreign_server_of_an_access_node_says_of_tls_is_not_what_is_wanted()
    -> Result<(), Box<dyn std::error::Error>> {
        let head = "topology = \"native\"\nmode = \"scram\"\nlink-role = \"repl\"";
        let mut spec = sample::spec(head, &[("n", "10.0.0.1", 5432), ("m", "10.0.0.2", 5432)])?;
        let standby = sample::link("n", "m");
        let access = Link { place: LinkPlace::AccessNode.into(), ..standby.clone() };
        let (said, unsaid) = ("sslmode=prefer".parse()?, ConnInfo::default());
        for (plain_text, link, wanted, tls) in [
            (false, &access, &unsaid, true),
            (false, &access, &said, true),
            (true, &access, &unsaid, false),
            (true, &access, &said, false),
            (true, &standby, &said, true),
        ] {
            spec.i_know.plain_text_can_be_read = plain_text;
            assert_eq!(wanted_tls(&spec, link, wanted), tls, "{plain_text} {:?}", link.place);
        }
        Ok(())
    }
}
