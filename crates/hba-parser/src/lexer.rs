//! Lines and tokens, as `hba.c` splits them. Allocates nothing and stands alone.
//!
//! [`lines`] splits the bytes of a file into the lines that a server of a major sees, which are not
//! always those that an editor shows: a backslash at the end of a line joins it with the next one
//! (from 14 on), a NUL byte cuts a line short (12, 13) or glues the next one on (14 on), and 12 and
//! 13 split lines of 20,479 bytes and more. [`Line::tokens`] splits a line into tokens.
//!
//! ```
//! use hba_parser::{PgVersion, lexer};
//!
//! let file = b"host \"my db\",all bob \\\n 10.0.0.0/8 md5 # comment\n";
//! let line = lexer::lines(file, PgVersion::V16).next().unwrap();
//! assert_eq!(line.physical_lines(), 2);
//! let tokens: Vec<_> = line.tokens().map(|token| token.to_vec()).collect();
//! let expected: [&[u8]; 6] = [b"host", b"my db", b"all", b"bob", b"10.0.0.0/8", b"md5"];
//! assert_eq!(tokens, expected);
//! let fields: Vec<_> = line.tokens().map(|token| token.field()).collect();
//! assert_eq!(fields, [0, 1, 1, 2, 3, 4]);
//! ```

use alloc::vec::Vec;

use pg_version::PgVersion;
use textfile::Span;

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
    bytes: &'a [u8],
    version: PgVersion,
    start: usize,
    end: usize,
    /// After the last byte that the server looks at.
    body_end: usize,
    number: u32,
    physical: u32,
    physical_lines: u32,
    joining: Joining,
}

/// How a line's text is put together from the bytes of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Joining {
    /// The bytes are the text.
    Plain,
    /// A backslash before a line end takes both out.
    Continued,
    /// A NUL byte hides the rest of what was read at once, with this much room in the buffer.
    Nul { buffer: usize },
    /// 12 and 13: there was no room for the rest of the line.
    TooLong,
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

fn until_nul(bytes: &[u8]) -> &[u8] {
    &bytes[..memchr::memchr(0, bytes).unwrap_or(bytes.len())]
}

fn without_line_end(mut bytes: &[u8]) -> &[u8] {
    while let [rest @ .., b'\n' | b'\r'] = bytes {
        bytes = rest;
    }
    bytes
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

/// `pg_get_line_append` with its buffer, for files with NUL bytes.
#[derive(Clone, Debug)]
struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
    /// Bytes in the buffer.
    filled: usize,
    /// Room in the buffer.
    buffer: usize,
}

/// What one call of `pg_get_line_append` brought.
struct Unit {
    /// Whether there was anything to read.
    read: bool,
    /// How many bytes of it count.
    kept: usize,
    /// Whether a backslash at its end asks for more.
    continued: bool,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8], position: usize, buffer: usize) -> Self {
        Self { bytes, position, filled: 0, buffer }
    }

    /// One `fgets`: the bytes before its first NUL.
    fn read_chunk(&mut self) -> &'a [u8] {
        let room = self.buffer - self.filled - 1;
        let rest = &self.bytes[self.position..];
        let window = &rest[..rest.len().min(room)];
        let taken = memchr::memchr(b'\n', window).map_or(window.len(), |lf| lf + 1);
        self.position += taken;
        let chunk = until_nul(&window[..taken]);
        self.filled += chunk.len();
        chunk
    }

    /// `enlargeStringInfo(buf, 128)`
    fn enlarge(&mut self) {
        let needed = self.filled + 128 + 1;
        while needed > self.buffer {
            self.buffer *= 2;
        }
    }

    fn read_unit(&mut self) -> Unit {
        let first = self.filled;
        let (mut line_ends, mut last) = (0, 0);
        loop {
            if self.position >= self.bytes.len() {
                break;
            }
            let chunk = self.read_chunk();
            let text = without_line_end(chunk);
            if let Some(byte) = text.last() {
                line_ends = 0;
                last = *byte;
            }
            line_ends += chunk.len() - text.len();
            if chunk.ends_with(b"\n") {
                break;
            }
            self.enlarge();
        }
        let collected = self.filled - first;
        let text = collected - line_ends;
        let continued = text > 0 && last == b'\\';
        let kept = text - usize::from(continued);
        self.filled = first + kept;
        Unit { read: collected > 0, kept, continued: continued && self.position < self.bytes.len() }
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
        Tokens { line: *self, cursor: Cursor::new(self), field: 0, after_comma: true, first: true }
    }

    /// Where the line's comment is, from its `#` to the end of the text.
    #[must_use]
    pub fn comment(&self) -> Option<Span> {
        let mut cursor = Cursor::new(self);
        while let Lexed::Token(_) = cursor.next_token(&mut Discard, usize::MAX) {}
        cursor.comment.map(|start| span(start, self.body_end.max(start)))
    }

    /// The longest token that this major takes.
    pub(crate) fn token_limit(&self) -> usize {
        if self.version < PgVersion::V16 { OLD_TOKEN } else { usize::MAX }
    }
}

