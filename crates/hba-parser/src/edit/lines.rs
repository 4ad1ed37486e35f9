//! What is to become of the lines of a file, and the file that comes of it.

use alloc::{collections::BTreeMap, vec::Vec};

use textfile::Document;

use super::EditError;
use crate::{
    PgVersion,
    build::comment_text,
    lexer::{self, Line, Lines, Mark},
};

/// Changes of lines, by their index among the lines that a server of a major sees.
///
/// An edit names a line; what it changes is whole physical lines. Those that 12 and 13 see as several
/// because they are too long are changed together.
#[derive(Clone, Debug)]
pub(super) struct LineEdits {
    version: PgVersion,
    has_nul: bool,
    marks: Vec<Mark>,
    /// New lines before a line; past the last one at the end
    before: BTreeMap<usize, Vec<Vec<u8>>>,
    /// New texts of lines, without the last line end; `None` removes
    changed: BTreeMap<usize, Option<Vec<u8>>>,
}

impl LineEdits {
    pub(super) fn new(bytes: &[u8], version: PgVersion) -> Self {
        let mut lines = lexer::lines(bytes, version);
        let mut marks = Vec::new();
        let mut mark = lines.mark();
        while lines.next().is_some() {
            marks.push(mark);
            mark = lines.mark();
        }
        let has_nul = lines.has_nul();
        Self { version, has_nul, marks, before: BTreeMap::new(), changed: BTreeMap::new() }
    }

    /// How many lines there are before any edit.
    pub(super) fn len(&self) -> usize {
        self.marks.len()
    }

