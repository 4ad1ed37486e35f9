//! Bundles: what is read over SQL, what is packed, and whether an administrator who follows the README
//! gets what was meant.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::{
    collections::BTreeMap,
    fs, io,
    io::ErrorKind,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, PermissionsExt as _, chown},
    },
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use cluster::{
    plan::{Action, Content, Expectation, Expected, Pace, Plan, Stage, Statement, Step},
    spec::Mode,
    topology::{LinkPlace, SessionKey},
    transport::{
        BundleNode, BundleSpec, LocalFiles, NodeFiles,
        bundle::{
            Before, BundleError, Connector, Entry, FileStanding, Manifest, Part, Phase, ToldBy,
            verify,
        },
    },
    vault::Vault,
};
use pg_version::PgVersion;
use proptest::prelude::*;
use tempfile::TempDir;
use textfile::{
    FileErrorKind, Files as _,
    fs::{Access, FsError},
};
use time::{OffsetDateTime, macros::datetime};
use tokio_postgres::{Client, NoTls};
use zeroize::Zeroizing;

mod administrator;

const NOW: OffsetDateTime = datetime!(2026-11-26 18:00 UTC);

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// A server, and a runtime to ask it in.
struct Fixture {
    server: pgtest::Server,
    runtime: tokio::runtime::Runtime,
    folder: TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self::of(PgVersion::V16)
    }

    fn of(version: PgVersion) -> Self {
        let installation = pgtest::find(version).unwrap();
        Self {
            server: pgtest::Server::builder(&installation).start().unwrap(),
            runtime: tokio::runtime::Runtime::new().unwrap(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn connector(&self) -> Connector {
        let conninfo = format!(
            "host={} port={} user=postgres",
            self.server.socket_dir().display(),
            self.server.port()
        );
        Arc::new(move || {
            let conninfo = conninfo.clone();
            Box::pin(async move {
                let (client, connection) = tokio_postgres::connect(&conninfo, NoTls).await?;
                tokio::spawn(connection);
                Ok(client)
            })
        })
    }

    fn client(&self) -> Client {
        self.runtime.block_on(self.connector()()).unwrap()
    }

    fn spec(&self) -> BundleSpec {
        BundleSpec::new(self.folder.path().join("bundles"))
    }

    fn open(&self, spec: BundleSpec) -> BundleNode {
        self.runtime.block_on(BundleNode::open(spec, "node-1", self.connector())).unwrap()
    }

    /// The owner of the server's files, with a mode.
    fn owned(&self, mode: u32) -> Access {
        let account = self.server.account();
        Access { mode, uid: account.uid(), gid: account.gid() }
    }
}

fn tree(folder: &Path) -> BTreeMap<PathBuf, (u32, Option<Vec<u8>>)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap().map(Result::unwrap) {
            let (path, metadata) = (entry.path(), entry.metadata().unwrap());
            let bytes = if metadata.is_dir() {
                folders.push(path.clone());
                None
            } else {
                Some(fs::read(&path).unwrap())
            };
            found.insert(path.strip_prefix(folder).unwrap().to_owned(), (metadata.mode(), bytes));
        }
    }
    found
}

#[test]
fn what_is_read_is_what_the_server_reads() {
    for version in [PgVersion::V12, PgVersion::V15, PgVersion::V18] {
        read_everything(&Fixture::of(version));
    }
}

