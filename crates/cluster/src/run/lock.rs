//! One process at a time works on a cluster.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};
use textfile::fs::FsError;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::error::Error;

/// The lock's file in the folder for secrets. It is locked by `flock`, which ends with the process
/// that has it, however that ends; what it holds only tells others whose it is.
pub(super) const LOCK: &str = "lock";

/// Held for as long as a process works on a cluster.
#[derive(Debug)]
pub(crate) struct RunLock {
    file: File,
}

impl RunLock {
    /// Takes the lock of a folder for secrets.
    ///
    /// # Errors
    /// [`Error::Run`] if another process has it.
    pub(super) fn take(secrets: &Path) -> Result<Self, Error> {
        let path = secrets.join(LOCK);
        let io = |action| {
            let path = path.clone();
            move |source| FsError::Io { action, path, source }
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(io("open"))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                return Err(Error::run(format!(
                    "another pgward is at work on this cluster ({}): wait for it to end",
                    owner(&mut file)
                )));
            }
            Err(error) => return Err(io("lock")(error.into()).into()),
        }
        let now = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
        let text = format!("process {} since {now}\n", std::process::id());
        // The mode, should the file be from elsewhere; the text is for people.
        file.set_permissions(std::fs::Permissions::from_mode(0o600)).map_err(io("change"))?;
        file.set_len(0).and_then(|()| file.write_all(text.as_bytes())).map_err(io("write"))?;
        Ok(Self { file })
    }

    /// Who has the lock of a folder for secrets; `None` if nobody has.
    pub(super) fn holder(secrets: &Path) -> Result<Option<String>, Error> {
        let path = secrets.join(LOCK);
        let io = |action| {
            let path = path.clone();
            move |source| FsError::Io { action, path, source }
        };
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io("open")(error).into()),
        };
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => {
                give_back(&file);
                Ok(None)
            }
            Err(Errno::WOULDBLOCK) => Ok(Some(owner(&mut file))),
            Err(error) => Err(io("lock")(error.into()).into()),
        }
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        give_back(&self.file);
    }
}

/// To close the file is not enough: a program that another thread is about to start has it open, too,
/// until it has started.
fn give_back(file: &File) {
    let _ = flock(file, FlockOperation::Unlock);
}

/// Whose lock it is, as its holder wrote it.
fn owner(file: &mut File) -> String {
    let mut text = String::new();
    // At the moment of taking it, it is empty.
    match file.read_to_string(&mut text) {
        Ok(_) if !text.trim().is_empty() => text.trim().to_owned(),
        _ => "it has just begun".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Between `fork` and `exec` a child has every file of its parent open.
    #[test]
    fn it_is_given_back_though_a_child_still_has_the_file() -> Result<(), Box<dyn std::error::Error>>
    {
        let folder = tempfile::tempdir()?;
        let lock = RunLock::take(folder.path())?;
        assert!(RunLock::take(folder.path()).is_err());
        let of_the_child = lock.file.try_clone()?;
        drop(lock);
        assert_eq!(RunLock::holder(folder.path())?, None);
        drop(RunLock::take(folder.path())?);
        drop(of_the_child);
        Ok(())
    }
}
