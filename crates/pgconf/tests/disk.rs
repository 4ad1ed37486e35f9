//! Files on disk: what is kept of them, and what a killed writer leaves.
#![cfg(feature = "fs")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _, symlink},
        process::ExitStatusExt as _,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use pg_version::PgVersion;
use pgconf::{Problem, Unset, fs::Stored};
use textfile::fs::FsError;

fn open(folder: &Path) -> Stored {
    Stored::open(folder.join("postgresql.conf"), Some(folder), PgVersion::V17).unwrap()
}

#[test]
fn keeps_mode_and_link_and_reads_what_is_included() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let real = folder.join("real.conf");
    fs::write(&real, "include_dir 'conf.d'\ninclude 'sub'\nport = 1\r\n").unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
    symlink("real.conf", folder.join("postgresql.conf")).unwrap();
    fs::create_dir_all(folder.join("conf.d")).unwrap();
    fs::create_dir_all(folder.join("sub")).unwrap();
    fs::write(folder.join("conf.d/a.conf"), "ssl = off").unwrap();
    fs::write(folder.join("postgresql.auto.conf"), "work_mem = '8MB'\n").unwrap();

    let mut stored = open(folder);
    let problems: Vec<_> = stored.configuration.problems().map(|problem| problem.what).collect();
    assert_eq!(problems, [Problem::Unreadable]);
    assert_eq!(stored.configuration.get("work_mem").as_deref(), Some(&b"8MB"[..]));
    stored.configuration.set("port", "2").unwrap();
    stored.configuration.set("ssl", "on").unwrap();
    assert_eq!(stored.save().unwrap().len(), 2);
    assert_eq!(fs::read(&real).unwrap(), b"include_dir 'conf.d'\ninclude 'sub'\nport = 2\r\n");
    assert_eq!(fs::read(folder.join("conf.d/a.conf")).unwrap(), b"ssl = on");
    assert_eq!(fs::metadata(&real).unwrap().mode() & 0o7777, 0o640);
    assert!(folder.join("postgresql.conf").is_symlink());

    // Nothing to do: nothing is written. Then somebody else writes.
    assert_eq!(stored.save().unwrap().len(), 0);
    stored.configuration.set("port", "3").unwrap();
    fs::write(&real, "port = 99\n").unwrap();
    assert!(matches!(stored.save(), Err(FsError::Changed { .. })));
    assert_eq!(fs::read(&real).unwrap(), b"port = 99\n");
}

/// A file that is included twice, by its name and by a link, is one file.
#[test]
fn one_file_by_two_names() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let main = "include 'a.conf'\ninclude 'b.conf'\n";
    fs::write(folder.join("postgresql.conf"), main).unwrap();
    fs::write(folder.join("a.conf"), "port = 1\nssl = off\n").unwrap();
    symlink("a.conf", folder.join("b.conf")).unwrap();
    let mut stored = open(folder);
    stored.configuration.unset("port", Unset::Remove).unwrap();
    stored.configuration.set("ssl", "on").unwrap();
    stored.configuration.set("work_mem", "8MB").unwrap();
    assert_eq!(stored.configuration.problems().count(), 0);
    stored.save().unwrap();
    assert_eq!(fs::read(folder.join("a.conf")).unwrap(), b"ssl = on\n");
    assert!(folder.join("b.conf").is_symlink());
    let now = open(folder);
    assert_eq!(now.configuration.get("port"), None);
    assert_eq!(now.configuration.get("work_mem").as_deref(), Some(&b"8MB"[..]));
    assert_eq!(now.configuration.provenance("ssl").overridden().count(), 1);
}

#[test]
fn a_device_is_read_and_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("postgresql.conf"), "include '/dev/null'\nport = 1\n").unwrap();
    let mut stored = open(folder);
    assert_eq!(stored.configuration.problems().count(), 0);
    stored.configuration.set("port", "2").unwrap();
    assert_eq!(stored.save().unwrap(), [folder.join("postgresql.conf")]);
    stored.configuration.set_in("/dev/null", "port", "3").unwrap();
    assert!(matches!(stored.save(), Err(FsError::NotAFile { .. })));
}

#[test]
fn a_missing_main_file_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let main = folder.path().join("postgresql.conf");
    assert!(Stored::open(main, None, PgVersion::V17).is_err());
}

/// What the child writes in turn, each time with all of the file's lines.
const VALUES: [&str; 2] = ["1", "a value that makes the file longer than it was before"];

