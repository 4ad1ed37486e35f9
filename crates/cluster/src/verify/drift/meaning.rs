//! What a change of a file means to the server that reads it.

use std::{collections::BTreeSet, os::unix::ffi::OsStrExt as _, path::Path};

use hba_parser::{HbaDocument, Server};
use pgconf::{ConfFile, LineKind};
use pki::Certificate;

use crate::{inspect::NodeState, masked};

/// What a change of a file means. Both texts have stars for secrets.
pub(super) fn of(state: &NodeState, path: &Path, before: &str, after: &str) -> Vec<String> {
    if path == state.hba_file() {
        return rules(state, before, after);
    }
    if is_configuration(state, path) {
        return settings(before, after);
    }
    if let (Some(before), Some(after)) = (certificates(before), certificates(after)) {
        return vec![format!("it holds {after}, and held {before}")];
    }
    vec!["its bytes are others".to_owned()]
}

/// Whether the server reads rules or settings there.
pub(super) fn is_configuration(state: &NodeState, path: &Path) -> bool {
    path == state.hba_file() || state.configuration.file(path.as_os_str().as_bytes()).is_some()
}

/// Who is let in otherwise than before.
fn rules(state: &NodeState, before: &str, after: &str) -> Vec<String> {
    let server = Server::new(state.version);
    let path = state.hba_file().as_os_str().as_bytes();
    let read = |text: &str| {
        HbaDocument::parse(text.as_bytes()).interpret_at(path, &server, &state.hba_included)
    };
    let (before, after) = (read(before), read(after));
    if !after.verdict().is_loaded() {
        return vec!["the server refuses it".to_owned()];
    }
    before.diff(&after).changes.iter().map(ToString::to_string).collect()
}

/// Which settings have another value.
fn settings(before: &str, after: &str) -> Vec<String> {
    let (before, after) = (ConfFile::new(before.as_bytes()), ConfFile::new(after.as_bytes()));
    let names = |file: &ConfFile| -> BTreeSet<String> {
        let set = file.lines().filter(|line| line.kind() == LineKind::Setting);
        let name = |name: &[u8]| String::from_utf8_lossy(name).to_lowercase();
        set.filter_map(|line| line.name().map(name)).collect()
    };
    let value = |file: &ConfFile, name: &str| match file.get(name) {
        Some(value) if value.ends_with(masked::STARS.as_bytes()) => "set".to_owned(),
        Some(value) => format!("\"{}\"", String::from_utf8_lossy(&value)),
        None => "not set".to_owned(),
    };
    names(&before)
        .union(&names(&after))
        .filter(|name| before.get(name) != after.get(name))
        .map(|name| format!("{name} is {}, was {}", value(&after, name), value(&before, name)))
        .collect()
}

/// Whose certificates a text holds; `None` where it holds none.
fn certificates(pem: &str) -> Option<String> {
    let all = Certificate::all_from_pem(pem.as_bytes()).ok().filter(|all| !all.is_empty())?;
    let words = all.iter().map(|one| {
        let validity = one.validity();
        format!(
            "{} ({} to {})",
            one.subject(),
            validity.not_before.date(),
            validity.not_after.date()
        )
    });
    Some(words.collect::<Vec<_>>().join(" and "))
}
