//! Where an included file is: `AbsoluteConfigLocation` and the path functions below it
//! (`src/port/path.c`), whose idea of a tidy path changed with major 15. It shows in the file names
//! that a server reports, and in what it takes for the same file.

use pg_version::PgVersion;

/// A server's longest path (`MAXPGPATH`, with its terminating NUL); longer ones are cut.
const MAX_LEN: usize = 1024 - 1;

/// Where `location` is, named in the file `from`: beside it, unless it is absolute.
pub(crate) fn absolute(version: PgVersion, location: &[u8], from: &[u8]) -> Vec<u8> {
    if location.first() == Some(&b'/') {
        return location.to_vec();
    }
    let folder = &from[..without_last(from)];
    join(version, folder, location)
}

/// `folder/name`, tidied.
pub(crate) fn join(version: PgVersion, folder: &[u8], name: &[u8]) -> Vec<u8> {
    let mut name = name;
    if version < PgVersion::V15 {
        while let Some(rest) = name.strip_prefix(b"./") {
            name = rest;
        }
    }
    let mut path = folder.to_vec();
    if !name.is_empty() {
        if !folder.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
    }
    path.truncate(MAX_LEN);
    tidy(version, path)
}

/// `canonicalize_path`.
pub(crate) fn tidy(version: PgVersion, mut path: Vec<u8>) -> Vec<u8> {
    while path.len() > 1 && path.last() == Some(&b'/') {
        path.pop();
    }
    path.dedup_by(|next, before| *next == b'/' && *before == b'/');
    if version < PgVersion::V15 { strip_trailing_dots(path) } else { resolve_dots(&path) }
}

/// Majors 12 to 14 resolve `.` and `..` at the path's end only.
fn strip_trailing_dots(mut path: Vec<u8>) -> Vec<u8> {
    let mut pending = 0;
    loop {
        if path.ends_with(b"/.") {
            path.truncate(without_last(&path));
        } else if path == b"." {
            // A lone "." stays, but "./.." becomes "..".
            if pending > 0 {
                path.clear();
            }
            break;
        } else if path.ends_with(b"/..") || path == b".." {
            path.truncate(without_last(&path));
            pending += 1;
        } else if pending > 0 && !path.is_empty() {
            let before = path.len();
            path.truncate(without_last(&path));
            pending -= 1;
            if path.is_empty() {
                path.push(b'.');
            }
            if path.len() == before {
                // The root is its own parent.
                break;
            }
        } else {
            break;
        }
    }
    if pending > 0 && path.first() != Some(&b'/') {
        for _ in 1..pending {
            path.extend_from_slice(b"../");
        }
        path.extend_from_slice(b"..");
    }
    path
}

/// From 15 on every `.` and `..` is resolved.
fn resolve_dots(path: &[u8]) -> Vec<u8> {
    if path.is_empty() {
        return Vec::new();
    }
    let absolute = path.first() == Some(&b'/');
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")) {
        match (part, parts.last()) {
            (b"..", Some(last)) if *last != b".." => {
                parts.pop();
            }
            (b"..", None) if absolute => {}
            _ => parts.push(part),
        }
    }
    let mut resolved = if absolute { b"/".to_vec() } else { Vec::new() };
    resolved.extend_from_slice(&parts.join(&b'/'));
    if resolved.is_empty() {
        resolved.push(b'.');
    }
    resolved
}

/// How much of `path` its folder is (`trim_directory`).
fn without_last(path: &[u8]) -> usize {
    let Some(last) = path.iter().rposition(|byte| *byte != b'/') else {
        return path.len().min(1);
    };
    let Some(slash) = path[..last].iter().rposition(|byte| *byte == b'/') else {
        return 0;
    };
    match path[..slash].iter().rposition(|byte| *byte != b'/') {
        Some(end) => end + 1,
        // The root stays.
        None => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_a_file_beside_the_one_that_names_it() {
        let at = |version, location: &str| {
            let path = absolute(version, location.as_bytes(), b"/etc/pg/postgresql.conf");
            String::from_utf8(path).unwrap()
        };
        for (location, old, new) in [
            ("x.conf", "/etc/pg/x.conf", "/etc/pg/x.conf"),
            ("./x.conf", "/etc/pg/x.conf", "/etc/pg/x.conf"),
            ("a//b/./x.conf", "/etc/pg/a/b/./x.conf", "/etc/pg/a/b/x.conf"),
            ("../x.conf", "/etc/pg/../x.conf", "/etc/x.conf"),
            ("a/..", "/etc/pg", "/etc/pg"),
            ("..", "/etc", "/etc"),
            ("../../../..", "/", "/"),
            (".", "/etc/pg", "/etc/pg"),
            ("d/", "/etc/pg/d", "/etc/pg/d"),
            ("/a/../b", "/a/../b", "/a/../b"),
        ] {
            assert_eq!(at(PgVersion::V14, location), old, "{location}");
            assert_eq!(at(PgVersion::V15, location), new, "{location}");
        }
        for (name, old, new) in [("../x", "../x", "../x"), ("a/..", ".", "."), ("..", "..", "..")] {
            let relative = |version| join(version, b"", name.as_bytes());
            assert_eq!(relative(PgVersion::V12), old.as_bytes(), "{name}");
            assert_eq!(relative(PgVersion::V18), new.as_bytes(), "{name}");
        }
    }
}
