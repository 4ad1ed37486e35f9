//! The checked-in corpus of each target, and mutations of it, on stable Rust.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;

/// Runs a target on every file of its corpus, cut off everywhere and with single octets changed.
fn run(name: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let data = std::fs::read(entry.unwrap().path()).unwrap();
        target(&data);
        files += 1;
        let step = (data.len() / 64).max(1);
        for position in (0..data.len()).step_by(step) {
            target(&data[..position]);
            for change in [0x01, 0x80, 0xff] {
                let mut changed = data.clone();
                changed[position] ^= change;
                target(&changed);
            }
        }
    }
    assert!(files > 0, "the corpus of {name} is empty");
}

#[test]
fn heap() {
    run("pki_heap", fuzz::pki::heap);
}

#[test]
fn chain() {
    run("pki_chain", fuzz::pki::chain);
}

#[test]
fn request() {
    run("pki_request", fuzz::pki::request);
}
