//! Paths of included files, made of the including file's folder as the server makes them.

use alloc::{vec, vec::Vec};

use pg_version::PgVersion;

/// `MAXPGPATH - 1`: a longer path is cut off where it is joined.
const LONGEST: usize = 1023;

/// The path of `name` as the file at `outer` includes it: PostgreSQL's `AbsoluteConfigLocation`, or,
/// before 16, what `tokenize_inc_file` does.
pub(crate) fn included(outer: &[u8], name: &[u8], version: PgVersion) -> Vec<u8> {
    if name.starts_with(b"/") {
        return name.to_vec();
    }
    let mut path = parent(&outer[..outer.len().min(LONGEST)]).to_vec();
    join(&mut path, name, version);
    canonicalize(&path, version)
}

/// The path of a file in a folder.
pub(crate) fn in_folder(folder: &[u8], name: &[u8], version: PgVersion) -> Vec<u8> {
    let mut path = folder.to_vec();
    join(&mut path, name, version);
    canonicalize(&path, version)
}

/// `get_parent_directory`
fn parent(path: &[u8]) -> &[u8] {
    match memchr::memrchr(b'/', without_trailing_slashes(path)) {
        Some(0) => b"/",
        Some(slash) => without_trailing_slashes(&path[..slash]),
        None => b"",
    }
}

fn without_trailing_slashes(mut path: &[u8]) -> &[u8] {
    while let [first, .., b'/'] = path {
        let _ = first;
        path = &path[..path.len() - 1];
    }
    path
}

/// `join_path_components`; up to 14 it drops a leading `./`.
fn join(path: &mut Vec<u8>, mut name: &[u8], version: PgVersion) {
    if version < PgVersion::V15 {
        while let Some(rest) = name.strip_prefix(b"./") {
            name = rest;
        }
    }
    if name.is_empty() {
        return;
    }
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path.truncate(LONGEST);
}

/// `canonicalize_path`: up to 14 it looks only at the end of a path.
fn canonicalize(path: &[u8], version: PgVersion) -> Vec<u8> {
    let mut single = Vec::with_capacity(path.len());
    for byte in without_trailing_slashes(path) {
        if *byte != b'/' || single.last() != Some(&b'/') {
            single.push(*byte);
        }
    }
    if version < PgVersion::V15 { canonical_end(single) } else { canonical(&single) }
}

/// Without any `.`, and without `..` where there is something to go back from.
fn canonical(path: &[u8]) -> Vec<u8> {
    let absolute = path.starts_with(b"/");
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()) {
        match (part, parts.last().copied()) {
            (b".", _) => {}
            (b"..", None) if absolute => {}
            (b"..", Some(last)) if last != b".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    let mut out = if absolute { vec![b'/'] } else { Vec::new() };
    out.extend_from_slice(&parts.join(&b'/'));
    if out.is_empty() && !path.is_empty() {
        out.push(b'.');
    }
    out
}

/// Without `.` and `..` at the end.
fn canonical_end(mut path: Vec<u8>) -> Vec<u8> {
    let mut pending = 0;
    loop {
        let last = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let only = last.len() == path.len();
        if last == b"." && !only {
            trim_directory(&mut path);
        } else if last == b"." {
            if pending > 0 {
                path.clear();
            }
            break;
        } else if last == b".." {
            trim_directory(&mut path);
            pending += 1;
        } else if pending > 0 && !path.is_empty() && path != b"/" {
            trim_directory(&mut path);
            pending -= 1;
            if path.is_empty() {
                path.push(b'.');
            }
        } else {
            break;
        }
    }
    if pending > 0 && path != b"/" {
        path.extend_from_slice(&vec![&b".."[..]; pending].join(&b'/'));
    }
    path
}

fn trim_directory(path: &mut Vec<u8>) {
    let len = match memchr::memrchr(b'/', path) {
        Some(0) if path.len() > 1 => 1,
        Some(slash) => slash,
        None => 0,
    };
    path.truncate(len);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_cut_off_where_the_server_has_no_room_for_more() {
        let name = [b'a'; 2000];
        let path = included(b"/d/pg_hba.conf", &name, PgVersion::V16);
        assert_eq!(path.len(), 1023);
        let absolute = [&b"/"[..], &name].concat();
        assert_eq!(included(b"/d/pg_hba.conf", &absolute, PgVersion::V16).len(), 2001);
    }

    #[test]
    fn joins_as_the_majors_do() {
        for (outer, name, old, new) in [
            ("/d/pg_hba.conf", "a", "/d/a", "/d/a"),
            ("/d/pg_hba.conf", "./a", "/d/a", "/d/a"),
            ("/d/pg_hba.conf", "x/./a", "/d/x/./a", "/d/x/a"),
            ("/d/pg_hba.conf", "../a", "/d/../a", "/a"),
            ("/d/pg_hba.conf", "x/../a", "/d/x/../a", "/d/a"),
            ("/d/pg_hba.conf", "x//a/", "/d/x/a", "/d/x/a"),
            ("/d/pg_hba.conf", "x/..", "/d", "/d"),
            ("/d/pg_hba.conf", "../../..", "/", "/"),
            ("/d/pg_hba.conf", "/e/../a", "/e/../a", "/e/../a"),
            ("/pg_hba.conf", "a", "/a", "/a"),
            ("pg_hba.conf", "a", "a", "a"),
            ("pg_hba.conf", "../a", "../a", "../a"),
        ] {
            let path = |version| {
                let path = included(outer.as_bytes(), name.as_bytes(), version);
                alloc::string::String::from_utf8(path).unwrap()
            };
            assert_eq!(path(PgVersion::V14), old, "{outer} {name}");
            assert_eq!(path(PgVersion::V15), new, "{outer} {name}");
        }
    }
}
