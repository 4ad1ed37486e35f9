//! The lines of a file as a server sees them.

use pg_version::PgVersion;
use textfile::Span;

use super::{
    cursor::{Cursor, Discard, Lexed},
    reader::{Reader, until_nul, without_line_end},
    span,
    token::Tokens,
};

/// The longest run of bytes that 12 and 13 read at once (`MAX_LINE - 1` in their `hba.c`): a longer
/// physical line is an error, and its rest another line.
const OLD_CHUNK: usize = 20_479;

/// The longest token of 12 to 15 (`MAX_TOKEN - 1`).
const OLD_TOKEN: usize = 10_239;

/// What the server's line buffer holds before it first grows (`initStringInfo`). It decides how much
/// of a line a NUL byte hides.
const FIRST_BUFFER: usize = 1024;

/// Splits the bytes of a file into the lines that a server of this major sees.
#[must_use]
pub fn lines(bytes: &[u8], version: PgVersion) -> Lines<'_> {
    Lines {
        bytes,
        version,
        position: 0,
        number: 1,
        physical: 0,
        has_nul: memchr::memchr(0, bytes).is_some(),
        buffer: FIRST_BUFFER,
    }
}

/// The lines of a file: see [`lines`].
#[derive(Clone, Debug)]
pub struct Lines<'a> {
    bytes: &'a [u8],
    version: PgVersion,
    position: usize,
    number: u32,
    physical: u32,
    has_nul: bool,
    buffer: usize,
}

/// A line as the server sees it: one line of the file, or several that backslashes join.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    pub(super) bytes: &'a [u8],
    version: PgVersion,
    pub(super) start: usize,
    pub(super) end: usize,
    /// After the last byte that the server looks at.
    pub(super) body_end: usize,
    number: u32,
    physical: u32,
    physical_lines: u32,
    pub(super) joining: Joining,
}

/// How a line's text is put together from the bytes of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Joining {
    /// The bytes are the text.
    Plain,
    /// A backslash before a line end takes both out.
    Continued,
    /// A NUL byte hides the rest of what was read at once, with this much room in the buffer.
    Nul { buffer: usize },
    /// 12 and 13: there was no room for the rest of the line.
    TooLong,
}

/// Where a line begins, and what else it takes to lex it again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    position: u32,
    number: u32,
    physical: u32,
    buffer: u32,
}

impl Mark {
    pub(crate) const fn start(&self) -> usize {
        self.position as usize
    }

    pub(crate) const fn number(&self) -> u32 {
        self.number
    }

    pub(crate) const fn physical_line(&self) -> u32 {
        self.physical
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        if self.position >= self.bytes.len() {
            return None;
        }
        let line = if self.version < PgVersion::V14 {
            self.next_old()
        } else if self.has_nul {
            self.next_with_nul()
        } else {
            self.next_new()
        };
        self.position = line.end;
        Some(line)
    }
}

impl<'a> Lines<'a> {
    pub(crate) fn has_nul(&self) -> bool {
        self.has_nul
    }

    /// Where the next line begins; of a document, which is below 4 GiB.
    pub(crate) fn mark(&self) -> Mark {
        Mark {
            position: u32::try_from(self.position).unwrap_or(u32::MAX),
            number: self.number,
            physical: self.physical,
            buffer: u32::try_from(self.buffer).unwrap_or(u32::MAX),
        }
    }

    /// The lines from a mark on.
    pub(crate) fn resume(bytes: &'a [u8], version: PgVersion, has_nul: bool, mark: Mark) -> Self {
        Self {
            bytes,
            version,
            position: mark.start(),
            number: mark.number,
            physical: mark.physical,
            has_nul,
            buffer: mark.buffer as usize,
        }
    }

