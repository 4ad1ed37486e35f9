//! Channel binding: what ties a SCRAM login to the TLS connection that carries it.

use aws_lc_rs::digest;

use crate::certificate::Certificate;
use crate::signature::Hash;

/// The data of `tls-server-end-point` (RFC 5929 section 4.1) for a server's certificate: its
/// digest, made with the digest of its signature, or SHA-256 where that is MD5 or SHA-1.
///
/// `None` where the signature has no digest of its own (Ed25519, Ed448): libpq then gives up with
/// `could not find digest for NID UNDEF`. `None` also for SHA3-224, which the crypto provider lacks.
/// RSA-PSS signatures have a digest, which PostgreSQL's current minors of all majors find
/// (`X509_get_signature_info`).
#[must_use]
pub fn tls_server_end_point(leaf: &[u8]) -> Option<Vec<u8>> {
    let certificate = Certificate::from_der(leaf).ok()?;
    let algorithm = match certificate.signature_algorithm().hash()? {
        Hash::Md5 | Hash::Sha1 | Hash::Sha256 => &digest::SHA256,
        Hash::Sha224 => &digest::SHA224,
        Hash::Sha384 => &digest::SHA384,
        Hash::Sha512 => &digest::SHA512,
        Hash::Sha512_256 => &digest::SHA512_256,
        Hash::Sha3_224 => return None,
        Hash::Sha3_256 => &digest::SHA3_256,
        Hash::Sha3_384 => &digest::SHA3_384,
        Hash::Sha3_512 => &digest::SHA3_512,
    };
    Some(digest::digest(algorithm, leaf).as_ref().to_vec())
}
