//! Passwords in settings: what must not be shown unless it is asked for.

use std::ops::Range;

use cluster::conninfo::ConnInfo;
use pgconf::{ConfFile, ConfLine};

use crate::frame::{
    diagnostic::{self, Secrets},
    text::lossy,
};

/// Whether a setting's value is a connection string, which may have a password in it.
fn is_conninfo(name: &[u8]) -> bool {
    let name = name.to_ascii_lowercase();
    name.ends_with(b"conninfo") || name.ends_with(b"connection_string") || name.ends_with(b"dsn")
}

/// Whether a value has a password in it.
pub(super) fn is_in(name: &[u8], value: &[u8]) -> bool {
    is_conninfo(name)
        && match String::from_utf8_lossy(value).parse::<ConnInfo>() {
            Ok(conninfo) => conninfo.has_secret(),
            // What cannot be read may have anything in it.
            Err(_) => !value.is_empty(),
        }
}

/// A value as it may be shown.
pub(super) fn shown(name: &[u8], value: &[u8]) -> String {
    if !is_in(name, value) {
        return lossy(value);
    }
    match String::from_utf8_lossy(value).parse::<ConnInfo>() {
        Ok(conninfo) => conninfo.to_masked_text(),
        Err(_) => "********".to_owned(),
    }
}

/// Where in a file secrets are: values that have one, and what follows the word "password" in
/// comments and in lines that cannot be read.
pub(super) fn find(file: &ConfFile) -> Secrets {
    find_with(file, None)
}

/// The same, with the value of this line, from 1, taken for a secret whatever it is.
fn find_with(file: &ConfFile, secret_line: Option<usize>) -> Secrets {
    let mut found = Secrets::new();
    let mut start = 0;
    for (index, (line, text)) in file.lines().zip(file.document().lines()).enumerate() {
        if let Some(secret) = in_line(&line, secret_line == Some(index + 1)) {
            found.push(start + secret.start..start + secret.end);
        }
        start += text.bytes().len();
    }
    found
}

fn in_line(line: &ConfLine<'_>, is_secret: bool) -> Option<Range<usize>> {
    let text = line.text();
    if let (Some(name), Some(raw), Some(value)) = (line.name(), line.raw_value(), line.value()) {
        if !is_secret && !is_in(name, &value) {
            return None;
        }
        let start = name.len();
        let at = text[start..].windows(raw.len()).position(|part| part == raw)?;
        return Some(start + at..start + at + raw.len());
    }
    // A template line that was in use once, or a line that is damaged.
    let lower = text.to_ascii_lowercase();
    let at = lower.windows(8).position(|part| part == b"password")? + 8;
    let words = [&b"conninfo"[..], b"connection_string", b"dsn"];
    let named = words.iter().any(|word| lower.windows(word.len()).any(|part| part == *word));
    (named && at < text.len()).then_some(at..text.len())
}

/// A file's bytes with stars in the place of secrets.
pub(super) fn masked(file: &ConfFile) -> Vec<u8> {
    masked_with(file, None)
}

/// The same, with stars for the value of this line, from 1, whatever it is.
pub(super) fn masked_with(file: &ConfFile, secret_line: Option<usize>) -> Vec<u8> {
    diagnostic::masked(&file.to_bytes(), &find_with(file, secret_line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_stars() {
        for (line, shown) in [
            ("primary_conninfo = 'host=a password=pw'\n", "primary_conninfo = ********\n"),
            ("primary_conninfo = 'host=a'\n", "primary_conninfo = 'host=a'\n"),
            (
                "#primary_conninfo = 'host=a password=pw'\n",
                "#primary_conninfo = 'host=a password********\n",
            ),
            ("primary_conninfo = 'password=pw\n", "primary_conninfo = 'password********\n"),
            ("password_encryption = md5 # (dsn)\n", "password_encryption = md5 # (dsn)\n"),
        ] {
            let file = ConfFile::new(line.as_bytes());
            assert_eq!(String::from_utf8(masked(&file)).unwrap(), shown);
        }
        assert_eq!(
            super::shown(b"primary_conninfo", b"host=a password=pw"),
            "host=a password=********"
        );
    }
}