/// A token, as it stands in the file and as the server understands it.
#[derive(Clone, Copy, Debug)]
pub struct Token<'a> {
    line: Line<'a>,
    cursor: Cursor<'a>,
    raw: RawToken,
    field: u32,
}

impl<'a> Token<'a> {
    /// Where it stands in the file, with its quotes.
    #[must_use]
    pub fn span(&self) -> Span {
        self.raw.span()
    }

    /// Whether it begins with a quote. That is what takes the special meaning from keywords, from
    /// `+` and `@`; a quote later in the token does not.
    #[must_use]
    pub const fn is_quoted(&self) -> bool {
        self.raw.quoted
    }

    /// The field that it belongs to, counted from 0. Tokens with commas between them share one.
    #[must_use]
    pub const fn field(&self) -> u32 {
        self.field
    }

    /// Its text, if that is just what stands in the file: no quotes, nothing joined.
    #[must_use]
    pub fn plain(&self) -> Option<&'a [u8]> {
        self.raw.plain.then(|| &self.line.bytes[self.raw.start..self.raw.end])
    }

    /// Its text without quotes, byte by byte.
    pub fn for_each_byte(&self, mut with: impl FnMut(u8)) {
        if let Some(text) = self.plain() {
            text.iter().copied().for_each(with);
        } else {
            let mut cursor = self.cursor;
            cursor.next_token(&mut |byte: u8| with(byte), self.line.token_limit());
        }
    }

    /// Whether its text without quotes is this.
    #[must_use]
    pub fn is(&self, text: &[u8]) -> bool {
        let (mut rest, mut equal) = (text, true);
        self.for_each_byte(|byte| match rest.split_first() {
            Some((first, others)) if *first == byte => rest = others,
            _ => equal = false,
        });
        equal && rest.is_empty()
    }

    /// Its text without quotes, copied.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(self.raw.end - self.raw.start);
        self.for_each_byte(|byte| text.push(byte));
        text
    }
}

/// The tokens of a line: see [`Line::tokens`]. Ends at the first token that the major takes for too
/// long.
#[derive(Clone, Debug)]
pub struct Tokens<'a> {
    line: Line<'a>,
    cursor: Cursor<'a>,
    field: u32,
    after_comma: bool,
    first: bool,
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let cursor = self.cursor;
        let Lexed::Token(raw) = self.cursor.next_token(&mut Discard, self.line.token_limit())
        else {
            return None;
        };
        if !self.after_comma && !self.first {
            self.field += 1;
        }
        self.first = false;
        self.after_comma = raw.comma;
        Some(Token { line: self.line, cursor, raw, field: self.field })
    }
}

