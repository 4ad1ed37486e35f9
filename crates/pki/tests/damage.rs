//! Certificates that an authority has signed and that are damaged all the same: what openssl makes
//! of each, and that nothing is accepted here that it refuses.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::process::Command;

use common::{NOW, root, year};
use pki::{Authority, Certificate, Check, KeyAlgorithm, PrivateKey, Profile, Purpose, Verifier};

const MODELS: [Verifier; 2] = [Verifier::OPENSSL_1_1_1, Verifier::OPENSSL_3_0];

/// One element of DER: its tag octet and its contents.
fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut element = vec![tag];
    match u8::try_from(contents.len()) {
        Ok(short @ 0..=0x7f) => element.push(short),
        Ok(length) => element.extend([0x81, length]),
        Err(_) => {
            element.push(0x82);
            element.extend(u16::try_from(contents.len()).unwrap().to_be_bytes());
        }
    }
    element.extend_from_slice(contents);
    element
}

/// The first element, its head included, and what follows it.
fn split(der: &[u8]) -> (&[u8], &[u8]) {
    let (head, length) = match der[1] {
        short @ 0..=0x7f => (2, usize::from(short)),
        0x81 => (3, usize::from(der[2])),
        _ => (4, usize::from(u16::from_be_bytes([der[2], der[3]]))),
    };
    der.split_at(head + length)
}

/// What is signed of a certificate, and how.
fn signed(certificate: &Certificate) -> (Vec<u8>, Vec<u8>) {
    let der = certificate.as_der();
    let (_, rest) = der.split_at(if der[1] == 0x82 { 4 } else { 3 });
    let (tbs, rest) = split(rest);
    (tbs.to_vec(), split(rest).0.to_vec())
}

fn sign(tbs: &[u8], algorithm: &[u8], key: &PrivateKey) -> Vec<u8> {
    let mut bits = vec![0];
    bits.extend(rcgen::SigningKey::sign(key, tbs).unwrap());
    element(0x30, &[tbs, algorithm, &element(0x03, &bits)].concat())
}

/// Which of these certificates openssl accepts from a client that presents nothing else.
fn accepted_by_openssl(certificates: &[Vec<u8>], root: &Authority) -> Vec<bool> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("root.crt"), root.certificate().to_pem()).unwrap();
    let names: Vec<String> = (0..certificates.len()).map(|number| number.to_string()).collect();
    for (name, der) in names.iter().zip(certificates) {
        let pem = pem::encode(&pem::Pem::new("CERTIFICATE", der.as_slice()));
        std::fs::write(folder.path().join(name), pem).unwrap();
    }
    let time = NOW.unix_timestamp().to_string();
    let output = Command::new("openssl")
        .args(["verify", "-CAfile", "root.crt", "-purpose", "sslclient", "-attime", &time])
        .args(&names)
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let accepted: Vec<&str> = said.lines().filter_map(|line| line.strip_suffix(": OK")).collect();
    names.iter().map(|name| accepted.contains(&name.as_str())).collect()
}

/// Asserts of each damaged certificate that what is accepted here openssl accepts too, and returns
/// how many openssl accepts and how many of those are accepted here, by the model of 3.0.
fn compare(damaged: &[(String, Vec<u8>)], root: &Authority) -> (usize, usize) {
    let der: Vec<Vec<u8>> = damaged.iter().map(|(_, der)| der.clone()).collect();
    let trust = [root.certificate().clone()];
    let (mut by_openssl, mut by_both) = (0, 0);
    for ((what, der), accepted) in damaged.iter().zip(accepted_by_openssl(&der, root)) {
        by_openssl += usize::from(accepted);
        let Ok(certificate) = Certificate::from_der(der) else { continue };
        let chain = [certificate];
        let verdicts = MODELS.map(|model| {
            Check::new(&chain, &trust, Purpose::Client, NOW).verifier(model).run().is_ok()
        });
        assert!(accepted || verdicts == [false; 2], "openssl refuses {what}");
        by_both += usize::from(verdicts[1]);
    }
    (by_openssl, by_both)
}

fn node(root: &Authority) -> Certificate {
    let profile = Profile::node("alice", ["node1.example.com", "192.0.2.1"]).unwrap();
    root.issue(KeyAlgorithm::EcdsaP256, &profile, year()).unwrap().certificate
}

#[test]
fn every_bit_changed_before_it_was_signed() {
    let root = root("root");
    let (tbs, algorithm) = signed(&node(&root));
    let damaged: Vec<(String, Vec<u8>)> = (0..tbs.len() * 8)
        .map(|bit| {
            let mut changed = tbs.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let what = format!("{:02x} for {:02x} at {}", changed[bit / 8], tbs[bit / 8], bit / 8);
            (what, sign(&changed, &algorithm, root.key()))
        })
        .collect();
    let (by_openssl, by_both) = compare(&damaged, &root);
    // Serial numbers, names and dates may be much. A few changes make something of it that openssl
    // reads and that is not DER.
    assert!(by_openssl > 500, "openssl accepts {by_openssl}");
    assert!(by_both + 15 > by_openssl, "{by_both} of {by_openssl} are accepted here");
}

/// Elements in a row with one of them, or one inside of them, missing, doubled, empty, cut off,
/// followed by a NULL, or under another tag.
fn damaged(elements: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut rest = elements;
    while !rest.is_empty() {
        let before = &elements[..elements.len() - rest.len()];
        let (whole, after) = split(rest);
        rest = after;
        let tag = whole[0];
        let (_, contents) = whole.split_at(match whole[1] {
            0..=0x7f => 2,
            0x81 => 3,
            _ => 4,
        });
        let mut replace = |by: &[u8]| all.push([before, by, after].concat());
        replace(&[]);
        replace(&[whole, whole].concat());
        replace(&element(tag, &[]));
        replace(&element(tag, &contents[..contents.len().saturating_sub(1)]));
        replace(&[whole, &element(0x05, &[])].concat());
        for bit in [0, 1, 2, 5, 7] {
            replace(&element(tag ^ 1 << bit, contents));
        }
        // Values of extensions are elements inside of a string.
        if tag & 0x20 != 0 || (tag == 0x04 && contents.first() == Some(&0x30)) {
            for inner in damaged(contents) {
                replace(&element(tag, &inner));
            }
        }
    }
    all
}

#[test]
fn every_element_damaged_before_it_was_signed() {
    let root = root("root");
    let (tbs, algorithm) = signed(&node(&root));
    let damaged: Vec<(String, Vec<u8>)> = damaged(&tbs)
        .into_iter()
        .map(|changed| (format!("{changed:02x?}"), sign(&changed, &algorithm, root.key())))
        .collect();
    let (by_openssl, by_both) = compare(&damaged, &root);
    assert!(by_openssl > 50, "openssl accepts {by_openssl}");
    assert!(by_both + 15 > by_openssl, "{by_both} of {by_openssl} are accepted here");
}
