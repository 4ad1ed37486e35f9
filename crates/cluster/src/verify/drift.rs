//! What was changed by hand since pgward left its work: what the applied plans wrote, compared with
//! what inspection finds.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use hba_parser::{HbaDocument, Server};
use pgconf::{ConfFile, LineKind};
use sha2::{Digest as _, Sha256};
use textfile::fs::Access;

use super::{Code, Finding};
use crate::{
    conninfo::ConnInfo,
    inspect::NodeState,
    plan::{Action, Content, Plan},
    topology::Link,
    vault::Vault,
};

/// What applied plans have left on the nodes, by the nodes' names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// What was left on each.
    pub nodes: BTreeMap<String, LeftNode>,
}

/// What applied plans have left on one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftNode {
    /// The files that were written, as they were written last.
    pub files: BTreeMap<PathBuf, LeftFile>,
    /// SHA-256 of what the server stores to check each role's password with.
    pub passwords: BTreeMap<String, [u8; 32]>,
    /// The connection strings of the links that start here, secrets masked, by the links' names.
    pub links: BTreeMap<String, String>,
}

/// A file as it was left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftFile {
    /// Its owner and mode.
    pub access: Access,
    /// What it held.
    pub content: LeftContent,
}

/// What a file held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeftContent {
    /// These bytes, which anybody may see.
    Public(Vec<u8>),
    /// Bytes of this SHA-256.
    Digest([u8; 32]),
    /// A secret of which nothing is known.
    Secret,
}

impl Left {
    /// Adds what a plan has left, in place of what earlier ones did. With the secrets that it referred
    /// to, changes of those are found, too.
    #[must_use]
    pub fn with(mut self, plan: &Plan, vault: Option<&Vault>) -> Self {
        for step in plan.stages.iter().flat_map(|stage| &stage.steps) {
            let node = self.nodes.entry(step.node.clone()).or_default();
            match &step.action {
                Action::WriteFile { path, access, content, .. } => {
                    let digest = |name| vault?.get(name).map(|bytes| Sha256::digest(bytes).into());
                    let content = match content {
                        Content::Public(bytes) => LeftContent::Public(bytes.clone()),
                        Content::Secret(name) => {
                            digest(name).map_or(LeftContent::Secret, LeftContent::Digest)
                        }
                    };
                    node.files.insert(path.clone(), LeftFile { access: *access, content });
                }
                Action::RemoveFile { path } => {
                    node.files.remove(path);
                }
                _ => {}
            }
        }
        for change in &plan.links {
            let node = self.nodes.entry(change.from.clone()).or_default();
            node.links.insert(change.name.clone(), change.after.clone());
        }
        self
    }
}

/// What is no longer as it was left, as warnings: whether it matters, the other findings tell. What
/// inspection did not read is not compared.
#[must_use]
pub fn since(left: &Left, states: &[NodeState], links: &[Link]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for state in states {
        let Some(node) = left.nodes.get(&state.name) else { continue };
        let drifted = |what: String| Finding::warning(Code::Drifted, &state.name, what);
        for (path, file) in &node.files {
            if let Some(found) = state.files.get(path) {
                let now = found.as_ref().map(|now| (now.bytes.as_slice(), now.access));
                findings.extend(file_drift(state, path, file, now).into_iter().map(
                    |(what, diff)| match diff {
                        Some(diff) => drifted(what).with_detail(diff),
                        None => drifted(what),
                    },
                ));
            }
        }
        for (role, digest) in &node.passwords {
            let stored = state.role(role).and_then(|role| role.stored_password.as_ref());
            let what = match stored {
                None => format!("the role {role} has no password any more"),
                Some(now) if Sha256::digest(now.as_bytes()).as_slice() != digest => {
                    format!("the role {role} has another password")
                }
                Some(_) => continue,
            };
            findings.push(drifted(what));
        }
        for (name, text) in &node.links {
            let mut own = links.iter().filter(|link| link.from == state.name);
            match own.find(|link| link.name == *name) {
                None => findings.push(drifted(format!("the link {name} is gone"))),
                Some(link) => findings.extend(
                    link_drift(text, &link.conninfo)
                        .map(|what| drifted(format!("{name}: {what}")))
                        .map(|finding| finding.of_link(&link.from, &link.to)),
                ),
            }
        }
    }
    findings
}

