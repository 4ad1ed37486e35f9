//! What was changed by hand since pgward left its work: what the applied runs left, compared with what
//! inspection finds.

use std::{
    collections::{BTreeSet, HashMap},
    os::unix::ffi::OsStrExt as _,
    path::Path,
};

use hba_parser::{HbaDocument, Server};
use pgconf::{ConfFile, LineKind};
use sha2::{Digest as _, Sha256};
use textfile::fs::Access;

use super::{Code, Finding};
use crate::{
    conninfo::ConnInfo,
    inspect::NodeState,
    plan::{Action, Content, Plan, hex},
    run::{
        Applied,
        applied::{AppliedFile, AppliedLink},
    },
    topology::Link,
};

/// What is no longer as the applied runs left it, as warnings: whether it matters, the other findings
/// tell. What inspection did not read is not compared. With the plans that are at hand, changes of what
/// they wrote are shown.
#[must_use]
pub fn since(
    applied: &Applied,
    plans: &[Plan],
    states: &[NodeState],
    links: &[Link],
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let links = LinksByName::of(links);
    for state in states {
        let Some(node) = applied.nodes.get(&state.name) else { continue };
        let drifted = |what: String| Finding::warning(Code::Drifted, &state.name, what);
        for (path, left) in &node.files {
            if let Some(found) = state.files.get(path) {
                let written = || written(plans, &state.name, path, &left.sha256);
                let now = found.as_ref().map(|now| (now.bytes.as_slice(), now.access));
                findings.extend(file_drift(state, path, left, written, now).into_iter().map(
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
                Some(now) if sha256(now.as_bytes()) != *digest => {
                    format!("the role {role} has another password")
                }
                Some(_) => continue,
            };
            findings.push(drifted(what));
        }
        for left in &node.links {
            let AppliedLink { name, place, to, conninfo } = left;
            let finding = match links.find(&state.name, left) {
                None if state.why_unseen(place).is_some() => None,
                None => Some(drifted(format!(
                    "the link {name} is gone: pgward makes no links, so make it anew if it is missed"
                ))),
                Some(link) => link_drift(conninfo, &link.conninfo)
                    .map(|what| drifted(format!("{name}: {what}"))),
            };
            findings.extend(finding.map(|finding| finding.of_link(&state.name, to)));
        }
    }
    findings
}

/// What the applied runs left, with what inspection finds in its place: what [`since`] tells is taken as
/// it is, and told no more. What is gone is forgotten; what inspection did not read stays.
pub(crate) fn accepting(mut applied: Applied, states: &[NodeState], links: &[Link]) -> Applied {
    let links = LinksByName::of(links);
    for state in states {
        let Some(node) = applied.nodes.get_mut(&state.name) else { continue };
        node.files.retain(|path, left| match state.files.get(path) {
            Some(Some(now)) => {
                let Access { mode, uid, gid } = now.access;
                *left = AppliedFile { sha256: sha256(&now.bytes), mode, uid, gid };
                true
            }
            Some(None) => false,
            None => true,
        });
        node.passwords.retain(|role, digest| {
            let stored = state.role(role).and_then(|role| role.stored_password.as_ref());
            stored.inspect(|now| *digest = sha256(now.as_bytes())).is_some()
        });
        node.links.retain_mut(|left| match links.find(&state.name, left) {
            Some(now) => {
                left.conninfo = now.conninfo.to_masked_text();
                true
            }
            None => state.why_unseen(&left.place).is_some(),
        });
    }
    applied
}

/// The links that inspection finds, by the node that they start at and their name.
struct LinksByName<'l>(HashMap<(&'l str, &'l str), Vec<&'l Link>>);

impl<'l> LinksByName<'l> {
    fn of(links: &'l [Link]) -> Self {
        let mut by_name: HashMap<_, Vec<_>> = HashMap::new();
        for link in links {
            by_name.entry((&*link.from, &*link.name)).or_default().push(link);
        }
        Self(by_name)
    }

    /// The one that was left on a node. A name is unique in its place only.
    fn find(&self, node: &str, left: &AppliedLink) -> Option<&'l Link> {
        let so_called = self.0.get(&(node, left.name.as_str()))?;
        so_called.iter().find(|link| *link.place == left.place).copied()
    }
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The bytes of this SHA-256 that a plan wrote for everybody to see.
fn written<'p>(plans: &'p [Plan], node: &str, path: &Path, digest: &str) -> Option<&'p [u8]> {
    let steps = plans.iter().flat_map(|plan| &plan.stages).flat_map(|stage| &stage.steps);
    let mut bytes = steps.filter(|step| step.node == node).filter_map(|step| match &step.action {
        Action::WriteFile { path: there, content: Content::Public(bytes), .. } if there == path => {
            Some(bytes.as_slice())
        }
        _ => None,
    });
    bytes.find(|bytes| sha256(bytes) == digest)
}

