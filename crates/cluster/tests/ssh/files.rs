//! Nodes reached by ssh: what becomes of their files, whatever happens on the way.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers are the test")]

use std::{
    collections::BTreeMap,
    fs,
    io::ErrorKind,
    net::TcpListener,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, PermissionsExt as _, symlink},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use cluster::{
    plan::Expected,
    transport::{FilesSpec, LocalFiles, NodeFiles, SshError, SshNode, SshSpec},
};
use proptest::prelude::*;
use rustix::process::{Pid, Signal, kill_process};
use textfile::{FileErrorKind, FileKind, Files as _, fs::Access, fs::FsError};
use tokio::net::TcpSocket;

use crate::sshd::{Fault, Relay, Setup, Sshd, folder_of, new_key, processes_with};

/// Does on a thread what blocks.
async fn blocking<T: Send + 'static>(
    node: &SshNode,
    work: impl FnOnce(&SshNode) -> T + Send + 'static,
) -> T {
    let node = node.clone();
    tokio::task::spawn_blocking(move || work(&node)).await.unwrap()
}

fn own(mode: u32) -> Access {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    Access { mode, uid: uid.as_raw(), gid: gid.as_raw() }
}

/// Everything in a folder: what it is, its mode and owner, and what it holds.
fn tree(folder: &Path) -> BTreeMap<PathBuf, (u32, u32, u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap().map(Result::unwrap) {
            let (path, metadata) = (entry.path(), fs::symlink_metadata(entry.path()).unwrap());
            let holds = if metadata.is_dir() {
                folders.push(path.clone());
                Vec::new()
            } else if metadata.is_symlink() {
                fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec()
            } else {
                fs::read(&path).unwrap()
            };
            let name = path.strip_prefix(folder).unwrap().to_owned();
            found.insert(name, (metadata.mode(), metadata.uid(), metadata.gid(), holds));
        }
    }
    found
}

/// Names of temporary files in a folder.
fn temporaries(folder: &Path) -> Vec<PathBuf> {
    tree(folder)
        .into_keys()
        .filter(|path| path.to_string_lossy().contains(".pgward-new."))
        .collect()
}

