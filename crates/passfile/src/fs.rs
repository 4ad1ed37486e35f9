//! Password files of this machine: opened and judged as libpq does, saved so that nobody else ever
//! sees them.
//!
//! ```
//! use passfile::{Key, Libpq, NewEntry, fs};
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("pgpass");
//!
//! let mut stored = fs::Stored::open_or_new(&path)?;
//! stored.file.set(&NewEntry::new("secret").host("db1").user("repl"))?;
//! stored.save()?; // mode 0600 from the first instant
//!
//! let file = fs::open(&path)?;
//! let found = file.lookup(&Key::new("repl").host("db1"), &Libpq::default());
//! assert_eq!(found.ok_or("none")?.password().expose(), b"secret");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use textfile::{
    TooLarge,
    fs::{Access, FsError, Snapshot},
};

use zeroize::Zeroizing;

use crate::{FileStatus, Insecure, Libpq, PassFile, PgVersion};

/// Opens a password file if libpq would use it.
///
/// The file is opened without waiting, and judged by what was opened: neither a pipe that nobody
/// writes to nor a file that is exchanged meanwhile does harm.
///
/// # Errors
/// [`OpenError`]. libpq goes on without a password in every case, and prints
/// [a warning](OpenError::warning) in some.
pub fn open(path: &Path) -> Result<PassFile, OpenError> {
    let unopened = |source| OpenError::Unopened {
        path: path.into(),
        status: std::fs::metadata(path).ok().map(|found| FileStatus::from_st_mode(found.mode())),
        source,
    };
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
        .map_err(unopened)?;
    let unread = |source| OpenError::Unread { path: path.into(), source };
    let metadata = file.metadata().map_err(unread)?;
    FileStatus::from_st_mode(metadata.mode())
        .check()
        .map_err(|reason| OpenError::Insecure { path: path.into(), reason })?;
    let bytes = read(file, metadata.len()).map_err(unread)?;
    PassFile::parse(bytes).map_err(|source| OpenError::TooLarge { path: path.into(), source })
}

