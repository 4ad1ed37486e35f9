//! Another authority, in three steps: trust both, new certificates, drop the old one.

use std::path::Path;

use textfile::fs::Access;
use time::OffsetDateTime;

use super::{plan_of, prove, reconnect, secured};
use crate::{
    authority,
    credentials::Renew,
    error::Error,
    hba,
    inspect::NodeState,
    plan::{self, Action, Content, Expectation, Pace, Step, Warning, files},
    prepare::{Preparation, Prepared},
    spec::ClusterSpec,
};

/// A plan that gives the cluster another authority, with new certificates everywhere.
///
/// # Errors
/// [`Error::Plan`] if the cluster is not secured as described, or if the proof fails.
pub fn authority(
    spec: &ClusterSpec,
    states: &[NodeState],
    now: OffsetDateTime,
) -> Result<Prepared, Error> {
    let preparation = secured(spec, states, now)?;
    let mut vault = preparation.as_found()?;
    let old = authority::open(&spec.secrets)?;
    let new = authority::create(spec.certificates, now)?;
    let renew = Renew { certificates: true, ..Renew::default() };
    let credentials = preparation.credentials(&new, renew, now, &mut vault)?;
    prove(&preparation, &credentials, &[new.root().clone()], now)?;

    let both = [old.root().to_pem(), new.root().to_pem()].concat();
    let (mut changes, mut trust, mut place, mut present, mut drop) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for state in states {
        let Some(demand) = preparation.demands.get(&state.name) else { continue };
        let Some(own) = credentials.nodes.get(&state.name) else { continue };
        let owned = |mode| Access { mode, ..state.owner };
        let mut write = |path: &Path, mode, content, steps: &mut Vec<Step>| {
            let path = state.in_data_directory(path);
            if let Some((change, step)) = files::write(state, path, owned(mode), content) {
                changes.push(change);
                steps.push(step);
            }
        };
        if let Some(root) = &demand.root {
            write(root, 0o644, Content::Public(both.clone().into_bytes()), &mut trust);
            trust.push(reload(state, None));
            let path = state.in_data_directory(root);
            let (before, after) = (both.as_bytes(), new.root().to_pem());
            drop.push(files::rewrite(&state.name, &path, owned(0o644), before, after.as_bytes()));
            drop.push(reload(state, own.server_fingerprint.clone()));
        }
        for (pair, made) in &own.pairs {
            let certificate = Content::Public(made.certificate.clone().into_bytes());
            write(&pair.certificate, 0o644, certificate, &mut place);
            write(&pair.key, 0o600, Content::Secret(made.key.clone()), &mut place);
        }
        if own.new_server {
            present.push(reload(state, own.server_fingerprint.clone()));
        }
    }
    let keep = authority::keep(&new, &spec.secrets, Some(&old), &mut vault);
    let cluster = preparation.cluster();
    let stages = [
        Some(plan::on_demand::before(&cluster)),
        Some(plan::stage("trust both authorities", Pace::NodeByNode, trust)),
        Some(plan::stage("put new certificates and keys in place", Pace::AllAtOnce, place)),
        Some(plan::stage("present the new certificates", Pace::NodeByNode, present)),
        reconnect(&preparation),
        Some(plan::on_demand::again(&cluster)),
        Some(plan::stage("keep the new authority", Pace::AllAtOnce, keep)),
        Some(plan::stage("trust the new authority only", Pace::NodeByNode, drop)),
    ];
    let stages = stages.into_iter().flatten().collect();
    let mut plan = plan_of(spec, &credentials, changes, stages);
    plan.warnings = others_shut_out(&preparation);
    plan::shorten(&mut plan, &cluster)?;
    Ok(Prepared { plan, vault })
}

/// What logs in by certificates of the old authority and is no link of this cluster.
fn others_shut_out(preparation: &Preparation<'_>) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for state in preparation.states {
        let Some(demand) = preparation.demands.get(&state.name) else { continue };
        if demand.root.is_none() {
            continue;
        }
        for rule in hba::others_with_certificates(state, &demand.ways_in) {
            let message = format!(
                "\"{rule}\" asks clients for certificates: those of the old authority are refused when \
                 this is done, so give these clients such of the new one then. What has this node in \
                 another description (a data node of two access nodes) needs the new ca.crt and ca.key \
                 in that one's folder of secrets, and to be applied"
            );
            warnings.push(Warning::new(&state.name, message));
        }
    }
    warnings
}

fn reload(state: &NodeState, certificate: Option<String>) -> Step {
    Step {
        node: (&state.name).into(),
        action: Action::Reload(Expectation { certificate }),
        undo: None,
    }
}
