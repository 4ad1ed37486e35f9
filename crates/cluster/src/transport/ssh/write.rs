//! Replacing a file of the node atomically, in the steps of [`textfile::fs`]: a temporary file
//! beside it (mode 0600 from the first instant), its owner, its mode, fsync, rename, fsync of the
//! folder.

use std::{
    ffi::OsString,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use russh_sftp::protocol::FileAttributes;
use textfile::fs::{Access, FsError};
use zeroize::Zeroizing;

use super::{SshError, link::Link, sftp::Kind};
use crate::{
    plan::{Expected, hex},
    transport::NodeFile,
};

/// What shall be written.
pub(super) struct Wanted {
    pub(super) path: PathBuf,
    pub(super) bytes: Zeroizing<Vec<u8>>,
    pub(super) access: Access,
    pub(super) expected: Expected,
}

impl Wanted {
    /// Whether that is what is there.
    pub(super) fn is(&self, there: Option<&NodeFile>) -> bool {
        there.is_some_and(|there| there.bytes == self.bytes && there.access == self.access)
    }
}

/// What is on its way, for whoever must put it in order when the connection breaks.
#[derive(Default)]
pub(super) struct Progress {
    /// The temporary file that may be there.
    pub(super) temporary: Option<PathBuf>,
    /// Whether it may have become the file already.
    pub(super) renaming: bool,
}

impl Link {
    /// The file at a path; `None` if there is none.
    pub(super) async fn find(&self, path: &Path) -> Result<Option<NodeFile>, FsError> {
        let found = self.stat(path).await.map_err(|error| error.with("examine", path))?;
        let Some(found) = found else { return Ok(None) };
        // Before it is opened: somebody else's pipe would keep the server waiting.
        if found.kind != Kind::File {
            return Err(FsError::NotAFile { path: path.to_owned() });
        }
        let (bytes, found) = self.read(path).await.map_err(|error| error.with("read", path))?;
        Ok(Some(NodeFile { bytes, access: found.access }))
    }

    /// Writes a file; `progress` tells how far it came.
    pub(super) async fn write(
        &self,
        wanted: &Wanted,
        progress: &Mutex<Progress>,
    ) -> Result<(), FsError> {
        let path = &wanted.path;
        let there = self.find(path).await?;
        if wanted.is(there.as_ref()) {
            return Ok(());
        }
        let target = match (wanted.expected, &there) {
            (Expected::Absent, _) => {
                // A link to nothing is in the way, too.
                let taken = self.lstat(path).await.map_err(|error| error.with("examine", path))?;
                if taken.is_some() {
                    return Err(FsError::Exists { path: path.clone() });
                }
                path.clone()
            }
            (_, None) => {
                let source = ErrorKind::NotFound.into();
                return Err(FsError::Io { action: "find", path: path.clone(), source });
            }
            (Expected::Bytes(_), Some(there))
                if Expected::of(Some(&there.bytes)) != wanted.expected =>
            {
                return Err(FsError::Changed { path: path.clone() });
            }
            (_, Some(_)) => {
                let extension = "posix-rename@openssh.com";
                if !self.offers.posix_rename {
                    let place = self.place.clone();
                    return Err(SshError::NotOffered { place, extension }.with("replace", path));
                }
                self.real_path(path).await.map_err(|error| error.with("find", path))?
            }
        };

        let temporary = beside(&target)?;
        let at = |progress: Progress, now: &Mutex<Progress>| {
            *now.lock().unwrap_or_else(PoisonError::into_inner) = progress;
        };
        at(Progress { temporary: Some(temporary.clone()), renaming: false }, progress);
        let placed = match self.fill(wanted, &temporary).await {
            Ok(()) => match self.check_again(wanted, there.as_ref(), &target).await {
                Ok(()) => {
                    at(Progress { temporary: Some(temporary.clone()), renaming: true }, progress);
                    self.put_in_place(wanted, &temporary, &target).await
                }
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        if let Err(error) = placed {
            if SshError::of(&error).is_none_or(|error| !error.is_loss())
                && self.remove(&temporary).await.is_ok()
            {
                at(Progress::default(), progress);
            }
            return Err(error);
        }
        at(Progress::default(), progress);
        let folder = target.parent().unwrap_or(Path::new("."));
        self.sync_folder(folder).await.map_err(|error| error.with("sync the folder of", path))
    }

    /// Makes the temporary file with all that the file shall have.
    async fn fill(&self, wanted: &Wanted, temporary: &Path) -> Result<(), FsError> {
        let with = |action| move |error: SshError| error.with(action, temporary);
        let handle = match self.create(temporary).await {
            Ok(handle) => handle,
            Err(error) => {
                return Err(self.about_folder(error, temporary).await.with("create", temporary));
            }
        };
        let filled = async {
            if let Err(error) = self.write_all(&handle, &wanted.bytes).await {
                return Err(self.about_room(error, temporary).await.with("write", temporary));
            }
            let made = self.fstat(&handle).await.map_err(with("examine"))?.access;
            let Access { mode, uid, gid } = wanted.access;
            // The owner first: a mode for a group must not hold for the group of who logged in.
            if (made.uid, made.gid) != (uid, gid)
                && let Err(error) = self.set(&handle, owner(uid, gid)).await
            {
                // Who logged in may not be in the group.
                let may_stay = error.kind() == ErrorKind::PermissionDenied;
                if !may_stay || !(Access { mode, ..made }).permits_the_same_as(wanted.access) {
                    let error = not_owner(error, made.uid, wanted.access);
                    return Err(error.with("give away", temporary));
                }
            }
            let mode = FileAttributes { permissions: Some(mode), ..FileAttributes::empty() };
            self.set(&handle, mode).await.map_err(with("set the mode of"))?;
            let set = self.fstat(&handle).await.map_err(with("examine"))?.access;
            if !set.permits_the_same_as(wanted.access) {
                return Err(SshError::NotSet.with("give away", temporary));
            }
            self.sync(&handle).await.map_err(with("sync"))
        };
        let filled = filled.await;
        let closed = self.close(&handle).await.map_err(with("close"));
        filled.and(closed)
    }

    /// Once more, as near to the rename as can be: writing took its time.
    async fn check_again(
        &self,
        wanted: &Wanted,
        there: Option<&NodeFile>,
        target: &Path,
    ) -> Result<(), FsError> {
        if wanted.expected == Expected::Absent {
            return Ok(());
        }
        let path = &wanted.path;
        let leads_to = self.real_path(path).await.map_err(|error| error.with("find", path))?;
        let now = self.find(path).await?;
        let same = |(now, there): (&NodeFile, &NodeFile)| {
            now.bytes == there.bytes && now.access == there.access
        };
        if leads_to == target && now.as_ref().zip(there).is_some_and(same) {
            Ok(())
        } else {
            Err(FsError::Changed { path: path.clone() })
        }
    }

    async fn put_in_place(
        &self,
        wanted: &Wanted,
        temporary: &Path,
        target: &Path,
    ) -> Result<(), FsError> {
        let path = &wanted.path;
        if wanted.expected != Expected::Absent {
            let replaced = self.replace(temporary, target).await;
            return replaced.map_err(|error| error.with("replace", path));
        }
        let Err(error) = self.rename(temporary, target).await else { return Ok(()) };
        if !error.is_loss() && self.lstat(target).await.is_ok_and(|taken| taken.is_some()) {
            return Err(FsError::Exists { path: path.clone() });
        }
        Err(error.with("create", path))
    }

    /// Why no file can be made: the system only says that it may not be.
    async fn about_folder(&self, error: SshError, path: &Path) -> SshError {
        let folder = path.parent().unwrap_or(Path::new("."));
        if error.kind() != ErrorKind::PermissionDenied {
            return self.about_room(error, path).await;
        }
        match self.stat(folder).await {
            Ok(Some(found)) => {
                SshError::FolderClosed { folder: folder.to_owned(), access: found.access }
            }
            _ => error,
        }
    }

    /// Why nothing can be written: the protocol only says that it failed.
    async fn about_room(&self, error: SshError, path: &Path) -> SshError {
        let folder = path.parent().unwrap_or(Path::new("."));
        if error.kind() == ErrorKind::Other && !error.is_loss() && self.is_full(folder).await {
            let message = "No space left on device".to_owned();
            return SshError::Refused { kind: ErrorKind::StorageFull, message };
        }
        error
    }

    /// Makes a folder with that owner and mode, unless there is one.
    pub(super) async fn make_folder_with(
        &self,
        path: &Path,
        access: Access,
    ) -> Result<(), FsError> {
        let with = |action| move |error: SshError| error.with(action, path);
        if let Err(error) = self.make_folder(path).await {
            // "Failure" is what there is to hear of a name that is taken.
            let there = match error.is_loss() {
                true => None,
                false => self.stat(path).await.map_err(with("examine"))?,
            };
            if there.is_some_and(|there| there.kind == Kind::Folder) {
                return Ok(());
            }
            return Err(self.about_folder(error, path).await.with("create the folder", path));
        }
        let made = self.lstat(path).await.map_err(with("examine"))?;
        let made = made.ok_or_else(|| FsError::Changed { path: path.to_owned() })?.access;
        let given = async {
            if (made.uid, made.gid) != (access.uid, access.gid) {
                let given = self.set_named(path, owner(access.uid, access.gid)).await;
                given
                    .map_err(|error| not_owner(error, made.uid, access).with("give away", path))?;
            }
            if made.mode != access.mode {
                let mode =
                    FileAttributes { permissions: Some(access.mode), ..FileAttributes::empty() };
                self.set_named(path, mode).await.map_err(with("set the mode of"))?;
            }
            Ok(())
        };
        let given = given.await;
        if given.is_err() {
            // Whole or not at all. What went wrong is told already.
            let _ = self.remove_folder(path).await;
        }
        given
    }

    /// Removes a folder if it is empty; one that is not stays.
    pub(super) async fn remove_folder_if_empty(&self, path: &Path) -> Result<(), FsError> {
        let Err(error) = self.remove_folder(path).await else { return Ok(()) };
        if error.is_loss() {
            return Err(error.with("remove", path));
        }
        // "No such file" is said of what is no folder, too, and "Failure" of one that is not empty.
        let there = self.lstat(path).await.map_err(|error| error.with("examine", path))?;
        match there.map(|there| there.kind) {
            None => Ok(()),
            Some(Kind::Folder) if self.list(path).await.is_ok_and(|names| !names.is_empty()) => {
                Ok(())
            }
            Some(_) => Err(error.with("remove", path)),
        }
    }
}

fn owner(uid: u32, gid: u32) -> FileAttributes {
    FileAttributes { uid: Some(uid), gid: Some(gid), ..FileAttributes::empty() }
}

/// A refusal to give something away means one thing.
fn not_owner(error: SshError, login: u32, wanted: Access) -> SshError {
    match error {
        SshError::Refused { .. } if login != 0 => {
            SshError::NotOwner { login, uid: wanted.uid, gid: wanted.gid }
        }
        error => error,
    }
}

/// A name for a temporary file beside another, that nobody else takes: several machines may write
/// there at once.
fn beside(target: &Path) -> Result<PathBuf, FsError> {
    let name = target.file_name().ok_or_else(|| FsError::NotAFile { path: target.to_owned() })?;
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|error| FsError::Io {
        action: "find a name for",
        path: target.to_owned(),
        source: std::io::Error::other(error.to_string()),
    })?;
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(".pgward-new.");
    temporary.push(hex(&random));
    Ok(target.with_file_name(temporary))
}
