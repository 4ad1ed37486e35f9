//! How each link really authenticates, from the node that it leads to.

use pg_version::PgVersion;
use serde::Serialize;
use tokio_postgres::Client;

use super::{Code, Finding, log};
use crate::{
    conninfo::ConnInfo,
    error::{Error, NodeContext as _},
    inspect::{Node, NodeState},
    sessions::{self, Session},
    spec::{ClusterSpec, Mode},
    sql,
    topology::{Link, LinkPlace, SessionKey},
};

/// What was found out about a directed link, and from where it is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
    /// The line of `pg_hba.conf` on `to` that decided.
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
    /// What keeps it from being what the description wants; empty for a proved link.
    pub missing: Vec<String>,
}

impl LinkProof {
    /// Whether the link is what the description wants.
    #[must_use]
    pub fn proved(&self) -> bool {
        self.missing.is_empty()
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

/// Proves the links that lead to one node.
pub(crate) async fn prove(
    spec: &ClusterSpec,
    nodes: &[Node],
    to: &Node,
    state: &NodeState,
    links: &[(Link, ConnInfo)],
) -> Result<Vec<(LinkProof, Vec<Finding>)>, Error> {
    let prove = async {
        let client = sql::connect(&to.spec, None).await?;
        let mut proofs = Vec::new();
        for (link, wanted) in links {
            let used = match &link.session {
                SessionKey::OnDemand { database, role, statement } => {
                    let from = nodes.iter().find(|node| node.spec.name == link.from);
                    let from = from.ok_or_else(|| Error::plan(format!("no node {}", link.from)))?;
                    match sessions::open(&client, &from.spec, link, database, role, statement).await
                    {
                        Ok(used) => Some(used),
                        Err(error @ Error::Node { .. }) if error.is_failing_link() => {
                            proofs.push(failing(link, &error));
                            continue;
                        }
                        Err(error) => return Err(error),
                    }
                }
                _ => None,
            };
            let session = match &used {
                Some(used) => used.session.clone(),
                None => sessions::find(&client, &link.session).await?,
            };
            // After the session, for it tells of it.
            let log = read_log(&client).await?;
            proofs.extend(judge(spec, state, link, wanted, session, log.as_deref()));
        }
        Ok::<_, Error>(proofs)
    };
    prove.await.on_node(&to.spec.name)
}

/// What is known of a link of which nothing has been proved.
fn unproved(link: &Link) -> LinkProof {
    LinkProof {
        from: link.from.clone(),
        to: link.to.clone(),
        name: link.name.clone(),
        user: link.user().unwrap_or_default().to_owned(),
        method: None,
        hba_line: None,
        method_from: MethodSource::Unknown,
        tls: None,
        cipher: None,
        certificate: None,
        replicating: false,
        missing: Vec::new(),
    }
}

fn failing(link: &Link, error: &Error) -> (LinkProof, Vec<Finding>) {
    let proof = LinkProof { missing: vec![error.to_string()], ..unproved(link) };
    let finding = Finding::error(Code::NotWorking, &link.from, format!("{}: {error}", link.name));
    (proof, vec![finding.of_link(&link.from, &link.to)])
}

fn judge(
    spec: &ClusterSpec,
    state: &NodeState,
    link: &Link,
    wanted: &ConnInfo,
    session: Option<Session>,
    log: Option<&str>,
) -> Option<(LinkProof, Vec<Finding>)> {
    let mut proof = unproved(link);
    let mut findings = Vec::new();
    let about = |code, what: &str| {
        Finding::error(code, &link.to, format!("{}: {what}", link.name))
            .of_link(&link.from, &link.to)
    };
    let Some(session) = session else {
        // A node's link to itself has none.
        if link.from == link.to {
            return None;
        }
        let why = if link.enabled { "the link has no session" } else { "the link is disabled" };
        proof.missing.push(why.to_owned());
        findings.push(about(Code::LinkDown, why));
        return Some((proof, findings));
    };
    let prefix = state.setting("log_line_prefix");
    if let Some(found) = log.and_then(|log| log::authentication_of(session.pid, prefix, log)) {
        proof.method = Some(found.method);
        proof.hba_line = Some(found.line);
        proof.method_from = MethodSource::Log;
    } else if (PgVersion::V14..=PgVersion::V16).contains(&state.version)
        && log.is_some_and(|log| log::let_in_without_authentication(session.pid, prefix, log))
    {
        proof.method = Some("trust".to_owned());
        proof.method_from = MethodSource::Log;
    } else if let Some(rule) = crate::hba::decide(
        state,
        &crate::hba::Question {
            address: session.address,
            tls: session.tls.is_some(),
            user: &session.user,
            database: link.database().unwrap_or_default(),
            physical: link.place == LinkPlace::PrimaryConninfo,
        },
    ) {
        proof.method = Some(rule.method.to_owned());
        proof.hba_line = Some(rule.line);
        proof.method_from = MethodSource::Rules;
    }
    proof.replicating = session.works;
    proof.user = session.user;
    proof.tls = session.tls;
    proof.cipher = session.cipher;
    proof.certificate = session.certificate;

    let method_wanted = spec.mode.hba_method();
    let role_wanted = wanted.get("user").unwrap_or(&spec.link_role);
    let tls_wanted = wanted_tls(spec, wanted);
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
    // What the server sees says nothing of whether the link would take another server for this one.
    let now = |keyword| link.conninfo.get(keyword).unwrap_or_default();
    let sslmode = link.conninfo.get("sslmode").unwrap_or("prefer");
    let sslmode_wanted = wanted.get("sslmode").unwrap_or("prefer");
    missing(
        sslmode == sslmode_wanted,
        None,
        format!("it does not verify the server: sslmode is {sslmode}, not {sslmode_wanted}"),
    );
    let (roots, roots_wanted) = (now("sslrootcert"), wanted.get("sslrootcert").unwrap_or_default());
    missing(
        roots == roots_wanted,
        None,
        format!("it verifies the server by \"{roots}\", not by {roots_wanted}"),
    );
    if spec.mode == Mode::Cert {
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
    Some((proof, findings))
}

/// Whether the link shall have TLS.
fn wanted_tls(spec: &ClusterSpec, wanted: &ConnInfo) -> bool {
    // An access node's links have no connection string that says so.
    spec.mode != Mode::Trust
        && (wanted.get("sslmode").is_some() || !spec.i_know.plain_text_can_be_read)
}

/// The end of the server's log, if the server may show it: `logging_collector` is on, and the format
/// is that of `stderr`.
async fn read_log(client: &Client) -> Result<Option<String>, Error> {
    // A session's line is written when it starts; a link that is older than this much log is judged
    // by the rules.
    const QUERY: &str = "SELECT pg_catalog.pg_read_binary_file(f, greatest(0, s.size - 4194304), 4194304) \
         FROM pg_catalog.pg_current_logfile('stderr') f, pg_catalog.pg_stat_file(f) s \
         WHERE f IS NOT NULL";
    match client.query_opt(QUERY, &[]).await {
        Ok(row) => Ok(row.map(|row| String::from_utf8_lossy(row.get(0)).into_owned())),
        // Rotated away between the two, or not for this user to read: then it tells nothing.
        Err(error) if error.as_db_error().is_some() => Ok(None),
        Err(error) => Err(error.into()),
    }
}
