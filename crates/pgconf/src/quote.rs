//! Between a value and how a file spells it: the server's `DeescapeQuotedString`, and back.

use std::borrow::Cow;

use crate::lexer::{self, Token};

/// The value that a quoted string stands for; `token` has both quotes.
///
/// A value ends at its first NUL byte. A NUL that stands in the file itself even takes the
/// character before it away, as in the server, which mistakes that one for the closing quote. (Where
/// the value begins with one, the server takes its value from memory that it never wrote: nothing, as
/// a rule.)
pub(crate) fn unquote(token: &[u8]) -> Cow<'_, [u8]> {
    let token = match memchr::memchr(0, token) {
        None => token,
        Some(nul) => &token[..nul],
    };
    let Some((_quote, inner)) = token.split_first() else { return Cow::Borrowed(token) };
    if let [plain @ .., _last] = inner
        && memchr::memchr2(b'\\', b'\'', plain).is_none()
    {
        return Cow::Borrowed(plain);
    }
    let mut value = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        value.push(match (byte, after) {
            (b'\\', _) => escaped(&mut rest),
            (b'\'', [b'\'', ..]) => {
                rest = &after[1..];
                b'\''
            }
            _ => *byte,
        });
    }
    // The closing quote was taken for a character.
    value.pop();
    if let Some(nul) = memchr::memchr(0, &value) {
        value.truncate(nul);
    }
    Cow::Owned(value)
}

/// The byte that `rest`, what follows a backslash, stands for; `rest` moves behind it.
fn escaped(rest: &mut &[u8]) -> u8 {
    let Some((byte, after)) = rest.split_first() else { return 0 };
    let octal = rest.iter().take(3).take_while(|byte| matches!(byte, b'0'..=b'7')).count();
    if octal > 0 {
        let value =
            rest[..octal].iter().fold(0_u16, |value, digit| value << 3 | u16::from(digit - b'0'));
        *rest = &rest[octal..];
        // The low eight bits of it: \777 is 0xff.
        return value.to_le_bytes()[0];
    }
    *rest = after;
    match byte {
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        other => *other,
    }
}

/// A value in single quotes, as the lexer reads it back: quotes and backslashes doubled, and the
/// control characters that have an escape written with it, so that no tool that meddles with line
/// ends can change the value. (A line feed and NUL cannot stand in a value: see
/// [`EditError`](crate::EditError).)
pub(crate) fn quote(value: &[u8]) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(value.len() + 2);
    quoted.push(b'\'');
    for byte in value {
        match byte {
            b'\'' => quoted.extend_from_slice(b"''"),
            b'\\' => quoted.extend_from_slice(b"\\\\"),
            b'\r' => quoted.extend_from_slice(b"\\r"),
            0x08 => quoted.extend_from_slice(b"\\b"),
            0x0c => quoted.extend_from_slice(b"\\f"),
            other => quoted.push(*other),
        }
    }
    quoted.push(b'\'');
    quoted
}

/// Whether a value can stand without quotes: one token that the grammar takes as a value.
pub(crate) fn fits_unquoted(value: &[u8]) -> bool {
    matches!(
        lexer::next(value, 0),
        Some((token, span))
            if token.is_value() && token != Token::String && span.len() == value.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_as_the_server_reads_them() {
        for (token, value) in [
            (&b"''"[..], &b""[..]),
            (b"''''", b"'"),
            (b"'it\\'s'", b"it's"),
            (b"'a\\tb\\nc\\rd\\be\\ff\\\\g'", b"a\tb\nc\rd\x08e\x0cf\\g"),
            (b"'\\101\\60\\1011\\0'", b"A0A1"),
            (b"'ab\\000cd'", b"ab"),
            (b"'\\777\\400'", b"\xff"),
            (b"'a\\qb\\x41'", b"aqbx41"),
            (b"'\\8\\19\\128'", b"8\x019\n8"),
            (b"'a\0b'", b""),
            (b"'abc\0'", b"ab"),
            (b"'\0'", b""),
            (b"'ab\\\0'", b"ab"),
        ] {
            assert_eq!(unquote(token).as_ref(), value, "{}", String::from_utf8_lossy(token));
        }
    }
}
