//! From what inspection found to a plan with its secrets.

use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::{
    authority, credentials,
    error::Error,
    inspect::NodeState,
    plan::{self, Plan},
    spec::ClusterSpec,
    topology::{self, Cluster},
    vault::Vault,
};

/// A plan, and the secrets that it refers to.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// What shall be done.
    pub plan: Plan,
    /// What it must not hold.
    pub vault: Vault,
}

/// Makes a plan. The cluster's authority is loaded, or made in the folder for secrets; keys and
/// passwords that are needed are made in memory; no node is touched.
///
/// # Errors
/// [`Error`] where something must be different before: see its message.
pub fn prepare(
    spec: &ClusterSpec,
    states: &[NodeState],
    now: OffsetDateTime,
) -> Result<Prepared, Error> {
    spec.check()?;
    let topology = topology::of(spec.topology);
    let links = topology.links(spec, states)?;
    if links.is_empty() {
        return Err(Error::plan(
            "no node has a link to another: create the links first, for what they connect to is what \
             the rules must say",
        ));
    }
    let cluster = Cluster { spec, states, links: &links };
    let demands = topology::demands(topology, &cluster)?;
    let authority = authority::open_or_create(&spec.secrets, spec.certificates, now)?;
    let mut vault = as_found(&cluster, &demands);
    let credentials = credentials::make(topology, &cluster, &demands, &authority, now, &mut vault)?;
    let plan = plan::make(topology, &cluster, &demands, &credentials)?;
    Ok(Prepared { plan, vault })
}

/// The secrets that the nodes have now, so that they can be put back.
fn as_found(cluster: &Cluster<'_>, demands: &topology::Demands) -> Vault {
    let mut vault = Vault::default();
    for state in cluster.states {
        let Some(demand) = demands.get(&state.name) else { continue };
        let keys = demand.pairs().map(|pair| &pair.key);
        for path in keys.chain(&demand.passfile) {
            let path = state.in_data_directory(path);
            if let Some(file) = state.file(&path) {
                vault.insert(plan::as_found(&state.name, &path), file.bytes.clone());
            }
        }
        for role in &state.roles {
            if let Some(stored) = &role.stored_password {
                let stored = Zeroizing::new(stored.as_bytes().to_vec());
                vault.insert(plan::password_as_found(&state.name, &role.name), stored);
            }
        }
    }
    for link in cluster.links.iter().filter(|link| link.conninfo.has_secret()) {
        let text = Zeroizing::new(link.conninfo.to_text().as_bytes().to_vec());
        vault.insert(plan::link_as_found(link), text);
    }
    vault
}