fn read_everything(fixture: &Fixture) {
    let node = fixture.open(fixture.spec());
    let account = fixture.server.account();
    let owner = node.owner();
    assert_eq!(
        (owner.user.as_str(), owner.uid, owner.gid, owner.told_by),
        (account.name(), Some(account.uid()), Some(account.gid()), ToldBy::Server)
    );

    let data = fixture.server.data_dir();
    let hba = data.join("pg_hba.conf");
    let found = node.find(&hba).unwrap().unwrap();
    assert_eq!(*found.bytes, fs::read(&hba).unwrap());
    assert_eq!(found.access, fixture.owned(0o600));
    assert_eq!(node.access(&data).unwrap(), Some(fixture.owned(0o700)));
    let is_nothing = |name: &str| node.find(&data.join(name)).unwrap().is_none();
    assert!(is_nothing("none") && is_nothing("none/deeper") && is_nothing("pg_hba.conf/deeper"));
    assert_eq!(node.access(&data.join("none")).unwrap(), None);
    assert!(matches!(node.find(&data), Err(FsError::NotAFile { .. })));

    // Folders, as the parsers list them.
    let folder = data.join("conf.d");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a.conf"), "a").unwrap();
    fs::create_dir(folder.join("d")).unwrap();
    std::os::unix::fs::symlink("nothing", folder.join("dangling")).unwrap();
    std::os::unix::fs::symlink("d", folder.join("link")).unwrap();
    let sorted = |files: &dyn NodeFiles| {
        let mut names = files.list(folder.as_os_str().as_bytes()).unwrap();
        names.sort_by(|a, b| a.0.cmp(&b.0));
        names
    };
    assert_eq!(sorted(&node), sorted(&LocalFiles));
    for (path, expected) in [
        (data.join("none"), FileErrorKind::NotFound),
        (data.clone(), FileErrorKind::IsADirectory),
        ("/root/.profile".into(), FileErrorKind::PermissionDenied),
    ] {
        let kind = node.read(path.as_os_str().as_bytes()).unwrap_err().kind;
        assert_eq!(kind, expected, "{}", path.display());
    }
    let kind = node.list(hba.as_os_str().as_bytes()).unwrap_err().kind;
    assert_eq!(kind, FileErrorKind::NotADirectory);
    assert!(node.finish(NOW).unwrap().is_none(), "nothing was recorded");
    assert!(!fixture.spec().folder.exists());
}

/// A plan of every kind of step, for a node whose files are out of reach.
fn plan(fixture: &Fixture) -> (Plan, Vault) {
    let data = fixture.server.data_dir();
    let hba = fs::read(data.join("pg_hba.conf")).unwrap();
    let opened = [b"host all repl 10.0.0.0/8 scram-sha-256\n", &hba[..]].concat();
    let closed = b"host all repl 10.0.0.0/8 scram-sha-256\nlocal all all trust\n".to_vec();
    let mut vault = Vault::default();
    let secret = |text: &str| Zeroizing::new(text.as_bytes().to_vec());
    vault.insert("key", secret("-----BEGIN PRIVATE KEY-----\n"));
    let stored = "SCRAM-SHA-256$4096:MDEyMzQ1Njc4OWFiY2RlZg==$\
        VH4QKyuVVCWxZ3LRiWTfBsrLlbJ0MShKcDW3mTXfVXI=:Jl5eXgWzqYfOMTBpSvCA0RUBRYlqCtxLr5eEJjDDyVs=";
    vault.insert("stored", secret(stored));

    let step = |action: Action| Step { node: "node-1".into(), action, undo: None };
    let write = |path: &Path, mode, expected, content| {
        step(Action::WriteFile {
            path: path.to_owned(),
            access: fixture.owned(mode),
            expected,
            content,
        })
    };
    let folder = data.join("pg'ward");
    let stage =
        |title: &str, steps| Stage { title: title.to_owned(), pace: Pace::AllAtOnce, steps };
    let reload = || step(Action::Reload(Expectation { certificate: None }));
    let execute = |database: Option<&str>, statement: Statement| {
        step(Action::Execute { database: database.map(str::to_owned), statement })
    };
    let stages = vec![
        stage(
            "put certificates and keys in place",
            vec![
                step(Action::MakeFolder { path: folder.clone(), access: fixture.owned(0o750) }),
                write(
                    &folder.join("server.key"),
                    0o600,
                    Expected::Absent,
                    Content::Secret("key".into()),
                ),
                write(
                    &folder.join("root.crt"),
                    0o644,
                    Expected::Absent,
                    Content::Public(b"crt".to_vec()),
                ),
            ],
        ),
        stage(
            "give the links' roles their passwords",
            vec![
                execute(None, Statement::new("CREATE ROLE repl LOGIN")),
                execute(None, Statement::with_secret("ALTER ROLE repl PASSWORD", "stored")),
                execute(Some("template1"), Statement::new("CREATE TABLE noted ()")),
            ],
        ),
        stage(
            "open the secured way in",
            vec![
                write(
                    &data.join("pg_hba.conf"),
                    0o600,
                    Expected::of(Some(&hba)),
                    Content::Public(opened.clone()),
                ),
                reload(),
            ],
        ),
        stage(
            "switch the links over",
            vec![step(Action::SwitchLink {
                to: "node-2".into(),
                name: "to_node_2".into(),
                place: LinkPlace::Subscription { database: "app".to_owned() }.into(),
                before: "host=node-2".into(),
                after: "host=node-2 sslmode=verify-full".into(),
                put_back: None,
                session: SessionKey::None.into(),
                statements: [(None, Statement::new("ALTER ROLE repl CONNECTION LIMIT 7"))].into(),
                reload: false,
                wait: true,
            })],
        ),
        stage(
            "close the open way in",
            vec![
                write(
                    &data.join("pg_hba.conf"),
                    0o600,
                    Expected::of(Some(&opened)),
                    Content::Public(closed),
                ),
                step(Action::RemoveFile { path: data.join("pg_ident.conf") }),
                reload(),
                step(Action::EndOldSessions {
                    roles: vec!["it's".to_owned(), "repl".to_owned()],
                    networks: vec![],
                    tls: true,
                }),
            ],
        ),
    ];
    let plan = Plan {
        mode: Mode::Scram,
        files: vec![],
        links: vec![],
        stages,
        warnings: vec![],
        shared: vec![],
    };
    (plan, vault)
}

