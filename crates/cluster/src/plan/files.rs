//! Steps that write files, and what takes them back.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use textfile::fs::Access;

use super::{Action, Content, Expected, FileChange, SharedFile, Step};
use crate::{inspect::NodeState, masked};

/// Whether a node's file, by its path or that within the data directory, is this text.
pub(super) fn has(state: &NodeState, path: &Path, text: &str) -> bool {
    let there = state.file(&state.in_data_directory(path));
    there.is_some_and(|file| *file.bytes == *text.as_bytes())
}

/// The step that writes a file, with what the reader is told of it; `None` if it is so already.
pub(crate) fn write(
    state: &NodeState,
    path: PathBuf,
    access: Access,
    content: Content,
) -> Option<(FileChange, Step)> {
    let there = state.file(&path);
    if let (Some(there), Content::Public(bytes)) = (there, &content)
        && *there.bytes == *bytes
        && there.access == access
    {
        return None;
    }
    let before = there.map(|there| there.bytes.as_slice());
    let change = FileChange {
        node: state.name.clone(),
        new: there.is_none(),
        diff: match &content {
            Content::Public(after) => Some(diff(&path, before, after)),
            Content::Secret(_) => None,
        },
        path: path.clone(),
    };
    let undo = match there {
        None => Action::RemoveFile { path: path.clone() },
        Some(there) => {
            let as_found = match &content {
                Content::Public(_) => Content::Public(there.bytes.to_vec()),
                Content::Secret(_) => Content::Secret(as_found(&state.name, &path)),
            };
            restore(&path, there.access, &content, as_found)
        }
    };
    let expected = Expected::of(before);
    let action = Action::WriteFile { path, access, expected, content };
    Some((change, Step { node: (&state.name).into(), action, undo: Some(undo) }))
}

/// The step that gives a file other bytes, which an earlier step or inspection left as `before`.
pub(crate) fn rewrite(
    node: &str,
    path: &Path,
    access: Access,
    before: &[u8],
    after: &[u8],
) -> Step {
    let content = Content::Public(after.to_vec());
    let undo = restore(path, access, &content, Content::Public(before.to_vec()));
    let expected = Expected::of(Some(before));
    let action = Action::WriteFile { path: path.to_owned(), access, expected, content };
    Step { node: node.into(), action, undo: Some(undo) }
}

/// The action that puts back what was there before `written`.
fn restore(path: &Path, access: Access, written: &Content, as_found: Content) -> Action {
    let expected = match written {
        Content::Public(bytes) => Expected::of(Some(bytes)),
        Content::Secret(_) => Expected::Anything,
    };
    Action::WriteFile { path: path.to_owned(), access, expected, content: as_found }
}

/// Those of the shared files that the steps write.
pub(crate) fn written<'s>(
    shared: &[SharedFile],
    steps: impl IntoIterator<Item = &'s Step>,
) -> Vec<SharedFile> {
    let place = |step: &'s Step| match &step.action {
        Action::WriteFile { path, .. } => Some((&*step.node, path.as_path())),
        _ => None,
    };
    let written: HashSet<(&str, &Path)> = steps.into_iter().filter_map(place).collect();
    let is_written = |file: &&SharedFile| written.contains(&(&*file.node, &*file.path));
    shared.iter().filter(is_written).cloned().collect()
}

/// A unified diff of a file, with stars for what somebody else may have of secrets in it; of one that has a
/// private key no line is shown.
pub(crate) fn diff(path: &Path, before: Option<&[u8]>, after: &[u8]) -> String {
    let name = path.display().to_string();
    let old = if before.is_some() { name.as_str() } else { "/dev/null" };
    match (masked::text(before.unwrap_or_default()), masked::text(after)) {
        (Some(before), Some(after)) => {
            textfile::diff::unified(old, &name, before.as_bytes(), after.as_bytes())
        }
        _ => format!("--- {old}\n+++ {name}\n(it has a private key, and is not shown)\n"),
    }
}

/// The vault's name of a secret file as inspection found it.
pub(crate) fn as_found(node: &str, path: &Path) -> String {
    format!("{node}: {} as found", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_in_no_diff() {
        let key = b"-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n";
        for (before, after) in [(Some(&key[..]), &b"a\n"[..]), (Some(b"a\n"), key), (None, key)] {
            let shown = diff("/d/server.crt".as_ref(), before, after);
            assert!(!shown.contains("hunter2") && shown.contains("is not shown"), "{shown}");
        }
        let shown = diff("/d/x".as_ref(), None, b"a ldapbindpasswd=hunter2\n");
        assert_eq!(shown, "--- /dev/null\n+++ /d/x\n@@ -0,0 +1 @@\n+a ldapbindpasswd=********\n");
    }
}
