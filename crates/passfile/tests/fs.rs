//! Files as they are on a disk: every row of libpq's table of permissions, as root and as another
//! user, and what is saved.
#![cfg(feature = "fs")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "helpers of tests")]

use std::{
    env,
    fs::{self, Permissions},
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _, chown, symlink},
        net::UnixListener,
    },
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use passfile::{
    Change, FileKind, FileStatus, Insecure, Key, Libpq, NewEntry, PgVersion,
    fs::{OpenError, StoreError, Stored, open},
};
use rustix::{
    fs::{CWD, FileType, Mode, mknodat},
    process::geteuid,
};
use textfile::fs::FsError;

/// Whom the test's program is run as besides root: `nobody`.
const OTHER: u32 = 65_534;
const LINE: &str = "*:*:*:*:pw\n";

/// What libpq does with a file, 12 to 17 and 18.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Says {
    /// The password is taken.
    Used,
    /// Ignored without a word.
    Silent,
    /// Ignored with the warning of access.
    Access,
    /// Ignored with the warning that it is not a plain file.
    NotPlain,
}

/// The file's name, its kind and mode, whether the other user owns it; what libpq 12 to 17 and what
/// 18 says to root, and to the other user.
type Row = (&'static str, Kind, u32, bool, [Says; 2], [Says; 2]);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Plain,
    Link,
    Folder,
    Pipe,
    Socket,
    Missing,
    Dangling,
}

const TABLE: &[Row] = {
    use Kind::{Dangling, Folder, Link, Missing, Pipe, Plain, Socket};
    use Says::{Access, NotPlain, Silent, Used};
    &[
        // One's own, for the other user.
        ("0600", Plain, 0o600, true, [Used; 2], [Used; 2]),
        ("0400", Plain, 0o400, true, [Used; 2], [Used; 2]),
        ("0700", Plain, 0o700, true, [Used; 2], [Used; 2]),
        ("0200", Plain, 0o200, true, [Used; 2], [Silent; 2]),
        ("0000", Plain, 0o000, true, [Used; 2], [Silent; 2]),
        ("4600", Plain, 0o4600, true, [Used; 2], [Used; 2]),
        ("1600", Plain, 0o1600, true, [Used; 2], [Used; 2]),
        ("0640", Plain, 0o640, true, [Access; 2], [Access; 2]),
        ("0604", Plain, 0o604, true, [Access; 2], [Access; 2]),
        ("0644", Plain, 0o644, true, [Access; 2], [Access; 2]),
        ("0620", Plain, 0o620, true, [Access; 2], [Access; 2]),
        ("0610", Plain, 0o610, true, [Access; 2], [Access; 2]),
        ("0602", Plain, 0o602, true, [Access; 2], [Access; 2]),
        ("0601", Plain, 0o601, true, [Access; 2], [Access; 2]),
        ("0660", Plain, 0o660, true, [Access; 2], [Access; 2]),
        ("0666", Plain, 0o666, true, [Access; 2], [Access; 2]),
        // Looked at before it is opened by 12 to 17, not by 18.
        ("0040", Plain, 0o040, true, [Access; 2], [Access, Silent]),
        // Somebody else's: nobody asks whose it is, only whether it can be read.
        ("root's 0600", Plain, 0o600, false, [Used; 2], [Silent; 2]),
        ("root's 0644", Plain, 0o644, false, [Access; 2], [Access; 2]),
        ("root's 0620", Plain, 0o620, false, [Access; 2], [Access, Silent]),
        ("link", Link, 0o600, true, [Used; 2], [Used; 2]),
        ("link to 0644", Link, 0o644, true, [Access; 2], [Access; 2]),
        ("dangling", Dangling, 0, true, [Silent; 2], [Silent; 2]),
        ("missing", Missing, 0, true, [Silent; 2], [Silent; 2]),
        ("folder", Folder, 0o700, true, [NotPlain; 2], [NotPlain; 2]),
        ("folder 0000", Folder, 0o000, true, [NotPlain; 2], [NotPlain, Silent]),
        ("pipe", Pipe, 0o600, true, [NotPlain; 2], [NotPlain; 2]),
        ("pipe 0644", Pipe, 0o644, true, [NotPlain; 2], [NotPlain; 2]),
        ("socket", Socket, 0o600, true, [NotPlain, Silent], [NotPlain, Silent]),
    ]
};

