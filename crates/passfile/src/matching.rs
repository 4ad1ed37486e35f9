//! How libpq compares a line with a connection, and what it takes for the password.
//!
//! libpq does not split a line on colons. It walks along the line and the value that it looks for:
//! a colon ends the field only where the value has ended too. So `::1:5432:...` matches host `::1`
//! though the colons are not escaped, and what a line's fields are depends on who asks.

use pg_version::PgVersion;
use zeroize::Zeroizing;

use crate::{
    entry::{Field, FieldName},
    lines::Text,
    secret::Password,
};

/// Where a line turned out not to match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mismatch {
    pub(crate) field: FieldName,
    /// The byte, counted from 0, at which the line differs.
    pub(crate) offset: usize,
    /// Whether the line ended there.
    pub(crate) ended: bool,
}

/// `passwordFromFile`'s test of one line, its line end stripped: where the password starts.
#[inline]
pub(crate) fn password_start(line: &[u8], tokens: &[&[u8]; 4]) -> Result<usize, Mismatch> {
    let mut offset = 0;
    for (field, token) in FieldName::KEY.into_iter().zip(tokens) {
        match field_end(line, offset, token) {
            Ok(after) => offset = after,
            Err(offset) => {
                return Err(Mismatch { field, offset, ended: offset >= line.len() });
            }
        }
    }
    Ok(offset)
}

/// How a line answers to everything that these fields ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Coverage {
    /// Where the password starts.
    pub(crate) password: usize,
    /// Whether the line asks for no more than the fields do.
    pub(crate) same: bool,
}

/// Walks a line, its line end stripped, along fields as libpq walks it along values; `None` if some
/// connection that the fields ask for does not match.
pub(crate) fn coverage(line: &[u8], fields: &[Field<'_>; 4]) -> Option<Coverage> {
    let mut coverage = Coverage { password: 0, same: true };
    for field in fields {
        let at = coverage.password;
        let is_star = line[at..].starts_with(b"*:");
        coverage.password = match field {
            _ if is_star => at + 2,
            Field::Exactly(value) => field_end(line, at, value.as_bytes()).ok()?,
            Field::Any => return None,
        };
        coverage.same &= is_star == (*field == Field::Any);
    }
    Some(coverage)
}

/// `pwdfMatchesString`: where the next field starts, or where this one differs.
#[inline]
fn field_end(line: &[u8], start: usize, token: &[u8]) -> Result<usize, usize> {
    let field = &line[start..];
    if field.starts_with(b"*:") {
        return Ok(start + 2);
    }
    let mut at = 0;
    let mut token = token.iter();
    loop {
        let Some(&byte) = field.get(at) else { return Err(start + at) };
        let wanted = token.next();
        if byte == b':' && wanted.is_none() {
            return Ok(start + at + 1);
        }
        let escaped = usize::from(byte == b'\\');
        if wanted.is_none() || field.get(at + escaped) != wanted {
            return Err(start + at);
        }
        at += escaped + 1;
    }
}

/// A line without its line end.
///
/// 13 and later strip every CR and LF at the end (`pg_strip_crlf`); 12 strips one LF, and one CR
/// before that.
#[inline]
pub(crate) fn strip_line_end(line: &[u8], version: PgVersion) -> &[u8] {
    let end = if version >= PgVersion::V13 {
        line.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |last| last + 1)
    } else {
        match line {
            [text @ .., b'\r', b'\n'] => text.len(),
            [text @ .., b'\n'] => text.len(),
            text => text.len(),
        }
    };
    &line[..end]
}

/// The password that starts at `start` of a line without its line end.
pub(crate) fn password(text: Text<'_>, start: usize, end: usize) -> Password<'_> {
    match text {
        Text::Lent(line) => lent_password(&line[start..end]),
        Text::Joined(line) => Password::own(unescape(password_field(&line[start..end]))),
    }
}

/// The password in the rest of a line.
pub(crate) fn lent_password(rest: &[u8]) -> Password<'_> {
    let field = password_field(rest);
    if memchr::memchr(b'\\', field).is_none() {
        Password::lent(field)
    } else {
        Password::own(unescape(field))
    }
}

