//! Lists in one value: `SplitIdentifierString`, `SplitDirectoriesString` and `SplitGUCList` of
//! `varlena.c`, and their way back.

use std::fmt;

use pg_version::PgVersion;

/// How the server takes a setting's list apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum ListKind {
    /// Names: `search_path`, `temp_tablespaces`, `log_destination`. Folded to lower case unless in
    /// double quotes; a blank ends one.
    Identifiers,
    /// Paths: `shared_preload_libraries`, `unix_socket_directories`. Blanks inside belong to them.
    Paths,
    /// Words: `listen_addresses`. As they are; a blank ends one.
    Words,
}

impl ListKind {
    /// How the list in setting `name` is read; `None` if it is none.
    #[must_use]
    pub fn of(name: impl AsRef<[u8]>) -> Option<Self> {
        const LISTS: [(&str, ListKind); 17] = [
            ("createrole_self_grant", ListKind::Identifiers),
            ("datestyle", ListKind::Identifiers),
            ("debug_io_direct", ListKind::Words),
            ("listen_addresses", ListKind::Words),
            ("local_preload_libraries", ListKind::Paths),
            ("log_connections", ListKind::Identifiers),
            ("log_destination", ListKind::Identifiers),
            ("oauth_validator_libraries", ListKind::Paths),
            ("output_plugin_libraries", ListKind::Paths),
            ("restrict_nonsystem_relation_kind", ListKind::Identifiers),
            ("search_path", ListKind::Identifiers),
            ("session_preload_libraries", ListKind::Paths),
            ("shared_preload_libraries", ListKind::Paths),
            ("synchronized_standby_slots", ListKind::Identifiers),
            ("temp_tablespaces", ListKind::Identifiers),
            ("unix_socket_directories", ListKind::Paths),
            ("wal_consistency_checking", ListKind::Identifiers),
        ];
        let name = name.as_ref();
        LISTS.iter().find(|(list, _)| list.as_bytes().eq_ignore_ascii_case(name)).map(|list| list.1)
    }
}

/// A list that the server cannot take apart: an empty element, or a double quote that is not closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListSyntax {
    /// The byte where reading stopped, counted from 0.
    pub at: usize,
}

impl fmt::Display for ListSyntax {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("List syntax is invalid.")
    }
}

impl std::error::Error for ListSyntax {}

/// The elements of a list.
///
/// Names are cut after 63 bytes, as the server does.
///
/// ```
/// use pg_version::PgVersion;
/// use pgconf::{ListKind, split_list};
///
/// let libraries = split_list(PgVersion::V17, ListKind::Paths, br#"timescaledb, "My Lib""#)?;
/// assert_eq!(libraries, [b"timescaledb".to_vec(), b"My Lib".to_vec()]);
/// assert!(split_list(PgVersion::V17, ListKind::Identifiers, b"a,,b").is_err());
/// # Ok::<(), pgconf::ListSyntax>(())
/// ```
///
/// # Errors
/// [`ListSyntax`]
pub fn split_list(
    version: PgVersion,
    kind: ListKind,
    list: &[u8],
) -> Result<Vec<Vec<u8>>, ListSyntax> {
    split_list_cut(version, kind, list, Cut::BetweenCharacters)
}

/// [`split_list`], with long names cut there.
pub(super) fn split_list_cut(
    version: PgVersion,
    kind: ListKind,
    list: &[u8],
    cut: Cut,
) -> Result<Vec<Vec<u8>>, ListSyntax> {
    let is_space = |byte: &u8| {
        matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0c)
            // Major 17 added the vertical tab to what its SQL lexer takes for a blank.
            || (*byte == 0x0b && version >= PgVersion::V17)
    };
    let skip = |at: usize| at + list[at..].iter().take_while(|byte| is_space(byte)).count();
    let mut elements = Vec::new();
    let mut at = skip(0);
    if at == list.len() {
        return Ok(elements);
    }
    loop {
        let mut element;
        if list.get(at) == Some(&b'"') {
            element = Vec::new();
            let opened = at;
            at += 1;
            loop {
                let quote = memchr::memchr(b'"', &list[at..]).ok_or(ListSyntax { at: opened })?;
                element.extend_from_slice(&list[at..at + quote]);
                at += quote + 1;
                if list.get(at) != Some(&b'"') {
                    break;
                }
                element.push(b'"');
                at += 1;
            }
        } else {
            let is_end = |byte: &u8| *byte == b',' || (kind != ListKind::Paths && is_space(byte));
            let len = list[at..].iter().take_while(|byte| !is_end(byte)).count();
            let word = &list[at..at + len];
            let blank = word.iter().rev().take_while(|byte| is_space(byte)).count();
            element = word[..len - blank].to_vec();
            if element.is_empty() {
                return Err(ListSyntax { at });
            }
            if kind == ListKind::Identifiers {
                element.make_ascii_lowercase();
            }
            at += len;
        }
        if kind == ListKind::Identifiers {
            truncate_name(&mut element, cut);
        }
        elements.push(element);
        at = skip(at);
        match list.get(at) {
            None => return Ok(elements),
            Some(b',') => at = skip(at + 1),
            Some(_) => return Err(ListSyntax { at }),
        }
    }
}

/// Where a name that is too long is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// Before the character that is too much, as in a session, whose database has an encoding (UTF-8,
    /// supposedly).
    BetweenCharacters,
    /// Anywhere, as in a server that starts: it has no database yet, and a byte is a character to it.
    BetweenBytes,
}

/// Cuts a name as `truncate_identifier` does, after 63 bytes at most.
pub(super) fn truncate_name(name: &mut Vec<u8>, cut: Cut) {
    const NAMEDATALEN: usize = 64;
    if name.len() >= NAMEDATALEN {
        let mut end = NAMEDATALEN - 1;
        while cut == Cut::BetweenCharacters && end > 0 && name[end] & 0xc0 == 0x80 {
            end -= 1;
        }
        name.truncate(end);
    }
}

/// One value out of elements, so that [`split_list`] gives the same elements back: in double quotes
/// where they need it. An element longer than 63 bytes comes back cut where the server cuts names.
///
/// ```
/// use pgconf::{ListKind, join_list};
///
/// let list = join_list(ListKind::Identifiers, ["public", "My Schema", "$user"]);
/// assert_eq!(list, br#"public, "My Schema", "$user""#);
/// ```
#[must_use]
pub fn join_list<E: AsRef<[u8]>>(kind: ListKind, elements: impl IntoIterator<Item = E>) -> Vec<u8> {
    let mut list = Vec::new();
    for (index, element) in elements.into_iter().enumerate() {
        let element = element.as_ref();
        if index > 0 {
            list.extend_from_slice(b", ");
        }
        let is_bare = match kind {
            ListKind::Identifiers => {
                element.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'_')
                    && !element.first().is_none_or(u8::is_ascii_digit)
            }
            ListKind::Paths | ListKind::Words => {
                !element.is_empty()
                    && !element.iter().any(|byte| {
                        byte.is_ascii_whitespace() || matches!(byte, b',' | b'"' | 0x0b)
                    })
            }
        };
        if is_bare {
            list.extend_from_slice(element);
        } else {
            list.push(b'"');
            for byte in element {
                list.extend_from_slice(if *byte == b'"' {
                    b"\"\""
                } else {
                    std::slice::from_ref(byte)
                });
            }
            list.push(b'"');
        }
    }
    list
}