fn content(value: &str) -> String {
    let filler: String = (0..1000).map(|line| format!("filler.line_{line} = 'x'\n")).collect();
    format!("{filler}test.value = '{value}'\n")
}

/// Names the folder to the writer, which is the test itself, started again.
const FOLDER: &str = "PGCONF_TEST_FOLDER";

/// The test `name` again, as a writer.
fn writer(name: &str, folder: &Path) -> Command {
    let mut writer = Command::new(std::env::current_exe().unwrap());
    writer
        .args(["--exact", name, "--nocapture"])
        .env(FOLDER, folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    writer
}

fn write(folder: &Path, value: &str) {
    let mut stored = open(folder);
    stored.configuration.set("test.value", value).unwrap();
    stored.save().unwrap();
}

/// A folder with a file in it that is the second of the contents.
fn folder_to_write_in() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let main = folder.path().join("postgresql.conf");
    fs::write(&main, content(VALUES[1])).unwrap();
    fs::set_permissions(&main, fs::Permissions::from_mode(0o640)).unwrap();
    (folder, main)
}

/// Which of the contents the file has: it is as it was or as it was to be. Its mode and owner are what
/// they were; what the writer did not finish is beside it and nowhere else (and is removed here).
fn value_after_kill(main: &Path, owner: u32, round: usize) -> &'static str {
    let now = fs::read_to_string(main).unwrap();
    let value = VALUES.into_iter().find(|value| content(value) == now);
    let value = value.unwrap_or_else(|| panic!("round {round}: neither the old file nor the new"));
    let metadata = fs::metadata(main).unwrap();
    assert_eq!((metadata.mode() & 0o7777, metadata.uid()), (0o640, owner));
    for entry in fs::read_dir(main.parent().unwrap()).unwrap() {
        let path = entry.unwrap().path();
        if path != main {
            assert!(path.to_string_lossy().contains("postgresql.conf.pgward-new."));
            fs::remove_file(path).unwrap();
        }
    }
    value
}

/// A writer is killed, 200 times: when there is something to be seen of its next write, or a little
/// later. (It says on its standard error when it has written.)
#[test]
fn killed_while_writing() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        for value in VALUES.iter().cycle() {
            write(Path::new(&folder), value);
            std::io::stderr().write_all(b".").unwrap();
        }
    }
    let (folder, main) = folder_to_write_in();
    let owner = fs::metadata(&main).unwrap().uid();
    for round in 0..200_usize {
        let mut writer = writer("killed_while_writing", folder.path()).spawn().unwrap();
        let mut told = vec![0; 1 + round % 2];
        let mut says = writer.stderr.take().unwrap();
        says.read_exact(&mut told).unwrap();
        let seen = || {
            let names = fs::read_dir(folder.path()).unwrap().count();
            let file = fs::metadata(&main).unwrap();
            (names, file.len(), file.ino(), file.mtime_nsec())
        };
        let before = seen();
        while seen() == before {
            assert_eq!(writer.try_wait().unwrap(), None, "the writer ended");
        }
        let mut spins = round * 997 % 50_000;
        while spins > 0 {
            spins = std::hint::black_box(spins - 1);
        }
        writer.kill().unwrap();
        writer.wait().unwrap();
        value_after_kill(&main, owner, round);
    }
}

/// Killed by the system for a file that grows too long: not by luck, but in the midst of writing, at
/// 200 places of the file.
#[test]
fn killed_at_each_part_of_the_file() {
    const LIMIT: &str = "PGCONF_TEST_LIMIT";
    if let Some(folder) = std::env::var_os(FOLDER) {
        let limit = std::env::var(LIMIT).unwrap().parse().unwrap();
        let limit_to = |most| rustix::process::Rlimit { current: Some(most), maximum: Some(most) };
        rustix::process::setrlimit(rustix::process::Resource::Core, limit_to(0)).unwrap();
        rustix::process::setrlimit(rustix::process::Resource::Fsize, limit_to(limit)).unwrap();
        return write(Path::new(&folder), VALUES[0]);
    }
    let (folder, main) = folder_to_write_in();
    let owner = fs::metadata(&main).unwrap().uid();
    let length = content(VALUES[0]).len();
    for round in 0..200_usize {
        let limit = length * round / 200;
        let mut writer = writer("killed_at_each_part_of_the_file", folder.path());
        let status = writer.env(LIMIT, limit.to_string()).output().unwrap().status;
        assert_eq!(status.signal(), Some(rustix::process::Signal::XFSZ.as_raw()), "round {round}");
        assert_eq!(value_after_kill(&main, owner, round), VALUES[1], "round {round}");
    }
}
