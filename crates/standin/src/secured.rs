//! A stand-in as pgward sees it: described, secured and verified by the library's own calls.

use std::{path::Path, sync::Arc};

use cluster::{
    Error,
    inspect::{self, Node},
    prepare::{self, Prepared},
    run::Runner,
    spec::{CertificatePolicy, ClusterSpec, IKnow, Mode, NodeSpec, TopologyKind},
    transport::{FilesSpec, LocalFiles},
    verify::{self, Options, Verification},
};
use time::OffsetDateTime;

use super::Node as StandIn;

/// The description of a stand-in's nodes; it keeps its secrets in a folder that is not there yet.
pub fn describe(
    topology: TopologyKind,
    mode: Mode,
    role: &str,
    folder: &Path,
    nodes: &[Arc<StandIn>],
    peers_from: &str,
) -> Result<ClusterSpec, ipnet::AddrParseError> {
    let peers_from = vec![peers_from.parse()?];
    let node = |node: &Arc<StandIn>| NodeSpec {
        name: node.name().to_owned(),
        host: None,
        address: node.address(),
        port: node.port(),
        peers_from: peers_from.clone(),
        sql: node.admin_conninfo(),
        files: FilesSpec::Local,
    };
    Ok(ClusterSpec {
        topology,
        mode,
        link_role: role.to_owned(),
        roles: Vec::new(),
        secrets: folder.join("secrets"),
        certificates: CertificatePolicy::default(),
        i_know: IKnow::default(),
        timescale: None,
        nodes: nodes.iter().map(node).collect(),
    })
}

/// The nodes of a description, with their files on this machine.
pub fn nodes(spec: &ClusterSpec) -> Vec<Node> {
    let node = |spec: &NodeSpec| Node { spec: spec.clone(), files: Arc::new(LocalFiles) };
    spec.nodes.iter().map(node).collect()
}

/// Plans.
pub async fn plan(spec: &ClusterSpec) -> Result<Prepared, Error> {
    let states = inspect::inspect_all(spec, &nodes(spec)).await?;
    prepare::prepare(spec, &states, OffsetDateTime::now_utc())
}

/// Plans and applies; says how many steps that took.
pub async fn secure(spec: &ClusterSpec) -> Result<usize, Error> {
    let prepared = plan(spec).await?;
    let steps = prepared.plan.stages.iter().map(|stage| stage.steps.len()).sum();
    Runner::new(spec, &nodes(spec)).apply(prepared).await?;
    Ok(steps)
}

/// Verifies.
pub async fn look(spec: &ClusterSpec) -> Result<Verification, Error> {
    look_with(spec, Options::default()).await
}

/// Verifies with options.
pub async fn look_with(spec: &ClusterSpec, options: Options) -> Result<Verification, Error> {
    verify::verify_with(spec, &nodes(spec), OffsetDateTime::now_utc(), options).await
}
