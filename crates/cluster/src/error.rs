//! What can go wrong with a cluster, and on which node.

use std::path::PathBuf;

use textfile::fs::FsError;

use crate::{conninfo::ConnInfoError, spec::SpecError};

/// Why a cluster could not be inspected, planned for, changed or verified. No message holds a
/// secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It happened on this node.
    #[error("node {node}: {source}")]
    Node {
        /// The node's name in the description.
        node: String,
        /// What happened.
        source: Box<Error>,
    },
    /// The description contradicts itself.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The server refused a query, or the connection broke.
    #[error("{}", sql_message(.0))]
    Sql(#[from] tokio_postgres::Error),
    /// The server cannot be connected to.
    #[error("cannot connect to {place}: {reason}")]
    Connect {
        /// Where to, without secrets.
        place: String,
        /// What the system or the server says.
        reason: String,
    },
    /// A file cannot be read or written.
    #[error(transparent)]
    Files(#[from] FsError),
    /// A node's machine cannot be reached, or its bundle not be made.
    #[error(transparent)]
    Transport(#[from] crate::transport::TransportError),
    /// The data directory that the server names is not to be found among the node's files.
    #[error("the data directory {} is not there: are these the files of this server?", path.display())]
    NoDataDirectory {
        /// What the server says.
        path: PathBuf,
    },
    /// A connection string that libpq could not read either.
    #[error("{what}: {source}")]
    ConnInfo {
        /// Whose connection string.
        what: String,
        /// What is wrong with it.
        source: ConnInfoError,
    },
    /// The server's major version is not known here.
    #[error("{reason}")]
    Version {
        /// Which one it is, and which are known.
        reason: String,
    },
    /// Something must be different before a plan can be made.
    #[error("{reason}")]
    Plan {
        /// What, and what to do about it.
        reason: String,
    },
    /// Certificates or keys could not be made or read.
    #[error("{reason}")]
    Certificates {
        /// What and why.
        reason: String,
    },
    /// The change was made, but the node did not take it.
    #[error("{reason}")]
    NotTaken {
        /// What the server still does, and what it says.
        reason: String,
    },
    /// A link does not work.
    #[error("{reason}")]
    LinkFails {
        /// What the server that connects says.
        reason: String,
    },
    /// Applying failed, and what had been done was taken back.
    #[error("{cause}\n{}", taken_back_message(.kept, .left))]
    TakenBack {
        /// What failed.
        cause: Box<Error>,
        /// What somebody else had changed since, and is theirs.
        kept: Vec<String>,
        /// What could not be taken back; where that is empty, everything else is as it was found.
        left: Vec<String>,
    },
    /// Not everything could be taken back; the run stays unfinished.
    #[error("{}", taken_back_message(.kept, .left))]
    Left {
        /// What somebody else had changed since, and is theirs.
        kept: Vec<String>,
        /// What could not be taken back.
        left: Vec<String>,
    },
    /// There is a run in the way, or none to go on with.
    #[error("{reason}")]
    Run {
        /// Which, and what to do about it.
        reason: String,
    },
    /// A time-out.
    #[error("gave up after waiting {seconds} s for {what}")]
    TimedOut {
        /// What was waited for.
        what: String,
        /// How long.
        seconds: u64,
    },
    /// The program is going down.
    #[error("the work was cancelled")]
    Cancelled,
}

impl From<pki::Error> for Error {
    fn from(error: pki::Error) -> Self {
        Self::Certificates { reason: error.to_string() }
    }
}

impl From<crate::transport::SshError> for Error {
    fn from(error: crate::transport::SshError) -> Self {
        Self::Transport(error.into())
    }
}

impl From<crate::transport::bundle::BundleError> for Error {
    fn from(error: crate::transport::bundle::BundleError) -> Self {
        Self::Transport(error.into())
    }
}

impl From<pki::tls::TlsError> for Error {
    fn from(error: pki::tls::TlsError) -> Self {
        Self::Certificates { reason: error.to_string() }
    }
}

impl Error {
    pub(crate) fn version(error: pg_version::UnknownVersion) -> Self {
        Self::Version { reason: error.to_string() }
    }

    /// What the server said, where it was the server that refused.
    pub(crate) fn sql(&self) -> Option<&tokio_postgres::error::DbError> {
        match self {
            Self::Node { source, .. } => source.sql(),
            Self::Sql(error) => error.as_db_error(),
            _ => None,
        }
    }

    pub(crate) fn run(reason: impl Into<String>) -> Self {
        Self::Run { reason: reason.into() }
    }

    /// Whether it is a link that does not work, and not a node that cannot be asked.
    pub(crate) fn is_failing_link(&self) -> bool {
        match self {
            Self::Node { source, .. } => source.is_failing_link(),
            other => matches!(other, Self::LinkFails { .. }),
        }
    }

    /// The error itself, for whoever tells the node's name already.
    pub(crate) fn without_node(&self) -> &Self {
        match self {
            Self::Node { source, .. } => source.without_node(),
            other => other,
        }
    }

    pub(crate) fn plan(reason: impl Into<String>) -> Self {
        Self::Plan { reason: reason.into() }
    }
}

fn taken_back_message(kept: &[String], left: &[String]) -> String {
    let list = |title: &str, lines: &[String]| {
        if lines.is_empty() {
            return String::new();
        }
        format!("{title}:\n  {}", lines.join("\n  "))
    };
    let kept = list("\nchanged by somebody else since, and left as they want it", kept);
    if left.is_empty() {
        return format!("every node is as it was found{kept}");
    }
    let left = list("these could not be taken back", left);
    format!(
        "{left}{kept}\nthe run stays unfinished: put in order what is in the way, then rollback"
    )
}

/// tokio-postgres' own Display leaves out what the server said.
fn sql_message(error: &tokio_postgres::Error) -> String {
    if let Some(db) = error.as_db_error() {
        let mut message = format!("{}: {} ({})", db.severity(), db.message(), db.code().code());
        if let Some(detail) = db.detail() {
            message.push_str("; detail: ");
            message.push_str(detail.trim_end());
        }
        if let Some(hint) = db.hint() {
            message.push_str("; hint: ");
            message.push_str(hint);
        }
        return message;
    }
    let mut message = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        message.push_str(": ");
        message.push_str(&cause.to_string());
        source = cause.source();
    }
    message
}

/// Says on which node an error happened.
pub(crate) trait NodeContext<T> {
    fn on_node(self, node: &str) -> Result<T, Error>;
}

impl<T, E: Into<Error>> NodeContext<T> for Result<T, E> {
    fn on_node(self, node: &str) -> Result<T, Error> {
        self.map_err(|error| match error.into() {
            named @ Error::Node { .. } => named,
            other => Error::Node { node: node.to_owned(), source: Box::new(other) },
        })
    }
}
