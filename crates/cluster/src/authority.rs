//! The cluster's certificate authority: a key and a certificate in the folder for secrets.

use std::path::Path;

use pki::{Authority, Subject, Validity};
use textfile::fs::{Access, Snapshot};
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use crate::{
    error::Error,
    inspect::THIS_MACHINE,
    plan::{Action, Content, Expected, Step},
    spec::CertificatePolicy,
    vault::Vault,
};

/// The authority's certificate in the folder for secrets. Everybody may read it.
pub const CERTIFICATE: &str = "ca.crt";
/// The authority's key in the folder for secrets. It never leaves it.
pub const KEY: &str = "ca.key";

/// Clocks differ: a certificate made now must be valid on a node that is a little behind.
pub(crate) const BACKDATE: Duration = Duration::hours(1);

/// Loads the authority from `folder`; `None` if there is none yet.
///
/// # Errors
/// [`Error::Certificates`] if what is there is no authority or is not valid `now`, [`Error::Files`]
/// if it cannot be read.
pub fn find(folder: &Path, now: OffsetDateTime) -> Result<Option<Authority>, Error> {
    match (folder.join(KEY).exists(), folder.join(CERTIFICATE).exists()) {
        (true, true) => {
            let authority = open(folder)?;
            if authority.certificate().validity().contains(now) {
                return Ok(Some(authority));
            }
            let reason = format!("the authority in {} is not valid now", folder.display());
            Err(Error::Certificates { reason })
        }
        (false, false) => Ok(None),
        (true, false) => Err(half(folder, KEY, CERTIFICATE)),
        (false, true) => Err(half(folder, CERTIFICATE, KEY)),
    }
}

/// Makes an authority, in memory.
///
/// # Errors
/// [`Error::Certificates`] for a policy that makes none.
pub fn create(policy: CertificatePolicy, now: OffsetDateTime) -> Result<Authority, Error> {
    let validity = Validity::days(now - BACKDATE, policy.ca_days.into());
    let subject = Subject::common_name("pgward cluster CA");
    Ok(Authority::create(policy.key, &subject, validity)?)
}

/// The steps that keep an authority in `folder`: the folder with mode 0700, the key with mode 0600
/// from the first instant. `before` is the one that is there; its key is in the vault already.
pub(crate) fn keep(
    authority: &Authority,
    folder: &Path,
    before: Option<&Authority>,
    vault: &mut Vault,
) -> Vec<Step> {
    let owned = |mode| Access {
        mode,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
    };
    let step = |action, undo| Step { node: THIS_MACHINE.into(), action, undo: Some(undo) };
    let mut steps = Vec::new();
    if before.is_none() {
        steps.push(step(
            Action::MakeFolder { path: folder.to_owned(), access: owned(0o700) },
            Action::RemoveFolder { path: folder.to_owned() },
        ));
    }
    let secret = |name: &str, authority: &Authority, vault: &mut Vault| {
        vault.insert(name, Zeroizing::new(authority.key().to_pem().as_bytes().to_vec()));
        Content::Secret(name.to_owned())
    };
    let key = secret("the authority's key", authority, vault);
    let key_before = before.map(|before| secret("the authority's key as found", before, vault));
    let public = |authority: &Authority| Content::Public(pem(authority).into_bytes());
    for (name, mode, content, as_found) in
        [(KEY, 0o600, key, key_before), (CERTIFICATE, 0o644, public(authority), before.map(public))]
    {
        let (path, access) = (folder.join(name), owned(mode));
        let undo = match as_found {
            None => Action::RemoveFile { path: path.clone() },
            Some(content) => {
                let expected = Expected::Anything;
                Action::WriteFile { path: path.clone(), access, expected, content }
            }
        };
        let expected = if before.is_some() { Expected::Anything } else { Expected::Absent };
        steps.push(step(Action::WriteFile { path, access, expected, content }, undo));
    }
    steps
}

/// The authority's own certificate and those above it.
fn pem(authority: &Authority) -> String {
    let own = authority.certificate().clone();
    let mut chain = vec![own];
    for above in authority.intermediates().into_iter().chain([authority.root().clone()]) {
        if !chain.contains(&above) {
            chain.push(above);
        }
    }
    chain.iter().map(pki::Certificate::to_pem).collect()
}

/// Loads the authority from `folder`.
///
/// # Errors
/// [`Error::Certificates`] if what is there is no authority, [`Error::Files`] if it cannot be read.
pub fn open(folder: &Path) -> Result<Authority, Error> {
    let certificate = Snapshot::read(folder.join(CERTIFICATE))?;
    let key = Snapshot::read(folder.join(KEY))?;
    Ok(Authority::from_pem(certificate.bytes(), key.bytes())?)
}

fn half(folder: &Path, there: &str, missing: &str) -> Error {
    let folder = folder.display();
    Error::Certificates {
        reason: format!(
            "{folder} has {there} but not {missing}: bring that back, or move {there} away to have a \
             new authority made"
        ),
    }
}
