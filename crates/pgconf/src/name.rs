//! Names of settings: how they are compared, which can stand in a file, which are old ones.

use pg_version::PgVersion;

use crate::lexer::{self, Token};

/// Whether two names are the same to the server, which folds the letters A to Z and no others
/// (`guc_name_compare`).
#[must_use]
pub(crate) fn names_eq(one: &[u8], other: &[u8]) -> bool {
    one.eq_ignore_ascii_case(other)
}

/// The name that the server takes an old one for (`map_old_guc_names`); any other name as it is.
#[must_use]
pub(crate) fn current_name(version: PgVersion, name: &[u8]) -> &[u8] {
    const OLD: [(&[u8], &[u8], PgVersion); 3] = [
        (b"sort_mem", b"work_mem", PgVersion::V12),
        (b"vacuum_mem", b"maintenance_work_mem", PgVersion::V12),
        (b"ssl_ecdh_curve", b"ssl_groups", PgVersion::V18),
    ];
    OLD.iter()
        .find(|(old, _, since)| version >= *since && names_eq(old, name))
        .map_or(name, |(_, new, _)| new)
}

/// Whether two names mean the same setting in `version`: in any case, old or new.
#[must_use]
pub(crate) fn same_setting(version: PgVersion, one: &[u8], other: &[u8]) -> bool {
    names_eq(current_name(version, one), current_name(version, other))
}

/// Whether the file's grammar takes a name: an identifier, or two with a dot between them.
#[must_use]
pub(crate) fn fits_file(name: &[u8]) -> bool {
    matches!(
        lexer::next(name, 0),
        Some((Token::Id | Token::QualifiedId, span)) if span.len() == name.len()
    )
}

/// A name as an SQL command needs it: bare where it may be, else in double quotes.
pub(crate) fn for_sql(name: &[u8]) -> String {
    let part = |part: &str| {
        let bare = part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if bare { part.to_owned() } else { format!("\"{}\"", part.replace('"', "\"\"")) }
    };
    let name = String::from_utf8_lossy(name);
    name.split('.').map(part).collect::<Vec<_>>().join(".")
}