/// What became of a file: in words, and as a diff where everybody may see it.
fn file_drift(
    state: &NodeState,
    path: &Path,
    left: &LeftFile,
    now: Option<(&[u8], Access)>,
) -> Vec<(String, Option<String>)> {
    let shown = path.display();
    let Some((bytes, access)) = now else { return vec![(format!("{shown} is gone"), None)] };
    let mut drift = Vec::new();
    let words = |access: Access| format!("{:04o} {}:{}", access.mode, access.uid, access.gid);
    if access != left.access {
        let (before, after) = (words(left.access), words(access));
        drift.push((format!("{shown} has mode and owner {after}, and had {before}"), None));
    }
    match &left.content {
        LeftContent::Public(before) if before != bytes => {
            let name = shown.to_string();
            let diff = masked(&textfile::diff::unified(&name, &name, before, bytes));
            let meaning = meaning(state, path, before, bytes);
            let meaning = match meaning.as_slice() {
                [] => "nothing that the server reads".to_owned(),
                all => all.join("; "),
            };
            drift.push((format!("{shown} was changed: {meaning}"), Some(diff)));
        }
        LeftContent::Digest(before) if Sha256::digest(bytes).as_slice() != before => {
            drift.push((format!("{shown} holds something else"), None));
        }
        _ => {}
    }
    drift
}

/// What a change of a file means.
fn meaning(state: &NodeState, path: &Path, before: &[u8], after: &[u8]) -> Vec<String> {
    if path == state.hba_file() {
        return rules(state, before, after);
    }
    if state.configuration.file(path.as_os_str().as_bytes()).is_some() {
        return settings(before, after);
    }
    vec!["its bytes are others".to_owned()]
}

/// Who is let in otherwise than before.
fn rules(state: &NodeState, before: &[u8], after: &[u8]) -> Vec<String> {
    let server = Server::new(state.version);
    let path = state.hba_file().as_os_str().as_bytes();
    let read = |bytes: &[u8]| {
        HbaDocument::parse(bytes.to_vec()).interpret_at(path, &server, &state.hba_included)
    };
    let (before, after) = (read(before), read(after));
    if !after.verdict().is_loaded() {
        return vec!["the server refuses it".to_owned()];
    }
    before.diff(&after).changes.iter().map(ToString::to_string).collect()
}

/// Which settings have another value.
fn settings(before: &[u8], after: &[u8]) -> Vec<String> {
    let (before, after) = (ConfFile::new(before.to_vec()), ConfFile::new(after.to_vec()));
    let names = |file: &ConfFile| -> BTreeSet<String> {
        let set = file.lines().filter(|line| line.kind() == LineKind::Setting);
        let name = |name: &[u8]| String::from_utf8_lossy(name).to_lowercase();
        set.filter_map(|line| line.name().map(name)).collect()
    };
    let value = |file: &ConfFile, name: &str| match file.get(name) {
        Some(_) if holds_secret(name) => "set".to_owned(),
        Some(value) => format!("\"{}\"", String::from_utf8_lossy(&value)),
        None => "not set".to_owned(),
    };
    names(&before)
        .union(&names(&after))
        .filter(|name| before.get(name) != after.get(name))
        .map(|name| format!("{name} is {}, was {}", value(&after, name), value(&before, name)))
        .collect()
}

/// Whether a setting may hold a password.
fn holds_secret(name: &str) -> bool {
    ["conninfo", "command", "password"].iter().any(|part| name.contains(part))
}

/// A diff without what may be a password: lines that speak of one end there.
fn masked(diff: &str) -> String {
    const WORDS: [&str; 6] =
        ["password", "passwd", "radiussecrets", "conninfo", "passphrase", "_command"];
    let mut out = String::with_capacity(diff.len());
    for line in diff.split_inclusive('\n') {
        // Letters keep their places.
        let lower = line.to_ascii_lowercase();
        let ends = WORDS.iter().filter_map(|word| lower.find(word).map(|at| at + word.len()));
        match ends.min() {
            // A comment or a header tells none; a name and an empty rest neither.
            Some(end) if line[end..].contains('=') => {
                out.push_str(&line[..end]);
                out.push_str("=********\n");
            }
            _ => out.push_str(line),
        }
    }
    out
}

/// What became of a connection string; both with stars for secrets.
fn link_drift(before: &str, now: &ConnInfo) -> Option<String> {
    let before: ConnInfo = before.parse().ok()?;
    let after: ConnInfo = now.to_masked_text().parse().ok()?;
    let keywords: BTreeSet<&str> =
        before.iter().chain(after.iter()).map(|(keyword, _)| keyword).collect();
    let value = |conninfo: &ConnInfo, keyword| match conninfo.get(keyword) {
        Some(value) => value.to_owned(),
        None => "not there".to_owned(),
    };
    let changed: Vec<String> = keywords
        .into_iter()
        .filter(|keyword| before.get(keyword) != after.get(keyword))
        .map(|keyword| {
            format!("{keyword} is {}, was {}", value(&after, keyword), value(&before, keyword))
        })
        .collect();
    (!changed.is_empty()).then(|| changed.join("; "))
}
