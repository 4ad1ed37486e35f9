//! What is asked of the node's SFTP server, step by step.
//!
//! Version 3 of the protocol (draft-ietf-secsh-filexfer-02) with the extensions that OpenSSH
//! describes in its file `PROTOCOL`.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use russh_sftp::{
    client::error::Error as SftpError,
    protocol::{FileAttributes, OpenFlags, Packet, StatusCode},
    ser,
};
use serde::Serialize;
use textfile::{FileKind, fs::Access};
use zeroize::Zeroizing;

use super::{SshError, link::Link};

/// What one request carries at most: every server takes as much.
const CHUNK: usize = 32_000;

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) kind: Kind,
    pub(super) access: Access,
    size: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
    Link,
    Other,
}

impl Found {
    /// An attribute that is missing makes the whole of no use; OpenSSH sends all.
    fn of(attributes: &FileAttributes) -> Result<Self, SshError> {
        let missing = || SshError::Refused {
            kind: ErrorKind::Unsupported,
            message: "the SFTP server does not tell owner and mode".to_owned(),
        };
        let mode = attributes.permissions.ok_or_else(missing)?;
        let (uid, gid) = attributes.uid.zip(attributes.gid).ok_or_else(missing)?;
        // The format of st_mode in POSIX and on every system that PostgreSQL runs on.
        let kind = match mode & 0o170_000 {
            0o100_000 => Kind::File,
            0o040_000 => Kind::Folder,
            0o120_000 => Kind::Link,
            _ => Kind::Other,
        };
        let access = Access { mode: mode & 0o7777, uid, gid };
        Ok(Self { kind, access, size: attributes.size.unwrap_or(0) })
    }
}

/// The path as the library takes it.
pub(super) fn text(path: &Path) -> Result<String, SshError> {
    path.to_str().map(str::to_owned).ok_or_else(|| SshError::NotUtf8 { path: path.to_owned() })
}

impl Link {
    /// What the library says, as an error of ours.
    fn error(&self, error: SftpError) -> SshError {
        let status = match error {
            SftpError::Status(status) => status,
            other => return self.loss_by(&other.to_string()),
        };
        let kind = match status.status_code {
            StatusCode::NoSuchFile => ErrorKind::NotFound,
            StatusCode::PermissionDenied => ErrorKind::PermissionDenied,
            StatusCode::OpUnsupported => ErrorKind::Unsupported,
            _ => ErrorKind::Other,
        };
        let words = match kind {
            ErrorKind::NotFound => "No such file or directory".to_owned(),
            ErrorKind::PermissionDenied => "Permission denied".to_owned(),
            _ => format!("the SFTP server says: {}", status.error_message),
        };
        SshError::Refused { kind, message: words }
    }

    /// What is at a path, links followed; `None` for nothing.
    pub(super) async fn stat(&self, path: &Path) -> Result<Option<Found>, SshError> {
        let found = self.sftp.stat(text(path)?).await.map_err(|error| self.error(error));
        optional(found.and_then(|attributes| Found::of(&attributes.attrs)))
    }

    /// What is at a path, a link itself; `None` for nothing.
    pub(super) async fn lstat(&self, path: &Path) -> Result<Option<Found>, SshError> {
        let found = self.sftp.lstat(text(path)?).await.map_err(|error| self.error(error));
        optional(found.and_then(|attributes| Found::of(&attributes.attrs)))
    }

    /// Where a path leads to, links followed.
    pub(super) async fn real_path(&self, path: &Path) -> Result<PathBuf, SshError> {
        let name = self.sftp.realpath(text(path)?).await.map_err(|error| self.error(error))?;
        let name = name.files.into_iter().next();
        name.map(|name| name.filename.into()).ok_or_else(|| self.loss_by("a name without a name"))
    }

    /// The whole of a file, and what it is.
    pub(super) async fn read(&self, path: &Path) -> Result<(Zeroizing<Vec<u8>>, Found), SshError> {
        let attributes = FileAttributes::empty();
        let handle = self.sftp.open(text(path)?, OpenFlags::READ, attributes).await;
        let handle = handle.map_err(|error| self.error(error))?.handle;
        let read = self.read_handle(&handle).await;
        let closed = self.close(&handle).await;
        let read = read?;
        closed.map(|()| read)
    }

