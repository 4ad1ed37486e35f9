//! Reading a user's file and replacing it atomically.
//!
//! [`Snapshot::read`] takes a file's bytes and what must be kept of it; [`Snapshot::replace`] puts
//! other bytes in its place: a temporary file beside it (mode 0600 from the first instant), the
//! owner and mode of the old one, fsync, rename, fsync of the folder. Whoever reads the file at any
//! moment, also after a crash, sees the old bytes or the new ones. A symbolic link stays a link: the
//! file that it leads to is replaced. A hard link does not: the other names keep the old bytes.
//! Extended attributes and access control lists are not carried over.
//!
//! ```
//! use textfile::fs::Snapshot;
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("pg_hba.conf");
//! # std::fs::write(&path, "local all all trust\n")?;
//!
//! let snapshot = Snapshot::read(&path)?;
//! let new = snapshot.replace(b"local all all peer\n")?;
//! assert_eq!(std::fs::read(&path)?, b"local all all peer\n");
//!
//! // Somebody else changes the file: what was read is out of date.
//! std::fs::write(&path, "local all all reject\n")?;
//! assert!(new.replace(b"local all all peer\n").is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use alloc::{borrow::ToOwned as _, vec::Vec};
use core::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};
use std::{
    ffi::{OsStr, OsString},
    fs::{File, OpenOptions, Permissions},
    io::{self, Read as _, Write as _},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown},
    },
    path::{Path, PathBuf},
    process,
};

/// What the system says, without the number that the standard library appends: that is for nobody who
/// reads a message.
///
/// ```
/// let error = std::io::Error::from_raw_os_error(2);
/// assert_eq!(error.to_string(), "No such file or directory (os error 2)");
/// assert_eq!(textfile::fs::system_words(&error), "No such file or directory");
/// ```
#[must_use]
pub fn system_words(error: &std::io::Error) -> std::string::String {
    let mut words = std::format!("{error}");
    if let Some(end) = words.rfind(" (os error ") {
        words.truncate(end);
    }
    words
}

/// A path from the bytes that a file named it with.
#[must_use]
pub fn path_of(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

/// Who may do what with a file: permission bits and owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// The permission bits: `0o600`.
    pub mode: u32,
    /// The owner's user id.
    pub uid: u32,
    /// The owner's group id.
    pub gid: u32,
}

impl Access {
    /// Whether the same people may do the same as by another: where only the owner may do anything the
    /// group does not matter. Only root, and who is in a group, can give a file to that (`chown(2)`).
    ///
    /// ```
    /// use textfile::fs::Access;
    ///
    /// let [own, roots] = [26, 0].map(|gid| Access { mode: 0o600, uid: 26, gid });
    /// assert!(own.permits_the_same_as(roots));
    /// assert!(!Access { mode: 0o640, ..own }.permits_the_same_as(Access { mode: 0o640, ..roots }));
    /// ```
    #[must_use]
    pub fn permits_the_same_as(self, other: Self) -> bool {
        let group = |access: Self| if access.mode & 0o077 == 0 { None } else { Some(access.gid) };
        (self.mode, self.uid, group(self)) == (other.mode, other.uid, group(other))
    }
}

/// What tells one version of a file from another without reading it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Identity {
    dev: u64,
    ino: u64,
    len: u64,
    mtime: (i64, i64),
    ctime: (i64, i64),
}

