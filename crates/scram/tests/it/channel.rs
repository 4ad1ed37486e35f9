//! The channel binding of certificates with every signature algorithm that OpenSSL makes.
//!
//! The certificates in `tests/data/certificates` were made by OpenSSL 3.0; which hash function goes
//! with each is what `X509_get_signature_info()` says of it, in OpenSSL 1.1.1 and 3.0 alike.

use std::{
    fs,
    path::{Path, PathBuf},
};

use scram::{EndPointError, channel::tls_server_end_point};
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};
use sha3::Sha3_256;

use crate::{common::recorded, recorded_binding::judge};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/certificates")
}

fn certificate(name: &str) -> Vec<u8> {
    fs::read(folder().join(format!("{name}.der"))).unwrap()
}

#[test]
fn hash_function_of_the_signature() {
    let hash = |name: &str| tls_server_end_point(&certificate(name)).unwrap().as_bytes().to_vec();
    for name in ["rsa-md5", "rsa-sha1", "pss-sha1", "ecdsa-sha1"] {
        assert_eq!(hash(name), Sha256::digest(certificate(name)).to_vec(), "{name}");
    }
    for kind in ["rsa", "pss", "ecdsa"] {
        if kind != "pss" {
            let name = format!("{kind}-sha224");
            assert_eq!(hash(&name), Sha224::digest(certificate(&name)).to_vec());
        }
        let name = format!("{kind}-sha256");
        assert_eq!(hash(&name), Sha256::digest(certificate(&name)).to_vec());
        let name = format!("{kind}-sha384");
        assert_eq!(hash(&name), Sha384::digest(certificate(&name)).to_vec());
        let name = format!("{kind}-sha512");
        assert_eq!(hash(&name), Sha512::digest(certificate(&name)).to_vec());
    }
    let name = "rsa-sha3-256";
    assert_eq!(hash(name), Sha3_256::digest(certificate(name)).to_vec());
    // What counts is the issuer's key, not the certificate's own.
    let name = "ed25519-leaf-ecsig";
    assert_eq!(hash(name), Sha384::digest(certificate(name)).to_vec());
}

#[test]
fn signatures_without_a_hash_function() {
    for (name, algorithm) in
        [("ed25519", "Ed25519"), ("ec-leaf-edsig", "Ed25519"), ("ed448", "Ed448")]
    {
        let error = tls_server_end_point(&certificate(name)).unwrap_err();
        assert_eq!(error, EndPointError::NoDigest { algorithm }, "{name}");
    }
    for (name, oid) in [
        ("ecdsa-sha3-256", "2.16.840.1.101.3.4.3.10"),
        ("rsa-sha512-256", "1.2.840.113549.1.1.16"),
        ("rsa-sha512-224", "1.2.840.113549.1.1.15"),
    ] {
        let error = tls_server_end_point(&certificate(name)).unwrap_err();
        assert_eq!(error, EndPointError::UnknownDigest { oid: oid.into() }, "{name}");
    }
}

#[test]
fn not_one_certificate() {
    let good = certificate("rsa-sha256");
    for len in 0..good.len() {
        assert_eq!(tls_server_end_point(&good[..len]), Err(EndPointError::NotACertificate));
    }
    let two = [good.clone(), good].concat();
    assert_eq!(tls_server_end_point(&two), Err(EndPointError::NotACertificate));
}

/// The recorded servers' certificates had the same signatures: what libpq could log in through
/// must have channel binding data here, and what it could not must be reported.
#[test]
fn as_libpq_12_to_18_with_servers_12_to_18() {
    let mut judged = 0;
    for case in recorded("channel-binding") {
        for verdict in judge(&case, &folder()).unwrap() {
            assert_eq!(verdict.ours, verdict.recorded, "{} {}", case["certificate"], verdict.key);
            judged += 1;
        }
    }
    assert_eq!(judged, 14 * 57 - 2 * (19 + 6));
}