    fn line(&self, end: usize, body_end: usize, joining: Joining) -> Line<'a> {
        Line {
            bytes: self.bytes,
            version: self.version,
            start: self.position,
            end,
            body_end,
            number: self.number,
            physical: self.physical,
            physical_lines: 1,
            joining,
        }
    }

    /// 12 and 13: one `fgets` is one line.
    fn next_old(&mut self) -> Line<'a> {
        let start = self.position;
        let window = &self.bytes[start..self.bytes.len().min(start + OLD_CHUNK)];
        let end = start + memchr::memchr(b'\n', window).map_or(window.len(), |lf| lf + 1);
        let ended = self.bytes[end - 1] == b'\n';
        let chunk = &self.bytes[start..end];
        let text = if self.has_nul { until_nul(chunk) } else { chunk };
        let joining = if text.len() == OLD_CHUNK { Joining::TooLong } else { Joining::Plain };
        let line = self.line(end, start + without_line_end(text).len(), joining);
        self.number += 1;
        self.physical += u32::from(ended);
        line
    }

    /// 14 and newer, in a file without NUL bytes.
    fn next_new(&mut self) -> Line<'a> {
        let start = self.position;
        let mut unit = start;
        let mut physical_lines = 0;
        let mut joining = Joining::Plain;
        let (end, body_end) = loop {
            let rest = &self.bytes[unit..];
            let end = unit + memchr::memchr(b'\n', rest).map_or(rest.len(), |lf| lf + 1);
            let text = without_line_end(&self.bytes[unit..end]);
            physical_lines += 1;
            if let [.., b'\\'] = text {
                joining = Joining::Continued;
                if end == self.bytes.len() {
                    break (end, unit + text.len() - 1);
                }
                unit = end;
            } else if text.is_empty() && joining == Joining::Continued {
                break (end, trim_back(self.bytes, start, unit));
            } else {
                break (end, unit + text.len());
            }
        };
        let mut line = self.line(end, body_end, joining);
        line.physical_lines = physical_lines;
        self.number += physical_lines;
        self.physical += physical_lines;
        line
    }

    /// 14 and newer, in a file with NUL bytes.
    fn next_with_nul(&mut self) -> Line<'a> {
        let joining = Joining::Nul { buffer: self.buffer };
        let mut reader = Reader::new(self.bytes, self.position, self.buffer);
        let mut units = 0;
        loop {
            let unit = reader.read_unit();
            if unit.read {
                units += 1;
            }
            if !unit.continued {
                break;
            }
        }
        let end = reader.position;
        let raw = &self.bytes[self.position..end];
        let line_ends = memchr::memchr_iter(b'\n', raw).count();
        let unended = usize::from(!raw.ends_with(b"\n"));
        let mut line = self.line(end, end, joining);
        line.physical_lines = u32::try_from(line_ends + unended).unwrap_or(u32::MAX);
        self.buffer = reader.buffer;
        self.number += units.max(1);
        self.physical += line.physical_lines;
        line
    }
}

/// The server strips line ends from all that it has collected so far. Where a continuation is
/// followed by nothing, carriage returns before the backslash go too.
fn trim_back(bytes: &[u8], start: usize, mut end: usize) -> usize {
    loop {
        // Before `end` stand a backslash and a line end, which are no text.
        end = start + without_line_end(&bytes[start..end]).len();
        end -= usize::from(end > start);
        let text = without_line_end(&bytes[start..end]);
        let unit = memchr::memrchr(b'\n', &bytes[start..end]).map_or(start, |lf| start + lf + 1);
        if start + text.len() > unit || unit == start {
            return (start + text.len()).max(unit);
        }
        end = unit;
    }
}

impl<'a> Line<'a> {
    /// The number that the server reports for this line: that of its first physical line, as far as
    /// the server can count (NUL bytes and, in 12 and 13, very long lines mislead it).
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// The index, counted from 0, of the line's first physical line.
    #[must_use]
    pub const fn first_physical_line(&self) -> u32 {
        self.physical
    }

    /// How many physical lines it is made of.
    #[must_use]
    pub const fn physical_lines(&self) -> u32 {
        self.physical_lines
    }

    /// Where it stands in the file, with its line end.
    #[must_use]
    pub fn span(&self) -> Span {
        span(self.start, self.end)
    }

    /// Its bytes in the file, with continuations and its line end.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        &self.bytes[self.start..self.end]
    }

    /// Whether 12 or 13 refuse the line for its length; they see its rest as another line.
    #[must_use]
    pub fn is_too_long(&self) -> bool {
        self.joining == Joining::TooLong
    }

    /// Whether a backslash joins several physical lines into this one.
    #[must_use]
    pub fn is_continued(&self) -> bool {
        self.joining == Joining::Continued
    }

    /// The major that the line was split for.
    #[must_use]
    pub const fn version(&self) -> PgVersion {
        self.version
    }

    /// The line's tokens.
    #[must_use]
    pub fn tokens(&self) -> Tokens<'a> {
        Tokens::new(self)
    }

    /// Where the line's comment is, from its `#` to the end of the text.
    #[must_use]
    pub fn comment(&self) -> Option<Span> {
        let mut cursor = Cursor::new(self);
        while let Lexed::Token(_) = cursor.next_token(&mut Discard, usize::MAX) {}
        cursor.comment().map(|start| span(start, self.body_end.max(start)))
    }

    /// The longest token that this major takes.
    pub(crate) fn token_limit(&self) -> usize {
        if self.version < PgVersion::V16 { OLD_TOKEN } else { usize::MAX }
    }
}
