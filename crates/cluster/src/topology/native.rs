//! PostgreSQL's own logical replication: each subscription is a link from the subscriber to the
//! publisher.
//!
//! The connection string is `pg_subscription.subconninfo`. `ALTER SUBSCRIPTION … CONNECTION` changes
//! it; the apply worker notices, ends, and is started again with the new one (`worker.c`,
//! `maybe_reread_subscription`).

use postgres_protocol::escape::{escape_identifier, escape_literal};

use super::{Link, Topology};
use crate::{
    conninfo::ConnInfo, error::Error, inspect::NodeState, plan::Statement, spec::ClusterSpec,
};

/// Subscriptions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Native;

impl Topology for Native {
    fn links(&self, spec: &ClusterSpec, nodes: &[NodeState]) -> Result<Vec<Link>, Error> {
        let mut links = Vec::new();
        for node in nodes {
            for subscription in &node.subscriptions {
                let conninfo = &subscription.conninfo;
                let port = conninfo.get("port").map_or(Ok(5432), str::parse);
                let to = port.ok().and_then(|port| {
                    spec.node_at(conninfo.get("host"), conninfo.get("hostaddr"), port)
                });
                let Some(to) = to else {
                    return Err(Error::plan(format!(
                        "subscription {} of node {} leads to none of the described nodes ({}): \
                         describe that node too, or drop the subscription",
                        subscription.name,
                        node.name,
                        conninfo.to_masked_text()
                    )));
                };
                links.push(Link {
                    from: node.name.clone(),
                    to: to.name.clone(),
                    name: subscription.name.clone(),
                    kept_in: subscription.database.clone(),
                    conninfo: conninfo.clone(),
                    slot: subscription.slot.clone(),
                    enabled: subscription.enabled,
                });
            }
        }
        Ok(links)
    }

    fn switch(&self, link: &Link, conninfo: &ConnInfo) -> Statement {
        Statement::new(format!(
            "{} {}",
            alter(link),
            escape_literal(&conninfo.to_text()).trim_start()
        ))
    }

    fn switch_to_secret(&self, link: &Link, secret: String) -> Statement {
        Statement::with_secret(alter(link), secret)
    }
}

fn alter(link: &Link) -> String {
    format!("ALTER SUBSCRIPTION {} CONNECTION", escape_identifier(&link.name))
}
