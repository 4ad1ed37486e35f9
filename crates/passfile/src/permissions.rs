//! Whether libpq uses a file at all, judged from its kind and its mode.
//!
//! libpq ignores a password file that is not a plain file, or that grants anything to the group or
//! to others. It does not look at the owner, nor at the bits beyond (set-user-id, sticky), nor at
//! the folders above. Symbolic links are followed: the mode is that of the file they lead to.

use std::{fmt, path::Path};

/// What a name stands for, symbolic links followed (`S_IFMT`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileKind {
    /// A plain file
    Plain,
    /// A folder
    Directory,
    /// A named pipe: libpq 18 hangs when it opens one that nobody writes to
    Fifo,
    /// A device, as `/dev/null` is
    Device,
    /// A socket
    Socket,
    /// Anything else
    Other,
}

/// What a file's permissions are judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileStatus {
    /// What it is.
    pub kind: FileKind,
    /// Its permission bits: `0o600`. Bits beyond are ignored.
    pub mode: u32,
}

impl FileStatus {
    /// A plain file with these permission bits.
    #[must_use]
    pub const fn plain(mode: u32) -> Self {
        Self { kind: FileKind::Plain, mode }
    }

    /// From `st_mode` of `stat`: kind and permission bits.
    #[must_use]
    pub const fn from_st_mode(st_mode: u32) -> Self {
        let kind = match st_mode & 0o170_000 {
            0o100_000 => FileKind::Plain,
            0o040_000 => FileKind::Directory,
            0o010_000 => FileKind::Fifo,
            0o020_000 | 0o060_000 => FileKind::Device,
            0o140_000 => FileKind::Socket,
            _ => FileKind::Other,
        };
        Self { kind, mode: st_mode & 0o7777 }
    }

    /// Whether libpq, any major, uses the file; else why not.
    ///
    /// ```
    /// use passfile::{FileStatus, Insecure};
    ///
    /// assert!(FileStatus::plain(0o400).check().is_ok());
    /// let refused = FileStatus::plain(0o640).check();
    /// assert_eq!(refused, Err(Insecure::GroupOrWorldAccess { mode: 0o640 }));
    /// ```
    ///
    /// # Errors
    /// [`Insecure`].
    pub const fn check(self) -> Result<(), Insecure> {
        if !matches!(self.kind, FileKind::Plain) {
            return Err(Insecure::NotPlainFile { kind: self.kind });
        }
        if self.mode & 0o077 != 0 {
            return Err(Insecure::GroupOrWorldAccess { mode: self.mode & 0o7777 });
        }
        Ok(())
    }
}

/// Why libpq ignores a password file, with a warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Insecure {
    /// It is a folder, a device, a pipe.
    NotPlainFile {
        /// What it is.
        kind: FileKind,
    },
    /// The group or others may do something with it.
    GroupOrWorldAccess {
        /// Its permission bits.
        mode: u32,
    },
}

impl Insecure {
    /// The warning that libpq prints on standard error, word by word, without its line end. A path
    /// that is not UTF-8 is shown with replacement characters.
    ///
    /// ```
    /// use std::path::Path;
    ///
    /// let refused = passfile::FileStatus::plain(0o644).check().unwrap_err();
    /// assert_eq!(
    ///     refused.warning(Path::new("/root/.pgpass")),
    ///     "WARNING: password file \"/root/.pgpass\" has group or world access; \
    ///      permissions should be u=rw (0600) or less"
    /// );
    /// ```
    #[must_use]
    pub fn warning(&self, path: &Path) -> String {
        format!("WARNING: password file \"{}\" {self}", path.display())
    }
}

/// The end of libpq's warning.
impl fmt::Display for Insecure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotPlainFile { .. } => "is not a plain file",
            Self::GroupOrWorldAccess { .. } => {
                "has group or world access; permissions should be u=rw (0600) or less"
            }
        })
    }
}

impl std::error::Error for Insecure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode() {
        for mode in 0..=0o7777 {
            let usable = FileStatus::plain(mode).check().is_ok();
            assert_eq!(usable, mode % 0o100 == 0, "{mode:o}");
        }
    }

    #[test]
    fn kinds_of_st_mode() {
        for (st_mode, kind) in [
            (0o100_600, FileKind::Plain),
            (0o040_700, FileKind::Directory),
            (0o010_600, FileKind::Fifo),
            (0o020_666, FileKind::Device),
            (0o060_600, FileKind::Device),
            (0o140_700, FileKind::Socket),
            (0o120_777, FileKind::Other),
        ] {
            assert_eq!(FileStatus::from_st_mode(st_mode).kind, kind, "{st_mode:o}");
        }
        assert_eq!(FileStatus::from_st_mode(0o104_600).mode, 0o4600);
    }
}
