//! The document: an append-only buffer and the list of its lines.
//!
//! A line is a span of the buffer. An edit appends the new text and swaps spans; runs of untouched
//! lines lie side by side in the buffer and are written with one copy each.

use alloc::{borrow::Cow, vec::Vec};
use core::{fmt, ops::Range};

use crate::{Span, buffer::Buffer};

/// Any bytes as lines, edited line by line.
///
/// Lines end with LF, whatever stands before it: a CR before the LF belongs to the line's
/// [ending](Line::ending), a CR elsewhere is text. The last line may have no ending. The document
/// owns its bytes; what it lends borrows from it.
///
/// ```
/// use textfile::Document;
///
/// let mut document = Document::new(*b"a\nb");
/// assert_eq!(document.len(), 2);
/// document.replace(0, "A")?;
/// document.push("c")?;
/// assert_eq!(document.to_bytes().as_ref(), b"A\nb\nc\n");
/// # Ok::<(), textfile::EditError>(())
/// ```
pub struct Document {
    buffer: Buffer,
    lines: Vec<Span>,
    /// Whether the lines still lie in the buffer in their order, with nothing else in it.
    contiguous: bool,
    /// Bytes in all lines, and so the length of the file.
    live: usize,
}

/// A document cannot hold 4 GiB or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge {
    /// How many bytes there were.
    pub bytes: usize,
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes are too many for a document: it holds less than 4 GiB", self.bytes)
    }
}

impl core::error::Error for TooLarge {}

/// Why an edit was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EditError {
    /// The document has no line of that index, counted from 0.
    NoSuchLine {
        /// The index that was given.
        index: usize,
    },
    /// The edited file would have 4 GiB or more.
    TooLarge(TooLarge),
}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchLine { index } => write!(f, "the document has no line {}", index + 1),
            Self::TooLarge(too_large) => too_large.fmt(f),
        }
    }
}

impl core::error::Error for EditError {}

/// How a line ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LineEnding {
    /// `\n`
    Lf,
    /// `\r\n`
    CrLf,
    /// The last line of a file that does not end with a line end.
    None,
}

impl LineEnding {
    /// The bytes of the ending.
    #[must_use]
    pub const fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::Lf => b"\n",
            Self::CrLf => b"\r\n",
            Self::None => b"",
        }
    }

    fn of(line: &[u8]) -> Self {
        match line {
            [.., b'\r', b'\n'] => Self::CrLf,
            [.., b'\n'] => Self::Lf,
            _ => Self::None,
        }
    }
}

/// A line of a [`Document`]. Its bytes may be secret, so `Debug` shows only how many there are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    bytes: &'a [u8],
}

impl<'a> Line<'a> {
    /// The whole line with its ending.
    #[must_use]
    pub const fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// The line without its ending.
    #[must_use]
    pub fn text(self) -> &'a [u8] {
        &self.bytes[..self.bytes.len() - self.ending().as_bytes().len()]
    }

    /// How the line ends.
    #[must_use]
    pub fn ending(self) -> LineEnding {
        LineEnding::of(self.bytes)
    }
}

impl fmt::Debug for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("bytes", &self.bytes.len()).finish_non_exhaustive()
    }
}

