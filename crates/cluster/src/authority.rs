//! The cluster's certificate authority: a key and a certificate in the folder for secrets.

use std::path::Path;

use pki::{Authority, KeyAlgorithm, Subject, Validity};
use textfile::fs::{FsError, Snapshot, create};
use time::{Duration, OffsetDateTime};

use crate::{error::Error, spec::CertificatePolicy};

/// The authority's certificate in the folder for secrets. Everybody may read it.
pub const CERTIFICATE: &str = "ca.crt";
/// The authority's key in the folder for secrets. It never leaves it.
pub const KEY: &str = "ca.key";

/// Clocks differ: a certificate made now must be valid on a node that is a little behind.
pub(crate) const BACKDATE: Duration = Duration::hours(1);

/// Loads the authority from `folder`, or makes one there: the folder with mode 0700, the key with
/// mode 0600 from the first instant.
///
/// # Errors
/// [`Error::Certificates`] if what is there is no authority or is not valid `now`, [`Error::Files`]
/// if it cannot be read or written.
pub fn open_or_create(
    folder: &Path,
    policy: CertificatePolicy,
    now: OffsetDateTime,
) -> Result<Authority, Error> {
    let (certificate, key) = (folder.join(CERTIFICATE), folder.join(KEY));
    match (key.exists(), certificate.exists()) {
        (true, true) => {
            let authority = open(folder)?;
            if authority.certificate().validity().contains(now) {
                return Ok(authority);
            }
            let reason = format!("the authority in {} is not valid now", folder.display());
            Err(Error::Certificates { reason })
        }
        (false, false) => {
            make_folder(folder)?;
            let validity = Validity::days(now - BACKDATE, policy.ca_days.into());
            let subject = Subject::common_name("pgward cluster CA");
            let authority = Authority::create(KeyAlgorithm::EcdsaP256, &subject, validity)?;
            create(&key, authority.key().to_pem().as_bytes(), None)?;
            create(&certificate, authority.certificate().to_pem().as_bytes(), None)?;
            Ok(authority)
        }
        (true, false) => Err(half(folder, KEY, CERTIFICATE)),
        (false, true) => Err(half(folder, CERTIFICATE, KEY)),
    }
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

fn make_folder(folder: &Path) -> Result<(), FsError> {
    use std::os::unix::fs::DirBuilderExt as _;

    let io = |source| FsError::Io { action: "create", path: folder.to_owned(), source };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io)
}
