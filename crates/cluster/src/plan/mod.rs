//! What shall be done: stages of steps, each of them data that can be shown, compared and stored.
//!
//! A plan is made from the description and from what inspection found, and from nothing else: the
//! same input makes the same plan. It holds no secret, only the names that the
//! [vault](crate::vault::Vault) has for them.

pub(crate) mod files;
pub(crate) mod links;
mod make;
pub(crate) mod on_demand;
mod pause;
mod statement;
mod step;
mod stored;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

pub(crate) use files::as_found;
pub(crate) use make::{make, password_as_found, stage};
pub(crate) use pause::shorten;
pub use statement::Statement;
pub use step::{Action, AutoConf, Content, Expectation, Expected, Pace, Stage, Step};
pub(crate) use step::{alter_system, hex};

use crate::{spec::Mode, text::Text, topology::LinkPlace, verify::Code};

/// What shall be done to a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// How the links will authenticate.
    pub mode: Mode,
    /// What becomes of each file, for the reader: the stages may write one twice.
    pub files: Vec<FileChange>,
    /// What becomes of each link.
    pub links: Vec<LinkChange>,
    /// The work, in its order.
    pub stages: Vec<Stage>,
    /// What the reader should know before saying yes.
    pub warnings: Vec<Warning>,
    /// The files that one node writes for others, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shared: Vec<SharedFile>,
}

impl Plan {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stages.iter().all(|stage| stage.steps.is_empty())
    }

    /// The other nodes whose links need a file that a node writes.
    pub(crate) fn readers_of(&self, node: &str, path: &Path) -> impl Iterator<Item = &str> {
        let of = |file: &&SharedFile| file.node == node && file.path == path;
        self.shared.iter().find(of).into_iter().flat_map(|file| &file.readers).map(String::as_str)
    }

    /// The vault's names of the secrets that doing it and taking it back need.
    pub(crate) fn secrets(&self) -> BTreeSet<&str> {
        let steps = self.stages.iter().flat_map(|stage| &stage.steps);
        let actions = steps.flat_map(|step| std::iter::once(&step.action).chain(&step.undo));
        actions.flat_map(Action::secrets).collect()
    }
}

/// What becomes of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChange {
    /// On which node.
    pub node: String,
    /// Where.
    pub path: PathBuf,
    /// Whether it is not there yet.
    pub new: bool,
    /// The unified diff; `None` for a file that holds a secret.
    pub diff: Option<String>,
}

/// A file that several nodes have in common, such as the `.pgpass` of an operating system's user that
/// several servers of one machine run as. It is taken back when no node needs it any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedFile {
    /// The node that writes it.
    pub node: String,
    /// Where.
    pub path: PathBuf,
    /// The other nodes, whose links need it.
    pub readers: Vec<String>,
}

/// What becomes of a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkChange {
    /// The node that connects.
    pub from: Text,
    /// The node that is connected to.
    pub to: Text,
    /// The link's name.
    pub name: Text,
    /// Where its connection string is kept.
    pub place: Arc<LinkPlace>,
    /// Its connection string now, secrets masked.
    pub before: Text,
    /// Its connection string then.
    pub after: Text,
}

/// Something that the reader should know before saying yes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// On which node.
    pub node: String,
    /// What.
    pub message: String,
    /// The code that verification tells the same by, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
}

impl Warning {
    /// Something that verification has no code for.
    pub(crate) fn new(node: impl Into<String>, message: impl Into<String>) -> Self {
        Self { node: node.into(), message: message.into(), code: None }
    }
}
