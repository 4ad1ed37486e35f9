//! The text of configuration files as it may be kept and shown: with stars for what may be a secret.
//!
//! `pg_hba.conf` has secrets in `ldapbindpasswd` and `radiussecrets`, `postgresql.conf` in connection
//! strings, in commands and in whatever extensions define; comments may hold what was there before.
//! Rather too much is taken for a secret than too little.

use std::borrow::Cow;

/// What stands for a secret, whatever its length is.
pub(crate) const STARS: &str = "********";

/// What the names of secrets have in common.
const SECRETS: [&str; 8] =
    ["passw", "passphrase", "pwd", "secret", "token", "conninfo", "connection_string", "_command"];

/// Settings that are named so and hold none.
const HARMLESS: [&str; 4] = [
    "password_encryption",
    "ssl_passphrase_command_supports_reload",
    "md5_password_warnings",
    "timescaledb.passfile",
];

/// A file's text with stars for what may be a secret, and with U+FFFD for what is no UTF-8; `None` for one
/// that has a private key.
pub(crate) fn text(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    (!text.contains("PRIVATE KEY")).then(|| masked(&text))
}

/// A text with stars for what may be a secret. Its lines keep their numbers.
fn masked(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut lines = text.split_inclusive('\n').peekable();
    while let Some(line) = lines.next() {
        // From 14 on a line of `pg_hba.conf` goes on behind a backslash: what is cut in two is found.
        let (first, end) = ended(line);
        let Some(begin) = first.strip_suffix('\\').filter(|_| lines.peek().is_some()) else {
            out.push_str(&masked_line(first));
            out.push_str(end);
            continue;
        };
        let (mut whole, mut parts) = (begin.to_owned(), vec![line]);
        for next in lines.by_ref() {
            parts.push(next);
            let (next, _) = ended(next);
            whole.push_str(next.strip_suffix('\\').unwrap_or(next));
            if !next.ends_with('\\') {
                break;
            }
        }
        match masked_line(&whole) {
            Cow::Borrowed(_) => out.extend(parts),
            Cow::Owned(shown) => {
                out.push_str(&shown);
                out.push_str(end);
                for part in &parts[1..] {
                    out.push('#');
                    out.push_str(STARS);
                    out.push_str(ended(part).1);
                }
            }
        }
    }
    out
}

/// A line, and how it ends.
fn ended(line: &str) -> (&str, &str) {
    let length = line.trim_end_matches(['\r', '\n']).len();
    line.split_at(length)
}

fn masked_line(line: &str) -> Cow<'_, str> {
    // Letters keep their places.
    let lower = line.to_ascii_lowercase();
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    if let Some(name) = setting(&lower).filter(|(_, name)| is_secret(name)) {
        // The whole value, which may be in several words.
        let end = name.0 + name.1.len();
        let rest = line[end..].trim_start_matches([' ', '\t', '=']);
        let is_given = !matches!(rest.split('#').next().map(str::trim), None | Some("" | "''"));
        return match is_given {
            true => Cow::Owned(format!("{} = '{STARS}'", &line[..end])),
            false => Cow::Borrowed(line),
        };
    }
    let mut out = String::new();
    let mut at = 0;
    while let Some(place) = next_secret(&lower, at) {
        let begin = lower[..place].trim_end_matches(is_name).len();
        let length = lower[begin..].find(|c| !is_name(c)).unwrap_or(lower.len() - begin);
        let end = begin + length;
        if HARMLESS.contains(&&lower[begin..end]) || end <= at {
            out.push_str(&line[at..end.max(at)]);
            at = end.max(at + 1).min(line.len());
            continue;
        }
        let in_comment = lower[..begin].contains('#');
        let rest = &line[end..];
        let blank = rest.len() - rest.trim_start_matches([' ', '\t']).len();
        let is_value = rest[blank..].starts_with('=');
        if in_comment && rest.contains(|c: char| c.is_alphanumeric()) {
            // Whatever it is that the comment says of one.
            out.push_str(&line[at..end]);
            out.push_str(STARS);
            return Cow::Owned(out);
        }
        if !is_value {
            out.push_str(&line[at..end]);
            at = end;
            continue;
        }
        let value = end + blank + 1;
        out.push_str(&line[at..value]);
        out.push_str(STARS);
        at = value + value_length(&line[..value], &line[value..]);
        if at >= line.len() {
            break;
        }
    }
    if let Some(credentials) = in_uri(line, at) {
        out.push_str(&line[at..credentials.0]);
        out.push_str(STARS);
        at = credentials.1;
    }
    if out.is_empty() {
        return Cow::Borrowed(line);
    }
    out.push_str(&line[at.min(line.len())..]);
    if out == line { Cow::Borrowed(line) } else { Cow::Owned(out) }
}

