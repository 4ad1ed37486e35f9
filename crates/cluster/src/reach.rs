//! The ways to the nodes of a description.

use std::sync::Arc;

use crate::{
    bounded::{AT_ONCE, for_each},
    conninfo::ConnInfo,
    error::{Error, NodeContext as _},
    inspect::Node,
    spec::{ClusterSpec, NodeSpec},
    sql,
    transport::{BundleNode, Transport},
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

/// Opens the ways to all nodes, many at the same time. Must be called in the Tokio runtime in which they
/// will be used.
///
/// # Errors
/// [`Error::Node`] for the first that cannot be reached.
pub async fn reach(spec: &ClusterSpec) -> Result<Reached, Error> {
    let opened = for_each(AT_ONCE, spec.nodes.clone(), |node| async move {
        open(&node).await.on_node(&node.name)
    });
    let opened: Vec<_> = opened.await?.into_iter().collect::<Result<_, _>>()?;
    let (nodes, ways) = opened.into_iter().unzip();
    Ok(Reached { nodes, ways })
}

async fn open(spec: &NodeSpec) -> Result<(Node, Transport), Error> {
    let node = spec.clone();
    let connect = Arc::new(move || {
        let node = node.clone();
        Box::pin(async move { sql::connect(&node, None).await }) as _
    });
    let way = Transport::open(&spec.files, &spec.name, connect).await?;
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
