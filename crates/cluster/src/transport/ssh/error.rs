//! What can go wrong on the way to a node by `ssh`.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use textfile::{
    FileError, FileErrorKind,
    fs::{Access, FsError},
};

/// Why a node was not reached by `ssh`, or did not do what it was asked.
///
/// Where files are concerned it is the source of an [`FsError::Io`]: [`SshError::of`] finds it there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SshError {
    /// The program cannot be run.
    #[error(
        "cannot run {}: {reason}; install the OpenSSH client, or name it with the key program",
        program.display()
    )]
    NoProgram {
        /// Which.
        program: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// The host's key is not known here.
    #[error(
        "{place}: the host key is not among the known ones; compare its fingerprint on the machine \
         itself and add it to the known hosts: {said}"
    )]
    UnknownHost {
        /// Who and where.
        place: String,
        /// What `ssh` said.
        said: String,
    },
    /// The host's key is another one than the known one, or revoked.
    #[error(
        "{place}: the host key is not the one that is known: either the machine was set up anew, or \
         somebody is in between; nothing was sent: {said}"
    )]
    ChangedHost {
        /// Who and where.
        place: String,
        /// What `ssh` said.
        said: String,
    },
    /// The host does not let this user in.
    #[error(
        "{place}: the login was refused; give a key without passphrase, or one that an agent has: \
         {said}"
    )]
    Denied {
        /// Who and where.
        place: String,
        /// What `ssh` said.
        said: String,
    },
    /// There is no connection to the host.
    #[error("{place}: no connection: {said}")]
    Unreachable {
        /// Who and where.
        place: String,
        /// What `ssh` said.
        said: String,
    },
    /// Logged in, but nobody there speaks SFTP.
    #[error(
        "{place}: logged in, but no SFTP; its sshd needs a \"Subsystem sftp\", and the user's shell \
         must print nothing: {said}"
    )]
    NoSftp {
        /// Who and where.
        place: String,
        /// What came instead.
        said: String,
    },
    /// The connection broke.
    #[error("{place}: the connection was lost: {said}")]
    Lost {
        /// Who and where.
        place: String,
        /// What `ssh` said.
        said: String,
    },
    /// No answer in time.
    #[error("{place}: gave up after waiting {seconds} s for {what}")]
    TimedOut {
        /// Who and where.
        place: String,
        /// What was waited for.
        what: &'static str,
        /// How long.
        seconds: u64,
    },
    /// The SFTP server cannot do what an atomic replacement needs.
    #[error(
        "{place}: its SFTP server does not offer {extension}, without which no file can be replaced \
         atomically; use the sftp-server of OpenSSH"
    )]
    NotOffered {
        /// Who and where.
        place: String,
        /// The extension's name.
        extension: &'static str,
    },
    /// The login is neither root nor the owner that the file shall have.
    #[error(
        "logged in with uid {login}, which is neither root nor the owner {uid}:{gid} that it must \
         have: log in as root or as the owner of the server's files"
    )]
    NotOwner {
        /// The uid that was logged in with.
        login: u32,
        /// The owner that the file shall have.
        uid: u32,
        /// The group that the file shall have.
        gid: u32,
    },
    /// The login may not write into the folder.
    #[error(
        "who was logged in as may not write into {}, which is {}:{}'s with mode {:04o}: log in as \
         root or as the owner of the server's files",
        folder.display(), access.uid, access.gid, access.mode
    )]
    FolderClosed {
        /// Which folder.
        folder: PathBuf,
        /// Whose it is.
        access: Access,
    },
    /// The SFTP server refused.
    #[error("{message}")]
    Refused {
        /// Which failure.
        kind: ErrorKind,
        /// What it says, which is not much: a full disk is a `Failure`.
        message: String,
    },
    /// The SFTP server said yes, and the file is otherwise than asked for.
    #[error("the SFTP server took owner and mode, and did not set them: it is not the file's own")]
    NotSet,
    /// A temporary file could not be removed, because the connection was lost.
    #[error("{cause}; {} is left behind, readable by its owner only: remove it", path.display())]
    LeftBehind {
        /// Where it is.
        path: PathBuf,
        /// What went wrong.
        cause: Box<SshError>,
    },
    /// What was asked for is not reached through the node.
    #[error(
        "{place}: cannot reach {target} from there: nobody listens, or its sshd does not forward \
         (AllowTcpForwarding, AllowStreamLocalForwarding): {said}"
    )]
    NotForwarded {
        /// Who and where.
        place: String,
        /// A socket, or host and port.
        target: String,
        /// What `ssh` said.
        said: String,
    },
    /// A connection string that cannot be followed through `ssh`.
    #[error("the connection string \"{conninfo}\" cannot be used through ssh: {reason}")]
    ConnInfo {
        /// The connection string, secrets masked.
        conninfo: String,
        /// What it must be.
        reason: &'static str,
    },
    /// A path that is no UTF-8, which the library for SFTP cannot send.
    #[error("{} is no UTF-8: rename it", path.display())]
    NotUtf8 {
        /// Which.
        path: PathBuf,
    },
    /// A description that was not read from text, and would not have been taken from there.
    #[error(transparent)]
    Spec(#[from] crate::transport::FilesSpecError),
    /// The folder for the sockets cannot be made.
    #[error("cannot make a folder in {}: {reason}", place.display())]
    NoFolder {
        /// Where.
        place: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// There is no asynchronous runtime, or it is going down.
    #[error("the work was cancelled")]
    Cancelled,
}

impl SshError {
    /// The failure of the way to the node behind a failure with a file, if there is one.
    #[must_use]
    pub fn of(error: &FsError) -> Option<&Self> {
        match error {
            FsError::Io { source, .. } => source.get_ref()?.downcast_ref(),
            _ => None,
        }
    }

    /// As the system's errors are sorted.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused { kind, .. } => *kind,
            Self::TimedOut { .. } => ErrorKind::TimedOut,
            Self::Lost { .. } => ErrorKind::ConnectionAborted,
            Self::Unreachable { .. } | Self::NotForwarded { .. } => ErrorKind::ConnectionRefused,
            Self::Denied { .. }
            | Self::UnknownHost { .. }
            | Self::ChangedHost { .. }
            | Self::NotOwner { .. }
            | Self::FolderClosed { .. } => ErrorKind::PermissionDenied,
            Self::NotOffered { .. } | Self::NoSftp { .. } => ErrorKind::Unsupported,
            Self::LeftBehind { cause, .. } => cause.kind(),
            Self::NotUtf8 { .. } | Self::ConnInfo { .. } => ErrorKind::InvalidInput,
            _ => ErrorKind::Other,
        }
    }

    /// Whether the connection is of no use any more.
    pub(super) fn is_loss(&self) -> bool {
        matches!(self, Self::Lost { .. } | Self::TimedOut { .. })
    }

    /// What was tried with which file.
    pub(super) fn with(self, action: &'static str, path: &Path) -> FsError {
        FsError::Io { action, path: path.to_owned(), source: self.into() }
    }
}

impl From<SshError> for std::io::Error {
    fn from(error: SshError) -> Self {
        Self::new(error.kind(), error)
    }
}

impl From<SshError> for FileError {
    fn from(error: SshError) -> Self {
        let kind = match error.kind() {
            ErrorKind::NotFound => FileErrorKind::NotFound,
            ErrorKind::PermissionDenied => FileErrorKind::PermissionDenied,
            _ => FileErrorKind::Other,
        };
        match error {
            // What the formats tell apart has the words of the system.
            SshError::Refused { .. } if kind != FileErrorKind::Other => Self::new(kind),
            error => Self { kind, message: error.to_string() },
        }
    }
}
