//! What can go wrong with a bundle.

use std::path::PathBuf;

use textfile::fs::FsError;

use crate::Error;

/// Why a bundle was not made or not read. No message holds a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// There is one already.
    #[error(
        "there is a bundle in {} already: carry it out and remove it, or move it away",
        folder.display()
    )]
    Exists {
        /// Where.
        folder: PathBuf,
    },
    /// The node's name cannot be that of a folder.
    #[error("node \"{node}\": no folder can be called that")]
    Name {
        /// The node's name.
        node: String,
    },
    /// A path that cannot be put into a bundle.
    #[error(
        "{} cannot be put into a bundle: a path there is absolute, UTF-8, and without \"..\"",
        path.display()
    )]
    Path {
        /// Which.
        path: PathBuf,
    },
    /// A phase that should have come before.
    #[error("phase {later} has begun: {phase} must come before it")]
    Order {
        /// The phase that was begun too late.
        phase: super::Phase,
        /// The one that had begun.
        later: super::Phase,
    },
    /// A statement with a secret that must not lie in a file.
    #[error(
        "this statement holds a password in clear, which no bundle may: give the password to the \
         server's own passfile instead: {statement}"
    )]
    ClearSecret {
        /// The statement, secrets masked.
        statement: String,
    },
    /// The folder cannot be made or written.
    #[error(transparent)]
    Files(#[from] FsError),
    /// The manifest is not one.
    #[error("{}: {reason}", path.display())]
    Manifest {
        /// Where.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The server cannot be asked.
    #[error("{0}")]
    Server(Box<Error>),
}

impl From<Error> for BundleError {
    fn from(error: Error) -> Self {
        Self::Server(Box::new(error))
    }
}

impl From<tokio_postgres::Error> for BundleError {
    fn from(error: tokio_postgres::Error) -> Self {
        Error::from(error).into()
    }
}