impl Document {
    /// Takes the bytes of a file.
    ///
    /// # Panics
    /// With 4 GiB or more; use [`Document::try_new`] where that can happen.
    #[must_use]
    #[expect(clippy::panic, reason = "documented; try_new is the way without it")]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        match Self::try_new(bytes) {
            Ok(document) => document,
            Err(too_large) => panic!("{too_large}"),
        }
    }

    /// Takes the bytes of a file, of any size.
    ///
    /// # Errors
    /// [`TooLarge`] with 4 GiB or more.
    pub fn try_new(bytes: impl Into<Vec<u8>>) -> Result<Self, TooLarge> {
        Self::from_buffer(Buffer::new(bytes.into()))
    }

    /// A document whose bytes are wiped when it is dropped or when its buffer moves. The bytes given
    /// become the document's own: nothing is copied.
    ///
    /// # Errors
    /// [`TooLarge`] with 4 GiB or more.
    #[cfg(feature = "zeroize")]
    pub fn new_secret(bytes: Vec<u8>) -> Result<Self, TooLarge> {
        Self::from_buffer(Buffer::new_secret(bytes))
    }

    fn from_buffer(buffer: Buffer) -> Result<Self, TooLarge> {
        let live = buffer.len();
        if live > MAX_LEN {
            return Err(TooLarge { bytes: live });
        }
        let lines = split(buffer.as_slice(), 0);
        Ok(Self { buffer, lines, contiguous: true, live })
    }

    /// How many lines there are. `"a\nb"` has two, `"a\n"` has one, `""` has none.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is no line.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// How many bytes the file has.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.live
    }

    /// How many bytes of memory the document holds, used or reserved.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.buffer.len() + self.lines.capacity() * size_of::<Span>()
    }

    /// Line `index`, counted from 0.
    #[must_use]
    pub fn line(&self, index: usize) -> Option<Line<'_>> {
        let span = self.lines.get(index)?;
        Some(Line { bytes: &self.buffer.as_slice()[span.range()] })
    }

    /// The lines in their order.
    pub fn lines(&self) -> impl ExactSizeIterator<Item = Line<'_>> + DoubleEndedIterator + '_ {
        let bytes = self.buffer.as_slice();
        self.lines.iter().map(move |span| Line { bytes: &bytes[span.range()] })
    }

    /// The offset in the file at which line `index` starts; the file's length for an index past the
    /// end. Constant time in a document that nobody edited, else linear in `index`.
    #[must_use]
    pub fn line_start(&self, index: usize) -> usize {
        if self.contiguous {
            return self.lines.get(index).map_or(self.live, |span| span.start());
        }
        self.lines.iter().take(index).map(|span| span.len()).sum()
    }

    /// The line that holds byte `offset` of the file, and the byte's place in it; `None` past the
    /// end.
    #[must_use]
    pub fn position(&self, offset: usize) -> Option<(usize, usize)> {
        if offset >= self.live {
            return None;
        }
        if self.contiguous {
            let line = self.lines.partition_point(|span| span.end() <= offset);
            return Some((line, offset - self.lines.get(line)?.start()));
        }
        let mut start = 0;
        for (index, span) in self.lines.iter().enumerate() {
            if offset < start + span.len() {
                return Some((index, offset - start));
            }
            start += span.len();
        }
        None
    }

    /// The file's bytes if nobody edited the document, without copying.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        self.contiguous.then(|| self.buffer.as_slice())
    }

    /// The file's bytes. Borrowed if nobody edited the document.
    #[must_use]
    pub fn to_bytes(&self) -> Cow<'_, [u8]> {
        if let Some(bytes) = self.as_bytes() {
            return Cow::Borrowed(bytes);
        }
        let mut out = Vec::with_capacity(self.live);
        self.write_to(&mut out);
        Cow::Owned(out)
    }

    /// Appends the file's bytes to `out`.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        out.reserve(self.live);
        for run in self.runs() {
            out.extend_from_slice(&self.buffer.as_slice()[run.range()]);
        }
    }

    /// The line ending that a new line at `index` takes: that of the line before, else of the line
    /// after, else LF.
    #[must_use]
    pub fn ending_at(&self, index: usize) -> LineEnding {
        let before = index.checked_sub(1).and_then(|before| self.line(before)).map(Line::ending);
        let after = self.line(index).map(Line::ending);
        [before, after]
            .into_iter()
            .flatten()
            .find(|ending| *ending != LineEnding::None)
            // A file of which only the last, unended line is near: what does its rest use?
            .or_else(|| {
                let first = self.line(0)?.ending();
                (first != LineEnding::None).then_some(first)
            })
            .unwrap_or(LineEnding::Lf)
    }

    /// Puts a new line before line `index`; at the end for an index past it. The line takes its
    /// neighbours' [ending](Document::ending_at), so `text` needs none of its own; each LF in it
    /// begins another line. Appending to a file whose last line has no ending ends that line first.
    ///
    /// # Errors
    /// [`EditError::TooLarge`]; the document is as it was.
    pub fn insert(&mut self, index: usize, text: impl AsRef<[u8]>) -> Result<(), EditError> {
        let index = index.min(self.lines.len());
        let ending = self.ending_at(index);
        if index == self.lines.len() && self.is_unended() {
            self.set_ending(index - 1, ending)?;
        }
        self.splice(index..index, text.as_ref(), ending)
    }

    /// Appends a new line at the end: [`Document::insert`] there.
    ///
    /// # Errors
    /// [`EditError::TooLarge`]; the document is as it was.
    pub fn push(&mut self, text: impl AsRef<[u8]>) -> Result<(), EditError> {
        self.insert(self.lines.len(), text)
    }

    /// Gives the last line an [ending](Document::ending_at) if it has none.
    ///
    /// # Errors
    /// [`EditError::TooLarge`]; the document is as it was.
    pub fn end_last_line(&mut self) -> Result<(), EditError> {
        if !self.is_unended() {
            return Ok(());
        }
        let last = self.lines.len() - 1;
        self.set_ending(last, self.ending_at(last))
    }

    /// Gives line `index` another text; its ending stays. The same text changes nothing.
    ///
    /// # Errors
    /// [`EditError`]; the document is as it was.
    pub fn replace(&mut self, index: usize, text: impl AsRef<[u8]>) -> Result<(), EditError> {
        let line = self.line(index).ok_or(EditError::NoSuchLine { index })?;
        if line.text() == text.as_ref() {
            return Ok(());
        }
        let ending = line.ending();
        self.splice(index..index + 1, text.as_ref(), ending)
    }

    /// Removes line `index` with its ending.
    ///
    /// # Errors
    /// [`EditError::NoSuchLine`].
    pub fn remove(&mut self, index: usize) -> Result<(), EditError> {
        let span = self.lines.get(index).ok_or(EditError::NoSuchLine { index })?;
        self.live -= span.len();
        self.lines.remove(index);
        self.contiguous = false;
        self.compact_if_wasteful();
        Ok(())
    }

    /// Moves line `from` so that it becomes line `to`. If the file's last line had no ending, the
    /// new last line has none.
    ///
    /// # Errors
    /// [`EditError`]; the document is as it was.
    pub fn move_line(&mut self, from: usize, to: usize) -> Result<(), EditError> {
        for index in [from, to] {
            if index >= self.lines.len() {
                return Err(EditError::NoSuchLine { index });
            }
        }
        if from == to {
            return Ok(());
        }
        let last = self.lines.len() - 1;
        let unended = self.is_unended();
        if unended {
            self.set_ending(last, self.ending_at(last))?;
        }
        let span = self.lines.remove(from);
        self.lines.insert(to, span);
        self.contiguous = false;
        if unended {
            self.set_ending(last, LineEnding::None)?;
        }
        Ok(())
    }

    /// Whether the file has a last line without an ending.
    fn is_unended(&self) -> bool {
        self.lines().next_back().is_some_and(|last| last.ending() == LineEnding::None)
    }

    fn set_ending(&mut self, index: usize, ending: LineEnding) -> Result<(), EditError> {
        let line = self.line(index).ok_or(EditError::NoSuchLine { index })?;
        let mut text = self.buffer.empty_like(line.text().len());
        text.append(line.text());
        self.splice(index..index + 1, text.as_slice(), ending)
    }

    /// Puts `text` and `ending` in the place of `lines`.
    fn splice(
        &mut self,
        lines: Range<usize>,
        text: &[u8],
        ending: LineEnding,
    ) -> Result<(), EditError> {
        let added = text.len() + ending.as_bytes().len();
        if self.buffer.len() + added > MAX_LEN {
            self.compact();
        }
        let start = self.buffer.len();
        if start + added > MAX_LEN {
            return Err(EditError::TooLarge(TooLarge { bytes: self.live + added }));
        }
        self.buffer.append(text);
        self.buffer.append(ending.as_bytes());
        // A text with line ends of its own makes several lines, and an empty one without an ending
        // none: the document never holds lines that reading its bytes again would split otherwise.
        let new = split(self.buffer.as_slice(), start);
        self.live -= self.lines[lines.clone()].iter().map(|span| span.len()).sum::<usize>();
        self.live += added;
        self.lines.splice(lines, new);
        self.contiguous = false;
        self.compact_if_wasteful();
        Ok(())
    }

    /// The buffer's pieces that make up the file, neighbours joined.
    fn runs(&self) -> impl Iterator<Item = Span> + '_ {
        let mut lines = self.lines.iter().copied().peekable();
        core::iter::from_fn(move || {
            let mut run = lines.next()?;
            while let Some(next) = lines.next_if(|next| next.start() == run.end()) {
                run = short_span(run.start(), next.end());
            }
            Some(run)
        })
    }

    /// Edits leave what they replaced in the buffer. Past twice the file's size it is dropped, so
    /// that no series of edits, however long, holds more than a constant factor.
    fn compact_if_wasteful(&mut self) {
        const SLACK: usize = 4096;
        if self.buffer.len() > 2 * self.live + SLACK {
            self.compact();
        }
    }

    /// Puts the lines side by side in their order, so that [`Document::as_bytes`] lends them. Costs
    /// nothing in a document that nobody edited, else one copy of it.
    pub fn compact(&mut self) {
        if self.contiguous {
            return;
        }
        let mut compact = self.buffer.empty_like(self.live);
        for run in self.runs() {
            compact.append(&self.buffer.as_slice()[run.range()]);
        }
        let mut start = 0;
        for span in &mut self.lines {
            let end = start + span.len();
            *span = short_span(start, end);
            start = end;
        }
        self.buffer = compact;
        self.contiguous = true;
    }
}