/// Takes the text of tokens as they are lexed.
pub(crate) trait Sink {
    fn byte(&mut self, byte: u8);
    fn slice(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    fn byte(&mut self, byte: u8) {
        self.push(byte);
    }

    fn slice(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// For those who want to know only where tokens are.
pub(crate) struct Discard;

impl Sink for Discard {
    fn byte(&mut self, _: u8) {}
    fn slice(&mut self, _: &[u8]) {}
}

impl<F: FnMut(u8)> Sink for F {
    fn byte(&mut self, byte: u8) {
        self(byte);
    }

    fn slice(&mut self, bytes: &[u8]) {
        bytes.iter().copied().for_each(self);
    }
}

/// A token's place and marks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawToken {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) quoted: bool,
    pub(crate) comma: bool,
    plain: bool,
}

impl RawToken {
    pub(crate) fn span(&self) -> Span {
        span(self.start, self.end)
    }
}

/// What [`Cursor::next_token`] found.
pub(crate) enum Lexed {
    Token(RawToken),
    /// 12 to 15: the token does not fit. The rest of the line is skipped.
    TooLong(RawToken),
    End,
}

/// A place in a line's text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    /// The next byte, and where the piece of text that holds it ends.
    position: usize,
    piece_end: usize,
    /// Where the line's text ends.
    body_end: usize,
    /// What follows the piece.
    more: More,
    /// Where the comment begins, once it was met.
    comment: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
enum More {
    Nothing,
    /// Behind the piece stand a backslash and a line end.
    Continuation,
    /// The file has NUL bytes: the server's buffer decides.
    Buffer {
        /// Where the piece came from, and where what `pg_get_line_append` reads next begins.
        current: BufferState,
        after: BufferState,
        /// How much text is left of what it read, and whether there will be more.
        unit_left: usize,
        continued: bool,
    },
}

/// [`Reader`] without the bytes.
#[derive(Clone, Copy, Debug)]
struct BufferState {
    position: usize,
    filled: usize,
    buffer: usize,
}

/// What ends a run of ordinary bytes in a token.
const fn is_special(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b',' | b'"' | b'#')
}

/// `pg_isblank`: `isblank` is not the same everywhere, and a carriage return is a blank.
pub(crate) const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r')
}

static SPECIAL: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "counts to 255")]
        let special = is_special(byte as u8);
        table[byte] = special;
        byte += 1;
    }
    table
};

impl<'a> Cursor<'a> {
    pub(crate) fn new(line: &Line<'a>) -> Self {
        let mut cursor = Self {
            bytes: line.bytes,
            position: line.start,
            piece_end: line.body_end,
            body_end: line.body_end,
            more: More::Nothing,
            comment: None,
        };
        match line.joining {
            Joining::Plain | Joining::TooLong => {}
            Joining::Continued => cursor.enter(line.start),
            Joining::Nul { buffer } => {
                cursor.piece_end = line.start;
                cursor.body_end = line.end;
                let start = BufferState { position: line.start, filled: 0, buffer };
                cursor.more =
                    More::Buffer { current: start, after: start, unit_left: 0, continued: true };
            }
        }
        cursor
    }

    /// Makes the piece of a continued line that begins at `start` the current one.
    fn enter(&mut self, start: usize) {
        self.position = start;
        let text = &self.bytes[start..self.body_end.max(start)];
        match memchr::memchr(b'\n', text) {
            Some(lf) => {
                let joined = without_line_end(&text[..lf]);
                self.piece_end = start + joined.len().saturating_sub(1);
                self.more = More::Continuation;
            }
            None => {
                // A backslash at the very end of a file is in none of the text.
                self.piece_end = self.body_end.max(start);
                self.more = More::Nothing;
            }
        }
    }

    /// Goes on to the next piece of the line. Says whether there was one.
    #[cold]
    fn next_piece(&mut self) -> bool {
        match self.more {
            More::Nothing => false,
            More::Continuation => {
                let rest = &self.bytes[self.piece_end..self.body_end];
                match memchr::memchr(b'\n', rest) {
                    Some(lf) => {
                        let start = self.piece_end + lf + 1;
                        self.enter(start);
                        true
                    }
                    None => {
                        self.more = More::Nothing;
                        false
                    }
                }
            }
            More::Buffer { mut current, mut after, mut unit_left, mut continued } => {
                while unit_left == 0 {
                    if !continued {
                        self.more = More::Nothing;
                        return false;
                    }
                    current = after;
                    let unit = self.reader(&mut after, Reader::read_unit);
                    unit_left = unit.kept;
                    continued = unit.continued;
                }
                let start = current.position;
                let chunk = self.reader(&mut current, |reader| {
                    let chunk = reader.read_chunk();
                    reader.enlarge();
                    chunk
                });
                let kept = chunk.len().min(unit_left);
                unit_left -= kept;
                self.position = start;
                self.piece_end = start + kept;
                self.more = More::Buffer { current, after, unit_left, continued };
                true
            }
        }
    }

