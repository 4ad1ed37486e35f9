//! What is on the disk, as parsers that include files see it.
#![cfg(feature = "fs")]

use std::{fs, os::unix::ffi::OsStrExt as _, os::unix::fs::symlink, process::Command};

use textfile::{DiskFiles, FileErrorKind, FileKind, Files as _, MemoryFiles};

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[test]
fn tells_what_names_stand_for() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path();
    fs::write(path.join("file"), "x")?;
    fs::create_dir(path.join("folder"))?;
    symlink("file", path.join("to file"))?;
    symlink("folder", path.join("to folder"))?;
    symlink("nothing", path.join("to nothing"))?;
    symlink("to itself", path.join("to itself"))?;
    let mut names = DiskFiles.list(path.as_os_str().as_bytes())?;
    names.sort_by(|one, other| one.0.cmp(&other.0));
    let expected = [
        ("file", FileKind::File),
        ("folder", FileKind::Directory),
        ("to file", FileKind::File),
        ("to folder", FileKind::Directory),
        ("to itself", FileKind::Dangling),
        ("to nothing", FileKind::Dangling),
    ];
    assert_eq!(names, expected.map(|(name, kind)| (name.as_bytes().to_vec(), kind)));
    Ok(())
}

#[test]
fn knows_a_file_by_all_of_its_names() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    fs::write(path("file"), "x")?;
    fs::create_dir(path("folder"))?;
    symlink("../file", path("folder/link"))?;
    let canonical = |name: &str| DiskFiles.canonical(path(name).as_os_str().as_bytes());
    assert_eq!(canonical("folder/link"), canonical("folder/.././file"));
    assert!(canonical("file").is_some() && canonical("nothing").is_none());

    let mut memory = MemoryFiles::default();
    memory.insert("/a/b", "x");
    assert_eq!(memory.canonical(b"/a/../a//b"), Some(b"/a/b".to_vec()));
    assert_eq!(memory.canonical(b"/a/c"), None);
    Ok(())
}

#[test]
fn reads_files_and_nothing_else() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    let read = |name: &str| DiskFiles.read(path(name).as_os_str().as_bytes());
    fs::write(path("file"), "x")?;
    symlink("itself", path("itself"))?;
    assert!(Command::new("mkfifo").arg(path("pipe")).status()?.success());
    assert_eq!(read("file")?, b"x");
    let kind = |name: &str| read(name).map_err(|error| error.kind);
    assert_eq!(kind("nothing"), Err(FileErrorKind::NotFound));
    assert_eq!(kind("."), Err(FileErrorKind::IsADirectory));
    assert_eq!(kind("file/x"), Err(FileErrorKind::NotADirectory));
    assert_eq!(kind("itself"), Err(FileErrorKind::Other));
    // Nobody writes to it: a server would wait.
    assert_eq!(kind("pipe"), Ok(Vec::new()));
    // A device may have no end.
    assert_eq!(DiskFiles.read(b"/dev/null")?, b"");
    assert_eq!(DiskFiles.read(b"/dev/zero").map_err(|error| error.kind), Err(FileErrorKind::Other));
    Ok(())
}