/// Does what the README says for a phase, to the letter.
fn follow(fixture: &Fixture, bundle: &Path, phase: Phase) {
    administrator::follow(bundle, phase, false, &mut |database, script| {
        let connect = fixture.server.connect();
        let connect = match database {
            Some(database) => connect.database(database),
            None => connect,
        };
        !connect.open().unwrap().query(script).unwrap().rows.is_empty()
    });
}

/// Waits until the server has read what it was told to read.
fn wait_until_loaded(fixture: &Fixture, manifest: &Manifest, client: &Client) {
    loop {
        let standing = fixture.runtime.block_on(verify(manifest, client)).unwrap();
        if standing.loaded != Some(false) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn who_follows_the_readme_gets_what_was_planned() -> Outcome {
    let fixture = Fixture::new();
    let data = fixture.server.data_dir();
    // An administrator's own mode stays, though no SQL tells it.
    fs::set_permissions(data.join("pg_hba.conf"), fs::Permissions::from_mode(0o640))?;
    let (plan, vault) = plan(&fixture);
    let node = fixture.open(fixture.spec());
    node.record(&plan, &vault)?;
    // What was recorded is what is read.
    let key = node.find(&data.join("pg'ward/server.key"))?.ok_or("no key")?;
    assert_eq!(key.access, fixture.owned(0o600));
    assert!(node.find(&data.join("pg_ident.conf"))?.is_none());
    let names = node.list(data.join("pg'ward").as_os_str().as_bytes())?;
    assert_eq!(names.len(), 2);
    assert!(!data.join("pg'ward").exists(), "nothing is written to the node");
    let bundle = node.finish(NOW)?.ok_or("nothing was recorded")?;

    // All is ours alone.
    let packed = tree(&bundle);
    for (path, (mode, bytes)) in &packed {
        let expected = if bytes.is_some() { 0o600 } else { 0o700 };
        assert_eq!(mode & 0o7777, expected, "{}", path.display());
    }
    assert_eq!(fs::metadata(&bundle)?.mode() & 0o7777, 0o700);
    // Where sessions only read unless they say otherwise, these say so.
    let scripts = packed.iter().filter(|(path, _)| path.extension().is_some_and(|it| it == "sql"));
    let scripts: Vec<&[u8]> = scripts.filter_map(|(_, (_, bytes))| bytes.as_deref()).collect();
    assert!(!scripts.is_empty());
    assert!(scripts.iter().all(|it| it.starts_with(b"SET default_transaction_read_only = off;\n")));
    let manifest = Manifest::read(&bundle)?;
    let text = fs::read_to_string(bundle.join("manifest.json"))?;
    assert!(!text.contains("SCRAM-SHA-256$") && text.contains("'********'"), "{text}");
    // Nobody else can read the folder while it is made, either: it was made so. A second is refused.
    assert!(matches!(node.finish(NOW), Err(BundleError::Exists { .. })));

    let client = fixture.client();
    let standing = |manifest: &Manifest| fixture.runtime.block_on(verify(manifest, &client));
    let before = standing(&manifest)?;
    assert_eq!((before.reached, before.loaded), (None, None));
    assert!(before.files.iter().all(|(_, it)| *it == FileStanding::AsBefore), "{before:?}");

    follow(&fixture, &bundle, Phase(1));
    wait_until_loaded(&fixture, &manifest, &client);
    let opened = standing(&manifest)?;
    assert_eq!(opened.reached, Some(Phase(1)), "{opened:?}");
    let folder = data.join("pg'ward");
    for (name, mode) in [("", 0o750), ("server.key", 0o600), ("root.crt", 0o644)] {
        let metadata = fs::metadata(folder.join(name))?;
        let found =
            Access { mode: metadata.mode() & 0o7777, uid: metadata.uid(), gid: metadata.gid() };
        assert_eq!(found, fixture.owned(mode), "{name}");
    }
    assert_eq!(fs::metadata(data.join("pg_hba.conf"))?.mode() & 0o7777, 0o640);
    let stored =
        fixture.server.query("SELECT rolpassword FROM pg_authid WHERE rolname = 'repl'")?;
    assert!(stored.value().is_some_and(|stored| stored.starts_with("SCRAM-SHA-256$4096:MDEy")));
    let log = fixture.server.log_text()?;
    assert!(!log.contains("SCRAM-SHA-256$"), "{log}");

    follow(&fixture, &bundle, Phase(2));
    let limit = fixture.server.query("SELECT rolconnlimit FROM pg_roles WHERE rolname = 'repl'")?;
    assert_eq!(limit.value(), Some("7"));
    follow(&fixture, &bundle, Phase(3));
    wait_until_loaded(&fixture, &manifest, &client);
    let closed = standing(&manifest)?;
    assert_eq!((closed.reached, closed.refused.as_slice()), (Some(Phase(3)), &[][..]));
    assert_eq!(fs::metadata(data.join("pg_hba.conf"))?.mode() & 0o7777, 0o640);
    assert!(!data.join("pg_ident.conf").exists());

    // Somebody's hand, a lost file, a wrong mode: seen over SQL.
    let state = |name: &str| {
        let path = data.join(name);
        let standing = standing(&manifest).unwrap();
        standing.files.into_iter().find(|(it, _)| *it == path).unwrap().1
    };
    fs::write(folder.join("root.crt"), "another")?;
    assert_eq!(state("pg'ward/root.crt"), FileStanding::Other);
    fs::write(folder.join("root.crt"), "crt")?;
    chown(folder.join("server.key"), Some(0), Some(0))?;
    assert!(matches!(state("pg'ward/server.key"), FileStanding::Unreadable { .. }));
    fs::remove_file(folder.join("server.key"))?;
    // As it was before the bundle.
    assert_eq!(state("pg'ward/server.key"), FileStanding::AsBefore);
    fs::remove_file(data.join("pg_hba.conf"))?;
    assert_eq!(state("pg_hba.conf"), FileStanding::Missing);
    assert_eq!(standing(&manifest)?.reached, None);
    Ok(())
}

/// What an administrator reads.
#[test]
fn the_readme_reads_well() -> Outcome {
    let fixture = Fixture::new();
    let (plan, vault) = plan(&fixture);
    let node = fixture.open(fixture.spec());
    node.record(&plan, &vault)?;
    let bundle = node.finish(NOW)?.ok_or("nothing was recorded")?;
    let readme = fs::read_to_string(bundle.join("README.txt"))?;
    let data = fixture.server.data_dir().display().to_string();
    let owner = format!("{}:{}", node.owner().user, node.owner().group);
    let readme = readme.replace(&data, "/data").replace(&owner, "postgres:postgres");
    insta::assert_snapshot!(readme);
    Ok(())
}

fn plan_of(step: Step) -> Plan {
    let stage = Stage { title: String::new(), pace: Pace::AllAtOnce, steps: vec![step] };
    Plan {
        mode: Mode::Scram,
        files: vec![],
        links: vec![],
        stages: vec![stage],
        warnings: vec![],
        shared: vec![],
    }
}

/// What needs a password in clear to be taken back is left to whoever knows that.
#[test]
fn a_password_in_clear_is_put_back_by_who_knows_it() -> Outcome {
    let fixture = Fixture::new();
    let node = fixture.open(fixture.spec());
    let mut vault = Vault::default();
    vault.insert("clear", Zeroizing::new(b"hunter2".to_vec()));
    let in_app = |statement| Action::Execute { database: Some("app".into()), statement };
    let action = in_app(Statement::new("ALTER SUBSCRIPTION s CONNECTION 'host=m'"));
    let undo = in_app(Statement::with_secret("ALTER SUBSCRIPTION s CONNECTION", "clear"));
    node.record(&plan_of(Step { node: "node-1".into(), action, undo: Some(undo) }), &vault)?;
    let bundle = node.finish(NOW)?.ok_or("nothing was recorded")?;
    let readme = fs::read_to_string(bundle.join("README.txt"))?;
    let (_, back) = readme.split_once("Phase 1, back").ok_or("no way back")?;
    let statement = "In the database app:\n   - ALTER SUBSCRIPTION s CONNECTION '********'\n";
    assert!(back.contains(statement), "{back}");
    for (path, (_, bytes)) in tree(&bundle) {
        let text = String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned();
        assert!(!text.contains("hunter2"), "{}", path.display());
    }
    Ok(())
}

#[test]
fn a_password_in_clear_is_in_no_bundle() {
    let fixture = Fixture::new();
    let node = fixture.open(fixture.spec());
    for clear in ["hunter2", "SCRAM-SHA-256$", "SCRAM-SHA-256$4096:c2FsdA==$x:y", "md5hunter2"] {
        let mut vault = Vault::default();
        vault.insert("clear", Zeroizing::new(clear.as_bytes().to_vec()));
        let statement = Statement::with_secret("ALTER ROLE repl PASSWORD", "clear");
        let action = Action::Execute { database: None, statement };
        let plan = plan_of(Step { node: "node-1".into(), action, undo: None });
        let error = node.record(&plan, &vault).unwrap_err();
        assert!(matches!(error, BundleError::ClearSecret { .. }), "{error}");
        assert!(!error.to_string().contains("hunter2"));
    }
    assert!(node.finish(NOW).unwrap().is_none());
}

#[test]
fn phases_come_in_their_order() {
    let fixture = Fixture::new();
    let node = fixture.open(fixture.spec());
    node.begin(Phase(3), "close").unwrap();
    let error = node.begin(Phase(1), "open").unwrap_err();
    assert!(matches!(error, BundleError::Order { phase: Phase(1), later: Phase(3) }));
    for (name, error) in [("..", "x"), ("a/b", "x"), ("", "x")] {
        let opened =
            fixture.runtime.block_on(BundleNode::open(fixture.spec(), name, fixture.connector()));
        assert!(matches!(opened, Err(BundleError::Name { .. })), "{name}{error}");
    }
    for path in ["relative", "/a/../b", "/", "/a/.."] {
        let error =
            node.write(Path::new(path), b"", fixture.owned(0o600), Expected::Absent).unwrap_err();
        let FsError::Io { source, .. } = error else { panic!("{error}") };
        assert_eq!(source.kind(), ErrorKind::InvalidInput, "{path}");
    }
}

/// A folder that cannot be written, and a full disk: no bundle, and nothing of one.
#[test]
fn where_there_is_no_room_there_is_no_bundle() -> Outcome {
    let fixture = Fixture::new();
    let path = fixture.server.data_dir().join("big");
    let write = |node: &BundleNode| {
        node.write(&path, &[7; 200_000], fixture.owned(0o600), Expected::Absent).unwrap();
    };
    let node = fixture.open(BundleSpec::new("/proc/bundles"));
    write(&node);
    assert!(matches!(node.finish(NOW), Err(BundleError::Files(FsError::Io { .. }))));

    let small = fixture.folder.path().join("small");
    fs::create_dir(&small)?;
    let _mounted = Mounted::small(&small)?;
    let node = fixture.open(BundleSpec::new(&small));
    write(&node);
    let Err(BundleError::Files(FsError::Io { source, .. })) = node.finish(NOW) else {
        return Err("200 kB went into 64".into());
    };
    assert_eq!(source.kind(), ErrorKind::StorageFull);
    assert!(tree(&small).is_empty());
    Ok(())
}

/// A file system of 64 kB.
struct Mounted(PathBuf);

impl Mounted {
    fn small(at: &Path) -> io::Result<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(at);
        assert!(mount.status()?.success(), "only root can mount: run the tests as root");
        Ok(Self(at.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[derive(Clone, Debug)]
enum Operation {
    Write { name: &'static str, bytes: Vec<u8>, mode: u32, new: bool },
    MakeFolder { name: &'static str },
    RemoveFile { name: &'static str },
    RemoveFolder { name: &'static str },
    Reload,
}

fn operations() -> impl Strategy<Value = Operation> {
    let name = || proptest::sample::select(vec!["a", "sub/c", "new/e", "sub", "new"]);
    let mode = proptest::sample::select(vec![0o600, 0o640, 0o644]);
    let bytes = proptest::collection::vec(any::<u8>(), 0..700);
    prop_oneof![
        5 => (name(), bytes, mode, any::<bool>()).prop_map(|(name, bytes, mode, new)| {
            Operation::Write { name, bytes, mode, new }
        }),
        2 => name().prop_map(|name| Operation::MakeFolder { name }),
        2 => name().prop_map(|name| Operation::RemoveFile { name }),
        1 => name().prop_map(|name| Operation::RemoveFolder { name }),
        1 => Just(Operation::Reload),
    ]
}

fn perform(
    files: &dyn NodeFiles,
    folder: &Path,
    access: Access,
    operation: &Operation,
) -> Result<(), FsError> {
    let at = |name: &str| folder.join(name);
    match operation {
        Operation::Write { name, bytes, mode, new } => {
            let there = files.find(&at(name)).ok().flatten().map(|there| there.bytes);
            let there = there.as_ref().map(|bytes| bytes.as_slice());
            let expected = if *new { Expected::Absent } else { Expected::of(there) };
            files.write(&at(name), bytes, Access { mode: *mode, ..access }, expected)
        }
        Operation::MakeFolder { name } => {
            files.make_folder(&at(name), Access { mode: 0o750, ..access })
        }
        Operation::RemoveFile { name } => files.remove_file(&at(name)),
        Operation::RemoveFolder { name } => files.remove_folder(&at(name)),
        Operation::Reload => Ok(()),
    }
}

/// Does what a manifest says, as a program would.
fn carry_out(bundle: &Path, manifest: &Manifest) {
    for part in manifest.phases.iter().flat_map(|work| &work.parts) {
        let Part::PlaceFiles { folder, archive, entries, .. } = part else { continue };
        for entry in entries {
            if let Entry::File { path, before, .. } | Entry::RemoveFile { path, before } = entry {
                let there = fs::read(path).ok();
                let as_expected = match before {
                    Before::Absent => there.is_none(),
                    Before::Sha256(sha256) => {
                        let Expected::Bytes(digest) = Expected::of(there.as_deref()) else {
                            panic!("{} is not there", path.display())
                        };
                        *sha256 == digest.map(|byte| format!("{byte:02x}")).concat()
                    }
                };
                assert!(as_expected, "{}: {before:?}", path.display());
            }
            if let Entry::File { path, size, .. } = entry {
                let packed = fs::read(bundle.join(folder).join(path.strip_prefix("/").unwrap()));
                assert_eq!(packed.unwrap().len() as u64, *size);
            }
        }
        let mut tar = Command::new("tar");
        tar.args(["-C", "/", "--no-overwrite-dir", "-xpf"]);
        assert!(tar.arg(bundle.join(archive.as_ref().unwrap())).status().unwrap().success());
        for entry in entries.iter().rev() {
            match entry {
                Entry::RemoveFile { path, .. } => fs::remove_file(path).unwrap(),
                Entry::RemoveFolder { path } => fs::remove_dir(path).unwrap(),
                _ => {}
            }
        }
    }
}

/// What takes the place of something else, all in one go: a folder with another mode, a folder of a
/// file, a file of a folder.
#[test]
fn what_takes_the_place_of_something_else_comes_after_it() {
    let fixture = Fixture::new();
    let data = fixture.server.data_dir();
    let (folder, file) = (data.join("folder"), data.join("file"));
    fs::create_dir(&folder).unwrap();
    fs::write(&file, "old").unwrap();
    let access = |mode| fixture.owned(mode);
    let node = fixture.open(fixture.spec());
    node.remove_folder(&folder).unwrap();
    node.make_folder(&folder, access(0o750)).unwrap();
    node.remove_file(&file).unwrap();
    node.make_folder(&file, access(0o700)).unwrap();
    node.remove_folder(&folder).unwrap();
    node.write(&folder, b"now a file", access(0o640), Expected::Absent).unwrap();
    let bundle = node.finish(NOW).unwrap().unwrap();
    carry_out(&bundle, &Manifest::read(&bundle).unwrap());
    assert!(file.is_dir());
    assert_eq!(fs::read(&folder).unwrap(), b"now a file");
    assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o7777, 0o640);

    // And no part is left of what comes to nothing.
    let node = fixture.open(BundleSpec::new(fixture.folder.path().join("another")));
    let new = data.join("new");
    node.make_folder(&new, access(0o700)).unwrap();
    node.remove_folder(&new).unwrap();
    let bundle = node.finish(NOW).unwrap().unwrap();
    assert_eq!(Manifest::read(&bundle).unwrap().entries().count(), 0);
}

/// Whatever is done to files: carried there in a bundle it comes to the same as done directly.
#[test]
fn what_is_carried_there_is_what_was_done() {
    let fixture = Fixture::new();
    let config = ProptestConfig { cases: 40, failure_persistence: None, ..Default::default() };
    proptest!(config, |(operations in proptest::collection::vec(operations(), 1..16))| {
        let account = fixture.server.account();
        let scratch = tempfile::tempdir_in(fixture.server.root()).unwrap();
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(scratch.path(), open.clone()).unwrap();
        let (there, here) = (scratch.path().join("there"), scratch.path().join("here"));
        for root in [&there, &here] {
            for folder in [root.clone(), root.join("sub")] {
                fs::create_dir(&folder).unwrap();
                // What the server assumes of its own.
                fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
                chown(&folder, Some(account.uid()), Some(account.gid())).unwrap();
            }
            for name in ["a", "sub/c"] {
                fs::write(root.join(name), name).unwrap();
                fs::set_permissions(root.join(name), fs::Permissions::from_mode(0o600)).unwrap();
                chown(root.join(name), Some(account.uid()), Some(account.gid())).unwrap();
            }
        }
        let node = fixture.open(BundleSpec::new(scratch.path().join("bundles")));
        for (index, operation) in operations.iter().enumerate() {
            let phase = Phase(u16::try_from(index / 6).unwrap());
            node.begin(phase, "do something").unwrap();
            let recorded = perform(&node, &there, fixture.owned(0), operation);
            let done = perform(&LocalFiles, &here, fixture.owned(0), operation);
            prop_assert_eq!(recorded.is_ok(), done.is_ok(), "{:?} {:?}", recorded, done);
        }
        if let Some(bundle) = node.finish(NOW).unwrap() {
            carry_out(&bundle, &Manifest::read(&bundle).unwrap());
        }
        prop_assert_eq!(tree(&there), tree(&here));
    });
}