    /// Reads with a [`Reader`] in this state, and keeps its state.
    fn reader<T>(&self, state: &mut BufferState, read: impl FnOnce(&mut Reader<'a>) -> T) -> T {
        let BufferState { position, filled, buffer } = *state;
        let mut reader = Reader { bytes: self.bytes, position, filled, buffer };
        let read = read(&mut reader);
        let Reader { position, filled, buffer, .. } = reader;
        *state = BufferState { position, filled, buffer };
        read
    }

    fn next_byte(&mut self) -> Option<u8> {
        while self.position >= self.piece_end {
            if !self.next_piece() {
                return None;
            }
        }
        let byte = self.bytes[self.position];
        self.position += 1;
        Some(byte)
    }

    /// `next_token`: the next token, its text without quotes given to `sink`.
    pub(crate) fn next_token(&mut self, sink: &mut impl Sink, limit: usize) -> Lexed {
        let mut current = loop {
            match self.next_byte() {
                None => return Lexed::End,
                Some(byte) if is_blank(byte) || byte == b',' => {}
                Some(byte) => break byte,
            }
        };
        let start = self.position - 1;
        let mut token =
            RawToken { start, end: self.position, quoted: false, comma: false, plain: true };
        let (mut length, mut in_quote, mut was_quote, mut saw_quote) =
            (0_usize, false, false, false);
        loop {
            if is_blank(current) && !in_quote {
                self.position -= 1;
                break;
            }
            if current == b'#' && !in_quote {
                self.comment = Some(self.position - 1);
                self.skip_line();
                if length == 0 && !saw_quote {
                    return Lexed::End;
                }
                break;
            }
            if length >= limit {
                self.skip_line();
                return Lexed::TooLong(token);
            }
            if current == b',' && !in_quote {
                token.comma = true;
                self.position -= 1;
                break;
            }
            if current != b'"' || was_quote {
                length += 1;
                sink.byte(current);
            }
            was_quote = in_quote && current == b'"' && !was_quote;
            if current == b'"' {
                in_quote = !in_quote;
                saw_quote = true;
                token.plain = false;
                if length == 0 {
                    token.quoted = true;
                }
            } else if !in_quote && length < limit {
                // Ordinary bytes follow each other: take them at once.
                let room = (limit - length).min(self.piece_end - self.position);
                let run = &self.bytes[self.position..self.position + room];
                let ordinary = run.iter().position(|byte| SPECIAL[usize::from(*byte)]);
                let run = &run[..ordinary.unwrap_or(room)];
                sink.slice(run);
                length += run.len();
                self.position += run.len();
            }
            token.end = self.position;
            let before = self.position;
            match self.next_byte() {
                None => break,
                Some(byte) => {
                    // The token goes on in another piece of the file.
                    if self.position != before + 1 && !(is_blank(byte) && !in_quote) {
                        token.plain = false;
                    }
                    current = byte;
                }
            }
        }
        Lexed::Token(token)
    }

    /// Skips to the end of the line.
    pub(crate) fn skip_line(&mut self) {
        self.position = self.piece_end;
        self.more = More::Nothing;
    }
}

/// A span of a file, which a document keeps below 4 GiB; what a caller lexes beyond that gets spans
/// that end there.
pub(crate) fn span(start: usize, end: usize) -> Span {
    let short = |offset| u32::try_from(offset).unwrap_or(u32::MAX);
    Span::new(short(start), short(end))
}