#[derive(Clone, Debug)]
enum Operation {
    Write { name: &'static str, bytes: Vec<u8>, mode: u32, uid: u32, expected: Expecting },
    MakeFolder { name: &'static str, mode: u32 },
    RemoveFile { name: &'static str },
    RemoveFolder { name: &'static str },
    Link { name: &'static str, to: &'static str },
    Look { name: &'static str },
}

/// What a write says must be there: what is, something else, nothing, anything.
#[derive(Clone, Copy, Debug)]
enum Expecting {
    Right,
    Wrong,
    Absent,
    Anything,
}

fn operations() -> impl Strategy<Value = Operation> {
    let name = || {
        let names = ["a", "b", "sub", "sub/c", "sub/deep", "none/d", "a/e", "link", "sub/link"];
        proptest::sample::select(names.to_vec())
    };
    // To no link: what leads in circles is a "No such file" to SFTP.
    let link = proptest::sample::select(vec!["link", "sub/link"]);
    let to = proptest::sample::select(vec!["a", "b", "sub", "gone"]);
    let expected = proptest::sample::select(vec![
        Expecting::Right,
        Expecting::Right,
        Expecting::Wrong,
        Expecting::Absent,
        Expecting::Anything,
    ]);
    let mode = || proptest::sample::select(vec![0o600, 0o640, 0o644, 0o700, 0o1750]);
    let bytes = proptest::collection::vec(any::<u8>(), 0..40);
    let uid = proptest::sample::select(vec![0_u32, 0, 65534, 1234]);
    prop_oneof![
        4 => (name(), bytes, mode(), uid, expected).prop_map(|(name, bytes, mode, uid, expected)| {
            Operation::Write { name, bytes, mode, uid, expected }
        }),
        2 => (name(), mode()).prop_map(|(name, mode)| Operation::MakeFolder { name, mode }),
        1 => name().prop_map(|name| Operation::RemoveFile { name }),
        1 => name().prop_map(|name| Operation::RemoveFolder { name }),
        1 => (link, to).prop_map(|(name, to)| Operation::Link { name, to }),
        1 => name().prop_map(|name| Operation::Look { name }),
    ]
}

/// What came of it, in words that are the same for all transports.
fn outcome<T: std::fmt::Debug>(result: Result<T, FsError>) -> String {
    match result {
        Ok(done) => format!("{done:?}"),
        Err(FsError::Io { source, .. }) => match source.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => "not found".to_owned(),
            // What SFTP's "Failure" stands for is not told.
            _ => "an error".to_owned(),
        },
        Err(FsError::NotAFile { .. }) => "not a file".to_owned(),
        Err(FsError::Changed { .. }) => "changed".to_owned(),
        Err(FsError::Exists { .. }) => "exists".to_owned(),
        Err(other) => panic!("{other}"),
    }
}

fn perform(files: &dyn NodeFiles, folder: &Path, operation: &Operation) -> String {
    match operation {
        Operation::Write { name, bytes, mode, uid, expected } => {
            let path = folder.join(name);
            let there = fs::read(&path).ok();
            let expected = match expected {
                Expecting::Right => Expected::of(there.as_deref()),
                Expecting::Wrong => Expected::of(Some(b"something else")),
                Expecting::Absent => Expected::Absent,
                Expecting::Anything => Expected::Anything,
            };
            let access = Access { mode: *mode, uid: *uid, gid: *uid };
            outcome(files.write(&path, bytes, access, expected))
        }
        Operation::MakeFolder { name, mode } => {
            outcome(files.make_folder(&folder.join(name), own(*mode)))
        }
        Operation::RemoveFile { name } => outcome(files.remove_file(&folder.join(name))),
        Operation::RemoveFolder { name } => outcome(files.remove_folder(&folder.join(name))),
        Operation::Link { name, to } => {
            let _ = symlink(folder.join(to), folder.join(name));
            String::new()
        }
        Operation::Look { name } => {
            let path = folder.join(name);
            let found = outcome(files.find(&path).map(|it| it.map(|it| (it.bytes, it.access))));
            let access = outcome(files.access(&path));
            let bytes = path.as_os_str().as_bytes();
            let read = files.read(bytes).map_err(|error| error.kind);
            let mut listed = files.list(bytes).map_err(|error| error.kind);
            if let Ok(names) = &mut listed {
                names.sort_by(|a, b| a.0.cmp(&b.0));
            }
            // "No such file" stands for ENOTDIR, too.
            let kind = |kind: FileErrorKind| match kind {
                FileErrorKind::NotADirectory => FileErrorKind::NotFound,
                kind => kind,
            };
            format!("{found} {access} {:?} {:?}", read.map_err(kind), listed.map_err(kind))
        }
    }
}

/// The same operations here and there: the same outcomes, and the same files afterwards.
#[test]
fn a_node_by_ssh_is_as_a_local_one() {
    assert!(own(0).uid == 0, "only root can give files away: run the tests as root");
    let sshd = Sshd::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _entered = runtime.enter();
    let node = SshNode::new(sshd.spec()).unwrap();
    let config = ProptestConfig { cases: 60, failure_persistence: None, ..Default::default() };
    proptest!(config, |(operations in proptest::collection::vec(operations(), 1..14))| {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for operation in &operations {
            let local = perform(&LocalFiles, here.path(), operation);
            let remote = perform(&node, there.path(), operation);
            let (from, to) = (there.path().display().to_string(), here.path().display().to_string());
            prop_assert_eq!(local, remote.replace(&from, &to), "{:?}", operation);
            let mut trees = [tree(here.path()), tree(there.path())];
            for (path, (mode, _, _, holds)) in &mut trees[1] {
                if *mode & 0o170_000 == 0o120_000 {
                    let target = String::from_utf8_lossy(holds).replace(&from, &to);
                    *holds = target.into_bytes();
                }
                prop_assert!(!path.to_string_lossy().contains("pgward-new"), "{:?}", path);
            }
            prop_assert_eq!(&trees[0], &trees[1], "{:?}", operation);
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_symbolic_link_stays_and_its_target_is_replaced() {
    let sshd = Sshd::start();
    let node = SshNode::new(sshd.spec()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (target, link) = (folder.path().join("target"), folder.path().join("link"));
    fs::write(&target, "old").unwrap();
    symlink("target", &link).unwrap();
    let path = link.clone();
    blocking(&node, move |node| {
        node.write(&path, b"new", own(0o600), Expected::of(Some(b"old"))).unwrap();
    })
    .await;
    assert_eq!(fs::read_link(&link).unwrap(), Path::new("target"));
    assert_eq!(fs::read(&target).unwrap(), b"new");
    assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o7777, 0o600);
    assert!(temporaries(folder.path()).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_are_listed_with_what_links_lead_to() {
    let sshd = Sshd::start();
    let node = SshNode::new(sshd.spec()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("d")).unwrap();
    fs::write(at("f"), "x".repeat(100_000)).unwrap();
    for (to, name) in [("d", "to d"), ("f", "to f"), ("nothing", "dangling")] {
        symlink(to, at(name)).unwrap();
    }
    let path = folder.path().as_os_str().as_bytes().to_vec();
    let big = at("f");
    let (mut names, read) = blocking(&node, move |node| {
        (node.list(&path).unwrap(), node.read(big.as_os_str().as_bytes()).unwrap())
    })
    .await;
    names.sort_by(|a, b| a.0.cmp(&b.0));
    let expected = [
        ("d", FileKind::Directory),
        ("dangling", FileKind::Dangling),
        ("f", FileKind::File),
        ("to d", FileKind::Directory),
        ("to f", FileKind::File),
    ];
    assert_eq!(names, expected.map(|(name, kind)| (name.as_bytes().to_vec(), kind)));
    assert_eq!(read.len(), 100_000);
}

/// Somebody else's pipe must not keep anybody waiting, nor a name that cannot be sent confuse.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_file_is_refused() {
    let sshd = Sshd::start();
    let node = SshNode::new(sshd.spec()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let strange = folder.path().join(std::ffi::OsStr::from_bytes(b"\xff"));
    let (pipe, strange) = blocking(&node, move |node| {
        (node.find(&pipe).unwrap_err(), node.find(&strange).unwrap_err())
    })
    .await;
    assert!(matches!(pipe, FsError::NotAFile { .. }), "{pipe}");
    assert!(matches!(SshError::of(&strange), Some(SshError::NotUtf8 { .. })), "{strange}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_not_the_known_one_is_refused() {
    let sshd = Sshd::start();
    // Whatever the configuration says: the host is not known, and stays so.
    let config = sshd.path("config");
    fs::write(
        &config,
        "StrictHostKeyChecking no\nForwardAgent yes\nNoHostAuthenticationForLocalhost yes\n\
         UpdateHostKeys yes\nVerifyHostKeyDNS yes\n",
    )
    .unwrap();
    let mut spec = sshd.spec();
    spec.config = Some(config);
    let known_hosts = spec.known_hosts.clone().unwrap();
    fs::write(&known_hosts, "").unwrap();
    let unknown = SshNode::new(spec.clone()).unwrap().connect().await.unwrap_err();
    assert!(
        matches!(&unknown, SshError::UnknownHost { said, .. } if said.contains("ED25519")),
        "{unknown}"
    );
    assert_eq!(fs::read(&known_hosts).unwrap(), b"");

    new_key(&sshd.path("other"));
    let other = fs::read_to_string(sshd.path("other.pub")).unwrap();
    let address = sshd.address();
    let line = format!("[{}]:{} {other}", address.ip(), address.port());
    fs::write(&known_hosts, &line).unwrap();
    let changed = SshNode::new(spec).unwrap().connect().await.unwrap_err();
    assert!(
        matches!(&changed, SshError::ChangedHost { said, .. } if said.contains("SHA256:")),
        "{changed}"
    );
    assert_eq!(fs::read_to_string(&known_hosts).unwrap(), line);
    assert!(!sshd.log().contains("Accepted"), "{}", sshd.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_let_in_is_told_so() {
    let sshd = Sshd::start();
    new_key(&sshd.path("stranger"));
    let mut spec = sshd.spec();
    spec.identity_file = Some(sshd.path("stranger"));
    let error = SshNode::new(spec).unwrap().connect().await.unwrap_err();
    assert!(matches!(error, SshError::Denied { .. }), "{error}");

    let mut spec = sshd.spec();
    spec.program = "/nonexistent/ssh".into();
    let error = SshNode::new(spec).unwrap().connect().await.unwrap_err();
    assert!(matches!(error, SshError::NoProgram { .. }), "{error}");

    // Nobody listens, and nobody else gets the port.
    let closed = TcpSocket::new_v4().unwrap();
    closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let spec = sshd.spec_at(closed.local_addr().unwrap());
    let error = SshNode::new(spec).unwrap().connect().await.unwrap_err();
    assert!(
        matches!(&error, SshError::Unreachable { said, .. } if said.contains("refused")),
        "{error}"
    );

    let no_sftp = Sshd::with(&Setup {
        sftp: Some("/bin/echo a shell that greets".to_owned()),
        ..Setup::default()
    });
    let error = SshNode::new(no_sftp.spec()).unwrap().connect().await.unwrap_err();
    assert!(matches!(error, SshError::NoSftp { .. } | SshError::Unreachable { .. }), "{error}");
}

/// A host that takes the connection and says nothing: it delays nobody but who waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_hangs_delays_no_other() {
    let sshd = Sshd::start();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut spec = sshd.spec_at(silent.local_addr().unwrap());
    // Longer than the other takes on any machine.
    spec.connect_timeout = 300;
    let hanging = SshNode::new(spec.clone()).unwrap();
    let waiting = tokio::spawn(async move { hanging.connect().await });

    let node = SshNode::new(sshd.spec()).unwrap();
    let host_key = sshd.path("host");
    let found = blocking(&node, move |node| node.find(&host_key)).await.unwrap();
    assert!(found.is_some());
    assert!(!waiting.is_finished(), "the host that hangs must still be waited for");
    waiting.abort();

    spec.connect_timeout = 1;
    let error = SshNode::new(spec).unwrap().connect().await.unwrap_err();
    assert!(matches!(error, SshError::TimedOut { seconds: 1, .. }), "{error}");
}

/// A host that falls silent in the midst of it: an error in time, and the next call goes over a
/// connection of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_falls_silent_is_given_up_and_asked_again() {
    let sshd = Sshd::start();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pg_hba.conf");
    fs::write(&path, "old").unwrap();
    // The login alone needs some thousands.
    let login = {
        let relay = Relay::start(sshd.address(), Fault::Silence, u64::MAX);
        SshNode::new(sshd.spec_at(relay.address())).unwrap().connect().await.unwrap();
        relay.sent()
    };
    let relay = Relay::start(sshd.address(), Fault::Silence, login + 200);
    let mut spec = sshd.spec_at(relay.address());
    spec.timeout = 10;
    let node = SshNode::new(spec).unwrap();
    node.connect().await.unwrap();
    let (first, second) = blocking(&node, move |node| {
        let write = || node.write(&path, &[b'n'; 5000], own(0o600), Expected::of(Some(b"old")));
        (write(), write())
    })
    .await;
    let first = first.unwrap_err();
    assert!(
        matches!(SshError::of(&first), Some(SshError::TimedOut { seconds: 10, .. })),
        "{first}"
    );
    second.unwrap();
    assert_eq!(fs::read(folder.path().join("pg_hba.conf")).unwrap(), [b'n'; 5000]);
    assert!(temporaries(folder.path()).is_empty());
}

/// The connection breaks at every stage of a write: the file is the old or the new one, and what was
/// on its way is nobody else's to read. Over the next connection all is put in order.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_cut_anywhere_leaves_the_old_file_or_the_new_one() {
    let sshd = Sshd::start();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.key");
    let new = vec![b'k'; 20_000];
    let (mut login, mut whole) = (0, 0);
    for measured in [&mut login, &mut whole] {
        let relay = Relay::start(sshd.address(), Fault::Cut, u64::MAX);
        let node = SshNode::new(sshd.spec_at(relay.address())).unwrap();
        node.connect().await.unwrap();
        if folder.path().join("measure").exists() {
            fs::write(&path, "old").unwrap();
            let (path, new) = (path.clone(), new.clone());
            blocking(&node, move |node| {
                node.write(&path, &new, own(0o640), Expected::of(Some(b"old"))).unwrap();
            })
            .await;
        }
        fs::write(folder.path().join("measure"), "").unwrap();
        *measured = relay.sent();
    }
    assert!(whole > login + 20_000, "{login} {whole}");

    let (mut lost, mut done) = (0, 0);
    // Sizes vary a little from login to login: from before its end until after all.
    let span = whole + 500 - login;
    for step in 0..24 {
        let after = login - 100 + span * step / 23;
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let relay = Relay::start(sshd.address(), Fault::Cut, after);
        let node = SshNode::new(sshd.spec_at(relay.address())).unwrap();
        let (at, bytes) = (path.clone(), new.clone());
        let written = blocking(&node, move |node| {
            node.write(&at, &bytes, own(0o640), Expected::of(Some(b"old")))
        })
        .await;
        let (there, metadata) = (fs::read(&path).unwrap(), fs::metadata(&path).unwrap());
        match written {
            Ok(()) => {
                done += 1;
                assert_eq!((there, metadata.mode() & 0o7777), (new.clone(), 0o640), "{after}");
            }
            Err(error) => {
                lost += 1;
                assert!(SshError::of(&error).is_some(), "{after}: {error}");
                assert_eq!((there, metadata.mode() & 0o7777), (b"old".to_vec(), 0o600), "{after}");
            }
        }
        assert!(temporaries(folder.path()).is_empty(), "{after}");
    }
    assert!(lost > 3 && done > 0, "{lost} lost, {done} done");
}

/// The process itself is killed, again and again, while it writes keys.
#[tokio::test(flavor = "multi_thread")]
async fn killing_ssh_leaves_no_secret_that_others_can_read() {
    let sshd = Sshd::start();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.key");
    fs::write(&path, "old").unwrap();
    let spec = sshd.spec();
    let known_hosts = spec.known_hosts.clone().unwrap();
    let node = SshNode::new(spec).unwrap();
    let mut killed = 0;
    for round in 0..5_u8 {
        node.connect().await.unwrap();
        let new = vec![b'a' + round; 1_000_000];
        let (at, bytes) = (path.clone(), new.clone());
        let before = fs::read(&path).unwrap();
        let writing = tokio::spawn({
            let node = node.clone();
            async move {
                blocking(&node, move |node| node.write(&at, &bytes, own(0o644), Expected::Anything))
                    .await
            }
        });
        // As soon as the temporary file is there: it is being written.
        while !writing.is_finished() && temporaries(folder.path()).is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        for temporary in temporaries(folder.path()) {
            if let Ok(metadata) = fs::metadata(folder.path().join(temporary)) {
                let mode = metadata.mode() & 0o7777;
                assert!(mode == 0o600 || mode == 0o644 && metadata.len() == 1_000_000);
            }
        }
        for pid in processes_with(&known_hosts) {
            if kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).is_ok() {
                killed += 1;
            }
        }
        let written = writing.await.unwrap();
        let there = fs::read(&path).unwrap();
        assert_eq!(there == new, written.is_ok(), "{written:?}");
        assert!(there == new || there == before);
        assert!(temporaries(folder.path()).is_empty());
    }
    assert!(killed > 0);
}

/// Neither root nor the owner: an error that says so, and nothing changed.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_may_not_is_told_who_may() {
    assert!(own(0).uid == 0, "only root can log in as somebody else: run the tests as root");
    const NOBODY: u32 = 65534;
    let sshd = Sshd::start();
    let mut spec = sshd.spec();
    spec.user = Some("nobody".to_owned());
    let node = SshNode::new(spec).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (theirs, ours) = (folder.path().join("theirs"), folder.path().join("ours"));
    folder_of(&theirs, NOBODY, NOBODY, 0o700);
    folder_of(&ours, 0, 0, 0o755);
    fs::write(ours.join("pg_hba.conf"), "old").unwrap();
    let before = tree(folder.path());

    let access = |uid| Access { mode: 0o600, uid, gid: uid };
    let (closed, given, folder_given) = blocking(&node, {
        let (theirs, ours) = (theirs.clone(), ours.clone());
        move |node| {
            let hba = ours.join("pg_hba.conf");
            let closed = node.write(&hba, b"new", access(0), Expected::Anything).unwrap_err();
            let key = theirs.join("server.key");
            let given = node.write(&key, b"key", access(1234), Expected::Absent).unwrap_err();
            let deep = theirs.join("pgward");
            (closed, given, node.make_folder(&deep, access(1234)).unwrap_err())
        }
    })
    .await;
    assert_eq!(
        SshError::of(&closed),
        Some(&SshError::FolderClosed {
            folder: ours,
            access: Access { mode: 0o755, uid: 0, gid: 0 }
        }),
        "{closed}"
    );
    for error in [given, folder_given] {
        assert_eq!(
            SshError::of(&error),
            Some(&SshError::NotOwner { login: NOBODY, uid: 1234, gid: 1234 }),
            "{error}"
        );
        assert!(error.to_string().contains("log in as root or as the owner"), "{error}");
    }
    assert_eq!(tree(folder.path()), before);

    // What is theirs they may.
    let key = theirs.join("server.key");
    blocking(&node, move |node| {
        node.write(&key, b"key", access(NOBODY), Expected::Absent).unwrap();
    })
    .await;
    assert_eq!(fs::metadata(theirs.join("server.key")).unwrap().uid(), NOBODY);
}

/// A full disk: the server's answer is "Failure", ours says which.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_costs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    // A file system of its own, which goes with the sshd that sees it.
    let mount = "mount -t tmpfs -o size=64k tmpfs \"$0\" && printf old > \"$0/f\" && exec \"$@\"";
    let small = folder.path().display().to_string();
    let sshd = Sshd::with(&Setup {
        within: ["unshare", "--mount", "sh", "-c", mount, &small].map(str::to_owned).into(),
        ..Setup::default()
    });
    let node = SshNode::new(sshd.spec()).unwrap();
    let at = folder.path().to_owned();
    let (error, after, names) = blocking(&node, move |node| {
        let path = at.join("f");
        let error = node.write(&path, &[1; 200_000], own(0o600), Expected::Anything).unwrap_err();
        let after = node.find(&path).unwrap().unwrap().bytes;
        (error, after, node.list(at.as_os_str().as_bytes()).unwrap())
    })
    .await;
    let FsError::Io { source, .. } = &error else { panic!("{error}") };
    assert_eq!(source.kind(), ErrorKind::StorageFull, "{error}");
    assert_eq!(*after, b"old");
    assert_eq!(names, [(b"f".to_vec(), FileKind::File)]);
}

/// Without the extensions: what can be done without is, and what cannot is said.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_posix_rename_is_refused() {
    let sshd = Sshd::with(&Setup {
        sftp: Some("internal-sftp -P posix-rename,fsync,lsetstat".to_owned()),
        ..Setup::default()
    });
    let node = SshNode::new(sshd.spec()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("old"), "old").unwrap();
    let at = folder.path().to_owned();
    let error = blocking(&node, move |node| {
        node.make_folder(&at.join("made"), Access { mode: 0o750, ..own(0) }).unwrap();
        node.write(&at.join("new"), b"new", own(0o640), Expected::Absent).unwrap();
        node.write(&at.join("old"), b"new", own(0o640), Expected::Anything).unwrap_err()
    })
    .await;
    assert!(
        matches!(SshError::of(&error), Some(SshError::NotOffered { extension, .. })
            if *extension == "posix-rename@openssh.com"),
        "{error}"
    );
    assert_eq!(fs::read(folder.path().join("old")).unwrap(), b"old");
    assert_eq!(fs::read(folder.path().join("new")).unwrap(), b"new");
    assert!(temporaries(folder.path()).is_empty());
    let made = fs::metadata(folder.path().join("made")).unwrap();
    assert_eq!(made.permissions().mode() & 0o7777, 0o750);
}

/// Nothing is left: no process, no folder.
#[tokio::test(flavor = "multi_thread")]
async fn the_process_ends_with_the_node() {
    let sshd = Sshd::start();
    let spec = sshd.spec();
    let known_hosts = spec.known_hosts.clone().unwrap();
    let node = SshNode::new(spec).unwrap();
    node.connect().await.unwrap();
    assert_eq!(processes_with(&known_hosts).len(), 1);
    drop(node);
    while !processes_with(&known_hosts).is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn without_a_runtime_there_is_no_node() {
    assert_eq!(SshNode::new(SshSpec::new("db1")).unwrap_err(), SshError::Cancelled);
    assert_eq!(FilesSpec::default(), FilesSpec::Local);
}
