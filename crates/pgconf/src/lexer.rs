//! The tokens of a line: the rules of the server's `guc-file.l`, the same in majors 12 to 18.
//!
//! A token never spans lines (a quoted string holds no line feed), so the lexer works on one line
//! without its end. Where several rules match, the longest wins, and among equals the first.

use nom::{IResult, Parser as _, branch::alt, bytes::complete::tag, combinator::recognize};
use textfile::Span;

/// What a piece of a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// Letters, digits, `_` and bytes from 0x80 up, not beginning with a digit: `work_mem`, `on`.
    Id,
    /// Two of them joined by a dot: `myapp.mode`. Good as a name, never as an unquoted value.
    QualifiedId,
    /// In single quotes: `'it''s'`.
    String,
    /// An identifier that goes on with `-`, `.`, `:` or `/`: `scram-sha-256`, `certs/server.crt`.
    UnquotedString,
    /// Digits with an optional sign and letters behind: `-1`, `4MB`, `0x1F`.
    Integer,
    /// Digits with a point: `0.5`, `.5`, `1.5e3`. No unit may follow.
    Real,
    /// `=`
    Equals,
    /// A byte that begins nothing.
    Error,
}

impl Token {
    /// Whether the grammar takes it as a value.
    pub(crate) fn is_value(self) -> bool {
        matches!(self, Self::Id | Self::String | Self::UnquotedString | Self::Integer | Self::Real)
    }
}

/// The next token of `line` from byte `at` on; `None` at the line's end or before a comment.
pub(crate) fn next(line: &[u8], at: usize) -> Option<(Token, Span)> {
    let blank = line.get(at..)?.iter().take_while(|byte| is_blank(**byte)).count();
    let start = at + blank;
    let rest = &line[start..];
    let (token, len) = match rest.first()? {
        b'#' => return None,
        b'=' => (Token::Equals, 1),
        b'\'' => match quoted(rest) {
            Some(len) => (Token::String, len),
            None => (Token::Error, 1),
        },
        first if is_letter(*first) => word(rest),
        _ => match number(rest) {
            Some((token, len)) => (token, len),
            None => (Token::Error, 1),
        },
    };
    Some((token, crate::span(start, start + len)))
}

/// What `guc-file.l` eats between tokens. Form feed and vertical tab are not among it.
pub(crate) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r')
}

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn is_letter_or_digit(byte: u8) -> bool {
    is_letter(byte) || byte.is_ascii_digit()
}

/// A token that begins with a letter: ID, QUALIFIED_ID or UNQUOTED_STRING.
fn word(rest: &[u8]) -> (Token, usize) {
    let id = count(rest, is_letter_or_digit);
    let unquoted =
        count(rest, |byte| is_letter_or_digit(byte) || matches!(byte, b'-' | b'.' | b':' | b'/'));
    if unquoted == id {
        return (Token::Id, id);
    }
    let qualified = match &rest[id..] {
        [b'.', first, ..] if is_letter(*first) => {
            id + 1 + count(&rest[id + 1..], is_letter_or_digit)
        }
        _ => 0,
    };
    if qualified == unquoted {
        (Token::QualifiedId, qualified)
    } else {
        (Token::UnquotedString, unquoted)
    }
}

/// The length of the quoted string that `rest` begins with. A backslash takes any byte with it, a
/// doubled quote is part of the string. One that is never closed may still have been closed before
/// its last doubled quote: `'a''b` is the string `'a'` and a stray quote.
fn quoted(rest: &[u8]) -> Option<usize> {
    let mut closed = None;
    let mut at = 1;
    while let Some(found) = memchr::memchr2(b'\'', b'\\', rest.get(at..).unwrap_or_default()) {
        at += found;
        if rest[at] == b'\'' {
            closed = Some(at + 1);
            if rest.get(at + 1) != Some(&b'\'') {
                break;
            }
        }
        at += 2;
    }
    closed
}

/// INTEGER or REAL, whichever is longer.
fn number(rest: &[u8]) -> Option<(Token, usize)> {
    let length_of = |parsed: IResult<&[u8], &[u8]>| parsed.map_or(0, |(_, token)| token.len());
    let integer = length_of(integer(rest));
    let real = length_of(real(rest));
    match (integer, real) {
        (0, 0) => None,
        (integer, real) if integer >= real => Some((Token::Integer, integer)),
        (_, real) => Some((Token::Real, real)),
    }
}

/// `{SIGN}({DIGIT}+|0x{HEXDIGIT}+){UNIT_LETTER}*`
fn integer(input: &[u8]) -> IResult<&[u8], &[u8]> {
    use nom::bytes::complete::{take_while, take_while1};

    let hexadecimal =
        recognize((tag(&b"0x"[..]), take_while1(|byte: u8| byte.is_ascii_hexdigit())));
    recognize((
        sign,
        alt((hexadecimal, take_while1(|byte: u8| byte.is_ascii_digit()))),
        take_while(|byte: u8| byte.is_ascii_alphabetic()),
    ))
    .parse(input)
}

/// `{SIGN}{DIGIT}*"."{DIGIT}*{EXPONENT}?`
fn real(input: &[u8]) -> IResult<&[u8], &[u8]> {
    use nom::{
        bytes::complete::{take_while, take_while1},
        character::complete::one_of,
        combinator::opt,
    };

    let digits = |byte: u8| byte.is_ascii_digit();
    let exponent = recognize((one_of(&b"Ee"[..]), sign, take_while1(digits)));
    recognize((sign, take_while(digits), tag(&b"."[..]), take_while(digits), opt(exponent)))
        .parse(input)
}

fn sign(input: &[u8]) -> IResult<&[u8], &[u8]> {
    use nom::bytes::complete::take_while_m_n;

    take_while_m_n(0, 1, |byte: u8| matches!(byte, b'+' | b'-')).parse(input)
}

fn count(bytes: &[u8], wanted: impl Fn(u8) -> bool) -> usize {
    bytes.iter().take_while(|byte| wanted(**byte)).count()
}
