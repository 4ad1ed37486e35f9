//! A server's files on this machine: read with what has to be kept of them, written back
//! atomically.
//!
//! ```
//! use pg_version::PgVersion;
//! use pgconf::fs::Stored;
//! # let folder = tempfile::tempdir()?;
//! # let data = folder.path();
//! # std::fs::write(data.join("postgresql.conf"), "#ssl = off\n")?;
//!
//! let mut stored = Stored::open(data.join("postgresql.conf"), Some(data), PgVersion::V17)?;
//! stored.configuration.set("ssl", "on")?;
//! let written = stored.save()?;
//! assert_eq!(written, [data.join("postgresql.conf")]);
//! assert_eq!(std::fs::read(data.join("postgresql.conf"))?, b"ssl = on\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::{
    cell::RefCell,
    collections::BTreeMap,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use pg_version::PgVersion;
use textfile::{
    DiskFiles, FileError, FileKind, Files,
    fs::{FsError, Snapshot, path_of},
};

use crate::Configuration;

/// A configuration, and the files that it was read from.
#[derive(Debug)]
pub struct Stored {
    /// What was read: edit it.
    pub configuration: Configuration,
    snapshots: BTreeMap<Vec<u8>, Snapshot>,
}

impl Stored {
    /// Reads the main file and all that belongs to it: see [`Configuration::read`].
    ///
    /// # Errors
    /// [`FsError`] if the main file cannot be read. Other files that cannot be are among the
    /// configuration's [problems](Configuration::problems).
    pub fn open(
        main: impl Into<PathBuf>,
        data_directory: Option<&Path>,
        version: PgVersion,
    ) -> Result<Self, FsError> {
        let main = main.into();
        let main_bytes = main.as_os_str().as_bytes();
        let mut snapshots = BTreeMap::new();
        snapshots.insert(main_bytes.to_vec(), Snapshot::read(&main)?);
        let reader = Reader { snapshots: RefCell::new(snapshots) };
        let data_directory = data_directory.map(|folder| folder.as_os_str().as_bytes());
        let configuration = Configuration::read(&reader, main_bytes, data_directory, version);
        Ok(Self { configuration, snapshots: reader.snapshots.into_inner() })
    }

    /// Replaces every file that was edited, each of them atomically, with owner, mode and symbolic
    /// link kept. Returns their paths. Edits can go on and be saved again.
    ///
    /// Several files are replaced one after the other, included ones before the main file.
    ///
    /// # Errors
    /// [`FsError::Changed`] if somebody changed one of them since it was read, [`FsError::NotAFile`] if
    /// one of them is none but a device: none is written then. Anything else can leave some written and
    /// others not.
    pub fn save(&mut self) -> Result<Vec<PathBuf>, FsError> {
        let mut edited: Vec<(Vec<u8>, Vec<u8>)> = self
            .configuration
            .edited()
            .map(|(path, file)| (path.to_vec(), file.to_bytes().into_owned()))
            .filter(|(path, bytes)| {
                self.snapshots.get(path).is_none_or(|snapshot| snapshot.bytes() != bytes)
            })
            .collect();
        edited.reverse();
        for (path, _) in &edited {
            // What was read and has no snapshot is a device.
            let Some(snapshot) = self.snapshots.get(path) else {
                return Err(FsError::NotAFile { path: path_of(path).to_owned() });
            };
            if snapshot.changed()? {
                return Err(FsError::Changed { path: snapshot.path().to_owned() });
            }
        }
        let mut written = Vec::new();
        for (path, bytes) in edited {
            if let Some(snapshot) = self.snapshots.get_mut(&path) {
                *snapshot = snapshot.replace(&bytes)?;
                written.push(path_of(&path).to_owned());
            }
        }
        Ok(written)
    }
}

/// Reads from disk and keeps what it read.
struct Reader {
    snapshots: RefCell<BTreeMap<Vec<u8>, Snapshot>>,
}

impl Files for Reader {
    fn read(&self, path: &[u8]) -> Result<Vec<u8>, FileError> {
        let mut snapshots = self.snapshots.borrow_mut();
        if let Some(snapshot) = snapshots.get(path) {
            return Ok(snapshot.bytes().to_vec());
        }
        let snapshot = match Snapshot::read(path_of(path)) {
            Ok(snapshot) => snapshot,
            Err(FsError::Io { source, .. }) => return Err(source.into()),
            // A device can be read (`/dev/null` is an empty file), but there is nothing to replace.
            Err(_) => return DiskFiles.read(path),
        };
        let bytes = snapshot.bytes().to_vec();
        snapshots.insert(path.to_vec(), snapshot);
        Ok(bytes)
    }

    fn list(&self, path: &[u8]) -> Result<Vec<(Vec<u8>, FileKind)>, FileError> {
        DiskFiles.list(path)
    }

    fn canonical(&self, path: &[u8]) -> Option<Vec<u8>> {
        DiskFiles.canonical(path)
    }
}
