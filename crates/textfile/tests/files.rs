//! What is on the disk, as parsers that include files see it.
#![cfg(feature = "fs")]

use std::{fs, os::unix::ffi::OsStrExt as _, os::unix::fs::symlink, process::Command};

use textfile::{DiskFiles, FileErrorKind, FileKind, Files as _};

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
    Ok(())
}
