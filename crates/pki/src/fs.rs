//! Keys and certificates as files: whole or not at all, a key readable for its owner only from the
//! first moment, and never over an existing one unless that is asked for.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use textfile::fs::{FsError, Snapshot, create};

use crate::authority::Issued;
use crate::error::Error;
use crate::files::{Account, FileStatus, KeyFileRefusal, KeyReader, judge_key_file};
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

/// Whether `reader`, running as `account`, uses the key file at `path`, by its owner and mode as they
/// are now; see [`judge_key_file`].
///
/// # Errors
/// [`Error::File`] if the file cannot be looked at, for instance in a folder that is closed to this
/// process. That it is not there is a [`KeyFileRefusal`].
pub fn judge_key_at(
    path: &Path,
    reader: KeyReader,
    account: Account<'_>,
) -> Result<Result<(), KeyFileRefusal>, Error> {
    let status = match std::fs::metadata(path) {
        Ok(found) => FileStatus {
            uid: found.uid(),
            gid: found.gid(),
            mode: found.mode() & 0o7777,
            regular: found.is_file(),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Err(KeyFileRefusal::Missing));
        }
        Err(source) => return Err(Error::File { path: path.display().to_string(), source }),
    };
    Ok(judge_key_file(reader, status, account))
}

/// Many files at once: a folder that appears as a whole, or not at all.
///
/// Single files are synced to disk one by one, which takes milliseconds each. Here they are
/// written to a hidden folder beside the final one, which takes its name at the end; syncing is left
/// to the system unless it is asked for. After a crash before that, the folder may be missing or
/// its files empty, so a key is put to use only once it was synced.
///
/// ```
/// use pki::fs::NewFolder;
/// use pki::{Authority, KeyAlgorithm, Profile, Subject, Validity};
/// use time::OffsetDateTime;
/// # let place = tempfile::tempdir()?;
/// # let path = place.path().join("certificates");
///
/// let validity = Validity::days(OffsetDateTime::UNIX_EPOCH, 30);
/// let root = Authority::create(KeyAlgorithm::EcdsaP256, &Subject::common_name("CA"), validity)?;
/// let alice = root.issue(KeyAlgorithm::EcdsaP256, &Profile::client("alice"), validity)?;
///
/// let folder = NewFolder::create(&path)?;
/// folder.key("root.key", root.key())?;
/// folder.public("root.crt", &root.certificate().to_pem())?;
/// folder.issued("alice", &alice)?;
/// assert!(!path.exists());
/// folder.finish(true)?;
/// assert!(path.join("alice.key").exists());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct NewFolder {
    path: PathBuf,
    temporary: PathBuf,
}

impl NewFolder {
    /// Begins a folder that is not there yet. Only its owner may enter it.
    ///
    /// # Errors
    /// [`Error::Exists`] if there is anything of that name, [`Error::File`] with the system's
    /// answer.
    pub fn create(path: &Path) -> Result<Self, Error> {
        if path.symlink_metadata().is_ok() {
            return Err(Error::Exists { path: path.display().to_string() });
        }
        let mut name = std::ffi::OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(format!(".pgward-new.{}", std::process::id()));
        let temporary = path.with_file_name(name);
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&temporary)
            .map_err(|source| Error::File { path: temporary.display().to_string(), source })?;
        Ok(Self { path: path.to_owned(), temporary })
    }

    /// Adds a key, with mode 0600.
    ///
    /// # Errors
    /// As [`NewFolder::create`].
    pub fn key(&self, name: &str, key: &PrivateKey) -> Result<(), Error> {
        self.add(name, key.to_pem().as_bytes(), SECRET)
    }

    /// Adds certificates or revocation lists, with mode 0644.
    ///
    /// # Errors
    /// As [`NewFolder::create`].
    pub fn public(&self, name: &str, pem: &str) -> Result<(), Error> {
        self.add(name, pem.as_bytes(), PUBLIC)
    }

    /// Adds `name.key` and `name.crt`.
    ///
    /// # Errors
    /// As [`NewFolder::create`].
    pub fn issued(&self, name: &str, issued: &Issued) -> Result<(), Error> {
        self.key(&format!("{name}.key"), &issued.key)?;
        self.public(&format!("{name}.crt"), &issued.chain_pem())
    }

    fn add(&self, name: &str, bytes: &[u8], mode: u32) -> Result<(), Error> {
        let path = self.temporary.join(name);
        let shown = || path.display().to_string();
        // A name, not a way out of the folder.
        if Path::new(name).file_name() != Some(name.as_ref()) {
            return Err(Error::Refused(format!("{name:?} is no file name")));
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path);
        file.and_then(|mut file| file.write_all(bytes)).map_err(|source| match source.kind() {
            std::io::ErrorKind::AlreadyExists => Error::Exists { path: shown() },
            _ => Error::File { path: shown(), source },
        })
    }

    /// Gives the folder its name, after syncing every file if `sync` says so.
    ///
    /// # Errors
    /// As [`NewFolder::create`]; nothing is left behind then.
    pub fn finish(self, sync: bool) -> Result<(), Error> {
        let finish = || {
            if sync {
                for entry in std::fs::read_dir(&self.temporary)? {
                    File::open(entry?.path())?.sync_all()?;
                }
                File::open(&self.temporary)?.sync_all()?;
            }
            // A folder can take the place of an empty one: look once more.
            if self.path.symlink_metadata().is_ok() {
                return Err(std::io::ErrorKind::AlreadyExists.into());
            }
            std::fs::rename(&self.temporary, &self.path)?;
            match self.path.parent().filter(|parent| sync && !parent.as_os_str().is_empty()) {
                Some(parent) => File::open(parent)?.sync_all(),
                None => Ok(()),
            }
        };
        finish().map_err(|source: std::io::Error| {
            let path = self.path.display().to_string();
            match source.kind() {
                std::io::ErrorKind::AlreadyExists => Error::Exists { path },
                _ => Error::File { path, source },
            }
        })
    }
}

impl Drop for NewFolder {
    fn drop(&mut self) {
        // Gone already once it has its name. Nothing more can be done about a failure here.
        let _ = std::fs::remove_dir_all(&self.temporary);
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
