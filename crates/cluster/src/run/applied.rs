//! What pgward has left on the nodes: what later changes by hand are told by.

use std::{
    collections::{BTreeMap, HashMap},
    io::ErrorKind,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use textfile::fs::{Access, FsError, Snapshot, create};
use time::OffsetDateTime;

use super::folder::read_json;
use crate::{
    error::Error,
    plan::{Action, Plan, hex},
    rfc3339,
    spec::Mode,
    topology::LinkPlace,
    vault::Vault,
};

/// The file in the folder for secrets.
pub(super) const APPLIED: &str = "applied.json";

/// What the runs that were applied have left on the nodes, all together. It holds digests, no secrets.
///
/// It is kept in `applied.json` in the folder for secrets, and follows each run that was applied or
/// taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// The last run of them.
    pub run: String,
    /// When it was finished.
    #[serde(with = "rfc3339")]
    pub at: OffsetDateTime,
    /// How the links authenticate.
    pub mode: Mode,
    /// What is on each node, by its name.
    pub nodes: BTreeMap<String, AppliedNode>,
}

/// What has been left on one node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedNode {
    /// The files.
    pub files: BTreeMap<PathBuf, AppliedFile>,
    /// SHA-256, in hexadecimal, of what the server stores to check each role's password with.
    pub passwords: BTreeMap<String, String>,
    /// The links that start at the node.
    pub links: Vec<AppliedLink>,
}

/// A file as it was left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedFile {
    /// SHA-256 of what it holds, in hexadecimal.
    pub sha256: String,
    /// Its permission bits.
    pub mode: u32,
    /// Its owner's user id.
    pub uid: u32,
    /// Its owner's group id.
    pub gid: u32,
}

/// A link as it was left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedLink {
    /// What it is called where it is kept.
    pub name: String,
    /// Where it is kept.
    pub place: LinkPlace,
    /// The node that it leads to.
    pub to: String,
    /// Its connection string, secrets masked.
    pub conninfo: String,
}

impl Applied {
    /// What has been left on the nodes of a cluster; `None` if nothing has.
    ///
    /// # Errors
    /// [`Error::Files`] or [`Error::Run`] if it cannot be read.
    pub fn read(secrets: &Path) -> Result<Option<Self>, Error> {
        let path = secrets.join(APPLIED);
        if path.try_exists().is_ok_and(|there| !there) {
            return Ok(None);
        }
        read_json(&path).map(Some)
    }

    /// With a plan that was applied to it.
    pub(super) fn with(
        before: Option<Self>,
        run: &str,
        at: OffsetDateTime,
        plan: &Plan,
        vault: &Vault,
    ) -> Result<Self, Error> {
        let mut nodes = before.map(|before| before.nodes).unwrap_or_default();
        for step in plan.stages.iter().flat_map(|stage| &stage.steps) {
            let node = nodes.entry(step.node.to_string()).or_default();
            match &step.action {
                Action::WriteFile { path, access, content, .. } => {
                    let Access { mode, uid, gid } = *access;
                    let sha256 = hex(&Sha256::digest(content.resolve(vault)?));
                    node.files.insert(path.clone(), AppliedFile { sha256, mode, uid, gid });
                }
                Action::RemoveFile { path } => {
                    node.files.remove(path);
                }
                Action::SetPassword { role, statement } => match statement.secret() {
                    Some(name) => {
                        let secret = vault.get(name).unwrap_or_default();
                        node.passwords.insert(role.clone(), hex(&Sha256::digest(secret)));
                    }
                    None => drop(node.passwords.remove(role)),
                },
                _ => {}
            }
        }
        let mut changed: HashMap<(&str, &str), Vec<&LinkPlace>> = HashMap::new();
        for change in &plan.links {
            changed.entry((&change.from, &change.name)).or_default().push(&change.place);
        }
        for (node, left) in &mut nodes {
            left.links.retain(|link| {
                let places = changed.get(&(node.as_str(), link.name.as_str()));
                !places.is_some_and(|places| places.contains(&&link.place))
            });
        }
        for change in &plan.links {
            let links = &mut nodes.entry(change.from.to_string()).or_default().links;
            links.push(AppliedLink {
                name: change.name.to_string(),
                place: (*change.place).clone(),
                to: change.to.to_string(),
                conninfo: change.after.to_string(),
            });
        }
        Ok(Self { run: run.to_owned(), at, mode: plan.mode, nodes })
    }

    /// Puts it in the place of what was there.
    pub(super) fn write(&self, secrets: &Path) -> Result<(), Error> {
        let text = serde_json::to_vec_pretty(self);
        let text = text.map_err(|error| Error::run(format!("{APPLIED}: {error}")))?;
        replace(&secrets.join(APPLIED), &text)
    }
}

/// Puts back what was there before a run.
pub(super) fn restore(secrets: &Path, before: &Path) -> Result<(), Error> {
    let path = secrets.join(APPLIED);
    match std::fs::read(before) {
        Ok(text) => replace(&path, &text),
        Err(error) if error.kind() == ErrorKind::NotFound => match std::fs::remove_file(&path) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                Err(FsError::Io { action: "remove", path, source }.into())
            }
            _ => Ok(()),
        },
        Err(source) => Err(FsError::Io { action: "read", path: before.to_owned(), source }.into()),
    }
}

fn replace(path: &Path, text: &[u8]) -> Result<(), Error> {
    match Snapshot::read(path) {
        Ok(there) => {
            there.replace(text)?;
        }
        Err(FsError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
            create(path, text, None)?;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
