//! What can go wrong, said so that a reader of a failed test knows what to do.

use std::{io, path::PathBuf, time::Duration};

use pg_version::PgVersion;

/// Why a server could not be found, started, asked or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No server of this major is installed where [`find`](crate::find) looks.
    #[error(
        "no server of PostgreSQL {version} found (looked at PGTEST_BINDIR_{version}, \
         PGTEST_BINDIRS, the cache {}, PATH and the usual folders): run \
         `cargo xtask pg install {version}`, or set PGTEST_BINDIR_{version} to the folder that \
         holds its initdb and postgres", .cache.display()
    )]
    NoServer {
        /// The major that was asked for.
        version: PgVersion,
        /// The cache folder that was looked at.
        cache: PathBuf,
    },
    /// No server of any major is installed where [`find`](crate::find) looks.
    #[error(
        "no PostgreSQL server found (looked at PGTEST_BINDIRS, the cache {}, PATH and the usual \
         folders): run `cargo xtask pg install`", .cache.display()
    )]
    NoServers {
        /// The cache folder that was looked at.
        cache: PathBuf,
    },
    /// Servers of this major are installed, but none was built as asked.
    #[error("PostgreSQL {version} is installed, but no build of it has {wanted}")]
    NoSuchBuild {
        /// The major that was asked for.
        version: PgVersion,
        /// What no build has.
        wanted: String,
    },
    /// The folder holds no server that can be run.
    #[error("{} holds no PostgreSQL server: {reason}", .bindir.display())]
    NotABindir {
        /// The folder that was looked at.
        bindir: PathBuf,
        /// What was missing or what the program answered.
        reason: String,
    },
    /// The system has no such account to run the server as.
    #[error(
        "no account {name:?} to run PostgreSQL as: {reason}; set PGTEST_USER to one that exists"
    )]
    NoAccount {
        /// The account's name.
        name: String,
        /// What the system answered.
        reason: String,
    },
    /// The system gives us no network namespaces.
    #[error("no network namespaces to be had (they need Linux, and root's rights): {reason}")]
    NoNamespaces {
        /// What was refused, and the answer.
        reason: String,
    },
    /// A file, folder, socket or process could not be handled.
    #[error("{what}: {source}")]
    Io {
        /// What was tried, and on which path.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A program ended with an error.
    #[error("{program} failed ({status}): {output}")]
    Command {
        /// The program's path.
        program: String,
        /// Its exit status in words.
        status: String,
        /// What it printed, both streams.
        output: String,
    },
    /// The server ended while it was starting.
    #[error("the server did not start ({status}); its log ends with:\n{log}")]
    Start {
        /// Its exit status in words.
        status: String,
        /// The last lines of its log.
        log: String,
    },
    /// Something did not happen in time.
    #[error("{what} did not happen within {after:?}{}", log_note(.log))]
    Timeout {
        /// What was awaited.
        what: String,
        /// The deadline that passed.
        after: Duration,
        /// The last lines of the server's log, empty where there is none.
        log: String,
    },
    /// An operation that needs a running server was asked of a stopped one, or the other way
    /// round.
    #[error("the server is {is}: {needs}")]
    State {
        /// What the server is doing.
        is: &'static str,
        /// What the operation needs.
        needs: &'static str,
    },
    /// The server answered a login or a statement with an error.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// A peer did not speak PostgreSQL's protocol, or asked for what this client cannot do.
    #[error("protocol: {0}")]
    Protocol(String),
    /// A text for C holds a zero byte.
    #[error("{0} holds a zero byte, which C cannot take")]
    ZeroByte(&'static str),
    /// The shared library could not be loaded or is not what was expected.
    #[error("libpq {}: {reason}", .path.display())]
    Libpq {
        /// The library's path.
        path: PathBuf,
        /// Why it cannot serve.
        reason: String,
    },
    /// libpq reported that a connection failed.
    #[error("libpq could not connect: {0}")]
    Connect(String),
}

fn log_note(log: &str) -> String {
    if log.is_empty() { String::new() } else { format!("; the log ends with:\n{log}") }
}

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// The SQLSTATE of the server's answer, where it answered with an error.
    #[must_use]
    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            Self::Sql(error) => Some(&error.code),
            _ => None,
        }
    }
}

/// An error or a notice of the server: the fields of `ErrorResponse` and `NoticeResponse`
/// (PostgreSQL documentation, "Error and Notice Message Fields").
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("{severity} {code}: {message}{}", detail_note(.detail.as_deref()))]
#[non_exhaustive]
pub struct SqlError {
    /// `ERROR`, `FATAL`, `PANIC`, `WARNING`, `NOTICE`, ... untranslated.
    pub severity: String,
    /// The SQLSTATE, five characters.
    pub code: String,
    /// The primary message.
    pub message: String,
    /// The detail message.
    pub detail: Option<String>,
    /// What the server suggests to do.
    pub hint: Option<String>,
}

fn detail_note(detail: Option<&str>) -> String {
    detail.map(|detail| format!(" ({detail})")).unwrap_or_default()
}
