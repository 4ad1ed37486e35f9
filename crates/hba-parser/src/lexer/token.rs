//! The tokens of a line.

use alloc::vec::Vec;

use textfile::Span;

use super::{
    cursor::{Cursor, Discard, Lexed, RawToken},
    line::Line,
};

/// A token, as it stands in the file and as the server understands it.
#[derive(Clone, Copy, Debug)]
pub struct Token<'a> {
    /// Before the token, and the longest one that the major takes: to lex it once more
    cursor: Cursor<'a>,
    limit: usize,
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
        self.raw.plain.then(|| &self.cursor.bytes()[self.raw.start..self.raw.end])
    }

    /// Its text without quotes, byte by byte.
    pub fn for_each_byte(&self, mut with: impl FnMut(u8)) {
        if let Some(text) = self.plain() {
            text.iter().copied().for_each(with);
        } else {
            let mut cursor = self.cursor;
            cursor.next_token(&mut |byte: u8| with(byte), self.limit);
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
    limit: usize,
    cursor: Cursor<'a>,
    field: u32,
    after_comma: bool,
    first: bool,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(line: &Line<'a>) -> Self {
        let cursor = Cursor::new(line);
        Self { limit: line.token_limit(), cursor, field: 0, after_comma: true, first: true }
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let cursor = self.cursor;
        let Lexed::Token(raw) = self.cursor.next_token(&mut Discard, self.limit) else {
            return None;
        };
        if !self.after_comma && !self.first {
            self.field += 1;
        }
        self.first = false;
        self.after_comma = raw.comma;
        Some(Token { cursor, limit: self.limit, raw, field: self.field })
    }
}