    /// The line with this index, as it is before any edit.
    pub(super) fn line<'b>(&self, bytes: &'b [u8], index: usize) -> Option<Line<'b>> {
        let mark = *self.marks.get(index)?;
        Lines::resume(bytes, self.version, self.has_nul, mark).next()
    }

    /// The index of the line with this number.
    pub(super) fn index(&self, number: u32) -> Result<usize, EditError> {
        self.marks
            .binary_search_by_key(&number, Mark::number)
            .map_err(|_| EditError::NoSuchLine { line: number })
    }

    /// The lines that share physical lines with this one: the first, and the one behind the last.
    fn group(&self, index: usize) -> (usize, usize) {
        let Some(physical) = self.marks.get(index).map(Mark::physical_line) else {
            return (index, index);
        };
        let same = |mark: &&Mark| mark.physical_line() == physical;
        let before = self.marks[..index].iter().rev().take_while(same).count();
        let after = self.marks[index..].iter().take_while(same).count();
        (index - before, index + after)
    }

    /// Where the line with this index begins; the file's end past the last one.
    fn start(&self, bytes: &[u8], index: usize) -> usize {
        self.marks.get(index).map_or(bytes.len(), Mark::start)
    }

    /// A line's bytes without its last line end, with the changes made so far; `None` if it is gone.
    pub(super) fn text(&self, bytes: &[u8], index: usize) -> Option<Vec<u8>> {
        let (first, end) = self.group(index);
        match self.changed.get(&first) {
            Some(changed) => changed.clone(),
            None => {
                let span = self.start(bytes, first)..self.start(bytes, end);
                Some(without_line_end(&bytes[span]).to_vec())
            }
        }
    }

    /// Puts a new line before this one, behind those that were put there already.
    pub(super) fn insert(&mut self, index: usize, text: Vec<u8>) {
        let (first, _) = self.group(index);
        self.before.entry(first).or_default().push(text);
    }

    /// Puts a comment before this line.
    pub(super) fn insert_comment(&mut self, index: usize, comment: &str) -> Result<(), EditError> {
        let text = comment_text(comment.as_bytes()).map_err(|_| EditError::NotALine)?;
        self.insert(index, text);
        Ok(())
    }

    /// Gives a line that nothing changed yet another text, or removes it.
    pub(super) fn change(&mut self, index: usize, text: Option<Vec<u8>>) -> Result<(), EditError> {
        let (first, _) = self.group(index);
        if self.changed.contains_key(&first) {
            return Err(self.conflict(index));
        }
        self.changed.insert(first, text);
        Ok(())
    }

    /// Gives a line another text, made from what [`LineEdits::text`] says.
    pub(super) fn amend(&mut self, index: usize, text: Vec<u8>) -> Result<(), EditError> {
        let (first, _) = self.group(index);
        if self.changed.get(&first) == Some(&None) {
            return Err(self.conflict(index));
        }
        self.changed.insert(first, Some(text));
        Ok(())
    }

    fn conflict(&self, index: usize) -> EditError {
        EditError::Conflict { line: self.marks.get(index).map_or(0, Mark::number) }
    }

    /// Makes a comment of a line, with all that backslashes join to it.
    pub(super) fn comment_out(&mut self, bytes: &[u8], index: usize) -> Result<(), EditError> {
        let text = self.text(bytes, index).map(|text| [b"# ", text.as_slice()].concat());
        self.change(index, text)
    }

    /// Moves a line to the place before another.
    pub(super) fn move_to(
        &mut self,
        bytes: &[u8],
        index: usize,
        place: usize,
    ) -> Result<(), EditError> {
        let (first, end) = self.group(index);
        if (first..=end).contains(&place) {
            return Ok(());
        }
        let text = self.text(bytes, index).ok_or_else(|| self.conflict(index))?;
        self.change(index, None)?;
        self.insert(place, text);
        Ok(())
    }

    /// The document with all changes made.
    pub(super) fn apply(&self, document: &Document) -> Result<Document, EditError> {
        let bytes = document.to_bytes();
        let mut out = Vec::with_capacity(bytes.len() + 256);
        // For each line that is to be, where it begins, and which line it was.
        let mut origins: Vec<(usize, Option<usize>)> = Vec::new();
        let mut keep = |lines: core::ops::Range<usize>, at: usize| {
            if self.has_nul {
                let offset = self.start(&bytes, lines.start);
                let origin = |index| (at + self.start(&bytes, index) - offset, Some(index));
                origins.extend(lines.map(origin));
            }
        };
        let mut next = 0;
        let mut places: Vec<usize> =
            self.before.keys().chain(self.changed.keys()).copied().collect();
        places.sort_unstable();
        places.dedup();
        let mut written = Vec::new();
        for place in places {
            keep(next..place, out.len());
            out.extend_from_slice(&bytes[self.start(&bytes, next)..self.start(&bytes, place)]);
            next = place;
            if let Some(new) = self.before.get(&place) {
                let physical = self.marks.get(place).map_or(document.len(), |mark| {
                    usize::try_from(mark.physical_line()).unwrap_or(usize::MAX)
                });
                let ending = document.ending_at(physical);
                for text in new {
                    self.end_line(&mut out, ending.as_bytes());
                    written.push((out.len(), None));
                    out.extend_from_slice(text);
                    out.extend_from_slice(ending.as_bytes());
                }
                if place < self.len() {
                    self.end_line(&mut out, ending.as_bytes());
                }
            }
            if let Some(change) = self.changed.get(&place) {
                let (first, end) = self.group(place);
                let old = &bytes[self.start(&bytes, first)..self.start(&bytes, end)];
                if let Some(text) = change {
                    written.push((out.len(), None));
                    out.extend_from_slice(text);
                    out.extend_from_slice(&old[without_line_end(old).len()..]);
                }
                next = end;
            }
        }
        keep(next..self.len(), out.len());
        out.extend_from_slice(&bytes[self.start(&bytes, next)..]);
        if self.has_nul {
            origins.extend(written);
            origins.sort_unstable();
            self.check(&bytes, &out, &origins)?;
        }
        Document::try_new(out).map_err(|error| textfile::EditError::TooLarge(error).into())
    }

    /// Ends the last line so far, so that another can follow: what a backslash at its end would join,
    /// an empty line takes.
    fn end_line(&self, out: &mut Vec<u8>, ending: &[u8]) {
        if out.is_empty() {
            return;
        }
        if !out.ends_with(b"\n") {
            out.extend_from_slice(ending);
        }
        let start = memchr::memrchr(b'\n', &out[..out.len() - 1]).map_or(0, |lf| lf + 1);
        let text = lexer::without_line_end(&out[start..]);
        if self.version >= PgVersion::V14 && text.ends_with(b"\\") {
            out.extend_from_slice(ending);
        }
    }

    /// Whether a server sees the lines that are meant in a file with NUL bytes, which hide line ends.
    fn check(
        &self,
        old: &[u8],
        new: &[u8],
        origins: &[(usize, Option<usize>)],
    ) -> Result<(), EditError> {
        let lines = lexer::lines(new, self.version);
        let mut origins = origins.iter();
        for line in lines {
            let Some((start, origin)) = origins.next() else { return Err(EditError::Unsafe) };
            let same = origin.is_none_or(|index| {
                self.line(old, index).is_some_and(|old| {
                    let texts = |line: &Line<'_>| {
                        let tokens = line.tokens();
                        tokens.map(|token| (token.field(), token.to_vec())).collect::<Vec<_>>()
                    };
                    texts(&old) == texts(&line)
                })
            });
            if line.span().start() != *start || !same {
                return Err(EditError::Unsafe);
            }
        }
        if origins.next().is_some() { Err(EditError::Unsafe) } else { Ok(()) }
    }
}

/// A line without its line end.
pub(super) fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}
