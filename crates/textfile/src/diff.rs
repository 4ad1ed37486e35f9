//! Unified diffs, as `diff -u` prints them.

use alloc::{string::String, vec::Vec};

use similar::{ChangeTag, TextDiff};

/// The unified diff between two versions of a file, with three lines of context; empty where they
/// are the same. Bytes that are no UTF-8 are shown as U+FFFD: the diff is for people to read, not
/// to be applied by `patch`.
///
/// ```
/// let diff = textfile::diff::unified("a/pg_hba.conf", "b/pg_hba.conf", b"one\ntwo\n", b"one\n2\n");
/// assert_eq!(diff, "--- a/pg_hba.conf\n+++ b/pg_hba.conf\n@@ -1,2 +1,2 @@\n one\n-two\n+2\n");
/// ```
#[must_use]
pub fn unified(old_name: &str, new_name: &str, old: &[u8], new: &[u8]) -> String {
    let mut out = Vec::new();
    let diff = TextDiff::from_lines(old, new);
    let mut unified = diff.unified_diff();
    let unified = unified.context_radius(3).header(old_name, new_name);
    // Writing to memory does not fail.
    let _ = unified.to_writer(&mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// How many lines two versions of a file differ by: removed and added.
#[must_use]
pub fn changed_lines(old: &[u8], new: &[u8]) -> (usize, usize) {
    let diff = TextDiff::from_lines(old, new);
    diff.iter_all_changes().fold((0, 0), |(removed, added), change| match change.tag() {
        ChangeTag::Delete => (removed + 1, added),
        ChangeTag::Insert => (removed, added + 1),
        ChangeTag::Equal => (removed, added),
    })
}
