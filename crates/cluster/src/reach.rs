//! The ways to the nodes of a description.

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::{
    conninfo::ConnInfo,
    error::{Error, NodeContext as _},
    inspect::Node,
    spec::{ClusterSpec, NodeSpec},
    sql,
    transport::{BundleNode, FilesSpec, SshNode, Transport},
};

/// The nodes of a description, each with the way to it. Dropped, connections to their machines end.
#[derive(Clone, Debug)]
pub struct Reached {
    /// The nodes, in the order of the description.
    pub nodes: Vec<Node>,
    /// The ways to them, in the same order.
    pub ways: Vec<Transport>,
}

impl Reached {
    /// The bundles that are made for nodes whose files are out of reach.
    pub fn bundles(&self) -> impl Iterator<Item = &BundleNode> {
        self.ways.iter().filter_map(|way| match way {
            Transport::Bundle(bundle) => Some(bundle),
            Transport::Local | Transport::Ssh(_) => None,
        })
    }
}

/// Opens the ways to all nodes, at the same time. Must be called in the Tokio runtime in which they
/// will be used.
///
/// # Errors
/// [`Error::Node`] for the first that cannot be reached.
pub async fn reach(spec: &ClusterSpec) -> Result<Reached, Error> {
    let mut opening = JoinSet::new();
    for (index, node) in spec.nodes.iter().enumerate() {
        let node = node.clone();
        opening.spawn(async move { open(&node).await.on_node(&node.name).map(|it| (index, it)) });
    }
    let mut opened = Vec::new();
    while let Some(ended) = opening.join_next().await {
        opened.push(ended.map_err(|_| Error::Cancelled)??);
    }
    opened.sort_by_key(|(index, _)| *index);
    let (nodes, ways) = opened.into_iter().map(|(_, it)| it).unzip();
    Ok(Reached { nodes, ways })
}

async fn open(spec: &NodeSpec) -> Result<(Node, Transport), Error> {
    let way = match &spec.files {
        FilesSpec::Local => Transport::Local,
        FilesSpec::Ssh(ssh) => Transport::Ssh(SshNode::new(ssh.clone())?),
        FilesSpec::Bundle(bundle) => {
            let node = spec.clone();
            let connect = Arc::new(move || {
                let node = node.clone();
                Box::pin(async move { sql::connect(&node, None).await }) as _
            });
            Transport::Bundle(BundleNode::open(bundle.clone(), &spec.name, connect).await?)
        }
    };
    let mut reached = spec.clone();
    if let Transport::Ssh(_) = way {
        let sql: ConnInfo = spec
            .sql
            .parse()
            .map_err(|source| Error::ConnInfo { what: "sql".to_owned(), source })?;
        // From here it is another place: a socket that ssh forwards.
        way.sql(&sql).await?.to_text().as_str().clone_into(&mut reached.sql);
    }
    Ok((Node { spec: reached, files: way.files() }, way))
}
