//! Certificates that every PostgreSQL, every libpq and rustls accept, and a checker that says why one will not do
#![cfg_attr(docsrs, feature(doc_cfg))]

mod authority;
mod binding;
mod certificate;
mod chain;
mod check;
mod der;
mod error;
mod files;
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
pub use self::check::{Check, OpenSsl, OpenSslRelease, Path, Purpose, Reason, Rejection, Verifier};
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
