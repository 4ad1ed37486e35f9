//! Keys and certificates as files: whole or not at all, a key readable for its owner only from the
//! first moment, and never over an existing one unless that is asked for.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use textfile::fs::{FsError, Snapshot, create};

use crate::authority::Issued;
use crate::error::Error;
use crate::key::PrivateKey;

/// What to do where a file is there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Existing {
    /// Leave it and fail.
    #[default]
    Keep,
    /// Replace it atomically. Its owner stays; a key's mode becomes 0600.
    Replace,
}

/// The mode of files with nothing secret in them.
const PUBLIC: u32 = 0o644;
/// The mode of keys.
const SECRET: u32 = 0o600;

impl PrivateKey {
    /// Writes the key to a file of mode 0600.
    ///
    /// # Errors
    /// [`Error::Exists`] if there is one already and `existing` does not allow to replace it,
    /// [`Error::File`] with the system's answer.
    pub fn write(&self, path: &Path, existing: Existing) -> Result<(), Error> {
        write(path, self.to_pem().as_bytes(), SECRET, existing)
    }
}

/// Writes certificates or revocation lists to a file of mode 0644.
///
/// # Errors
/// As [`PrivateKey::write`].
pub fn write_public(path: &Path, pem: &str, existing: Existing) -> Result<(), Error> {
    write(path, pem.as_bytes(), PUBLIC, existing)
}

impl Issued {
    /// Writes `name.key` and `name.crt` into `folder`: the key first, so that no certificate lies
    /// there without its key. Returns both paths.
    ///
    /// # Errors
    /// As [`PrivateKey::write`].
    pub fn write(
        &self,
        folder: &Path,
        name: &str,
        existing: Existing,
    ) -> Result<(PathBuf, PathBuf), Error> {
        let key = folder.join(format!("{name}.key"));
        let certificate = folder.join(format!("{name}.crt"));
        // Both or none, as far as that can be told before.
        if existing == Existing::Keep && certificate.symlink_metadata().is_ok() {
            return Err(Error::Exists { path: certificate.display().to_string() });
        }
        self.key.write(&key, existing)?;
        write_public(&certificate, &self.chain_pem(), existing)?;
        Ok((key, certificate))
    }
}

fn write(path: &Path, bytes: &[u8], mode: u32, existing: Existing) -> Result<(), Error> {
    if existing == Existing::Replace && path.exists() {
        let snapshot = Snapshot::read(path).map_err(error)?;
        let access = textfile::fs::Access { mode, ..snapshot.access() };
        return snapshot.replace_with(bytes, access).map(drop).map_err(error);
    }
    create(path, bytes, None).map_err(error)?;
    if mode != SECRET {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(path, permissions)
            .map_err(|source| Error::File { path: path.display().to_string(), source })?;
    }
    Ok(())
}

fn error(error: FsError) -> Error {
    let path = error.path().display().to_string();
    match error {
        FsError::Exists { .. } => Error::Exists { path },
        FsError::Io { source, .. } => Error::File { path, source },
        other => Error::File { path, source: std::io::Error::other(other.to_string()) },
    }
}