impl Clone for Document {
    fn clone(&self) -> Self {
        Self {
            buffer: self.buffer.copy(),
            lines: self.lines.clone(),
            contiguous: self.contiguous,
            live: self.live,
        }
    }
}

/// Shows sizes only: the bytes may be secret.
impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document")
            .field("lines", &self.lines.len())
            .field("bytes", &self.live)
            .finish_non_exhaustive()
    }
}

/// Spans count in `u32`.
const MAX_LEN: usize = u32::MAX as usize;

/// A span of a buffer of at most [`MAX_LEN`] bytes.
#[expect(clippy::cast_possible_truncation, reason = "no buffer is longer than MAX_LEN")]
const fn short_span(start: usize, end: usize) -> Span {
    Span::new(start as u32, end as u32)
}

/// The lines of `bytes[from..]`, a buffer of at most [`MAX_LEN`] bytes.
fn split(bytes: &[u8], from: usize) -> Vec<Span> {
    let rest = &bytes[from..];
    let mut lines = Vec::with_capacity(memchr::memchr_iter(b'\n', rest).count() + 1);
    let mut start = from;
    for lf in memchr::memchr_iter(b'\n', rest) {
        let end = from + lf + 1;
        lines.push(short_span(start, end));
        start = end;
    }
    if start < bytes.len() {
        lines.push(short_span(start, bytes.len()));
    }
    lines
}
