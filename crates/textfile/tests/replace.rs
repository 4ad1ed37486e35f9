//! A replaced file is the old one or the new one, keeps owner, mode and link, and no stranger's
//! change is lost.
#![cfg(feature = "fs")]

use std::{
    env, fs,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _, chown, symlink},
        process::CommandExt as _,
    },
    path::Path,
    process::Command,
};

use textfile::fs::{Access, FsError, Snapshot, create};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn keeps_mode_and_owner() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("file");
    fs::write(&path, "old")?;
    let root = fs::metadata(&path)?.uid() == 0;
    if root {
        std::os::unix::fs::chown(&path, Some(12_345), Some(23_456))?;
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640))?;
    let before = Snapshot::read(&path)?.access();
    let snapshot = Snapshot::read(&path)?.replace(b"new")?;
    assert_eq!(fs::read(&path)?, b"new");
    assert_eq!(snapshot.access(), before);
    assert_eq!(before.mode, 0o640);
    if root {
        assert_eq!((before.uid, before.gid), (12_345, 23_456));
    }
    assert_eq!(names(folder.path()), ["file"]);
    Ok(())
}

/// `chown postgres file` by root leaves root's group, which postgres cannot give a file.
#[test]
fn a_group_is_insisted_on_where_it_may_do_something() -> Outcome {
    const NAME: &str = "a_group_is_insisted_on_where_it_may_do_something";
    const FILE: &str = "TEXTFILE_TEST_OWNERS_FILE";
    const NOBODY: u32 = 65_534;

    if let Some(path) = env::var_os(FILE) {
        Snapshot::read(path)?.replace(b"new")?;
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    if fs::metadata(folder.path())?.uid() != 0 {
        // Nobody else can make a file of a group that is not theirs.
        return Ok(());
    }
    let program = folder.path().join("test");
    fs::copy(env::current_exe()?, &program)?;
    chown(folder.path(), Some(NOBODY), Some(NOBODY))?;
    let path = folder.path().join("file");
    for (mode, now) in [(0o600, "new"), (0o640, "old")] {
        fs::write(&path, "old")?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        chown(&path, Some(NOBODY), Some(0))?;
        let mut owner = Command::new(&program);
        owner.args(["--exact", NAME]).env(FILE, &path).uid(NOBODY).gid(NOBODY);
        let ended = owner.output()?;
        assert_eq!(ended.status.success(), now == "new", "{mode:o} {ended:?}");
        assert_eq!(fs::read_to_string(&path)?, now, "{mode:o}");
        let there = fs::metadata(&path)?;
        assert_eq!((there.uid(), there.mode() & 0o777), (NOBODY, mode));
    }
    Ok(())
}

#[test]
fn keeps_a_symbolic_link() -> Outcome {
    let folder = tempfile::tempdir()?;
    let elsewhere = folder.path().join("etc");
    fs::create_dir(&elsewhere)?;
    let target = elsewhere.join("target");
    fs::write(&target, "old")?;
    let link = folder.path().join("link");
    symlink("etc/target", &link)?;
    Snapshot::read(&link)?.replace(b"new")?;
    assert_eq!(fs::read_link(&link)?, Path::new("etc/target"));
    assert_eq!(fs::read(&target)?, b"new");
    assert_eq!(names(&elsewhere), ["target"]);
    Ok(())
}

#[test]
fn refuses_to_write_over_a_change() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("file");
    fs::write(&path, "old")?;
    let snapshot = Snapshot::read(&path)?;
    fs::write(&path, "theirs")?;
    assert!(matches!(snapshot.replace(b"ours"), Err(FsError::Changed { .. })));
    assert_eq!(fs::read(&path)?, b"theirs");
    fs::remove_file(&path)?;
    assert!(matches!(snapshot.replace(b"ours"), Err(FsError::Changed { .. })));
    assert!(names(folder.path()).is_empty());
    Ok(())
}

#[test]
fn the_same_bytes_leave_the_file_alone() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("file");
    fs::write(&path, "same")?;
    let before = fs::metadata(&path)?.ino();
    Snapshot::read(&path)?.replace(b"same")?;
    assert_eq!(fs::metadata(&path)?.ino(), before);
    Ok(())
}

#[test]
fn creates_whole_and_only_once() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("key");
    create(&path, b"secret", None)?;
    assert_eq!(fs::metadata(&path)?.mode() & 0o7777, 0o600);
    assert!(matches!(create(&path, b"other", None), Err(FsError::Exists { .. })));
    assert_eq!(fs::read(&path)?, b"secret");
    let made = fs::metadata(&path)?;
    let open = folder.path().join("crt");
    create(&open, b"x", Some(Access { mode: 0o644, uid: made.uid(), gid: made.gid() }))?;
    assert_eq!(fs::metadata(&open)?.mode() & 0o7777, 0o644);
    // A dangling link is a name that is taken, too.
    symlink("nowhere", folder.path().join("dangling"))?;
    let dangling = create(&folder.path().join("dangling"), b"x", None);
    assert!(matches!(dangling, Err(FsError::Exists { .. })));
    assert_eq!(names(folder.path()), ["crt", "dangling", "key"]);
    Ok(())
}

#[test]
fn a_folder_or_a_missing_file_is_an_error_with_its_name() -> Outcome {
    let folder = tempfile::tempdir()?;
    assert!(matches!(Snapshot::read(folder.path()), Err(FsError::NotAFile { .. })));
    let missing = Snapshot::read(folder.path().join("missing")).err().map(|e| e.to_string());
    assert!(missing.is_some_and(|text| text.contains("missing")));
    Ok(())
}

#[test]
fn a_pipe_without_a_writer_is_refused_at_once() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&path).status()?.success());
    assert!(matches!(Snapshot::read(&path), Err(FsError::NotAFile { .. })));
    Ok(())
}
