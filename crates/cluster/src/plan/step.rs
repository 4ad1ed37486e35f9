//! What a plan consists of: stages of steps, each of them data.

use std::{fmt, path::PathBuf, sync::Arc};

use ipnet::IpNet;
use postgres_protocol::escape::escape_identifier;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use textfile::fs::Access;

use super::{
    statement::Statement,
    stored::{access_text, bytes_text, digest_text},
};
use crate::{
    error::Error,
    text::Text,
    topology::{LinkPlace, SessionKey},
    vault::Vault,
};

/// Steps that belong together. A stage starts when the one before has ended on every node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// What it achieves.
    pub title: String,
    /// Whether one node must be through before the next begins.
    pub pace: Pace,
    /// The steps, in their order on each node.
    pub steps: Vec<Step>,
}

/// How a stage goes over the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pace {
    /// Every node at the same time: nothing that could shut anybody out.
    AllAtOnce,
    /// One after another, so that a server that does not take the change is the only one.
    NodeByNode,
}

/// One change to one node, and what takes it back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// On which node.
    pub node: Text,
    /// What is done.
    pub action: Action,
    /// What restores the state before; none where nothing is left to restore.
    pub undo: Option<Action>,
}

impl Step {
    /// How the session is found that a link has before the step switches it over, and has again when
    /// that is taken back.
    pub(crate) fn session_before(&self) -> Option<&Arc<SessionKey>> {
        match (&self.action, &self.undo) {
            (Action::SwitchLink { .. }, Some(Action::SwitchLink { session, .. }))
            | (Action::SwitchLink { session, .. }, _) => Some(session),
            _ => None,
        }
    }
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "do")]
#[non_exhaustive]
pub enum Action {
    /// Makes a folder, unless it is there.
    MakeFolder {
        /// Where.
        path: PathBuf,
        /// Its owner and mode.
        #[serde(with = "access_text")]
        access: Access,
    },
    /// Writes a file atomically.
    WriteFile {
        /// Where.
        path: PathBuf,
        /// Its owner and mode.
        #[serde(with = "access_text")]
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
    /// Gives a role what the server checks its password with.
    SetPassword {
        /// The role.
        role: String,
        /// The statement that does it: with a SCRAM secret, with what the server stored before, or
        /// with none for no password.
        statement: Statement,
    },
    /// Gives a setting another value by `ALTER SYSTEM`.
    AlterSystem {
        /// The setting.
        name: String,
        /// Its value; none for what it is without `ALTER SYSTEM`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value: Option<String>,
        /// Where `ALTER SYSTEM` writes.
        path: PathBuf,
        /// What that file held when it was found, where the setting gets the value that it had then: it
        /// gets these bytes back, if it says the same.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        put_back: Option<Box<AutoConf>>,
    },
    /// Has the server read its configuration again, and looks whether it took it.
    Reload(Expectation),
    /// Gives a link another connection string.
    SwitchLink {
        /// The node that the link leads to.
        to: Text,
        /// What the link is called where it is kept.
        name: Text,
        /// Where it is kept: a name is unique in its place only.
        place: Arc<LinkPlace>,
        /// How its session there is found.
        session: Arc<SessionKey>,
        /// Its connection string before, secrets masked.
        before: Text,
        /// Its connection string then, secrets masked.
        after: Text,
        /// The statements that do it, each with its database; the administrator's own if none.
        statements: Arc<[(Option<Text>, Statement)]>,
        /// Whether the server must read its configuration afterwards.
        reload: bool,
        /// Whether to wait until it works by the new connection string.
        wait: bool,
        /// `postgresql.auto.conf` as it was found, where `ALTER SYSTEM` writes it anew: the end of
        /// taking back.
        #[serde(default, alias = "put_back", skip_serializing_if = "Option::is_none")]
        put_back: Option<Box<AutoConf>>,
    },
    /// Ends a link's session, and waits until it works by a new one.
    Reconnect {
        /// The node that the link leads to.
        to: Text,
        /// How its session there is found.
        session: Arc<SessionKey>,
    },
    /// Waits until a link works whose session was ended. One that does not come back at once is not
    /// waited for.
    AwaitLink {
        /// The node that the link leads to.
        to: Text,
        /// How its session there is found.
        session: Arc<SessionKey>,
    },
    /// Uses a link that has a session only while it is used, as its role, and looks whether it works.
    UseLink {
        /// The node that the link leads to.
        to: Text,
        /// What the link is called where it is kept.
        name: Text,
        /// Where it is kept: a name is unique in its place only.
        place: Arc<LinkPlace>,
        /// How it is used.
        session: Arc<SessionKey>,
        /// Whether it was used before the run changed anything: one that worked then must work now.
        again: bool,
    },
    /// Ends the roles' sessions from the network that were let in by other rules than those of the
    /// secured way: all that began before it was open, and of the later ones those that cannot have
    /// come by it.
    EndOldSessions {
        /// The roles.
        roles: Vec<String>,
        /// The networks that the secured way is open to.
        networks: Vec<IpNet>,
        /// Whether it is open to sessions with TLS only.
        tls: bool,
    },
}

impl Action {
    /// Whether it changes nothing.
    pub(crate) const fn only_looks(&self) -> bool {
        matches!(self, Self::AwaitLink { .. } | Self::UseLink { .. })
    }

