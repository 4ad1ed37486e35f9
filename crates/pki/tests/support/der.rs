//! DER written by hand, for what nobody issues on purpose.
#![allow(dead_code, reason = "each test binary uses its own part")]

use pki::PrivateKey;

/// One element of DER: its tag octet and its contents.
pub(crate) fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
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

/// A SEQUENCE.
pub(crate) fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    element(0x30, &parts.concat())
}

/// An extension under 2.5.29.
pub(crate) fn extension(id: u8, critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if critical { element(0x01, &[0xff]) } else { Vec::new() };
    sequence(&[element(0x06, &[0x55, 0x1d, id]), critical, element(0x04, value)])
}

/// The `AlgorithmIdentifier` of ECDSA with SHA-256.
pub(crate) fn ecdsa_with_sha256() -> Vec<u8> {
    element(0x30, &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2])
}

/// What is to be signed, its algorithm, and the signature.
pub(crate) fn signed(tbs: &[u8], algorithm: &[u8], key: &PrivateKey) -> Vec<u8> {
    let mut bits = vec![0];
    bits.extend(rcgen::SigningKey::sign(key, tbs).unwrap());
    element(0x30, &[tbs, algorithm, &element(0x03, &bits)].concat())
}
