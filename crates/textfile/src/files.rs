//! How a parser asks for the files that another file includes.

use alloc::{collections::BTreeMap, string::String, vec::Vec};
use core::fmt;

/// Where included files come from: this machine, another one, memory, nowhere.
///
/// Paths are bytes, as the system has them. What a failure is called is for the reader of the file
/// format to say; [`FileErrorKind`] tells the cases apart that formats treat differently.
pub trait Files {
    /// The bytes of the file at `path`; symbolic links are followed.
    ///
    /// # Errors
    /// Why it cannot be read. A folder is [`FileErrorKind::IsADirectory`].
    fn read(&self, path: &[u8]) -> Result<Vec<u8>, FileError>;

    /// The names in the folder at `path` and what each is, in no particular order, without `.` and
    /// `..`.
    ///
    /// # Errors
    /// Why it cannot be listed.
    fn list(&self, path: &[u8]) -> Result<Vec<(Vec<u8>, FileKind)>, FileError>;

    /// The one path that all paths to the file at `path` have in common: symbolic links are followed,
    /// `.` and `..` resolved. `None` where that cannot be told; two paths are then two files.
    fn canonical(&self, path: &[u8]) -> Option<Vec<u8>> {
        let _ = path;
        None
    }
}

impl<F: Files + ?Sized> Files for &F {
    fn read(&self, path: &[u8]) -> Result<Vec<u8>, FileError> {
        (**self).read(path)
    }

    fn list(&self, path: &[u8]) -> Result<Vec<(Vec<u8>, FileKind)>, FileError> {
        (**self).list(path)
    }

    fn canonical(&self, path: &[u8]) -> Option<Vec<u8>> {
        (**self).canonical(path)
    }
}

/// What a name in a folder stands for, symbolic links followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A plain file, or anything else that can be opened and read.
    File,
    /// A folder.
    Directory,
    /// A symbolic link to nothing, or to itself: what it stands for cannot be told.
    Dangling,
}

/// Why a file or folder could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileError {
    /// Which failure.
    pub kind: FileErrorKind,
    /// In words, as the system's `strerror` has it: `No such file or directory`.
    pub message: String,
}

/// The failures that file formats tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileErrorKind {
    /// ENOENT
    NotFound,
    /// EACCES or EPERM
    PermissionDenied,
    /// EISDIR
    IsADirectory,
    /// ENOTDIR
    NotADirectory,
    /// ENAMETOOLONG
    NameTooLong,
    /// Anything else
    Other,
}

impl FileError {
    /// A failure with the message that a C library on Linux has for it; for
    /// [`FileErrorKind::Other`] that of EIO.
    #[must_use]
    pub fn new(kind: FileErrorKind) -> Self {
        let message = match kind {
            FileErrorKind::NotFound => "No such file or directory",
            FileErrorKind::PermissionDenied => "Permission denied",
            FileErrorKind::IsADirectory => "Is a directory",
            FileErrorKind::NotADirectory => "Not a directory",
            FileErrorKind::NameTooLong => "File name too long",
            FileErrorKind::Other => "Input/output error",
        };
        Self { kind, message: message.into() }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl core::error::Error for FileError {}

/// Files held in memory, by their whole path: for tests, for bundles, and for callers without a
/// file system. Empty, it is the answer of a caller that has no files to offer.
///
/// ```
/// use textfile::{FileErrorKind, FileKind, Files, MemoryFiles};
///
/// let mut files = MemoryFiles::default();
/// files.insert("/etc/hba/10.conf", "local all all peer\n");
/// assert_eq!(files.read(b"/etc/hba/10.conf")?, b"local all all peer\n");
/// assert_eq!(files.read(b"/etc/hba/../hba//10.conf")?, b"local all all peer\n");
/// assert_eq!(files.list(b"/etc/hba")?, [(b"10.conf".to_vec(), FileKind::File)]);
/// assert_eq!(files.read(b"/etc/passwd").unwrap_err().kind, FileErrorKind::NotFound);
/// # Ok::<(), textfile::FileError>(())
/// ```
#[derive(Clone, Default)]
pub struct MemoryFiles {
    entries: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl MemoryFiles {
    /// Puts a file at `path`; the folders on the way exist from then on.
    pub fn insert(&mut self, path: impl Into<Vec<u8>>, bytes: impl Into<Vec<u8>>) {
        self.entries.insert(path.into(), Some(bytes.into()));
    }

    /// Makes an empty folder.
    pub fn insert_dir(&mut self, path: impl Into<Vec<u8>>) {
        self.entries.insert(path.into(), None);
    }

    /// The path without `.`, `..` and needless slashes, as Linux walks it: each folder on the way must
    /// exist, and what a slash follows must be one.
    fn walk(&self, path: &[u8]) -> Result<Vec<u8>, FileError> {
        /// `NAME_MAX` and `PATH_MAX`
        const LONGEST: (usize, usize) = (255, 4095);
        let mut walked: Vec<u8> = Vec::with_capacity(path.len());
        if path.len() > LONGEST.1 {
            return Err(FileError::new(FileErrorKind::NameTooLong));
        }
        let mut parts = path.split(|byte| *byte == b'/').peekable();
        let absolute = path.starts_with(b"/");
        while let Some(part) = parts.next() {
            match part {
                b"" | b"." => {}
                b".." => {
                    let parent = memchr::memrchr(b'/', &walked).unwrap_or(0);
                    walked.truncate(parent);
                }
                _ if part.len() > LONGEST.0 => {
                    return Err(FileError::new(FileErrorKind::NameTooLong));
                }
                _ => {
                    if absolute || !walked.is_empty() {
                        walked.push(b'/');
                    }
                    walked.extend_from_slice(part);
                    let folder_needed = parts.peek().is_some();
                    if folder_needed && !self.is_folder(&walked) {
                        let file = self.entries.contains_key(&walked);
                        return Err(FileError::new(if file {
                            FileErrorKind::NotADirectory
                        } else {
                            FileErrorKind::NotFound
                        }));
                    }
                }
            }
        }
        Ok(walked)
    }

    fn is_folder(&self, path: &[u8]) -> bool {
        matches!(self.entries.get(path), Some(None)) || self.below(path).next().is_some()
    }

    /// What lies below folder `path`, with the rest of its path.
    fn below<'a>(&'a self, path: &[u8]) -> impl Iterator<Item = (&'a [u8], FileKind)> + 'a {
        let path = path.strip_suffix(b"/").unwrap_or(path);
        let start = [path, b"/"].concat();
        let len = start.len();
        self.entries
            .range(start.clone()..)
            .take_while(move |(entry, _)| entry.starts_with(&start))
            .map(move |(entry, bytes)| {
                let kind = if bytes.is_some() { FileKind::File } else { FileKind::Directory };
                (&entry[len..], kind)
            })
    }
}

impl Files for MemoryFiles {
    fn read(&self, path: &[u8]) -> Result<Vec<u8>, FileError> {
        let path = &self.walk(path)?;
        match self.entries.get(path) {
            Some(Some(bytes)) => Ok(bytes.clone()),
            Some(None) => Err(FileError::new(FileErrorKind::IsADirectory)),
            None if self.below(path).next().is_some() => {
                Err(FileError::new(FileErrorKind::IsADirectory))
            }
            None => Err(FileError::new(FileErrorKind::NotFound)),
        }
    }

    fn list(&self, path: &[u8]) -> Result<Vec<(Vec<u8>, FileKind)>, FileError> {
        let path = &self.walk(path)?;
        match self.entries.get(path) {
            Some(Some(_)) => return Err(FileError::new(FileErrorKind::NotADirectory)),
            Some(None) => {}
            None if self.below(path).next().is_some() => {}
            None => return Err(FileError::new(FileErrorKind::NotFound)),
        }
        let mut names = BTreeMap::new();
        for (rest, kind) in self.below(path) {
            match memchr::memchr(b'/', rest) {
                Some(slash) => names.insert(rest[..slash].to_vec(), FileKind::Directory),
                None => names.insert(rest.to_vec(), kind),
            };
        }
        Ok(names.into_iter().collect())
    }

    fn canonical(&self, path: &[u8]) -> Option<Vec<u8>> {
        self.walk(path).ok().filter(|path| self.entries.contains_key(path))
    }
}

/// Names only: the files may hold secrets.
impl fmt::Debug for MemoryFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.entries.keys().map(|path| String::from_utf8_lossy(path)))
            .finish()
    }
}

