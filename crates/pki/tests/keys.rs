//! Private keys: to openssl and back.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::process::Command;

use pki::{Error, KeyAlgorithm, PrivateKey};

fn openssl(folder: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn keys_go_to_openssl_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    for algorithm in KeyAlgorithm::ALL {
        let key = PrivateKey::generate(algorithm).unwrap();
        std::fs::write(&path, key.to_pem().as_bytes()).unwrap();
        openssl(folder.path(), &["pkey", "-in", "key.pem", "-noout", "-text"]);
        // Ed25519 has nothing to check, and no older format.
        if algorithm == KeyAlgorithm::Ed25519 {
            continue;
        }
        openssl(folder.path(), &["pkey", "-in", "key.pem", "-noout", "-check"]);
        // SEC 1 and PKCS#1.
        openssl(folder.path(), &["pkey", "-in", "key.pem", "-traditional", "-out", "old.pem"]);
        let old = std::fs::read(folder.path().join("old.pem")).unwrap();
        let again = PrivateKey::from_pem(&old).unwrap();
        assert_eq!(again.public_key(), key.public_key());
        assert_eq!(again.to_pem().as_bytes(), old);
        assert!(!format!("{again:?}").contains("KEY"));
    }
    let refused =
        PrivateKey::from_pem(b"-----BEGIN PRIVATE KEY-----\nAAEC\n-----END PRIVATE KEY-----\n");
    assert!(matches!(refused, Err(Error::Key(_))));
}
