//! A quick look at a cluster: which nodes answer, and which sessions their links have now.
//!
//! It proves nothing; [`verify`](crate::verify) does. A node that does not answer keeps nobody from
//! hearing of the others.

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;

use crate::{
    bounded::{AT_ONCE, for_each},
    deadline::within,
    error::{Error, NodeContext as _},
    inspect::{self, ANSWER, Node, NodeState},
    sessions::{self, Session, WalSender, pick},
    spec::ClusterSpec,
    sql,
    topology::{self, Link},
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

/// Looks at every node, many at the same time.
///
/// # Errors
/// [`Error`] if the links of the nodes that answer make no sense; not for a node that does not.
pub async fn status(spec: &ClusterSpec, nodes: &[Node]) -> Result<Status, Error> {
    let shared = Arc::new(spec.clone());
    let looked = for_each(AT_ONCE, nodes.to_vec(), |node| {
        let spec = shared.clone();
        async move { look(&spec, &node).await }
    });
    let (mut states, mut shown, mut senders) = (Vec::new(), Vec::new(), BTreeMap::new());
    for (node, looked) in nodes.iter().zip(looked.await?) {
        let name = node.spec.name.clone();
        match looked {
            Ok(Looked { state, started, loaded, walsenders }) => {
                senders.insert(name.clone(), walsenders);
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
    let of_link = |link: &Link| {
        let there = senders.get(&*link.to).and_then(|there| pick(&link.session, there));
        of_link(link, there)
    };
    Ok(Status { nodes: shown, links: links.iter().map(of_link).collect() })
}

/// What a look at a node shows.
struct Looked {
    state: NodeState,
    started: String,
    loaded: String,
    walsenders: Vec<WalSender>,
}

async fn look(spec: &Arc<ClusterSpec>, node: &Node) -> Result<Looked, Error> {
    const QUERY: &str = "SELECT pg_catalog.date_trunc('second', \
                                    pg_catalog.pg_postmaster_start_time())::text, \
                                pg_catalog.date_trunc('second', \
                                    pg_catalog.pg_conf_load_time())::text";
    let client = sql::connect(&node.spec, None).await?;
    let look = async {
        let state = inspect::inspect_with(&client, spec, node).await?;
        let row = client.query_one(QUERY, &[]).await?;
        let walsenders = sessions::walsenders(&client).await?;
        Ok::<_, Error>(Looked { state, started: row.get(0), loaded: row.get(1), walsenders })
    };
    within(sql::PATIENCE, ANSWER, look).await.on_node(&node.spec.name)
}

fn of_link(link: &Link, session: Option<Session>) -> LinkStatus {
    LinkStatus {
        from: link.from.to_string(),
        to: link.to.to_string(),
        name: link.name.to_string(),
        enabled: link.enabled,
        sslmode: link.conninfo.get("sslmode").unwrap_or("prefer").to_owned(),
        lasting: link.session.is_lasting(),
        session: session.map(|session| SessionStatus {
            user: session.user,
            tls: session.tls,
            certificate: session.certificate,
            state: session.state,
        }),
    }
}
