//! The lines of a file as libpq's loop over `fgets` makes them.
//!
//! They are the file's lines but for two things, both known since libpq 12 and the same up to 18:
//!
//! - A C string ends at its first NUL. What follows it, up to the end of the line or of the piece
//!   that `fgets` was asked for, is never seen; with the line's end unseen too, the next line is
//!   appended to this one.
//! - A last line without a line end is used because `feof` is true after it was read. It is not
//!   when `fgets` stopped for lack of room just before: a line that fills the buffer exactly (255,
//!   511, 1023 ... bytes, never less than the longest line before it needed) is lost.
//!
//! How much room there is follows from `PQExpBuffer`, which this module models: 256 bytes at first,
//! doubled while there are not 128 free, kept from line to line.

use std::ops::Deref;

use textfile::{Document, Line};
use zeroize::Zeroizing;

use crate::secret::SecretBuffer;

/// A line as libpq has it in its buffer, with its line end.
pub(crate) struct RawLine<'a> {
    /// The file's first line in it, counted from 0.
    pub(crate) first: usize,
    /// The file's last line in it: another one only with NULs.
    pub(crate) last: usize,
    pub(crate) text: Text<'a>,
    /// Whether libpq looks at it. It does not look at what it held when the file ended.
    pub(crate) seen: bool,
}

pub(crate) enum Text<'a> {
    Lent(&'a [u8]),
    /// Pieces that do not lie side by side in the file.
    Joined(Zeroizing<Vec<u8>>),
}

impl Deref for Text<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Lent(bytes) => bytes,
            Self::Joined(bytes) => bytes,
        }
    }
}

/// The lines of a document as libpq sees them.
pub(crate) fn raw_lines(document: &Document) -> RawLines<'_, impl Iterator<Item = &[u8]>> {
    // Searched for once, not in each line; where it cannot be told, each line tells.
    let may_have_nul = document.as_bytes().is_none_or(|bytes| memchr::memchr(0, bytes).is_some());
    let lines = document.lines().map(Line::bytes);
    RawLines { lines, next: 0, room: Room::new(), may_have_nul }
}

pub(crate) struct RawLines<'a, I: Iterator<Item = &'a [u8]>> {
    lines: I,
    next: usize,
    room: Room,
    may_have_nul: bool,
}

impl<'a, I: Iterator<Item = &'a [u8]>> Iterator for RawLines<'a, I> {
    type Item = RawLine<'a>;

    #[inline]
    fn next(&mut self) -> Option<RawLine<'a>> {
        let line = self.lines.next()?;
        let first = self.next;
        self.next += 1;
        let plain = !self.may_have_nul || memchr::memchr(0, line).is_none();
        if plain && self.room.is_enough_for(line) {
            return Some(RawLine { first, last: first, text: Text::Lent(line), seen: true });
        }
        self.read_piecewise(line, first)
    }
}

impl<'a, I: Iterator<Item = &'a [u8]>> RawLines<'a, I> {
    /// What `fgets` and `strlen` make of a line that has a NUL or more bytes than there is room for.
    #[cold]
    fn read_piecewise(&mut self, line: &'a [u8], first: usize) -> Option<RawLine<'a>> {
        let raw = |text, last, seen| Some(RawLine { first, last, text, seen });
        let mut read = Read { line, length: 0, joined: None };
        let mut rest = line;
        let mut last = first;
        loop {
            // libpq gives up on a line of 2 GiB, and on the rest of the file.
            let Some(room) = self.room.after(read.length) else {
                self.lines.by_ref().for_each(drop);
                return raw(read.into_text(), last, false);
            };
            let (piece, after) = rest.split_at(room.min(rest.len()));
            rest = after;
            let complete = read.append(piece);
            let at_end = piece.len() < room && !piece.ends_with(b"\n");
            if complete || at_end {
                return raw(read.into_text(), last, true);
            }
            if rest.is_empty() {
                let Some(line) = self.lines.next() else {
                    return raw(read.into_text(), last, false);
                };
                last = self.next;
                self.next += 1;
                rest = line;
            }
        }
    }
}

