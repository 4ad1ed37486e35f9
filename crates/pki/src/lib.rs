//! Certificates that every PostgreSQL, every libpq and rustls accept, and a checker that says why
//! one will not do.
//!
//! ```
//! use pki::{Authority, Check, KeyAlgorithm, Profile, Purpose, Subject, Validity};
//! use time::macros::datetime;
//!
//! let now = datetime!(2026-01-01 0:00 UTC);
//! let p256 = KeyAlgorithm::EcdsaP256;
//! let root =
//!     Authority::create(p256, &Subject::common_name("example root"), Validity::days(now, 3650))?;
//! let profile = Profile::node("replicator", ["node1.example.com", "192.0.2.1"])?;
//! let node = root.issue(p256, &profile, Validity::days(now, 90))?;
//!
//! let trust = [root.certificate().clone()];
//! assert!(Check::new(&node.chain(), &trust, Purpose::Client, now).run().is_ok());
//! # Ok::<(), pki::Error>(())
//! ```
//!
//! # Contents
//! - **Make**: [`Authority`] signs what a [`Profile`] describes, for a key made here
//!   ([`PrivateKey`]) or one that stays where it is ([`Request`], [`RequestPolicy`]).
//! - **Read**: [`Certificate`], [`Crl`], [`pem`].
//! - **Check**: [`Check`] asks a [`Verifier`] and gets a [`Path`] or a [`Rejection`];
//!   [`Certificate::matches_host`] applies libpq's rules of a chosen major ([`HostRules`]).
//! - **Arrange**: [`Heap`] finds and orders chains; [`Deployment`] tells what will break;
//!   [`judge_key_file`] knows which key files are used; [`judge_connection_manager`] knows the
//!   demands of PGD.
//! - **Change**: [`Rotation`] plans a change of authority or certificates and proves every state
//!   between; [`served`] tells whether a server presents its file.
//! - **Connect**: `tls` (feature `rustls`) has client configurations with libpq's `sslmode`, and an
//!   adapter to tokio-postgres (feature `tokio-postgres`).
//!
//! # What it does not do
//! Nothing here reads a clock, the environment or the network. Files are written by the module `fs`
//! only (feature `fs`). No process-wide crypto provider is set or needed: it is always aws-lc-rs.
//! Signature mathematics are never done here.
//!
//! # Features
//! - `fs`: keys and certificates as files, atomic, 0600 from the first moment.
//! - `encrypted-keys`: private keys under a pass phrase.
//! - `rustls`, `tokio-postgres`: see above.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod authority;
mod binding;
mod certificate;
mod chain;
mod check;
mod client_name;
mod der;
#[cfg(feature = "encrypted-keys")]
mod encrypted_key;
mod error;
mod files;
mod frame;
#[cfg(feature = "fs")]
pub mod fs;
mod host;
mod inspect;
mod key;
pub mod oid;
pub mod pem;
mod pgd;
mod profile;
mod request;
mod revocation;
mod rotate;
mod signature;
#[cfg(feature = "rustls")]
pub mod tls;

pub use self::authority::{Authority, AuthorityOptions, Issued, NameSubtree};
pub use self::binding::tls_server_end_point;
pub use self::certificate::{
    Attribute, AuthorityKeyId, BasicConstraints, Certificate, Extensions, Fingerprint, GeneralName,
    KeyUsage, Name, NameConstraints, Present, Subtree, Validity,
};
pub use self::chain::{Chain, Heap};
pub use self::check::{
    Check, OpenSsl, OpenSslRelease, Path, Purpose, Reason, Rejection, Unfit, Verifier,
};
pub use self::client_name::ClientNameRefusal;
pub use self::error::Error;
pub use self::files::{Account, FileStatus, KeyFileRefusal, KeyReader, judge_key_file};
pub use self::host::{HostMismatch, HostRules};
pub use self::inspect::{Deployment, Finding, Position, Summary};
pub use self::key::{KeyAlgorithm, PrivateKey};
pub use self::oid::Oid;
pub use self::pgd::{ConnectionManagerFinding, judge_connection_manager};
pub use self::profile::{HostNames, LONGEST_ROLE, Profile, Subject};
pub use self::request::{Request, RequestPolicy};
pub use self::revocation::{Crl, Revocation, RevocationReason};
pub use self::rotate::{
    Conditions, End, Failure, Member, NewChains, PlanError, Proof, Refused, Rotation, Served, Step,
    StepKind, served,
};
pub use self::signature::{Curve, Hash, KeyKind, PublicKey, SignatureAlgorithm, SignatureError};

/// The README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
