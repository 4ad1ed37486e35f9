//! A place in a line's text, and the token that begins there: `next_token`.

use alloc::vec::Vec;

use textfile::Span;

use super::{
    line::{Joining, Line},
    reader::{Reader, without_line_end},
    span,
};

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
    pub(super) plain: bool,
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

    /// What almost all tokens are: no quotes, and all in one piece. `None` leaves the rest to
    /// [`Cursor::next_token`], with blanks skipped.
    fn next_ordinary(&mut self, sink: &mut impl Sink, limit: usize) -> Option<RawToken> {
        let piece = &self.bytes[self.position..self.piece_end];
        let blanks = piece.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b','));
        let blanks = blanks.unwrap_or(piece.len());
        self.position += blanks;
        let piece = &piece[blanks..];
        let len = piece.iter().position(|byte| SPECIAL[usize::from(*byte)]);
        let (len, comma) = match len {
            Some(len) if len > 0 && is_blank(piece[len]) => (len, false),
            Some(len) if len > 0 && piece[len] == b',' => (len, true),
            None if !piece.is_empty() && matches!(self.more, More::Nothing) => (piece.len(), false),
            _ => return None,
        };
        if len >= limit {
            return None;
        }
        sink.slice(&piece[..len]);
        let start = self.position;
        self.position += len;
        Some(RawToken { start, end: self.position, quoted: false, comma, plain: true })
    }

    /// `next_token`: the next token, its text without quotes given to `sink`.
    pub(crate) fn next_token(&mut self, sink: &mut impl Sink, limit: usize) -> Lexed {
        if let Some(token) = self.next_ordinary(sink, limit) {
            return Lexed::Token(token);
        }
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
                    if self.position != before + 1 && (in_quote || !is_blank(byte)) {
                        token.plain = false;
                    }
                    current = byte;
                }
            }
        }
        Lexed::Token(token)
    }

    /// The file's bytes.
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Where the line's comment begins, if the cursor met it.
    pub(super) fn comment(&self) -> Option<usize> {
        self.comment
    }

    /// Skips to the end of the line.
    fn skip_line(&mut self) {
        self.position = self.piece_end;
        self.more = More::Nothing;
    }
}