fn make(folder: &Path, &(name, kind, mode, others, ..): &Row) {
    let path = folder.join(name);
    let named = match kind {
        Kind::Link => folder.join(format!("{name}, target")),
        _ => path.clone(),
    };
    match kind {
        Kind::Plain | Kind::Link => fs::write(&named, LINE).unwrap(),
        Kind::Folder => fs::create_dir(&named).unwrap(),
        Kind::Pipe => mknodat(CWD, &named, FileType::Fifo, Mode::RUSR, 0).unwrap(),
        Kind::Socket => drop(UnixListener::bind(&named).unwrap()),
        Kind::Dangling => return symlink("nothing", &path).unwrap(),
        Kind::Missing => return,
    }
    if kind == Kind::Link {
        symlink(&named, &path).unwrap();
    }
    if others && geteuid().is_root() {
        chown(&named, Some(OTHER), Some(OTHER)).unwrap();
    }
    fs::set_permissions(&named, Permissions::from_mode(mode)).unwrap();
}

fn says(path: &Path, version: PgVersion) -> Says {
    let libpq = Libpq::new(version);
    match open(path) {
        Ok(file) => {
            let found = file.lookup(&Key::new("bob"), &libpq).unwrap();
            assert_eq!(found.password().expose(), b"pw");
            Says::Used
        }
        Err(error) => {
            let warning = error.warning(&libpq);
            let shown = path.display();
            let access = format!(
                "WARNING: password file \"{shown}\" has group or world access; permissions should \
                 be u=rw (0600) or less"
            );
            match warning {
                None => Says::Silent,
                Some(warning) if warning == access => Says::Access,
                Some(warning) => {
                    let plain = format!("WARNING: password file \"{shown}\" is not a plain file");
                    assert_eq!(warning, plain);
                    Says::NotPlain
                }
            }
        }
    }
}

fn check_table(folder: &Path, root: bool) {
    for row in TABLE {
        let (name, _, _, _, to_root, to_other) = row;
        let expected = if root { to_root } else { to_other };
        for (versions, expected) in
            [(&PgVersion::ALL[..6], expected[0]), (&PgVersion::ALL[6..], expected[1])]
        {
            for version in versions {
                assert_eq!(says(&folder.join(name), *version), expected, "{name}, {version}");
            }
        }
    }
    let device = says(Path::new("/dev/null"), PgVersion::V18);
    assert_eq!(device, Says::NotPlain);
}

/// Names the folder to the program that is run again as another user.
const FOLDER: &str = "PASSFILE_TEST_FOLDER";

/// The table, as whoever runs the tests; run again as another user by the next test.
#[test]
fn permissions() {
    if let Some(folder) = env::var_os(FOLDER) {
        assert!(!geteuid().is_root());
        check_table(Path::new(&folder), false);
        println!("the other user's table holds");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let root = geteuid().is_root();
    for row in TABLE.iter().filter(|row| root || row.3) {
        make(folder.path(), row);
    }
    if root {
        check_table(folder.path(), true);
        check_as_other_user(folder.path());
    } else {
        // Somebody else's files are not for us to make: those rows need root.
        for (name, _, _, _, _, to_other) in TABLE.iter().filter(|row| row.3) {
            assert_eq!(says(&folder.path().join(name), PgVersion::V17), to_other[0], "{name}");
            assert_eq!(says(&folder.path().join(name), PgVersion::V18), to_other[1], "{name}");
        }
    }
}

/// Runs this very program, only the test of the table, as the other user.
fn check_as_other_user(folder: &Path) {
    fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
    // The program may lie where only root can go.
    let bin = tempfile::tempdir().unwrap();
    fs::set_permissions(bin.path(), Permissions::from_mode(0o755)).unwrap();
    let program = bin.path().join("permissions");
    fs::copy(env::current_exe().unwrap(), &program).unwrap();
    let output = Command::new("setpriv")
        .args([&format!("--reuid={OTHER}"), &format!("--regid={OTHER}"), "--clear-groups"])
        .arg(&program)
        .args(["--exact", "permissions", "--nocapture"])
        .env(FOLDER, folder)
        .current_dir("/")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("the other user's table holds"), "{text}");
}

/// A pipe that nobody writes to: libpq 18 waits forever.
#[test]
fn a_pipe_does_not_hang() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let (sender, receiver) = mpsc::channel();
    let opened = path.clone();
    thread::spawn(move || {
        // The best of some: the machine may be busy with something else for as long.
        let took = (0..10).map(|_| {
            let start = Instant::now();
            drop((open(&opened), Stored::open(&opened)));
            start.elapsed()
        });
        let took = took.min().unwrap();
        sender.send((took, open(&opened).map(drop), Stored::open(&opened).map(drop))).unwrap();
    });
    let (took, opened, stored) =
        receiver.recv_timeout(Duration::from_secs(300)).expect("opening waits for a writer");
    assert!(took < Duration::from_millis(100), "{took:?}");
    let reason = Insecure::NotPlainFile { kind: FileKind::Fifo };
    assert!(matches!(opened, Err(OpenError::Insecure { reason: found, .. }) if found == reason));
    assert!(matches!(stored, Err(StoreError::File(FsError::NotAFile { .. }))));
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn names(folder: &Path) -> Vec<PathBuf> {
    let mut names: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    names
}

