//! Owners and modes of key files.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use pki::fs::judge_key_at;
use pki::{Account, KeyAlgorithm, KeyFileRefusal, KeyReader, Profile, Served, served};

use crate::support::{
    Client, HOSTS, authority, install, installations, libpqs, major, on_each_server, presented,
    roots, server, year,
};

/// Owners and modes of key files, as far as this process may make them.
fn ownerships(own: (u32, u32)) -> Vec<(u32, u32, u32)> {
    const NOBODY: u32 = 65_534;
    let modes = [0o600, 0o400, 0o700, 0o640, 0o644, 0o660, 0o604];
    let mut owners = vec![own];
    if rustix::process::geteuid().is_root() {
        owners.extend([(0, own.1), (0, 0), (NOBODY, own.1)]);
    }
    owners.dedup();
    owners.iter().flat_map(|(uid, gid)| modes.map(|mode| (*uid, *gid, mode))).collect()
}

fn give(path: &Path, (uid, gid, mode): (u32, u32, u32)) {
    if rustix::process::geteuid().is_root() {
        chown(path, Some(uid), Some(gid)).unwrap();
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// What is there in place of a key file.
fn spoil(path: &Path, what: KeyFileRefusal) {
    if path.symlink_metadata().is_ok() {
        std::fs::remove_file(path).unwrap();
    }
    if what == KeyFileRefusal::NotRegular {
        std::os::unix::fs::symlink("/dev/null", path).unwrap();
    }
}

#[test]
fn servers_use_the_key_files_that_were_predicted() {
    let root = authority(KeyAlgorithm::EcdsaP256);
    let issue =
        || root.issue(KeyAlgorithm::EcdsaP256, &Profile::server(HOSTS).unwrap(), year()).unwrap();
    on_each_server(|installation| {
        let mut current = issue();
        let server = server(installation, &current, &roots(&[&root]));
        let account = server.account().clone();
        let reader = Account { uid: account.uid(), gids: &[account.gid()] };
        let path = server.data_dir().join("server.key");
        let judge = || judge_key_at(&path, KeyReader::Server, reader).unwrap();
        for ownership in ownerships((account.uid(), account.gid())) {
            let next = issue();
            install(&server, &next, &roots(&[&root]));
            give(&path, ownership);
            let since = server.reload().unwrap();
            let verdict = judge();
            let log = server.log_since(since).unwrap();
            let context = format!("{} {ownership:?} {verdict:?}\n{log}", server.version());
            // A key that is not used leaves the old certificate in service, without a word to
            // anybody who does not read the log.
            let serves = served(&presented(&server), &next.chain());
            match verdict {
                Ok(()) => {
                    assert_eq!(serves, Served::Current, "{context}");
                    current = next;
                }
                Err(refusal) => {
                    assert_eq!(serves, Served::Other, "{context}");
                    assert_eq!(served(&presented(&server), &current.chain()), Served::Current);
                    assert_logged(&log, refusal);
                }
            }
        }
        for what in [KeyFileRefusal::Missing, KeyFileRefusal::NotRegular] {
            spoil(&path, what);
            assert_eq!(judge(), Err(what));
            let since = server.reload().unwrap();
            assert_logged(&server.log_since(since).unwrap(), what);
            assert_eq!(served(&presented(&server), &current.chain()), Served::Current);
        }
    });
}

/// Asserts that a server's log has the whole message, its detail too.
fn assert_logged(log: &str, refusal: KeyFileRefusal) {
    for line in refusal.message(KeyReader::Server, "server.key").lines() {
        assert!(log.contains(line), "{line} but {log}");
    }
}

#[test]
fn libpq_uses_the_key_files_that_were_predicted() {
    let root = authority(KeyAlgorithm::EcdsaP256);
    let node =
        root.issue(KeyAlgorithm::EcdsaP256, &Profile::server(HOSTS).unwrap(), year()).unwrap();
    let alice = root.issue(KeyAlgorithm::EcdsaP256, &Profile::client("alice"), year()).unwrap();
    let newest = installations().pop().unwrap();
    let server = server(&newest, &node, &roots(&[&root]));
    let client = Client::new(&alice, &roots(&[&root]));
    let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let account = Account { uid: own.0, gids: &[own.1] };
    let path = client.folder.path().join("alice.key");
    let compare = |what: &str| {
        let verdict = judge_key_at(&path, KeyReader::Libpq, account).unwrap();
        for libpq in &libpqs() {
            let said = client.connect(libpq, &server, HOSTS[0]);
            assert_eq!(verdict.is_ok(), said.is_ok(), "{} {what} {said:?}", major(libpq));
            if let (Err(refusal), Err(said)) = (verdict, said) {
                let message = refusal.message(KeyReader::Libpq, path.to_str().unwrap());
                assert!(said.ends_with(&message), "{message} but {said}");
            }
        }
    };
    for ownership in ownerships(own) {
        give(&path, ownership);
        compare(&format!("{ownership:?}"));
    }
    for what in [KeyFileRefusal::NotRegular, KeyFileRefusal::Missing] {
        spoil(&path, what);
        compare(&format!("{what:?}"));
        assert_eq!(judge_key_at(&path, KeyReader::Libpq, account).unwrap(), Err(what));
    }
}