impl Identity {
    fn of(metadata: &std::fs::Metadata) -> Self {
        Self {
            dev: metadata.dev(),
            ino: metadata.ino(),
            len: metadata.len(),
            mtime: (metadata.mtime(), metadata.mtime_nsec()),
            ctime: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// A file as it was when it was read.
#[derive(Clone)]
pub struct Snapshot {
    /// The name the caller gave.
    path: PathBuf,
    /// The file it leads to, with links resolved.
    target: PathBuf,
    bytes: Vec<u8>,
    access: Access,
    identity: Identity,
}

impl Snapshot {
    /// Reads the file at `path`, through symbolic links.
    ///
    /// # Errors
    /// [`FsError`] if it cannot be opened or read, or is no plain file.
    pub fn read(path: impl Into<PathBuf>) -> Result<Self, FsError> {
        let path = path.into();
        let target = path.canonicalize().map_err(|e| FsError::io("find", &path, e))?;
        // A pipe that nobody writes to must not keep us waiting: it is opened, and refused below.
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(&target)
            .map_err(|e| FsError::io("open", &path, e))?;
        let metadata = file.metadata().map_err(|e| FsError::io("examine", &path, e))?;
        if !metadata.is_file() {
            return Err(FsError::NotAFile { path });
        }
        // With room for all, so that reading leaves no half-filled allocations behind.
        let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0) + 1);
        file.read_to_end(&mut bytes).map_err(|e| FsError::io("read", &path, e))?;
        let access =
            Access { mode: metadata.mode() & 0o7777, uid: metadata.uid(), gid: metadata.gid() };
        Ok(Self { path, target, bytes, access, identity: Identity::of(&metadata) })
    }

    /// The name that the file was read by.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it held.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Gives up the snapshot for its bytes.
    #[must_use]
    pub fn into_bytes(mut self) -> Vec<u8> {
        core::mem::take(&mut self.bytes)
    }

    /// Its owner and mode.
    #[must_use]
    pub fn access(&self) -> Access {
        self.access
    }

    /// Whether the file is another one by now, or was written to.
    ///
    /// # Errors
    /// [`FsError::Io`] if that cannot be told.
    pub fn changed(&self) -> Result<bool, FsError> {
        match std::fs::metadata(&self.path) {
            Ok(metadata) => Ok(Identity::of(&metadata) != self.identity),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) => Err(FsError::io("examine", &self.path, error)),
        }
    }

    /// Replaces the file's bytes atomically; owner and mode stay. The same bytes: the file is left
    /// alone. Returns the snapshot of what is there now.
    ///
    /// # Errors
    /// [`FsError::Changed`] if somebody changed the file since it was read, else what went wrong;
    /// the file is as it was.
    pub fn replace(&self, bytes: &[u8]) -> Result<Self, FsError> {
        self.replace_with(bytes, self.access)
    }

    /// [`Snapshot::replace`] with another owner or mode.
    ///
    /// # Errors
    /// Those of [`Snapshot::replace`].
    pub fn replace_with(&self, bytes: &[u8], access: Access) -> Result<Self, FsError> {
        if self.changed()? {
            return Err(FsError::Changed { path: self.path.clone() });
        }
        if bytes == self.bytes && access == self.access {
            return Ok(self.clone());
        }
        let temporary = Temporary::create(&self.target)?;
        temporary.fill(bytes, access)?;
        // Once more, as near to the rename as can be: writing took its time.
        if self.changed()? {
            return Err(FsError::Changed { path: self.path.clone() });
        }
        temporary.rename_to(&self.target)?;
        Self::read(self.path.clone())
    }
}

/// The file may hold secrets.
#[cfg(feature = "zeroize")]
impl Drop for Snapshot {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.bytes);
    }
}

/// Sizes and names only: the bytes may be secret.
impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("path", &self.path)
            .field("bytes", &self.bytes.len())
            .field("access", &self.access)
            .finish_non_exhaustive()
    }
}

/// Makes a new file, whole or not at all: nobody sees a part of it, nor a wider mode than the one
/// asked for. `access` of `None` leaves the owner to the system and sets mode 0600.
///
/// # Errors
/// [`FsError::Exists`] if there is anything of that name already, else what went wrong.
pub fn create(path: &Path, bytes: &[u8], access: Option<Access>) -> Result<(), FsError> {
    if path.symlink_metadata().is_ok() {
        return Err(FsError::Exists { path: path.to_owned() });
    }
    let temporary = Temporary::create(path)?;
    match access {
        Some(access) => temporary.fill(bytes, access)?,
        None => temporary.fill_as_made(bytes)?,
    }
    temporary.link_to(path)
}

/// What the names of temporary files have after a dot and the file's own name.
const TEMPORARY_MARK: &str = ".pgward-new.";

/// Whether a name is one that a temporary file beside `file` has: of a process that was killed there
/// may be one left, with a part of what should have been written.
///
/// ```
/// use textfile::fs::is_temporary_of;
///
/// assert!(is_temporary_of(b".pg_hba.conf.pgward-new.4711.0", b"pg_hba.conf"));
/// assert!(!is_temporary_of(b"pg_hba.conf", b"pg_hba.conf"));
/// ```
#[must_use]
pub fn is_temporary_of(name: &[u8], file: &[u8]) -> bool {
    let rest = name.strip_prefix(b".").and_then(|rest| rest.strip_prefix(file));
    rest.is_some_and(|rest| rest.starts_with(TEMPORARY_MARK.as_bytes()))
}