/// Reads all of a file without leaving a copy of any of it behind.
fn read(mut file: File, length: u64) -> io::Result<Vec<u8>> {
    // With a byte to spare: the end of the file is seen without growing.
    let mut bytes = Zeroizing::new(vec![0; usize::try_from(length).unwrap_or(0) + 1]);
    let mut filled = 0;
    loop {
        if filled == bytes.len() {
            let mut grown = Zeroizing::new(vec![0; filled * 2]);
            grown[..filled].copy_from_slice(&bytes);
            bytes = grown;
        }
        match file.read(&mut bytes[filled..]) {
            Ok(0) => {
                bytes.truncate(filled);
                return Ok(std::mem::take(&mut bytes));
            }
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Why a password file was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It is not a plain file, or the group or others have access to it.
    #[error("password file \"{}\" {reason}", path.display())]
    Insecure {
        /// Which file.
        path: PathBuf,
        /// Why libpq ignores it.
        reason: Insecure,
    },
    /// It does not exist, or cannot be opened by this user.
    #[error("password file \"{}\" cannot be opened", path.display())]
    Unopened {
        /// Which file.
        path: PathBuf,
        /// What it is, as far as that can be told without opening it.
        status: Option<FileStatus>,
        /// What the system says.
        source: io::Error,
    },
    /// Reading it failed.
    #[error("password file \"{}\" cannot be read", path.display())]
    Unread {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It has 4 GiB or more.
    #[error("password file \"{}\" is too large", path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// How large.
        source: TooLarge,
    },
}

impl OpenError {
    /// Whether there is no such file: libpq takes that as no password, without a word.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Unopened { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// The warning that libpq prints on standard error, word by word and without a line end, for
    /// each host of a connection. `None`: it says nothing.
    ///
    /// A file that cannot be opened is looked at all the same by 12 to 17; 18 says nothing of it.
    #[must_use]
    pub fn warning(&self, libpq: &Libpq) -> Option<String> {
        let (path, reason) = match self {
            Self::Insecure { path, reason } => (path, *reason),
            Self::Unopened { path, status: Some(status), .. }
                if libpq.version() < PgVersion::V18 =>
            {
                (path, status.check().err()?)
            }
            _ => return None,
        };
        Some(reason.warning(path))
    }
}

/// A password file to be edited, and where it is kept.
///
/// Opened whatever its permissions are, so that they can be put right: [`Stored::save`] does.
#[derive(Debug)]
pub struct Stored {
    /// What the file holds: edit this, then [save](Stored::save).
    pub file: PassFile,
    path: PathBuf,
    /// The file as it was read; `None` if there was none.
    snapshot: Option<Snapshot>,
    /// Whose a new file becomes: user and group.
    owner: Option<(u32, u32)>,
}

impl Stored {
    /// Opens an existing file.
    ///
    /// # Errors
    /// [`StoreError`] if there is none, or it cannot be read.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let path = path.into();
        let snapshot = Snapshot::read(&path)?;
        let file = PassFile::parse(snapshot.bytes())
            .map_err(|source| StoreError::TooLarge { path: path.clone(), source })?;
        Ok(Self { file, path, snapshot: Some(snapshot), owner: None })
    }

    /// Opens a file, or begins one where there is none; [`Stored::save`] then creates it.
    ///
    /// # Errors
    /// [`StoreError`] if there is something of that name that cannot be read.
    pub fn open_or_new(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let path = path.into();
        // A link to nothing is something: what would be created is not where the name says.
        match path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Ok(Self { file: PassFile::new(), path, snapshot: None, owner: None })
            }
            _ => Self::open(path),
        }
    }

    /// Gives a new file to this user and group, by their numbers: a server's password file belongs
    /// to the account that the server runs as. Only root can. An existing file keeps its owner.
    #[must_use]
    pub fn owned_by(mut self, uid: u32, gid: u32) -> Self {
        self.owner = Some((uid, gid));
        self
    }

    /// The file's name, as it was given.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Kind and mode of the file when it was read; `None` if there was none.
    #[must_use]
    pub fn status(&self) -> Option<FileStatus> {
        self.snapshot.as_ref().map(|snapshot| FileStatus::plain(snapshot.access().mode))
    }

    /// Writes the file: whoever reads it, at any moment, sees the old bytes or the new ones. A new
    /// file has mode 0600 from its first instant, whatever the umask is. An existing one keeps its
    /// owner and its mode, but for what the group and others might do with it: libpq would ignore
    /// it. A symbolic link stays one.
    ///
    /// Returns whether there was anything to write.
    ///
    /// # Errors
    /// [`StoreError::File`] with [`FsError::Changed`] or [`FsError::Exists`] if somebody else wrote
    /// meanwhile, else what went wrong; the file is as it was.
    pub fn save(&mut self) -> Result<bool, StoreError> {
        let bytes = self.file.to_bytes();
        let Some(snapshot) = &self.snapshot else {
            let access = self.owner.map(|(uid, gid)| Access { mode: 0o600, uid, gid });
            textfile::fs::create(&self.path, &bytes, access)?;
            self.snapshot = Some(Snapshot::read(&self.path)?);
            return Ok(true);
        };
        let old = snapshot.access();
        let access = Access { mode: old.mode & !0o077, ..old };
        if *bytes == *snapshot.bytes() && access == old {
            return Ok(false);
        }
        self.snapshot = Some(snapshot.replace_with(&bytes, access)?);
        Ok(true)
    }
}

/// Why a password file was not opened for editing, or not saved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Reading or writing failed.
    #[error(transparent)]
    File(#[from] FsError),
    /// It has 4 GiB or more.
    #[error("password file \"{}\" is too large", path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// How large.
        source: TooLarge,
    },
}
