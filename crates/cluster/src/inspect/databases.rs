//! Foreign servers belong to one database each, and the administrator comes in to one: the others are
//! looked into, too.

use std::time::Duration;

use tokio_postgres::Client;

use super::{ForeignServer, queries};
use crate::{
    bounded::for_each,
    error::Error,
    spec::{ClusterSpec, NodeSpec, TopologyKind},
    sql,
};

/// So many databases of one node are looked into at the same time: each is a connection.
const AT_ONCE: usize = 4;

/// How long one database may take: another must not keep the node from being inspected.
const PATIENCE: Duration = Duration::from_secs(15);

/// The foreign servers of a node.
#[derive(Debug, Default)]
pub(super) struct ForeignServers {
    pub(super) found: Vec<ForeignServer>,
    /// The databases that could not be searched, and why.
    pub(super) unseen: Vec<(String, String)>,
}

/// The foreign servers that links of the description's topology may be kept in: those of the
/// administrator's database first.
pub(super) async fn foreign_servers(
    client: &Client,
    spec: &ClusterSpec,
    node: &NodeSpec,
    in_recovery: bool,
    link_roles: &[&str],
) -> Result<ForeignServers, Error> {
    let mut servers = ForeignServers::default();
    let access_node = spec.timescale.as_ref().map(|timescale| timescale.access_node.as_str());
    let has_links = match spec.topology {
        // A standby has its primary's catalogue.
        TopologyKind::Native => !in_recovery,
        TopologyKind::Timescale => access_node == Some(node.name.as_str()),
        TopologyKind::Pgd => false,
    };
    if !has_links {
        return Ok(servers);
    }
    servers.found = queries::foreign_servers(client, link_roles).await?;
    let roles: Vec<String> = link_roles.iter().map(|role| (*role).to_owned()).collect();
    let others = for_each(AT_ONCE, queries::other_databases(client).await?, |database| {
        let (node, roles) = (node.clone(), roles.clone());
        async move {
            let found = look_into(&node, &database, &roles).await;
            (database, found)
        }
    });
    for (database, found) in others.await? {
        match found {
            Ok(found) => servers.found.extend(found),
            Err(error) => servers.unseen.push((database, error.without_node().to_string())),
        }
    }
    Ok(servers)
}

async fn look_into(
    node: &NodeSpec,
    database: &str,
    link_roles: &[String],
) -> Result<Vec<ForeignServer>, Error> {
    let login = sql::Login { patience: PATIENCE, ..sql::Login::default() };
    let client = sql::connect_as(node, Some(database), login).await?;
    let link_roles: Vec<&str> = link_roles.iter().map(String::as_str).collect();
    queries::foreign_servers(&client, &link_roles).await
}
