//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS as PostgreSQL means them: client, server, stored secrets.
//!
//! ```
//! use scram::{Limits, Outcome, Password, Secret, predict};
//! use pg_version::PgVersion;
//!
//! // a secret to give to ALTER ROLE ... PASSWORD, so that the password itself never travels
//! let secret = Secret::new(&Password::new("pencil"), b"0123456789abcdef", 4096)?;
//! let text = secret.to_text();
//! // what will the server make of it?
//! let outcome = predict(text.as_bytes(), PgVersion::V17, &Limits::default());
//! assert_eq!(outcome, Outcome::Scram(secret));
//! # Ok::<(), scram::BadParameters>(())
//! ```
//!
//! | what | where |
//! |---|---|
//! | log in to a server | [`Client`] and [`client`] |
//! | let clients log in | [`Server`] and [`server`]; [`server::Mock`] for users that don't exist |
//! | make, read, check stored secrets | [`Secret`], [`predict()`] |
//! | passwords as PostgreSQL hashes them | [`Password`], [`saslprep`](mod@saslprep) |
//! | bind to the TLS connection | [`Channel`], [`channel`] |
//! | log in with keys, pass a login through | [`Keys`], [`server::Accepted::keys`] |
//! | bound what the other side may ask for | [`Limits`] |
//! | the messages by themselves | [`message`] |
//! | how fast | [`derive`](mod@derive) |
//!
//! # Rules
//! - No input and no output: messages go in, messages come out. No clock, no environment.
//! - PostgreSQL is the specification, not RFC 5802: where majors differ, a
//!   [`PgVersion`](pg_version::PgVersion) decides.
//! - Secrets are erased when dropped, compared in constant time, and cannot be printed by
//!   accident.
//! - Nothing that the other side sends makes it panic, or hash before everything was checked.
//!
//! # Features
//! - `getrandom` (default): nonces and salts from the operating system.
//! - `simd` (default): the SHA instructions and AVX-512 of x86-64, where the processor has them.
//! - `x509` (default): channel binding data from a certificate.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod base64;
pub mod channel;
pub mod client;
pub mod derive;
mod keys;
mod limits;
mod mechanism;
pub mod message;
mod nonce;
mod password;
mod predict;
#[cfg(feature = "getrandom")]
mod random;
pub mod saslprep;
mod secret;
pub mod server;
mod strtol;

pub use self::{
    channel::{Channel, EndPoint, EndPointError},
    client::{Client, ClientError, Credentials, Policy, Profile},
    keys::{ClientKey, KEY_LEN, Keys, NotAKey, SaltedPassword, ServerKey, StoredKey},
    limits::{DEFAULT_ITERATIONS, DEFAULT_SALT_LEN, Limits, OutOfBounds},
    mechanism::Mechanism,
    nonce::{Nonce, NotANonce, RAW_NONCE_LEN},
    password::Password,
    predict::{MAX_ENCRYPTED_PASSWORD_LEN, Outcome, predict},
    secret::{BadParameters, NotASecret, Secret},
    server::{Mock, Server, ServerError},
};
#[cfg(feature = "getrandom")]
pub use self::{random::RandomError, secret::GenerateError};

/// The README's example, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
