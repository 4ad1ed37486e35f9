//! What can go wrong with a file, a key, a certificate or a request.

use std::string::String;

/// Why a key, a certificate, a request or a file of them could not be read, made or written.
///
/// A message never holds a secret: at most names, line numbers and what the underlying library
/// says about a structure.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A PEM block is damaged.
    #[error("the PEM block that begins in line {line} is damaged: {reason}")]
    Pem {
        /// The line of `-----BEGIN`, the first is 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// No block of the wanted kind is there.
    #[error("no {wanted} found{}", found_instead(found))]
    Missing {
        /// What was looked for.
        wanted: &'static str,
        /// The labels of the blocks that are there.
        found: Vec<String>,
    },
    /// The bytes are not a certificate.
    #[error("not an X.509 certificate: {0}")]
    Certificate(String),
    /// The bytes are not a certificate revocation list.
    #[error("not a certificate revocation list: {0}")]
    Crl(String),
    /// The bytes are not a certificate signing request, or it is not signed with its own key.
    #[error("not a usable certificate signing request: {0}")]
    Request(String),
    /// The bytes are not a private key of a kind that is known here.
    #[error("not a usable private key: {0}")]
    Key(String),
    /// The private key is encrypted and no pass phrase was given, or it was the wrong one.
    #[error("the private key is encrypted: {0}")]
    EncryptedKey(String),
    /// The private key does not belong to the certificate.
    #[error("the private key does not belong to the certificate of {subject}")]
    KeyMismatch {
        /// The certificate's subject.
        subject: String,
    },
    /// The certificate may not sign others, and the words why.
    #[error("the certificate of {subject} is no certificate authority: {reason}")]
    NotAnAuthority {
        /// The certificate's subject.
        subject: String,
        /// What forbids it.
        reason: String,
    },
    /// What was asked for would give a certificate that some server or client refuses.
    #[error("refused: {0}")]
    Refused(String),
    /// A request asks for what the policy does not allow.
    #[error("the policy does not allow the request: {0}")]
    Policy(String),
    /// The crypto library or the encoder failed.
    #[error("could not make the {what}: {reason}")]
    Make {
        /// What was being made.
        what: &'static str,
        /// What the library says.
        reason: String,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A file is there already, and nobody said that it may be replaced.
    #[error("{path} exists already: a key is replaced only when that is asked for")]
    Exists {
        /// The file.
        path: String,
    },
}

fn found_instead(found: &[String]) -> String {
    if found.is_empty() {
        ": there is no PEM block at all".to_owned()
    } else {
        format!(", only {}", found.join(", "))
    }
}