#[test]
fn a_new_file_is_0600() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pgpass");
    assert!(open(&path).unwrap_err().is_not_found());
    assert!(Stored::open(&path).is_err());
    let mut stored = Stored::open_or_new(&path).unwrap();
    assert_eq!(stored.status(), None);
    stored.file.push(&NewEntry::new("pw")).unwrap();
    assert!(stored.save().unwrap());
    assert!(!stored.save().unwrap());
    assert_eq!(mode(&path), 0o600);
    assert_eq!(fs::read(&path).unwrap(), b"*:*:*:*:pw\n");
    assert_eq!(names(folder.path()), [path]);
}

#[test]
fn a_new_file_is_given_to_its_owner() {
    if !geteuid().is_root() {
        // Nobody else can give files away; that it is refused is what is left to see.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pgpass");
        let stored = Stored::open_or_new(&path).unwrap();
        assert!(stored.owned_by(0, 0).save().is_err());
        assert_eq!(names(folder.path()), [""; 0].map(PathBuf::from));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pgpass");
    let mut stored = Stored::open_or_new(&path).unwrap().owned_by(OTHER, OTHER - 1);
    stored.file.push(&NewEntry::new("pw")).unwrap();
    stored.save().unwrap();
    stored.file.push(&NewEntry::new("pw2")).unwrap();
    stored.save().unwrap();
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!((metadata.uid(), metadata.gid(), mode(&path)), (OTHER, OTHER - 1, 0o600));
}

/// The umask is the process's: this is checked in one of its own.
#[test]
fn a_new_file_is_0600_whatever_the_umask() {
    if env::var_os(FOLDER).is_some() {
        return;
    }
    for umask in ["000", "077", "777"] {
        let output = Command::new("sh")
            .args(["-c", r#"umask "$0" && exec "$1" --exact a_new_file_is_0600"#, umask])
            .arg(env::current_exe().unwrap())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "umask {umask}: {text}");
    }
}

#[test]
fn saving_keeps_what_may_be_kept_and_closes_what_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("target");
    let path = folder.path().join("pgpass");
    symlink(&target, &path).unwrap();
    for (before, after) in [(0o600, 0o600), (0o400, 0o400), (0o644, 0o600), (0o660, 0o600)] {
        fs::write(&target, "# mine\r\n*:*:*:*:old").unwrap();
        fs::set_permissions(&target, Permissions::from_mode(before)).unwrap();
        let mut stored = Stored::open_or_new(&path).unwrap();
        assert_eq!(stored.status(), Some(FileStatus::plain(before)));
        let change = stored.file.set(&NewEntry::new("new")).unwrap();
        assert_eq!(change, Change::Replaced { line: 2 });
        assert!(stored.save().unwrap());
        assert_eq!(mode(&target), after, "{before:o}");
        assert_eq!(fs::read(&target).unwrap(), b"# mine\r\n*:*:*:*:new\r\n");
        assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
        fs::remove_file(&target).unwrap();
    }
    // Nothing to write but the mode.
    fs::write(&target, LINE).unwrap();
    fs::set_permissions(&target, Permissions::from_mode(0o644)).unwrap();
    assert!(Stored::open(&path).unwrap().save().unwrap());
    assert_eq!((mode(&target), fs::read(&target).unwrap()), (0o600, LINE.into()));
}

#[test]
fn somebody_elses_change_is_not_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pgpass");
    let mut new = Stored::open_or_new(&path).unwrap();
    fs::write(&path, LINE).unwrap();
    let mut old = Stored::open(&path).unwrap();
    new.file.push(&NewEntry::new("x")).unwrap();
    assert!(matches!(new.save(), Err(StoreError::File(FsError::Exists { .. }))));
    fs::write(&path, "*:*:*:*:other\n").unwrap();
    old.file.push(&NewEntry::new("x")).unwrap();
    assert!(matches!(old.save(), Err(StoreError::File(FsError::Changed { .. }))));
    assert_eq!(fs::read(&path).unwrap(), b"*:*:*:*:other\n");
    // A link to nothing is not overwritten.
    let dangling = folder.path().join("dangling");
    symlink("nothing", &dangling).unwrap();
    assert!(Stored::open_or_new(&dangling).is_err());
}

#[test]
fn a_long_password_is_read_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pgpass");
    let password = "x".repeat(1_000_000);
    fs::write(&path, format!("*:*:*:*:{password}\n")).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    let file = open(&path).unwrap();
    let found = file.lookup(&Key::new("bob"), &Libpq::default()).unwrap();
    assert!(*found.password() == *password.as_bytes());
}