    async fn read_handle(&self, handle: &str) -> Result<(Zeroizing<Vec<u8>>, Found), SshError> {
        let found = self.fstat(handle).await?;
        // With room for all, so that reading leaves no half-filled allocations behind; what the
        // server says of the size is not trusted with all of our memory.
        let room = usize::try_from(found.size).unwrap_or(usize::MAX).min(1 << 20) + CHUNK;
        let mut bytes = Zeroizing::new(Vec::with_capacity(room));
        loop {
            let length = u32::try_from(CHUNK).unwrap_or(u32::MAX);
            match self.sftp.read(handle, bytes.len() as u64, length).await {
                Ok(data) => {
                    let data = Zeroizing::new(data.data);
                    if data.is_empty() {
                        return Ok((bytes, found));
                    }
                    bytes.extend_from_slice(&data);
                }
                Err(SftpError::Status(status)) if status.status_code == StatusCode::Eof => {
                    return Ok((bytes, found));
                }
                Err(error) => return Err(self.error(error)),
            }
        }
    }

    /// The names in a folder, and what each is, links followed.
    pub(super) async fn list(&self, path: &Path) -> Result<Vec<(String, FileKind)>, SshError> {
        let handle = self.sftp.opendir(text(path)?).await;
        let handle = handle.map_err(|error| self.error(error))?.handle;
        let mut names = Vec::new();
        let listed = loop {
            match self.sftp.readdir(handle.as_str()).await {
                Ok(more) => names.extend(more.files),
                Err(SftpError::Status(status)) if status.status_code == StatusCode::Eof => {
                    break Ok(());
                }
                Err(error) => break Err(self.error(error)),
            }
        };
        self.close(&handle).await?;
        listed?;
        let mut kinds = Vec::with_capacity(names.len());
        for name in names.into_iter().filter(|name| name.filename != "." && name.filename != "..") {
            let kind = match Found::of(&name.attrs)?.kind {
                Kind::Folder => FileKind::Directory,
                Kind::Link => match self.stat(&path.join(&name.filename)).await? {
                    Some(found) if found.kind == Kind::Folder => FileKind::Directory,
                    Some(_) => FileKind::File,
                    None => FileKind::Dangling,
                },
                Kind::File | Kind::Other => FileKind::File,
            };
            kinds.push((name.filename, kind));
        }
        Ok(kinds)
    }

    /// Makes a new file that only its owner can read, from the first instant, and opens it.
    pub(super) async fn create(&self, path: &Path) -> Result<String, SshError> {
        let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::EXCLUDE;
        let opened = self.sftp.open(text(path)?, flags, with_mode(0o600)).await;
        Ok(opened.map_err(|error| self.error(error))?.handle)
    }

    pub(super) async fn write_all(&self, handle: &str, bytes: &[u8]) -> Result<(), SshError> {
        let mut offset = 0;
        for chunk in bytes.chunks(CHUNK) {
            let written = self.sftp.write(handle, offset, chunk.to_vec()).await;
            written.map_err(|error| self.error(error))?;
            offset += chunk.len() as u64;
        }
        Ok(())
    }

    pub(super) async fn fstat(&self, handle: &str) -> Result<Found, SshError> {
        let found = self.sftp.fstat(handle).await.map_err(|error| self.error(error))?;
        Found::of(&found.attrs)
    }

    pub(super) async fn set(&self, handle: &str, to: FileAttributes) -> Result<(), SshError> {
        self.sftp.fsetstat(handle, to).await.map(drop).map_err(|error| self.error(error))
    }

    /// Owner or mode of what has this name; where the server can, of no other thing that a link
    /// leads to.
    pub(super) async fn set_named(&self, path: &Path, to: FileAttributes) -> Result<(), SshError> {
        if !self.offers.lsetstat {
            let set = self.sftp.setstat(text(path)?, to).await;
            return set.map(drop).map_err(|error| self.error(error));
        }
        #[derive(Serialize)]
        struct Request {
            path: String,
            attributes: FileAttributes,
        }
        self.extended("lsetstat@openssh.com", &Request { path: text(path)?, attributes: to }).await
    }