/// What became of a file: in words, and as a diff where everybody may see it.
fn file_drift<'p>(
    state: &NodeState,
    path: &Path,
    left: &AppliedFile,
    written: impl Fn() -> Option<&'p [u8]>,
    now: Option<(&[u8], Access)>,
) -> Vec<(String, Option<String>)> {
    let shown = path.display();
    let Some((bytes, access)) = now else { return vec![(format!("{shown} is gone"), None)] };
    let mut drift = Vec::new();
    let words = |mode, uid, gid| format!("{mode:04o} {uid}:{gid}");
    if (access.mode, access.uid, access.gid) != (left.mode, left.uid, left.gid) {
        let before = words(left.mode, left.uid, left.gid);
        let after = words(access.mode, access.uid, access.gid);
        drift.push((format!("{shown} has mode and owner {after}, and had {before}"), None));
    }
    if sha256(bytes) == left.sha256 {
        return drift;
    }
    let Some(before) = written() else {
        let what = "was changed; what it held before is not at hand to be compared";
        drift.push((format!("{shown} {what}"), None));
        return drift;
    };
    let name = shown.to_string();
    let diff = masked(&textfile::diff::unified(&name, &name, before, bytes));
    let meaning = match meaning(state, path, before, bytes).as_slice() {
        [] => "nothing that the server reads".to_owned(),
        all => all.join("; "),
    };
    drift.push((format!("{shown} was changed: {meaning}"), Some(diff)));
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

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;
    use crate::{
        inspect::sample,
        run::applied::AppliedNode,
        spec::Mode,
        topology::{ForeignPlace, LinkPlace},
    };

    fn left(database: &str) -> AppliedLink {
        let place = LinkPlace::ForeignServer(ForeignPlace {
            database: database.to_owned(),
            server: "other".to_owned(),
            local: None,
            first: true,
            mapping_options: Vec::new(),
            without_password: false,
            by_server: false,
        });
        let (name, to) = ("other".to_owned(), "m".to_owned());
        AppliedLink { name, place, to, conninfo: "host=m".to_owned() }
    }

    #[test]
    fn a_link_that_cannot_be_seen_is_not_gone() {
        let mut state = sample::node(b"", &[]);
        state.unseen_databases = vec![("locked".to_owned(), "not now".to_owned())];
        let links = vec![left("locked"), left("app")];
        let nodes = [("n".to_owned(), AppliedNode { links, ..AppliedNode::default() })].into();
        let at = OffsetDateTime::UNIX_EPOCH;
        let applied = Applied { run: String::new(), at, mode: Mode::Cert, nodes };
        let states = [state];

        let told = since(&applied, &[], &states, &[]);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].what.contains("is gone"), "{told:?}");
        let accepted = accepting(applied, &states, &[]);
        assert_eq!(accepted.nodes["n"].links, [left("locked")]);
        assert_eq!(since(&accepted, &[], &states, &[]), []);
    }
}
