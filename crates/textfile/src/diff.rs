//! Differences between versions of a file: shown as `diff -u` prints them, or taken back.

use alloc::{string::String, vec, vec::Vec};
use core::ops::Range;

use similar::{Algorithm, ChangeTag, DiffOp, TextDiff, capture_diff_slices};

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

/// Takes the edit that made `after` of `before` back in `now`, which somebody else has edited since:
/// what they changed stays. `None` where they changed the very lines that the edit had written, or
/// put others between them.
///
/// ```
/// use textfile::diff::revert;
///
/// let (before, after) = (b"local all all peer\n", b"local all all peer\nhostssl app repl all cert\n");
/// let now = b"local all all peer\nhostssl app repl all cert\nhost app web all md5\n";
/// assert_eq!(
///     revert(before, after, now).as_deref(),
///     Some(&b"local all all peer\nhost app web all md5\n"[..])
/// );
/// assert_eq!(revert(before, after, b"local all all peer\nhostssl app repl all trust\n"), None);
/// ```
#[must_use]
pub fn revert(before: &[u8], after: &[u8], now: &[u8]) -> Option<Vec<u8>> {
    let [before, after, now] = [before, after, now].map(lines);
    let place = places(&after, &now);
    let mut out: Vec<&[u8]> = Vec::new();
    let mut copied = 0;
    for op in capture_diff_slices(Algorithm::Myers, &before, &after) {
        if matches!(op, DiffOp::Equal { .. }) {
            continue;
        }
        let there = place_of(op.new_range(), &place, now.len())?;
        out.extend(now.get(copied..there.start)?);
        out.extend(before.get(op.old_range())?);
        copied = there.end;
    }
    out.extend(now.get(copied..)?);
    Some(join(&out))
}

/// The lines with their ends; the last may have none.
fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.split_inclusive(|byte| *byte == b'\n').collect()
}

/// Where each line of one version is in another.
fn places(from: &[&[u8]], to: &[&[u8]]) -> Vec<Option<usize>> {
    let mut place = vec![None; from.len()];
    for op in capture_diff_slices(Algorithm::Myers, from, to) {
        if let DiffOp::Equal { old_index, new_index, len } = op {
            for offset in 0..len {
                if let Some(place) = place.get_mut(old_index + offset) {
                    *place = Some(new_index + offset);
                }
            }
        }
    }
    place
}

/// Where these lines are now: in one piece, or nowhere. Of no lines, the place between their
/// neighbours.
fn place_of(lines: Range<usize>, place: &[Option<usize>], end: usize) -> Option<Range<usize>> {
    if lines.is_empty() {
        let at = match lines.start.checked_sub(1) {
            None => Some(0),
            Some(previous) => place.get(previous).copied().flatten().map(|place| place + 1),
        };
        let at = at.or_else(|| match place.get(lines.start) {
            None => Some(end),
            Some(next) => *next,
        })?;
        return Some(at..at);
    }
    let start = (*place.get(lines.start)?)?;
    let in_one_piece = place.get(lines.clone())?.iter().zip(start..).all(|(p, at)| *p == Some(at));
    in_one_piece.then(|| start..start + lines.len())
}

/// Puts lines together; one without an end gets one where another follows.
fn join(lines: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(lines.iter().map(|line| line.len() + 1).sum());
    for line in lines {
        if out.last().is_some_and(|last| *last != b'\n') {
            out.push(b'\n');
        }
        out.extend_from_slice(line);
    }
    out
}
