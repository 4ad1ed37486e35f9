//! What a plan consists of: stages of steps, each of them data.

use std::{fmt, path::PathBuf};

use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use textfile::fs::Access;
use zeroize::Zeroizing;

use crate::{error::Error, vault::Vault};

/// Steps that belong together. A stage starts when the one before has ended on every node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stage {
    /// What it achieves.
    pub title: &'static str,
    /// Whether one node must be through before the next begins.
    pub pace: Pace,
    /// The steps, in their order on each node.
    pub steps: Vec<Step>,
}

/// How a stage goes over the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pace {
    /// Every node at the same time: nothing that could shut anybody out.
    AllAtOnce,
    /// One after another, so that a server that does not take the change is the only one.
    NodeByNode,
}

/// One change to one node, and what takes it back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// On which node.
    pub node: String,
    /// What is done.
    pub action: Action,
    /// What restores the state before; none where nothing is left to restore.
    pub undo: Option<Action>,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
#[non_exhaustive]
pub enum Action {
    /// Makes a folder, unless it is there.
    MakeFolder {
        /// Where.
        path: PathBuf,
        /// Its owner and mode.
        #[serde(serialize_with = "access_text")]
        access: Access,
    },
    /// Writes a file atomically.
    WriteFile {
        /// Where.
        path: PathBuf,
        /// Its owner and mode.
        #[serde(serialize_with = "access_text")]
        access: Access,
        /// What must be there before: anything else means that somebody changed it meanwhile.
        expected: Expected,
        /// What will be there.
        content: Content,
    },
    /// Removes a file that a step made.
    RemoveFile {
        /// Where.
        path: PathBuf,
    },
    /// Removes a folder that a step made, if nothing else has come into it.
    RemoveFolder {
        /// Where.
        path: PathBuf,
    },
    /// Runs a statement.
    Execute {
        /// In which database; the administrator's own if none.
        database: Option<String>,
        /// Which.
        statement: Statement,
    },
    /// Has the server read its configuration again, and looks whether it took it.
    Reload(Expectation),
    /// Gives a link another connection string, and waits until it replicates by it.
    SwitchLink {
        /// The node that the link leads to.
        to: String,
        /// The database that keeps the link.
        database: String,
        /// The slot by which its session is found.
        slot: Option<String>,
        /// The statement that does it.
        statement: Statement,
    },
    /// Ends the role's sessions without TLS: they began before.
    EndPlainSessions {
        /// The role.
        role: String,
    },
}

/// In words, without secrets.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MakeFolder { path, access } => {
                write!(f, "make the folder {} (mode {:04o})", path.display(), access.mode)
            }
            Self::WriteFile { path, access, expected, content } => {
                let new = if *expected == Expected::Absent { "new file" } else { "change" };
                let secret = if matches!(content, Content::Secret(_)) { ", secret" } else { "" };
                write!(f, "{new} {} (mode {:04o}{secret})", path.display(), access.mode)
            }
            Self::RemoveFile { path } => write!(f, "remove {}", path.display()),
            Self::RemoveFolder { path } => write!(f, "remove the folder {}", path.display()),
            Self::Execute { database: Some(database), statement } => {
                write!(f, "in database {database}: {statement}")
            }
            Self::Execute { database: None, statement } => statement.fmt(f),
            Self::Reload(_) => f.write_str("reload the configuration, and look that it was taken"),
            Self::SwitchLink { database, statement, .. } => {
                write!(f, "in database {database}: {statement}; wait until it replicates")
            }
            Self::EndPlainSessions { role } => {
                write!(f, "end the sessions of {role} that have no TLS")
            }
        }
    }
}

/// What a server must be like after a reload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Expectation {
    /// SHA-256 of the certificate that it must show, in hexadecimal; it is asked for over the
    /// network, because a reload that fails keeps the old one without a word.
    pub certificate: Option<String>,
}

/// What must be at a path before a step writes there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expected {
    /// Nothing.
    Absent,
    /// A file, whatever it holds.
    Anything,
    /// A file with bytes of this SHA-256.
    Bytes(#[serde(serialize_with = "hexadecimal")] [u8; 32]),
}

impl Expected {
    /// What is there now: `None` for nothing.
    #[must_use]
    pub fn of(bytes: Option<&[u8]>) -> Self {
        bytes.map_or(Self::Absent, |bytes| Self::Bytes(Sha256::digest(bytes).into()))
    }
}

/// What a file shall hold.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// These bytes, which anybody may see.
    Public(#[serde(serialize_with = "text")] Vec<u8>),
    /// The secret of this name.
    Secret(String),
}

impl Content {
    /// The bytes.
    ///
    /// # Errors
    /// [`Error::Plan`] if the vault has no such secret.
    pub fn resolve<'a>(&'a self, vault: &'a Vault) -> Result<&'a [u8], Error> {
        match self {
            Self::Public(bytes) => Ok(bytes),
            Self::Secret(name) => vault.get(name).ok_or_else(|| missing(name)),
        }
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Public(bytes) => write!(f, "Public({:?})", String::from_utf8_lossy(bytes)),
            Self::Secret(name) => write!(f, "Secret({name:?})"),
        }
    }
}

/// An SQL statement. Where it needs a secret it has the secret's name; `Display` shows stars there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    before: String,
    secret: Option<String>,
}

impl Statement {
    /// A statement without a secret.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self { before: text.into(), secret: None }
    }

    /// A statement that ends with a secret as a quoted literal.
    #[must_use]
    pub fn with_secret(text: impl Into<String>, secret: impl Into<String>) -> Self {
        Self { before: text.into(), secret: Some(secret.into()) }
    }

    /// Whether it needs a secret.
    #[must_use]
    pub const fn has_secret(&self) -> bool {
        self.secret.is_some()
    }

    /// The statement to send.
    ///
    /// # Errors
    /// [`Error::Plan`] if the vault has no such secret.
    pub fn resolve(&self, vault: &Vault) -> Result<Zeroizing<String>, Error> {
        let Some(name) = &self.secret else { return Ok(Zeroizing::new(self.before.clone())) };
        let secret = vault.get(name).ok_or_else(|| missing(name))?;
        let secret = std::str::from_utf8(secret).map_err(|_| missing(name))?;
        let literal = Zeroizing::new(postgres_protocol::escape::escape_literal(secret));
        Ok(Zeroizing::new([&self.before, " ", &literal].concat()))
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.before)?;
        if self.secret.is_some() { f.write_str(" '********'") } else { Ok(()) }
    }
}

impl Serialize for Statement {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn missing(name: &str) -> Error {
    Error::plan(format!("the secret \"{name}\" is not in memory: prepare the plan again"))
}

fn access_text<S: Serializer>(access: &Access, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{:04o} {}:{}", access.mode, access.uid, access.gid))
}

fn hexadecimal<S: Serializer>(digest: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex(digest))
}

fn text<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(bytes))
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
