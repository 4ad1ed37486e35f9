//! A node's files: how they are read and written, wherever the node is.
//!
//! The calls block; the library makes them on threads of their own. Each writes atomically and only
//! over what the plan saw: see [`NodeFiles::write`].

use std::{fmt, io, os::unix::fs::MetadataExt as _, path::Path};

use textfile::{
    DiskFiles, FileError, FileKind, Files,
    fs::{Access, FsError, Snapshot},
};
use zeroize::Zeroizing;

use crate::plan::Expected;

/// The files of one node. As [`Files`] they are what parsers read included files from.
pub trait NodeFiles: Files + Send + Sync + fmt::Debug {
    /// The file at `path` with its owner and mode; `None` if there is none.
    ///
    /// # Errors
    /// [`FsError`] if it cannot be read.
    fn find(&self, path: &Path) -> Result<Option<NodeFile>, FsError>;

    /// Owner and mode of whatever is at `path`, a folder too; `None` if there is nothing.
    ///
    /// # Errors
    /// [`FsError`] if that cannot be told.
    fn access(&self, path: &Path) -> Result<Option<Access>, FsError>;

    /// Writes a file atomically with that owner and mode, if what is there now is `expected`. One that
    /// is already so is left alone.
    ///
    /// # Errors
    /// [`FsError::Changed`] or [`FsError::Exists`] where it is not; else what went wrong. Nothing is
    /// written then.
    fn write(
        &self,
        path: &Path,
        bytes: &[u8],
        access: Access,
        expected: Expected,
    ) -> Result<(), FsError>;

    /// Makes a folder with that owner and mode; one that is there stays as it is.
    ///
    /// # Errors
    /// [`FsError`] if it cannot be made.
    fn make_folder(&self, path: &Path, access: Access) -> Result<(), FsError>;

    /// Removes a file; one that is not there is no error.
    ///
    /// # Errors
    /// [`FsError`] if it cannot be removed.
    fn remove_file(&self, path: &Path) -> Result<(), FsError>;

    /// Removes a folder if it is empty; one that is not empty stays.
    ///
    /// # Errors
    /// [`FsError`] if it cannot be removed.
    fn remove_folder(&self, path: &Path) -> Result<(), FsError>;
}

/// A file's bytes with its owner and mode. The bytes are wiped on drop: it may be a key.
#[derive(Clone)]
pub struct NodeFile {
    /// What it holds.
    pub bytes: Zeroizing<Vec<u8>>,
    /// Its owner and mode.
    pub access: Access,
}

/// Sizes only.
impl fmt::Debug for NodeFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeFile")
            .field("bytes", &self.bytes.len())
            .field("access", &self.access)
            .finish()
    }
}

/// The files of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalFiles;

impl Files for LocalFiles {
    fn read(&self, path: &[u8]) -> Result<Vec<u8>, FileError> {
        DiskFiles.read(path)
    }

    fn list(&self, path: &[u8]) -> Result<Vec<(Vec<u8>, FileKind)>, FileError> {
        DiskFiles.list(path)
    }
}

impl NodeFiles for LocalFiles {
    fn find(&self, path: &Path) -> Result<Option<NodeFile>, FsError> {
        if self.access(path)?.is_none() {
            return Ok(None);
        }
        let snapshot = Snapshot::read(path)?;
        let access = snapshot.access();
        Ok(Some(NodeFile { bytes: Zeroizing::new(snapshot.into_bytes()), access }))
    }

    fn access(&self, path: &Path) -> Result<Option<Access>, FsError> {
        match std::fs::metadata(path) {
            Ok(metadata) => Ok(Some(Access {
                mode: metadata.mode() & 0o7777,
                uid: metadata.uid(),
                gid: metadata.gid(),
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(FsError::Io { action: "examine", path: path.to_owned(), source }),
        }
    }

    fn write(
        &self,
        path: &Path,
        bytes: &[u8],
        access: Access,
        expected: Expected,
    ) -> Result<(), FsError> {
        let there = self.find(path)?;
        if there.is_some_and(|there| *there.bytes == bytes && there.access == access) {
            return Ok(());
        }
        if expected == Expected::Absent {
            return textfile::fs::create(path, bytes, Some(access));
        }
        let snapshot = Snapshot::read(path)?;
        let as_expected =
            expected == Expected::Anything || Expected::of(Some(snapshot.bytes())) == expected;
        if !as_expected {
            return Err(FsError::Changed { path: path.to_owned() });
        }
        snapshot.replace_with(bytes, access).map(drop)
    }

    fn make_folder(&self, path: &Path, access: Access) -> Result<(), FsError> {
        use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, chown};

        let io = |action| move |source| FsError::Io { action, path: path.to_owned(), source };
        match std::fs::DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {
                return Ok(());
            }
            Err(error) => return Err(io("create the folder")(error)),
        }
        let made = std::fs::metadata(path).map_err(io("examine"))?;
        if (made.uid(), made.gid()) != (access.uid, access.gid) {
            chown(path, Some(access.uid), Some(access.gid)).map_err(io("give away"))?;
        }
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(access.mode))
            .map_err(io("set the mode of"))
    }

    fn remove_file(&self, path: &Path) -> Result<(), FsError> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(FsError::Io { action: "remove", path: path.to_owned(), source: error })
            }
            _ => Ok(()),
        }
    }

    fn remove_folder(&self, path: &Path) -> Result<(), FsError> {
        use io::ErrorKind::{DirectoryNotEmpty, NotFound};

        match std::fs::remove_dir(path) {
            Err(error) if !matches!(error.kind(), NotFound | DirectoryNotEmpty) => {
                Err(FsError::Io { action: "remove", path: path.to_owned(), source: error })
            }
            _ => Ok(()),
        }
    }
}
