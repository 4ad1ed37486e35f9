//! Proof that the links are what they should be: for each link the method that it really used, and
//! that nobody else gets in.
//!
//! Verifying only reads. It logs in as the link role, or tries to, but runs no statement as it.

mod checks;
mod code;
mod finding;
mod link;
pub mod log;
pub(crate) mod probe;
mod refusal;
mod server;

use std::sync::Arc;

use serde::Serialize;
use time::OffsetDateTime;
use tokio::task::JoinSet;

pub use code::Code;
pub use finding::{Finding, Severity};
pub use link::{LinkProof, MethodSource};
pub use refusal::{Refusal, Trial};
pub use server::ServerProof;

use crate::{
    conninfo::ConnInfo,
    error::Error,
    inspect::{self, Node},
    spec::ClusterSpec,
    topology::{self, Cluster, Link},
};

/// What was proved of a cluster, and what not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// Every link.
    pub links: Vec<LinkProof>,
    /// Every server that links lead to.
    pub servers: Vec<ServerProof>,
    /// Every attempt to get in that must fail.
    pub refusals: Vec<Refusal>,
    /// What is not as it should be, and why nothing else may have said so.
    pub findings: Vec<Finding>,
}

impl Verification {
    /// Whether every link is proved, and every attempt that must fail failed. A cluster without
    /// links proves nothing.
    #[must_use]
    pub fn proved(&self) -> bool {
        !self.links.is_empty()
            && self.links.iter().all(LinkProof::proved)
            && self.servers.iter().all(ServerProof::proved)
            && self.refusals.iter().all(Refusal::proved)
            && self.findings.iter().all(|finding| finding.severity != Severity::Error)
    }
}

/// Verifies every link between the nodes, and tries on each node that has links to it what must not
/// get in.
///
/// # Errors
/// [`Error`] if a node cannot be reached or asked: then nothing is proved.
pub async fn verify(
    spec: &ClusterSpec,
    nodes: &[Node],
    now: OffsetDateTime,
) -> Result<Verification, Error> {
    let states = inspect::inspect_all(spec, nodes).await?;
    let topology = topology::of(spec.topology);
    let links = topology.links(spec, &states)?;
    let (links, mut findings, demands) = {
        let cluster = Cluster { spec, states: &states, links: &links };
        let demands = topology::demands(topology, &cluster)?;
        let wanted = |link| topology::wanted(topology, &cluster, &demands, link);
        let wanted = links.iter().map(wanted).collect::<Result<Vec<_>, _>>()?;
        let pairs: Arc<[(Link, ConnInfo)]> = links.iter().cloned().zip(wanted).collect();
        let findings = checks::all(topology, &cluster, &demands, &pairs, now);
        (pairs, findings, Arc::new(demands))
    };
    let all: Arc<[Node]> = nodes.into();
    let mut proving = JoinSet::new();
    for (index, (node, state)) in nodes.iter().zip(states).enumerate() {
        let (spec, node, links) = (spec.clone(), node.clone(), links.clone());
        let (all, demands) = (all.clone(), demands.clone());
        proving.spawn(async move {
            let to_it: Vec<_> =
                links.iter().filter(|(link, _)| link.to == node.spec.name).cloned().collect();
            let missing = || Error::plan("the topology asks nothing of this node");
            let demand = demands.get(&node.spec.name).ok_or_else(missing)?;
            let (proofs, server, refusals) = tokio::try_join!(
                link::prove(&spec, &all, &node, &state, &to_it),
                server::prove(&spec, &node, demand, &to_it, now),
                refusal::prove(&spec, &node, demand, &to_it, now)
            )?;
            Ok::<_, Error>((index, proofs, server, refusals))
        });
    }
    let mut found = Vec::new();
    while let Some(proved) = proving.join_next().await {
        found.push(proved.map_err(|_| Error::Cancelled)??);
    }
    found.sort_by_key(|(index, ..)| *index);
    let (mut proved, mut servers, mut refusals) = (Vec::new(), Vec::new(), Vec::new());
    for (_, links, server, tried) in found {
        for (proof, about) in links {
            proved.push(proof);
            findings.extend(about);
        }
        servers.extend(server);
        refusals.extend(tried);
    }
    for server in &servers {
        findings.extend(server.finding());
    }
    findings.extend(refusals.iter().filter_map(Refusal::finding));
    findings.sort_by(|a, b| (a.severity, &a.node, a.code).cmp(&(b.severity, &b.node, b.code)));
    findings.dedup();
    Ok(Verification { links: proved, servers, refusals, findings })
}
