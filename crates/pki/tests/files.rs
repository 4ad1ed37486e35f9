//! Keys and certificates as files.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use common::{root, year};
use pki::fs::{Existing, NewFolder, write_public};
use pki::{Error, KeyAlgorithm, PrivateKey, Profile};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_key_is_never_replaced_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let issued =
        root("root").issue(KeyAlgorithm::EcdsaP256, &Profile::client("alice"), year()).unwrap();
    let (key, certificate) = issued.write(folder.path(), "alice", Existing::Keep).unwrap();
    assert_eq!((mode(&key), mode(&certificate)), (0o600, 0o644));
    assert_eq!(std::fs::read(&certificate).unwrap(), issued.chain_pem().as_bytes());
    let other = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    assert!(matches!(other.write(&key, Existing::Keep), Err(Error::Exists { .. })));
    let kept = PrivateKey::from_pem(&std::fs::read(&key).unwrap()).unwrap();
    assert!(kept.matches(&issued.certificate));
    // A mode that was too wide is not kept.
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
    other.write(&key, Existing::Replace).unwrap();
    assert_eq!(mode(&key), 0o600);
    let read = PrivateKey::from_pem(&std::fs::read(&key).unwrap()).unwrap();
    assert_eq!(read.public_key(), other.public_key());
    assert!(matches!(write_public(&certificate, "", Existing::Keep), Err(Error::Exists { .. })));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left behind");
}

#[test]
fn a_folder_appears_as_a_whole_or_not_at_all() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("certificates");
    let authority = root("root");
    let count = || std::fs::read_dir(place.path()).unwrap().count();
    let abandoned = NewFolder::create(&path).unwrap();
    abandoned.key("root.key", authority.key()).unwrap();
    assert!(matches!(abandoned.key("root.key", authority.key()), Err(Error::Exists { .. })));
    for name in ["../root.key", "a/b", "", ".."] {
        assert!(abandoned.key(name, authority.key()).is_err(), "{name:?}");
    }
    drop(abandoned);
    assert_eq!(count(), 0);

    let folder = NewFolder::create(&path).unwrap();
    folder.key("root.key", authority.key()).unwrap();
    folder.public("root.crt", &authority.certificate().to_pem()).unwrap();
    assert!(!path.exists());
    folder.finish(true).unwrap();
    assert_eq!((mode(&path), mode(&path.join("root.key"))), (0o700, 0o600));
    assert!(matches!(NewFolder::create(&path), Err(Error::Exists { .. })));
    assert_eq!(count(), 1);
}