/// The line that is being read: lent as long as it is one piece of the file.
struct Read<'a> {
    line: &'a [u8],
    length: usize,
    joined: Option<SecretBuffer>,
}

impl<'a> Read<'a> {
    /// Appends a piece up to its NUL; whether the line is complete by it.
    fn append(&mut self, piece: &[u8]) -> bool {
        let visible = &piece[..memchr::memchr(0, piece).unwrap_or(piece.len())];
        if visible.len() < piece.len() && self.joined.is_none() {
            let mut joined = SecretBuffer::default();
            joined.push(&self.line[..self.length]);
            self.joined = Some(joined);
        }
        if let Some(joined) = &mut self.joined {
            joined.push(visible);
        }
        self.length += visible.len();
        visible.ends_with(b"\n")
    }

    fn into_text(self) -> Text<'a> {
        match self.joined {
            Some(joined) => Text::Joined(joined.into_inner()),
            None => Text::Lent(&self.line[..self.length]),
        }
    }
}

/// How many bytes libpq's buffer holds (`maxlen` of its `PQExpBuffer`).
struct Room {
    capacity: usize,
}

impl Room {
    /// `INITIAL_EXPBUFFER_SIZE`
    const INITIAL: usize = 256;
    /// Bytes that libpq wants free before each read.
    const WANTED: usize = 128;
    /// `INT_MAX`, beyond which no such buffer grows.
    const MAX: usize = i32::MAX as usize;

    const fn new() -> Self {
        Self { capacity: Self::INITIAL }
    }

    /// Whether a line is read in one piece, with no doubt about its end.
    #[inline]
    const fn is_enough_for(&self, line: &[u8]) -> bool {
        line.len() < self.capacity - 1
    }

    /// How many bytes `fgets` is asked for when there are `length` already, the buffer enlarged as
    /// needed.
    fn after(&mut self, length: usize) -> Option<usize> {
        if Self::WANTED >= Self::MAX - length {
            return None;
        }
        let needed = length + Self::WANTED + 1;
        while self.capacity < needed {
            self.capacity = (self.capacity * 2).min(Self::MAX);
        }
        Some(self.capacity - length - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> Vec<(usize, usize, Vec<u8>, bool)> {
        let document = Document::new(bytes);
        raw_lines(&document).map(|l| (l.first, l.last, l.text.to_vec(), l.seen)).collect()
    }

    #[test]
    fn plain_lines_are_themselves() {
        assert_eq!(
            lines(b"a\r\n\nb"),
            [
                (0, 0, b"a\r\n".to_vec(), true),
                (1, 1, b"\n".to_vec(), true),
                (2, 2, b"b".to_vec(), true)
            ]
        );
    }

    #[test]
    fn a_nul_hides_the_rest_of_its_line_and_joins_the_next() {
        assert_eq!(
            lines(b"a\0b\nc\nd\n"),
            [(0, 1, b"ac\n".to_vec(), true), (2, 2, b"d\n".to_vec(), true)]
        );
        assert_eq!(lines(b"a\0b"), [(0, 0, b"a".to_vec(), true)]);
        assert_eq!(lines(b"a\0b\n"), [(0, 0, b"a".to_vec(), false)]);
    }

    #[test]
    fn a_nul_hides_no_more_than_its_piece() {
        let mut bytes = b"\0".to_vec();
        bytes.resize(255, b'x');
        bytes.extend_from_slice(b"y\n");
        assert_eq!(lines(&bytes), [(0, 0, b"y\n".to_vec(), true)]);
    }

    #[test]
    fn an_unended_line_that_fills_the_buffer_is_lost() {
        for lost in [255, 511, 1023, 2047] {
            for (length, seen) in [(lost - 1, true), (lost, false), (lost + 1, true)] {
                let unended = vec![b'x'; length];
                assert_eq!(lines(&unended), [(0, 0, unended.clone(), seen)], "{length}");
            }
        }
        // The buffer stays as large as an earlier line made it.
        let mut bytes = vec![b'#'; 255];
        bytes.push(b'\n');
        bytes.resize(256 + 255, b'x');
        assert!(lines(&bytes)[1].3);
        bytes.resize(256 + 511, b'x');
        assert!(!lines(&bytes)[1].3);
    }
}