    /// Waits until a file is on disk, if the server can.
    pub(super) async fn sync(&self, handle: &str) -> Result<(), SshError> {
        if !self.offers.fsync {
            return Ok(());
        }
        self.sftp.fsync(handle).await.map(drop).map_err(|error| self.error(error))
    }

    /// Waits until a folder is on disk. The protocol has no call for it; OpenSSH on Linux opens a
    /// folder like a file, and others refuse.
    pub(super) async fn sync_folder(&self, path: &Path) -> Result<(), SshError> {
        let attributes = FileAttributes::empty();
        match self.sftp.open(text(path)?, OpenFlags::READ, attributes).await {
            Ok(folder) => {
                let synced = self.sync(&folder.handle).await;
                self.close(&folder.handle).await?;
                synced
            }
            Err(SftpError::Status(_)) => Ok(()),
            Err(error) => Err(self.error(error)),
        }
    }

    pub(super) async fn close(&self, handle: &str) -> Result<(), SshError> {
        self.sftp.close(handle).await.map(drop).map_err(|error| self.error(error))
    }

    /// Renames over whatever has the new name.
    pub(super) async fn replace(&self, old: &Path, new: &Path) -> Result<(), SshError> {
        #[derive(Serialize)]
        struct Request {
            old: String,
            new: String,
        }
        let request = Request { old: text(old)?, new: text(new)? };
        self.extended("posix-rename@openssh.com", &request).await
    }

    /// Renames, but not over anything: the protocol's own rename. OpenSSH makes a link of the new
    /// name, which fails where the name is taken, and removes the old one.
    pub(super) async fn rename(&self, old: &Path, new: &Path) -> Result<(), SshError> {
        let renamed = self.sftp.rename(text(old)?, text(new)?).await;
        renamed.map(drop).map_err(|error| self.error(error))
    }

    /// Removes a file; `false` if there was none.
    pub(super) async fn remove(&self, path: &Path) -> Result<bool, SshError> {
        let removed = self.sftp.remove(text(path)?).await.map_err(|error| self.error(error));
        optional(removed).map(|removed| removed.is_some())
    }

    pub(super) async fn make_folder(&self, path: &Path) -> Result<(), SshError> {
        let made = self.sftp.mkdir(text(path)?, with_mode(0o700)).await;
        made.map(drop).map_err(|error| self.error(error))
    }

    pub(super) async fn remove_folder(&self, path: &Path) -> Result<(), SshError> {
        self.sftp.rmdir(text(path)?).await.map(drop).map_err(|error| self.error(error))
    }

    /// Whether there is certainly no room left where `path` is: the protocol's answer to a full disk
    /// is "Failure".
    pub(super) async fn is_full(&self, path: &Path) -> bool {
        let Ok(path) = text(path) else { return false };
        self.offers.statvfs
            && self.sftp.statvfs(path).await.is_ok_and(|room| room.blocks_avail == 0)
    }

    async fn extended(&self, name: &str, request: &impl Serialize) -> Result<(), SshError> {
        let request = ser::to_bytes(request).map_err(|error| self.loss_by(&error.to_string()))?;
        match self.sftp.extended(name, request.to_vec()).await {
            Ok(Packet::Status(status)) if status.status_code == StatusCode::Ok => Ok(()),
            Ok(Packet::Status(status)) => Err(self.error(SftpError::Status(status))),
            Ok(_) => Err(self.loss_by("an answer to another question")),
            Err(error) => Err(self.error(error)),
        }
    }
}

fn with_mode(mode: u32) -> FileAttributes {
    FileAttributes { permissions: Some(mode), ..FileAttributes::empty() }
}

fn optional<T>(found: Result<T, SshError>) -> Result<Option<T>, SshError> {
    match found {
        Err(SshError::Refused { kind: ErrorKind::NotFound, .. }) => Ok(None),
        found => found.map(Some),
    }
}