/// How much is read of what is no plain file.
#[cfg(feature = "fs")]
const MAX_DEVICE_LEN: u64 = 1 << 20;

/// The files of this machine.
#[cfg(feature = "fs")]
#[derive(Clone, Copy, Debug, Default)]
pub struct DiskFiles;

#[cfg(feature = "fs")]
impl Files for DiskFiles {
    fn read(&self, path: &[u8]) -> Result<Vec<u8>, FileError> {
        use std::{fs::OpenOptions, io::Read as _, os::unix::fs::OpenOptionsExt as _};

        // A pipe that nobody writes to must not keep us waiting: it is empty.
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(crate::fs::path_of(path))?;
        let mut bytes = Vec::new();
        if file.metadata()?.is_file() {
            file.read_to_end(&mut bytes)?;
            return Ok(bytes);
        }
        // A device can be a file without an end.
        file.take(MAX_DEVICE_LEN).read_to_end(&mut bytes)?;
        if bytes.len() as u64 == MAX_DEVICE_LEN {
            return Err(FileError::new(FileErrorKind::Other));
        }
        Ok(bytes)
    }

    fn list(&self, path: &[u8]) -> Result<Vec<(Vec<u8>, FileKind)>, FileError> {
        use std::os::unix::ffi::OsStrExt as _;

        let mut names = Vec::new();
        for entry in std::fs::read_dir(crate::fs::path_of(path))? {
            let entry = entry?;
            let kind = match std::fs::metadata(entry.path()) {
                Ok(metadata) if metadata.is_dir() => FileKind::Directory,
                Ok(_) => FileKind::File,
                // One name that leads nowhere is no reason to know nothing of the others.
                Err(_) => FileKind::Dangling,
            };
            names.push((entry.file_name().as_bytes().to_vec(), kind));
        }
        Ok(names)
    }

    fn canonical(&self, path: &[u8]) -> Option<Vec<u8>> {
        use std::os::unix::ffi::OsStringExt as _;

        let path = std::fs::canonicalize(crate::fs::path_of(path)).ok()?;
        Some(path.into_os_string().into_vec())
    }
}

#[cfg(feature = "fs")]
impl From<std::io::Error> for FileError {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind;

        use crate::fs::system_words;

        let kind = match error.kind() {
            ErrorKind::NotFound => FileErrorKind::NotFound,
            ErrorKind::PermissionDenied => FileErrorKind::PermissionDenied,
            ErrorKind::IsADirectory => FileErrorKind::IsADirectory,
            ErrorKind::NotADirectory => FileErrorKind::NotADirectory,
            ErrorKind::InvalidFilename => FileErrorKind::NameTooLong,
            _ => FileErrorKind::Other,
        };
        Self { kind, message: system_words(&error) }
    }
}