/// The rest of a line up to its first colon that is not escaped.
pub(crate) fn password_field(rest: &[u8]) -> &[u8] {
    &rest[..field_length(rest)]
}

/// Bytes up to the first colon that is not escaped.
pub(crate) fn field_length(rest: &[u8]) -> usize {
    let mut at = 0;
    while let Some(found) = memchr::memchr2(b'\\', b':', &rest[at..]) {
        at += found;
        if rest[at] == b':' {
            return at;
        }
        at = (at + 2).min(rest.len());
    }
    rest.len()
}

/// Drops the backslashes that escape something; one at the very end stands for itself.
pub(crate) fn unescape(field: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut plain = Zeroizing::new(Vec::with_capacity(field.len()));
    let mut bytes = field.iter();
    while let Some(&byte) = bytes.next() {
        if byte == b'\\' {
            plain.push(*bytes.next().unwrap_or(&byte));
        } else {
            plain.push(byte);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(line: &str, tokens: [&str; 4]) -> bool {
        password_start(line.as_bytes(), &tokens.map(str::as_bytes)).is_ok()
    }

    #[test]
    fn matching_follows_the_value_not_the_colons() {
        assert!(matches("::1:5432:app:bob:pw", ["::1", "5432", "app", "bob"]));
        assert!(matches(r"\:\:1:5432:app:bob:pw", ["::1", "5432", "app", "bob"]));
        assert!(matches("a:*:p:d:u:pw", ["a:*", "p", "d", "u"]));
        assert!(matches("a:*:p:d:u:pw", ["a", "x", "p", "d:u"]));
        assert!(!matches(r"h:p:d:bob\:pw", ["h", "p", "d", "bob"]));
        assert!(!matches(r"h:p:d:u\", ["h", "p", "d", "u\\"]));
    }

    #[test]
    fn a_line_covers_what_it_matches_whatever_the_rest_is() {
        let host = |host: &'static str| [host.into(), Field::Any, Field::Any, Field::Any];
        let covers = |line: &str, fields| coverage(line.as_bytes(), &fields);
        let expected = |password, same| Some(Coverage { password, same });
        assert_eq!(covers("h:*:*:*:pw", host("h")), expected(8, true));
        assert_eq!(covers("*:*:*:*:pw", host("h")), expected(8, false));
        assert_eq!(covers(r"\*:*:*:*:pw", host("*")), expected(9, true));
        assert_eq!(covers("*:*:*:*:pw", host("*")), expected(8, false));
        assert_eq!(covers("::1:*:*:*:pw", host("::1")), expected(10, true));
        assert_eq!(covers("h:5432:*:*:pw", host("h")), None);
        assert_eq!(covers("h:*:*:*", host("h")), None);
    }

    #[test]
    fn a_mismatch_says_where() {
        let tokens = ["h", "5432", "d", "u"].map(str::as_bytes);
        let mismatch = |line: &str| password_start(line.as_bytes(), &tokens).unwrap_err();
        let expected = |field, offset, ended| Mismatch { field, offset, ended };
        assert_eq!(mismatch("h:5433:d:u:"), expected(FieldName::Port, 5, false));
        assert_eq!(mismatch("h:5432:d"), expected(FieldName::Database, 8, true));
        assert_eq!(mismatch("hh:5432:d:u:"), expected(FieldName::Host, 1, false));
        assert_eq!(mismatch(""), expected(FieldName::Host, 0, true));
    }

    #[test]
    fn unescaping() {
        for (field, plain) in
            [("a", "a"), (r"a\:b", "a:b"), (r"a\\", r"a\"), (r"a\", r"a\"), (r"\n", "n")]
        {
            assert_eq!(unescape(field.as_bytes()).as_slice(), plain.as_bytes(), "{field}");
        }
        assert_eq!(password_field(br"a\\:b"), br"a\\");
        assert_eq!(password_field(br"a\:b"), br"a\:b");
        assert_eq!(password_field(br"a\"), br"a\");
    }
}
