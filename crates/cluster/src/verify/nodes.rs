//! The nodes that were asked.

use std::net::IpAddr;

use serde::Serialize;

use crate::{inspect::NodeState, spec::ClusterSpec};

/// A node of the description, and whether it could be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct NodeSeen {
    /// Its name.
    pub name: String,
    /// The address that peers connect to.
    pub address: IpAddr,
    /// The port there.
    pub port: u16,
    /// The server's version as it prints it; `None` for a node that could not be asked.
    pub server_version: Option<String>,
}

/// Every node, in the order of the description.
pub(super) fn all(spec: &ClusterSpec, states: &[NodeState]) -> Vec<NodeSeen> {
    let version = |name: &str| {
        let state = states.iter().find(|state| state.name == name)?;
        Some(state.server_version.clone())
    };
    let seen = spec.nodes.iter().map(|node| NodeSeen {
        name: node.name.clone(),
        address: node.address,
        port: node.port,
        server_version: version(&node.name),
    });
    seen.collect()
}
