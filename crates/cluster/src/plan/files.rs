//! Steps that write files, and what takes them back.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use textfile::fs::Access;

use super::{Action, Content, Expected, FileChange, SharedFile, Step};
use crate::{inspect::NodeState, masked};

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

/// A unified diff of a file, with stars for what somebody else may have of secrets in it.
pub(crate) fn diff(path: &Path, before: Option<&[u8]>, after: &[u8]) -> String {
    let name = path.display().to_string();
    let old = if before.is_some() { name.as_str() } else { "/dev/null" };
    let shown =
        |bytes: &[u8]| masked::text(bytes).map_or_else(|| bytes.to_vec(), String::into_bytes);
    textfile::diff::unified(old, &name, &shown(before.unwrap_or_default()), &shown(after))
}

/// The vault's name of a secret file as inspection found it.
pub(crate) fn as_found(node: &str, path: &Path) -> String {
    format!("{node}: {} as found", path.display())
}