/// The name of a setting and its place, where a line has the form of one, or had it before it became
/// a comment.
fn setting(lower: &str) -> Option<(usize, &str)> {
    let bare = lower.trim_start_matches([' ', '\t', '#']);
    let place = lower.len() - bare.len();
    let end = bare.find([' ', '\t', '='])?;
    let name = &bare[..end];
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    let is_given = bare[end..].trim_start().starts_with(['=', '\'']);
    (is_given && !name.is_empty() && name.chars().all(is_name)).then_some((place, name))
}

fn is_secret(name: &str) -> bool {
    !HARMLESS.contains(&name) && SECRETS.iter().any(|part| name.contains(part))
}

fn next_secret(lower: &str, at: usize) -> Option<usize> {
    let rest = lower.get(at..)?;
    SECRETS.iter().filter_map(|word| rest.find(word)).min().map(|place| at + place)
}

/// How long a value is, quotes and the blanks in them included.
fn value_length(before: &str, rest: &str) -> usize {
    let mut quoted = ['"', '\''].map(|quote| before.matches(quote).count() % 2 == 1);
    // A connection string in quotes ends with them.
    if quoted[1] {
        return rest.rfind('\'').unwrap_or(rest.len());
    }
    for (place, c) in rest.char_indices() {
        match c {
            '"' => quoted[0] = !quoted[0],
            ' ' | '\t' if !quoted[0] => return place,
            _ => {}
        }
    }
    rest.len()
}

/// The user and the password of a URI, `//user:password@`.
fn in_uri(line: &str, at: usize) -> Option<(usize, usize)> {
    let begin = at + line.get(at..)?.find("://")? + 3;
    let end = begin + line[begin..].find([' ', '\t', '\'', '"', '/']).unwrap_or(line.len() - begin);
    let host = begin + line[begin..end].rfind('@')?;
    line[begin..host].contains(':').then_some((begin, host))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_way_to_write_one() {
        for (line, shown) in [
            ("a ldapbindpasswd=hunter2 b", "a ldapbindpasswd=******** b"),
            ("a \"ldapbindpasswd=hunter2 x\" b", "a \"ldapbindpasswd=******** b"),
            ("a ldapbindpasswd=\"hunter2 x\" b", "a ldapbindpasswd=******** b"),
            ("a LDAPBINDPASSWD=hunter2", "a LDAPBINDPASSWD=********"),
            ("a radiussecrets=\"hunter2\",\"hunter2\" x", "a radiussecrets=******** x"),
            (
                "a radiussecrets=hunter2 ldapbindpasswd=hunter2 x",
                "a radiussecrets=******** ldapbindpasswd=******** x",
            ),
            ("a ldapbindpasswd=\\\nhunter2 b\nc\n", "a ldapbindpasswd=******** b\n#********\nc\n"),
            ("a ldapbindpa\\\r\nsswd=hunter2\r\n", "a ldapbindpasswd=********\r\n#********\r\n"),
            ("# ldap ldapbindpasswd=hunter2 x", "# ldap ldapbindpasswd********"),
            ("# the old password was hunter2", "# the old password********"),
            ("primary_conninfo = 'password=hunter2' # x", "primary_conninfo = '********'"),
            ("#Primary_Conninfo 'password=hunter2'", "#Primary_Conninfo = '********'"),
            ("restore_command='PGPASSWORD=hunter2 cp'", "restore_command = '********'"),
            ("ext.api_token = hunter2", "ext.api_token = '********'"),
            ("ext.dsn = 'host=a password=hunter2 b=c'", "ext.dsn = 'host=a password=********'"),
            ("ext.url = 'postgres://u:hunter2@h/d'", "ext.url = 'postgres://********@h/d'"),
        ] {
            assert_eq!(masked(line), shown, "{line}");
        }
        for line in [
            "local all all peer",
            "host all all all password",
            "host all all all password clientcert=verify-ca",
            "# host all all 10.0.0.0/8 password",
            "password_encryption = 'scram-sha-256'",
            "timescaledb.passfile = '/x'",
            "ssl_key_file = 'server.key' # 0600",
            "primary_conninfo = ''",
            "#ssl_passphrase_command = ''",
            "log_line_prefix = 'a\\\n",
            "host all all \\\n 10.0.0.0/8 \\\n trust\n",
        ] {
            assert_eq!(masked(line), line);
        }
    }

    #[test]
    fn a_key_is_not_kept() {
        assert_eq!(text(b"-----BEGIN PRIVATE KEY-----\n"), None);
        assert_eq!(text(b"f\xfcr\n").as_deref(), Some("f\u{fffd}r\n"));
    }

    proptest! {
        /// Nothing behind the name of a secret is left, and every line stays where it is.
        #[test]
        fn no_secret_and_no_line_is_lost(
            before in "[a-z#\"' \\\\\n=é]{0,12}",
            name in "ldapbindpasswd|radiussecrets|x\\.password",
            after in "[a-z#\"' \\\\\n=é:/@]{0,12}",
        ) {
            let line = format!("{before}{name}=hunter2{after}");
            let shown = masked(&line);
            prop_assert!(!shown.contains("hunter2"), "{line:?} {shown:?}");
            prop_assert_eq!(shown.matches('\n').count(), line.matches('\n').count());
        }
    }
}