    /// The vault's names of the secrets that it needs.
    pub(crate) fn secrets(&self) -> Vec<&str> {
        match self {
            Self::WriteFile { content: Content::Secret(name), .. } => vec![name],
            Self::Execute { statement, .. } | Self::SetPassword { statement, .. } => {
                statement.secret().into_iter().collect()
            }
            Self::SwitchLink { statements, put_back, .. } => statements
                .iter()
                .filter_map(|(_, statement)| statement.secret())
                .chain(put_back.iter().map(|file| file.content.as_str()))
                .collect(),
            Self::AlterSystem { put_back, .. } => {
                put_back.iter().map(|file| file.content.as_str()).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// `ALTER SYSTEM`, which gives a setting a value, or none.
pub(crate) fn alter_system(name: &str, value: Option<&str>) -> Statement {
    let name = escape_identifier(name);
    match value {
        Some(value) => Statement::with_literal(format!("ALTER SYSTEM SET {name} ="), value),
        None => Statement::new(format!("ALTER SYSTEM RESET {name}")),
    }
}

/// `postgresql.auto.conf` as it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AutoConf {
    /// Where it is.
    pub path: PathBuf,
    /// Its owner and mode.
    #[serde(with = "access_text")]
    pub access: Access,
    /// The vault's name of its bytes.
    pub content: String,
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
            Self::SetPassword { statement, .. } => statement.fmt(f),
            Self::AlterSystem { name, value, .. } => alter_system(name, value.as_deref()).fmt(f),
            Self::Reload(_) => f.write_str("reload the configuration, and look that it was taken"),
            Self::SwitchLink { statements, reload, wait, .. } => {
                for (index, (database, statement)) in statements.iter().enumerate() {
                    let separator = if index == 0 { "" } else { "; " };
                    f.write_str(separator)?;
                    match database {
                        Some(database) => write!(f, "in database {database}: {statement}")?,
                        None => statement.fmt(f)?,
                    }
                }
                f.write_str(if *reload { "; reload" } else { "" })?;
                f.write_str(if *wait { "; wait until it works" } else { "" })
            }
            Self::Reconnect { to, .. } => write!(f, "let the link to {to} connect anew"),
            Self::AwaitLink { to, .. } => write!(f, "wait until the link to {to} works"),
            Self::UseLink { name, session, again, .. } => {
                write!(f, "use the link {name}")?;
                if let SessionKey::OnDemand { role, .. } = &**session {
                    write!(f, " as {role}")?;
                }
                f.write_str(if *again { ", and look that it still works" } else { "" })
            }
            Self::EndOldSessions { roles, .. } => {
                write!(f, "end the sessions of {} that began before", roles.join(", "))
            }
        }
    }
}

/// What a server must be like after a reload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expectation {
    /// SHA-256 of the certificate that it must show, in hexadecimal; it is asked for over the
    /// network, because a reload that fails keeps the old one without a word.
    pub certificate: Option<String>,
}

/// What must be at a path before a step writes there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expected {
    /// Nothing.
    Absent,
    /// A file, whatever it holds.
    Anything,
    /// A file with bytes of this SHA-256.
    Bytes(#[serde(with = "digest_text")] [u8; 32]),
}

impl Expected {
    /// What is there now: `None` for nothing.
    #[must_use]
    pub fn of(bytes: Option<&[u8]>) -> Self {
        bytes.map_or(Self::Absent, |bytes| Self::Bytes(Sha256::digest(bytes).into()))
    }
}

/// What a file shall hold.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// These bytes, which anybody may see.
    Public(#[serde(with = "bytes_text")] Vec<u8>),
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

pub(super) fn missing(name: &str) -> Error {
    Error::plan(format!("the secret \"{name}\" is not in memory: prepare the plan again"))
}

/// Bytes in hexadecimal, in small letters.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
