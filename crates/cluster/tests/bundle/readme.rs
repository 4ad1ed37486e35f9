//! Whether an administrator who follows the README gets what was planned.

use std::{
    fs,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, PermissionsExt as _, chown},
    },
    path::Path,
    time::Duration,
};

use cluster::{
    plan::{Action, Content, Expectation, Expected, Pace, Plan, Stage, Statement, Step},
    spec::Mode,
    topology::{LinkPlace, SessionKey},
    transport::{
        NodeFiles as _,
        bundle::{BundleError, FileStanding, Manifest, Phase, verify},
    },
    vault::Vault,
};
use textfile::{Files as _, fs::Access};
use tokio_postgres::Client;
use zeroize::Zeroizing;

use crate::{
    Outcome, administrator,
    fixture::{Fixture, NOW, tree},
};

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
    let loaded = || {
        let standing = fixture.runtime.block_on(verify(manifest, client))?;
        Ok::<_, BundleError>((standing.loaded != Some(false)).then_some(()))
    };
    assert!(pgtest::until(Duration::from_secs(60), loaded).unwrap().is_some());
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
