//! What a bundle holds, as data: the file `manifest.json` in it.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::BundleError;

/// The file's name.
pub(super) const NAME: &str = "manifest.json";

/// What a bundle holds and what is to be done with it, in its order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Manifest {
    /// The format: 1.
    pub format: u32,
    /// The node's name in the description.
    pub node: String,
    /// When it was made, as RFC 3339 has it.
    pub made: String,
    /// Whose the files shall be.
    pub owner: Owner,
    /// What the reader should know.
    pub notes: Vec<String>,
    /// The work. A phase begins when the one before is done on every node.
    pub phases: Vec<PhaseWork>,
}

/// The account that the server runs as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Owner {
    /// Its name.
    pub user: String,
    /// Its group's name.
    pub group: String,
    /// Its number; none where neither the server nor the description tells it.
    pub uid: Option<u32>,
    /// Its group's number.
    pub gid: Option<u32>,
    /// Who told the numbers.
    pub told_by: ToldBy,
}

/// Where knowledge comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ToldBy {
    /// The server: its own process.
    Server,
    /// The description.
    Description,
}

/// A part of the work that all nodes do before any begins with the next, by its number in the work of
/// the whole cluster: 1, 2 … A node may have nothing to do in some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Phase(pub u16);

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a phase consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PhaseWork {
    /// Which phase.
    pub phase: Phase,
    /// Its parts, in their order.
    pub parts: Vec<Part>,
    /// The statements that take its statements back, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub back: Vec<SqlBack>,
}

/// Statements that take statements back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SqlBack {
    /// The file in the bundle; none where they need a secret that no bundle may hold, and so somebody
    /// who knows it.
    pub file: Option<String>,
    /// In which database; the administrator's own if none.
    pub database: Option<String>,
    /// The statements, secrets masked.
    pub statements: Vec<String>,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum Part {
    /// Put files in place.
    #[serde(rename_all = "kebab-case")]
    PlaceFiles {
        /// What for.
        stages: Vec<String>,
        /// The folder in the bundle that has them, below it by their paths on the node.
        folder: String,
        /// The archive in the bundle that has them with owner and mode, if there is one.
        archive: Option<String>,
        /// What is to be placed, and removed.
        entries: Vec<Entry>,
    },
    /// Run statements.
    #[serde(rename_all = "kebab-case")]
    RunSql {
        /// What for.
        stages: Vec<String>,
        /// The file in the bundle.
        file: String,
        /// In which database; the administrator's own if none.
        database: Option<String>,
        /// The statements in the file, secrets masked.
        statements: Vec<String>,
    },
    /// Have the server read its configuration again.
    #[serde(rename_all = "kebab-case")]
    Reload {
        /// What for.
        stages: Vec<String>,
    },
}

/// Something at a path on the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Entry {
    /// A folder; one that is there stays as it is.
    Folder {
        /// Where.
        path: PathBuf,
        /// Its owner and mode.
        access: Placed,
    },
    /// A file.
    File {
        /// Where.
        path: PathBuf,
        /// Its owner and mode.
        access: Placed,
        /// SHA-256 of what it shall hold, in hexadecimal.
        sha256: String,
        /// How many bytes that is.
        size: u64,
        /// What must be there before; anything else means that somebody changed it meanwhile.
        before: Before,
    },
    /// A file to be removed.
    RemoveFile {
        /// Where.
        path: PathBuf,
        /// What must be there before.
        before: Before,
    },
    /// A folder to be removed if it is empty.
    RemoveFolder {
        /// Where.
        path: PathBuf,
    },
}

impl Entry {
    /// Where.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Folder { path, .. }
            | Self::File { path, .. }
            | Self::RemoveFile { path, .. }
            | Self::RemoveFolder { path } => path,
        }
    }
}

/// Owner and mode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Placed {
    /// The permission bits: `0600`.
    pub mode: String,
    /// The owner, by name where it is the server's account.
    pub user: Option<String>,
    /// The group, by name where it is the server's account's.
    pub group: Option<String>,
    /// The owner's number, if it is known.
    pub uid: Option<u32>,
    /// The group's number, if it is known.
    pub gid: Option<u32>,
    /// Whether it is only assumed: the file was there before, and SQL does not tell whose it is and
    /// with what mode. What it had should stay.
    pub assumed: bool,
}

/// What is at a path before a part is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Before {
    /// Nothing.
    Absent,
    /// A file with bytes of this SHA-256, in hexadecimal.
    Sha256(String),
}

impl Manifest {
    /// Reads the manifest of the bundle in a folder.
    ///
    /// # Errors
    /// [`BundleError`] if it cannot be read, or is none of format 1.
    pub fn read(folder: &Path) -> Result<Self, BundleError> {
        let path = folder.join(NAME);
        let snapshot = textfile::fs::Snapshot::read(&path)?;
        let manifest: Self = serde_json::from_slice(snapshot.bytes()).map_err(|error| {
            BundleError::Manifest { path: path.clone(), reason: error.to_string() }
        })?;
        if manifest.format != 1 {
            let reason = format!("format {} is not known here; 1 is", manifest.format);
            return Err(BundleError::Manifest { path, reason });
        }
        Ok(manifest)
    }

    /// Every entry with its phase, in their order.
    pub fn entries(&self) -> impl Iterator<Item = (Phase, &Entry)> {
        self.phases.iter().flat_map(|work| {
            work.parts
                .iter()
                .filter_map(|part| match part {
                    Part::PlaceFiles { entries, .. } => Some(entries),
                    _ => None,
                })
                .flatten()
                .map(|entry| (work.phase, entry))
        })
    }
}
