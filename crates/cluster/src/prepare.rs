//! From what inspection found to a plan with its secrets.

use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::{
    authority, credentials,
    error::Error,
    inspect::NodeState,
    plan::{self, Plan},
    spec::ClusterSpec,
    topology,
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
    let authority = authority::open_or_create(&spec.secrets, spec.certificates, now)?;
    let links = topology::of(spec.topology).links(spec, states)?;
    let mut vault = Vault::default();
    for state in states {
        for path in credentials::paths().iter().filter(|path| credentials::is_secret(path)) {
            let path = state.in_data_directory(path);
            if let Some(file) = state.file(&path) {
                vault.insert(plan::as_found(&state.name, &path), file.bytes.clone());
            }
        }
        let stored = state.role(&spec.link_role).and_then(|role| role.stored_password.as_ref());
        if let Some(stored) = stored {
            let stored = Zeroizing::new(stored.as_bytes().to_vec());
            vault.insert(plan::password_as_found(&state.name), stored);
        }
    }
    for link in links.iter().filter(|link| link.conninfo.has_secret()) {
        let text = Zeroizing::new(link.conninfo.to_text().as_bytes().to_vec());
        vault.insert(plan::link_as_found(link), text);
    }
    let credentials = credentials::make(spec, states, &links, &authority, now, &mut vault)?;
    let plan = plan::make(spec, states, &links, &credentials)?;
    Ok(Prepared { plan, vault })
}
