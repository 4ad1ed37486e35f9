//! Security levels: how strong keys and digests must be (`check_key_level`, `check_sig_level`).

use super::super::{Reason, Rejection};
use super::{OpenSsl, OpenSslRelease};
use crate::certificate::Certificate;
use crate::signature::{BRAINPOOL, Curve, Hash, KeyKind, SignatureAlgorithm};

/// The leaf's key, judged before anything else.
pub(super) fn judge_key(certificate: &Certificate, model: OpenSsl) -> Result<(), Rejection> {
    let key = certificate.public_key();
    let kind = key.kind();
    // A key that cannot be read has no strength at all.
    let bits = if key.is_readable() { key_bits(kind, model.release) } else { 0 };
    if bits >= wanted(model.security_level) {
        return Ok(());
    }
    let reason = Reason::KeyTooSmall { kind: kind.clone(), level: model.security_level };
    Err(Rejection::new(reason, certificate))
}

/// The issuers' keys, and every signature but that of the trust anchor.
pub(super) fn judge_chain(chain: &[Certificate], model: OpenSsl) -> Result<(), Rejection> {
    for (depth, certificate) in chain.iter().enumerate() {
        if depth > 0 {
            judge_key(certificate, model)?;
        }
        if depth + 1 < chain.len() {
            judge_signature(certificate, model)?;
        }
    }
    Ok(())
}

/// The digest of one signature.
pub(super) fn judge_signature(certificate: &Certificate, model: OpenSsl) -> Result<(), Rejection> {
    let algorithm = certificate.signature_algorithm();
    if signature_bits(algorithm, model.release) >= wanted(model.security_level) {
        return Ok(());
    }
    let reason =
        Reason::DigestTooWeak { algorithm: algorithm.clone(), level: model.security_level };
    Err(Rejection::new(reason, certificate))
}

/// Bits of security that a level demands (`SSL_CTX_set_security_level(3)`).
const fn wanted(level: u8) -> u32 {
    match level {
        0 => 0,
        1 => 80,
        2 => 112,
        3 => 128,
        4 => 192,
        _ => 256,
    }
}

/// `EVP_PKEY_security_bits`, as far as levels tell them apart.
fn key_bits(kind: &KeyKind, release: OpenSslRelease) -> u32 {
    match kind {
        KeyKind::Rsa { bits } | KeyKind::RsaPss { bits } if release >= OpenSslRelease::V3_0 => {
            computed_bits(*bits)
        }
        KeyKind::Rsa { bits } | KeyKind::RsaPss { bits } | KeyKind::Dsa { bits } => match bits {
            15_360.. => 256,
            7_680.. => 192,
            3_072.. => 128,
            2_048.. => 112,
            1_024.. => 80,
            _ => 0,
        },
        KeyKind::Ec(curve) => curve_bits(curve),
        KeyKind::Ed25519 => 128,
        KeyKind::Ed448 => 224,
        KeyKind::Other(_) => 0,
    }
}

/// `ossl_ifc_ffc_compute_security_bits`: since 3.0 the strength of an RSA key is computed and rounded
/// to eights, so that one of 2047 bits is as good as one of 2048. Here, from which length on each
/// level's demand is met.
const fn computed_bits(modulus: u32) -> u32 {
    match modulus {
        13_914.. => 256,
        6_947.. => 192,
        2_671.. => 128,
        1_963.. => 112,
        920.. => 80,
        _ => 0,
    }
}

/// `ec_security_bits`, by the order of the curve.
fn curve_bits(curve: &Curve) -> u32 {
    match curve {
        Curve::P192 => 80,
        Curve::P224 => 112,
        Curve::P384 => 192,
        Curve::P521 => 256,
        // brainpoolP160r1 and t1, and so on to P512 (RFC 5639 appendix A); or secp256k1
        Curve::Other(oid) => match oid.as_der_contents().strip_prefix(BRAINPOOL) {
            Some([1..=4]) => 80,
            Some([5 | 6]) => 112,
            Some([11 | 12]) => 192,
            Some([13 | 14]) => 256,
            _ => 128,
        },
        Curve::P256 | Curve::Explicit => 128,
    }
}

/// `X509_get_signature_info`: half the size of the digest, less for the broken ones since 3.0.
const fn signature_bits(algorithm: &SignatureAlgorithm, release: OpenSslRelease) -> u32 {
    match algorithm {
        SignatureAlgorithm::Ed25519 => 128,
        SignatureAlgorithm::Ed448 => 224,
        SignatureAlgorithm::Other(_) => 0,
        SignatureAlgorithm::Rsa(hash)
        | SignatureAlgorithm::RsaPss(hash, _)
        | SignatureAlgorithm::Ecdsa(hash)
        | SignatureAlgorithm::Dsa(hash) => match (hash, release) {
            (Hash::Md5, OpenSslRelease::V3_0) => 39,
            (Hash::Sha1, OpenSslRelease::V3_0) => 63,
            (hash, _) => hash.size() * 4,
        },
    }
}
