//! What pgward has left on the nodes: what later changes by hand are told by.

use std::{
    collections::{BTreeMap, HashMap},
    io::ErrorKind,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use textfile::fs::{Access, FsError, Snapshot, create};
use time::OffsetDateTime;

use super::{
    digest::{Digest, DigestKey},
    folder::read_json,
    observed::Observed,
};
use crate::{
    error::Error,
    inspect::Role,
    masked,
    plan::{Action, Content, Plan},
    rfc3339,
    spec::Mode,
    topology::LinkPlace,
    vault::Vault,
};

/// The file in the folder for secrets.
pub(super) const APPLIED: &str = "applied.json";

/// What the runs that were applied have left on the nodes, all together. It holds no secrets: of what
/// has any there are digests, and texts with stars in the place of each.
///
/// It is kept in `applied.json` in the folder for secrets, and follows each run that was applied or
/// taken back: what a run does not touch stays as the runs before it left it.
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
    /// What the server stores to check each role's password with.
    pub passwords: BTreeMap<String, Digest>,
    /// The links' roles, as they were when the last run that came to the node was done.
    #[serde(default)]
    pub roles: BTreeMap<String, AppliedRole>,
    /// The settings that links need, with the values that were in force then.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// The links that start at the node.
    pub links: Vec<AppliedLink>,
}

/// A file as it was left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedFile {
    /// The digest of what it holds.
    #[serde(alias = "sha256")]
    pub digest: Digest,
    /// Its permission bits.
    pub mode: u32,
    /// Its owner's user id.
    pub uid: u32,
    /// Its owner's group id.
    pub gid: u32,
    /// What it holds, with stars for what may be a secret; `None` for a file that is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl AppliedFile {
    /// A file of these bytes, which are for everybody to see or not.
    pub(crate) fn new(bytes: &[u8], access: Access, is_public: bool, key: &DigestKey) -> Self {
        let Access { mode, uid, gid } = access;
        let text = is_public.then(|| masked::text(bytes)).flatten();
        Self { digest: key.digest(bytes), mode, uid, gid, text }
    }
}

/// A role as it was left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedRole {
    /// LOGIN
    pub login: bool,
    /// REPLICATION
    pub replication: bool,
    /// SUPERUSER
    pub superuser: bool,
    /// The other attributes, as `CREATE ROLE` has them.
    pub attributes: String,
    /// VALID UNTIL
    pub valid_until: Option<String>,
    /// The roles that it is a direct member of.
    pub member_of: Vec<String>,
}

impl From<&Role> for AppliedRole {
    fn from(role: &Role) -> Self {
        Self {
            login: role.can_login,
            replication: role.replication,
            superuser: role.superuser,
            attributes: role.attributes.clone(),
            valid_until: role.valid_until.clone(),
            member_of: role.member_of.clone(),
        }
    }
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
        key: &DigestKey,
    ) -> Result<Self, Error> {
        let mut nodes = before.map(|before| before.nodes).unwrap_or_default();
        for step in plan.stages.iter().flat_map(|stage| &stage.steps) {
            let node = nodes.entry(step.node.to_string()).or_default();
            match &step.action {
                Action::WriteFile { path, access, content, .. } => {
                    let bytes = content.resolve(vault)?;
                    let is_public = matches!(content, Content::Public(_));
                    let file = AppliedFile::new(bytes, *access, is_public, key);
                    node.files.insert(path.clone(), file);
                }
                Action::RemoveFile { path } => {
                    node.files.remove(path);
                }
                Action::SetPassword { role, statement } => match statement.secret() {
                    Some(name) => {
                        let secret = vault.get(name).unwrap_or_default();
                        node.passwords.insert(role.clone(), key.digest(secret));
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

    /// With what a server tells of itself when the run is done.
    pub(super) fn observe(&mut self, node: &str, seen: Observed) {
        let Some(node) = self.nodes.get_mut(node) else { return };
        node.roles = seen.roles;
        node.settings = seen.settings;
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
