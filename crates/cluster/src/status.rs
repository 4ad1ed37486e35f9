//! A quick look at a cluster: which nodes answer, and which sessions their links have now.
//!
//! It proves nothing; [`verify`](crate::verify) does. A node that does not answer keeps nobody from
//! hearing of the others.

use serde::Serialize;
use tokio::task::JoinSet;

use crate::{
    error::{Error, NodeContext as _},
    inspect::{self, Node, NodeState},
    sessions,
    spec::ClusterSpec,
    sql,
    topology::{self, Link, SessionKey},
};

/// What a quick look shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Every node, in the order of the description.
    pub nodes: Vec<NodeStatus>,
    /// The links of the nodes that answer.
    pub links: Vec<LinkStatus>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct NodeStatus {
    /// Its name.
    pub name: String,
    /// Why it cannot be asked; `None` for one that answers.
    pub error: Option<String>,
    /// The server's version as it prints it.
    pub server_version: Option<String>,
    /// Whether it speaks TLS.
    pub tls: Option<bool>,
    /// Since when it runs, to the second, in the server's time zone.
    pub started: Option<String>,
    /// When it last read its configuration.
    pub configuration_loaded: Option<String>,
}

/// A link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LinkStatus {
    /// The node that connects.
    pub from: String,
    /// The node that is connected to.
    pub to: String,
    /// What it is called.
    pub name: String,
    /// Whether it is switched on.
    pub enabled: bool,
    /// The `sslmode` of its connection string; `prefer` where there is none.
    pub sslmode: String,
    /// Whether it has a session at all times, and not only while it is used.
    pub lasting: bool,
    /// Its session on `to`; `None` where there is none, or `to` does not answer.
    pub session: Option<SessionStatus>,
}

impl LinkStatus {
    /// Whether a session is missing.
    #[must_use]
    pub fn lacks_session(&self) -> bool {
        self.lasting && self.session.is_none()
    }
}

/// A link's session, as the server that it leads to has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SessionStatus {
    /// The role that logged in.
    pub user: String,
    /// `TLSv1.3`; `None` for plain text.
    pub tls: Option<String>,
    /// The subject of the client certificate that was presented.
    pub certificate: Option<String>,
    /// `streaming` …
    pub state: String,
}

/// Looks at every node, all at the same time.
///
/// # Errors
/// [`Error`] if the links of the nodes that answer make no sense; not for a node that does not.
pub async fn status(spec: &ClusterSpec, nodes: &[Node]) -> Result<Status, Error> {
    let mut looking = JoinSet::new();
    for (index, node) in nodes.iter().enumerate() {
        let (spec, node) = (spec.clone(), node.clone());
        looking.spawn(async move { (index, look(&spec, &node).await) });
    }
    let mut found = Vec::new();
    while let Some(looked) = looking.join_next().await {
        found.push(looked.map_err(|_| Error::Cancelled)?);
    }
    found.sort_by_key(|(index, _)| *index);
    let (mut states, mut shown) = (Vec::new(), Vec::new());
    for (index, looked) in found {
        let name = nodes[index].spec.name.clone();
        match looked {
            Ok((state, started, loaded)) => {
                shown.push(NodeStatus {
                    name,
                    error: None,
                    server_version: Some(state.server_version.clone()),
                    tls: Some(state.setting("ssl") == "on"),
                    started: Some(started),
                    configuration_loaded: Some(loaded),
                });
                states.push(state);
            }
            Err(error) => shown.push(NodeStatus {
                name,
                error: Some(error.to_string()),
                server_version: None,
                tls: None,
                started: None,
                configuration_loaded: None,
            }),
        }
    }
    let links = topology::of(spec.topology).links(spec, &states)?;
    let mut shown_links = Vec::new();
    for link in &links {
        let to = nodes.iter().find(|node| node.spec.name == link.to);
        let answers = shown.iter().any(|node| node.name == link.to && node.error.is_none());
        let session = match to.filter(|_| answers) {
            Some(to) => session(to, &link.session).await.on_node(&link.to)?,
            None => None,
        };
        shown_links.push(of_link(link, session));
    }
    Ok(Status { nodes: shown, links: shown_links })
}

async fn look(spec: &ClusterSpec, node: &Node) -> Result<(NodeState, String, String), Error> {
    const QUERY: &str = "SELECT pg_catalog.date_trunc('second', \
                                    pg_catalog.pg_postmaster_start_time())::text, \
                                pg_catalog.date_trunc('second', \
                                    pg_catalog.pg_conf_load_time())::text";
    let state = inspect::inspect(spec, node).await?;
    let client = sql::connect(&node.spec, None).await?;
    let row = client.query_one(QUERY, &[]).await.on_node(&node.spec.name)?;
    Ok((state, row.get(0), row.get(1)))
}

async fn session(to: &Node, key: &SessionKey) -> Result<Option<SessionStatus>, Error> {
    let client = sql::connect(&to.spec, None).await?;
    let session = sessions::find(&client, key).await?;
    Ok(session.map(|session| SessionStatus {
        user: session.user,
        tls: session.tls,
        certificate: session.certificate,
        state: session.state,
    }))
}

fn of_link(link: &Link, session: Option<SessionStatus>) -> LinkStatus {
    LinkStatus {
        from: link.from.to_string(),
        to: link.to.to_string(),
        name: link.name.to_string(),
        enabled: link.enabled,
        sslmode: link.conninfo.get("sslmode").unwrap_or("prefer").to_owned(),
        lasting: link.session.is_lasting(),
        session,
    }
}
