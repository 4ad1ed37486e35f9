//! The files of this machine.

use std::{
    fs::{DirBuilder, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{
        DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown,
    },
    path::Path,
};

use textfile::{
    DiskFiles, FileError, FileKind, Files,
    fs::{Access, FsError, Snapshot},
};
use zeroize::Zeroizing;

use super::{NodeFile, NodeFiles};
use crate::plan::Expected;

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
            Err(error) if is_absence(&error) => Ok(None),
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
        let io = |action| move |source| FsError::Io { action, path: path.to_owned(), source };
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {
                return Ok(());
            }
            Err(error) => return Err(io("create the folder")(error)),
        }
        // Through the folder itself, not its name: whoever owns the folder around it could have put
        // a link there meanwhile, and had us give away what it leads to.
        let made: File = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW)
            .open(path)
            .map_err(io("open"))?;
        let metadata = made.metadata().map_err(io("examine"))?;
        if (metadata.uid(), metadata.gid()) != (access.uid, access.gid) {
            fchown(&made, Some(access.uid), Some(access.gid)).map_err(io("give away"))?;
        }
        made.set_permissions(Permissions::from_mode(access.mode)).map_err(io("set the mode of"))
    }

    fn remove_file(&self, path: &Path) -> Result<(), FsError> {
        match std::fs::remove_file(path) {
            Err(error) if !is_absence(&error) => {
                Err(FsError::Io { action: "remove", path: path.to_owned(), source: error })
            }
            _ => Ok(()),
        }
    }

    fn remove_folder(&self, path: &Path) -> Result<(), FsError> {
        match std::fs::remove_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            Err(error) if is_absence(&error) && path.symlink_metadata().is_err() => Ok(()),
            Err(source) => Err(FsError::Io { action: "remove", path: path.to_owned(), source }),
            Ok(()) => Ok(()),
        }
    }
}

/// Nothing is there: not the last name of the path, or none of its folders.
fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