/// A file beside the one that it will become; removed unless it did.
struct Temporary {
    path: PathBuf,
    /// The one that it will become: what errors are about.
    target: PathBuf,
    file: File,
    renamed: bool,
}

impl Temporary {
    fn create(beside: &Path) -> Result<Self, FsError> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);

        let name = beside.file_name().ok_or_else(|| FsError::NotAFile { path: beside.into() })?;
        loop {
            let mut temporary = OsString::from(".");
            temporary.push(name);
            temporary.push(TEMPORARY_MARK);
            let count = COUNTER.fetch_add(1, Ordering::Relaxed);
            temporary.push(std::format!("{}.{count}", process::id()));
            let path = beside.with_file_name(temporary);
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Ok(file) => {
                    return Ok(Self { path, target: beside.to_owned(), file, renamed: false });
                }
                // Left by a process of the same id that was killed.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(FsError::io("create", beside, error)),
            }
        }
    }

    /// Writes the bytes, gives the file its owner and mode, and waits until all is on disk.
    fn fill(&self, bytes: &[u8], access: Access) -> Result<(), FsError> {
        let io = |what| move |error| FsError::io(what, &self.target, error);
        (&self.file).write_all(bytes).map_err(io("write"))?;
        let made = self.file.metadata().map_err(io("examine"))?;
        if (made.uid(), made.gid()) != (access.uid, access.gid) {
            let given = fchown(&self.file, Some(access.uid), Some(access.gid));
            // Who runs this may not be in the group.
            let as_made = Access { uid: made.uid(), gid: made.gid(), ..access };
            given.or_else(|error| {
                let may_stay = error.kind() == io::ErrorKind::PermissionDenied;
                if may_stay && as_made.permits_the_same_as(access) {
                    Ok(())
                } else {
                    Err(io("give away")(error))
                }
            })?;
        }
        self.file
            .set_permissions(Permissions::from_mode(access.mode))
            .map_err(io("set the mode of"))?;
        self.file.sync_all().map_err(io("sync"))
    }

    fn fill_as_made(&self, bytes: &[u8]) -> Result<(), FsError> {
        let made = self.file.metadata().map_err(|e| FsError::io("examine", &self.target, e))?;
        self.fill(bytes, Access { mode: 0o600, uid: made.uid(), gid: made.gid() })
    }

    fn rename_to(mut self, target: &Path) -> Result<(), FsError> {
        std::fs::rename(&self.path, target).map_err(|e| FsError::io("replace", target, e))?;
        self.renamed = true;
        sync_folder_of(target)
    }

    /// Like a rename that refuses to replace: a link of the final name, which fails where the name
    /// is taken.
    fn link_to(self, target: &Path) -> Result<(), FsError> {
        std::fs::hard_link(&self.path, target).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => FsError::Exists { path: target.to_owned() },
            _ => FsError::io("create", target, error),
        })?;
        drop(self);
        sync_folder_of(target)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.renamed {
            // Nothing more can be done about it here; the name says what it is.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn sync_folder_of(path: &Path) -> Result<(), FsError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| FsError::io("sync the folder of", path, error))
}

/// Why a file was not read or not written.
#[derive(Debug)]
#[non_exhaustive]
pub enum FsError {
    /// The system refused.
    Io {
        /// What was tried: `open`, `write`, `replace`.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is a folder, a device, a pipe.
    NotAFile {
        /// Which.
        path: PathBuf,
    },
    /// Somebody changed the file after it was read; nothing was written.
    Changed {
        /// Which.
        path: PathBuf,
    },
    /// There is something of that name already; nothing was written.
    Exists {
        /// Which.
        path: PathBuf,
    },
}

impl FsError {
    fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }

    /// The file in question.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Io { path, .. }
            | Self::NotAFile { path }
            | Self::Changed { path }
            | Self::Exists { path } => path,
        }
    }
}

impl fmt::Display for FsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { action, path, source } => {
                write!(f, "cannot {action} {}: {}", path.display(), system_words(source))
            }
            Self::NotAFile { path } => write!(f, "{} is no plain file", path.display()),
            Self::Changed { path } => write!(
                f,
                "{} was changed by somebody else since it was read: read it again",
                path.display()
            ),
            Self::Exists { path } => write!(f, "{} exists already", path.display()),
        }
    }
}

impl core::error::Error for FsError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
