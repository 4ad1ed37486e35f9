//! Secrets in `pg_hba.conf`: what must not be shown of a line.

use std::ops::Range;

use crate::frame::diagnostic::{self, Secrets};

/// Options whose values are secrets.
const SECRET: [&[u8]; 2] = [b"ldapbindpasswd", b"radiussecrets"];

/// Where in a file secrets are, whether the server could read their lines or not. Rather too much is
/// taken for a secret than too little.
pub(super) fn find(bytes: &[u8]) -> Secrets {
    let mut found = Secrets::new();
    let mut start = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let mut at = 0;
        while let Some(secret) = next(line, at) {
            at = secret.end;
            found.push(start + secret.start..start + secret.end);
        }
        start += line.len();
    }
    found
}

/// The next secret of a line from `at` on.
fn next(line: &[u8], at: usize) -> Option<Range<usize>> {
    let name = SECRET.iter().filter_map(|name| {
        let rest = line.get(at..)?;
        let place = rest.windows(name.len()).position(|part| part.eq_ignore_ascii_case(name))?;
        Some(at + place + name.len())
    });
    let mut start = name.min()?;
    if line.get(start) == Some(&b'=') {
        start += 1;
    }
    let rest = &line[start..];
    let end = rest.iter().position(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
    let mut end = start + end.unwrap_or(rest.len());
    // With quotes a secret may have blanks; where it ends then is not worth a mistake.
    if line[..end].contains(&b'"') || line[..end].ends_with(b"\\") {
        end = line.len() - line.iter().rev().take_while(|byte| byte.is_ascii_whitespace()).count();
    }
    (start < end).then_some(start..end).or(Some(start..start + 1)).filter(|_| start < line.len())
}

/// The bytes with stars in the place of secrets.
pub(super) fn masked(bytes: &[u8]) -> Vec<u8> {
    diagnostic::masked(bytes, &find(bytes))
}

/// Whether there is a secret in the text.
pub(super) fn is_in(text: &[u8]) -> bool {
    !find(text).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_one() {
        for (line, shown) in [
            ("a ldapbindpasswd=pw b\n", "a ldapbindpasswd=******** b\n"),
            ("a ldapbindpasswd=p,w b", "a ldapbindpasswd=******** b"),
            ("a \"ldapbindpasswd=p w\" b\n", "a \"ldapbindpasswd=********\n"),
            ("a ldapbindpasswd=\"p w\" b\r\n", "a ldapbindpasswd=********\r\n"),
            ("radiussecrets=\"one\",\"two\" x\n", "radiussecrets=********\n"),
            ("LDAPBINDPASSWD=pw", "LDAPBINDPASSWD=********"),
            (
                "radiussecrets=one ldapbindpasswd=two\n",
                "radiussecrets=******** ldapbindpasswd=********\n",
            ),
            ("local all all peer\n", "local all all peer\n"),
        ] {
            assert_eq!(String::from_utf8(masked(line.as_bytes())).unwrap(), shown);
        }
        for line in ["ldapbindpasswd", "ldapbindpasswd=", "ldapbindpasswd= x\n", "ldapbindpasswd\n"]
        {
            masked(line.as_bytes());
        }
    }
}
