//! Is this chain accepted, by whom, and if not: why?

mod openssl;
mod reason;
mod rfc5280;
mod subtree;
mod webpki;

use time::OffsetDateTime;

pub use self::openssl::{OpenSsl, OpenSslRelease};
pub use self::reason::{Reason, Rejection, Unfit};
pub(crate) use self::rfc5280::judge_names as judge_names_strictly;
pub(crate) use self::subtree::{holds_dns, holds_ip};
use crate::certificate::Certificate;
use crate::revocation::Crl;

/// Which end of the connection presents the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// A server, judged by its clients.
    Server,
    /// A client, judged by a server.
    Client,
}

/// Whose verdict is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verifier {
    /// What servers and libpq do: OpenSSL's own way of building a path, which finds fewer paths
    /// than RFC 5280 allows and looks at extensions that others pass over.
    OpenSsl(OpenSsl),
    /// rustls-webpki, as rustls and so PGD's Connection Manager use it. It passes over the validity,
    /// the usages and the constraints of trusted certificates, and over `keyUsage` everywhere: its
    /// yes says nothing about a server's.
    WebPki,
    /// RFC 5280, strictly read: everything that the standard demands, of roots too, and whatever
    /// path there is. Its no says nothing about a server's.
    Rfc5280,
}

impl Verifier {
    /// OpenSSL 1.1.1, as most binary distributions of PostgreSQL 12 to 14 bring it.
    pub const OPENSSL_1_1_1: Self =
        Self::OpenSsl(OpenSsl { release: OpenSslRelease::V1_1_1, security_level: 1 });
    /// OpenSSL 3.0 as Debian and Ubuntu build it, with security level 2.
    pub const OPENSSL_3_0: Self =
        Self::OpenSsl(OpenSsl { release: OpenSslRelease::V3_0, security_level: 2 });
}

/// A chain that was accepted: from the presented certificate to the one that is trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(pub(crate) Vec<Certificate>);

impl Path {
    /// The certificates, leaf first. The last is a trusted one.
    #[must_use]
    pub fn certificates(&self) -> &[Certificate] {
        &self.0
    }
}

/// A question to the checker.
///
/// ```
/// use pki::{Authority, Check, KeyAlgorithm, Profile, Purpose, Reason, Subject, Validity};
/// use time::macros::datetime;
///
/// let start = datetime!(2026-01-01 0:00 UTC);
/// let root = Authority::create(
///     KeyAlgorithm::EcdsaP256,
///     &Subject::common_name("example root"),
///     Validity::days(start, 365),
/// )?;
/// let validity = Validity::days(start, 30);
/// let alice = root.issue(KeyAlgorithm::EcdsaP256, &Profile::client("alice"), validity)?;
///
/// let trust = [root.certificate().clone()];
/// let chain = alice.chain();
/// let check = Check::new(&chain, &trust, Purpose::Client, datetime!(2026-01-15 0:00 UTC));
/// assert!(check.run().is_ok());
///
/// let late = Check::new(&chain, &trust, Purpose::Client, datetime!(2026-03-01 0:00 UTC));
/// let rejection = late.run().unwrap_err();
/// assert!(matches!(rejection.reason(), Reason::Expired { .. }));
/// assert_eq!(
///     rejection.to_string(),
///     "the certificate of CN=alice has expired: it was valid until 2026-01-31 00:00:00 UTC"
/// );
/// # Ok::<(), pki::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Check<'a> {
    pub(crate) presented: &'a [Certificate],
    pub(crate) trust: &'a [Certificate],
    pub(crate) crls: &'a [Crl],
    pub(crate) purpose: Purpose,
    pub(crate) time: OffsetDateTime,
    pub(crate) verifier: Verifier,
}

impl<'a> Check<'a> {
    /// Asks whether OpenSSL 3.0 accepts the chain `presented` (leaf first, as in a certificate
    /// file) with the certificates `trust` (in the order of the root file) at `time`.
    #[must_use]
    pub fn new(
        presented: &'a [Certificate],
        trust: &'a [Certificate],
        purpose: Purpose,
        time: OffsetDateTime,
    ) -> Self {
        Self { presented, trust, crls: &[], purpose, time, verifier: Verifier::OPENSSL_3_0 }
    }

    /// Asks another verifier.
    #[must_use]
    pub fn verifier(mut self, verifier: Verifier) -> Self {
        self.verifier = verifier;
        self
    }

    /// Asks with revocation lists: if there is any, every certificate of the chain must be covered
    /// by one, as where `ssl_crl_file` or `sslcrl` is set.
    #[must_use]
    pub fn crls(mut self, crls: &'a [Crl]) -> Self {
        self.crls = crls;
        self
    }

    /// The verdict.
    ///
    /// # Errors
    /// The first reason for which the verifier refuses the chain.
    pub fn run(&self) -> Result<Path, Rejection> {
        match self.verifier {
            Verifier::OpenSsl(model) => model.verify(self),
            Verifier::WebPki => webpki::verify(self),
            Verifier::Rfc5280 => rfc5280::verify(self),
        }
    }
}
