//! Private keys under pass phrases, as openssl writes them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::path::Path;
use std::process::Command;

use common::root;
use pki::{Authority, Error, KeyAlgorithm, PrivateKey};

fn openssl(folder: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Encrypts `key.pem` into `encrypted.pem`.
fn encrypt(folder: &Path, options: &[&str], pass_phrase: &str) -> Vec<u8> {
    let pass_phrase = format!("pass:{pass_phrase}");
    let arguments = ["pkcs8", "-topk8", "-in", "key.pem", "-out", "encrypted.pem", "-passout"];
    openssl(folder, &[&arguments[..], &[&pass_phrase], options].concat());
    std::fs::read(folder.join("encrypted.pem")).unwrap()
}

#[test]
fn encrypted_keys_are_read_with_their_pass_phrase() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for algorithm in [KeyAlgorithm::EcdsaP256, KeyAlgorithm::Rsa2048, KeyAlgorithm::Ed25519] {
        let authority =
            Authority::create(algorithm, &pki::Subject::common_name("CA"), common::decade())
                .unwrap();
        std::fs::write(folder.join("key.pem"), authority.key().to_pem().as_bytes()).unwrap();
        let certificate = authority.certificate().to_pem();
        for options in [
            &["-iter", "50", "-v2", "aes-256-cbc"][..],
            &["-iter", "50", "-v2", "aes-128-cbc", "-v2prf", "hmacWithSHA512"],
            // What openssl did by itself up to 1.0.2.
            &["-iter", "50", "-v2", "des-ede3-cbc", "-v2prf", "hmacWithSHA1"],
            &["-scrypt", "-scrypt_N", "64"],
        ] {
            for pass_phrase in ["secret", "gehe\u{ef}m \u{1f511}", "with : colon"] {
                let encrypted = encrypt(folder, options, pass_phrase);
                let load = |pass_phrase: &str| {
                    let pass_phrase = pass_phrase.as_bytes();
                    Authority::from_encrypted_pem(certificate.as_bytes(), &encrypted, pass_phrase)
                };
                let loaded = load(pass_phrase).unwrap();
                assert_eq!(loaded.key().public_key(), authority.key().public_key());
                for refused in [load("wrong"), load("")] {
                    assert!(matches!(refused, Err(Error::EncryptedKey(_))), "{refused:?}");
                }
                let refused = PrivateKey::from_pem(&encrypted).unwrap_err();
                insta::allow_duplicates! {
                    insta::assert_snapshot!(refused, @"the private key is encrypted: a pass phrase is needed to read it");
                }
            }
        }
    }
}

#[test]
fn encryption_of_the_nineties_is_refused_with_a_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let key = root("CA").key().clone();
    std::fs::write(folder.join("key.pem"), key.to_pem().as_bytes()).unwrap();
    let encrypted = encrypt(folder, &["-v1", "PBE-SHA1-3DES"], "secret");
    let refused = PrivateKey::from_encrypted_pem(&encrypted, b"secret").unwrap_err();
    insta::assert_snapshot!(refused, @"the private key is encrypted: it is damaged, or encrypted in a way that is not known here: convert it with openssl pkcs8 -topk8 -v2 aes-256-cbc");
    let arguments =
        ["ec", "-in", "key.pem", "-aes128", "-passout", "pass:secret", "-out", "old.pem"];
    openssl(folder, &arguments);
    let old = std::fs::read(folder.join("old.pem")).unwrap();
    let refused = PrivateKey::from_encrypted_pem(&old, b"secret").unwrap_err();
    insta::assert_snapshot!(refused, @"the private key is encrypted: it is in OpenSSL's old format: convert it with openssl pkcs8 -topk8");
    assert!(matches!(PrivateKey::from_pem(&old), Err(Error::EncryptedKey(_))));
}

#[test]
fn damaged_encrypted_keys_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let key = root("CA").key().clone();
    std::fs::write(folder.path().join("key.pem"), key.to_pem().as_bytes()).unwrap();
    let encrypted = encrypt(folder.path(), &["-v2", "aes-256-cbc", "-iter", "1"], "secret");
    let block = pki::pem::read(&encrypted).unwrap().remove(0);
    let bits = block.contents().len() * 8;
    let mut refused = 0;
    for bit in 0..bits {
        let mut damaged = block.contents().to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let text = pem::encode(&pem::Pem::new("ENCRYPTED PRIVATE KEY", damaged));
        match PrivateKey::from_encrypted_pem(text.as_bytes(), b"secret") {
            // What is encrypted is not authenticated: a bit that nobody reads may change.
            Ok(read) => assert_eq!(read.public_key(), key.public_key()),
            Err(error) => {
                assert!(matches!(error, Error::EncryptedKey(_) | Error::Key(_)), "{error:?}");
                refused += 1;
            }
        }
    }
    assert!(refused > bits / 2, "{refused} of {bits}");
}
