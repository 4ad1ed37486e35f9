//! Files in memory answer as those of a real file system do.
#![cfg(feature = "fs")]

use std::{fs, os::unix::ffi::OsStrExt as _};

use textfile::{DiskFiles, Files as _, MemoryFiles};

#[test]
fn memory_answers_as_a_disk_does() {
    let root = tempfile::tempdir().unwrap();
    let at = |path: &str| [root.path().as_os_str().as_bytes(), b"/", path.as_bytes()].concat();
    let mut memory = MemoryFiles::default();
    for (path, text) in [("a", "1"), ("d/b.conf", "2"), ("d/e/c", ""), ("d.x", "3")] {
        let file = root.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
        memory.insert(at(path), text);
    }
    fs::create_dir(root.path().join("empty")).unwrap();
    memory.insert_dir(at("empty"));
    let (long, longer) = ("n".repeat(255), "n".repeat(256));
    let deep = "d/../".repeat(1000);
    for path in [
        "a",
        "a/",
        "a/.",
        "a/..",
        "a/b",
        "a/b/c",
        "d",
        "d/",
        "d/.",
        "d//b.conf",
        "d/b.conf",
        "d/./b.conf",
        "d/e/../b.conf",
        "d/nosuch",
        "nosuch",
        "nosuch/",
        "nosuch/../a",
        "d/../a",
        "empty",
        "empty/x",
        "d.x",
        "d.",
        ".",
        "./a",
        &long,
        &longer,
        &deep,
    ] {
        let path = at(path);
        let shown = String::from_utf8_lossy(&path).into_owned();
        assert_eq!(memory.read(&path), DiskFiles.read(&path), "{shown}");
        let sorted = |list: Result<Vec<_>, _>| {
            list.map(|mut names: Vec<(Vec<u8>, _)>| {
                names.sort_by(|one, other| one.0.cmp(&other.0));
                names
            })
        };
        assert_eq!(sorted(memory.list(&path)), sorted(DiskFiles.list(&path)), "{shown}");
    }
}
