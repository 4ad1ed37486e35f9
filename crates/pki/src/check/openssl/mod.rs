//! OpenSSL's verdict: how `X509_verify_cert` builds a path and what it looks at, in releases 1.1.1
//! and 3.0, with the parameters that PostgreSQL's server and libpq use.
//!
//! The order of the steps is OpenSSL's own (`verify_chain` in `crypto/x509/x509_vfy.c`), for the
//! first thing that is wrong decides which message the administrator sees.

mod flags;
mod level;
mod names;
mod path;
mod revocation;

use time::OffsetDateTime;

use self::flags::{Flags, Role};
use super::{Check, Path, Purpose, Reason, Rejection};
use crate::certificate::Certificate;
use crate::signature::{Curve, KeyKind, SignatureError};

/// A release of OpenSSL whose rules differ from the others'.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum OpenSslRelease {
    /// 1.1.1
    V1_1_1,
    /// 3.0
    V3_0,
}

/// OpenSSL as a verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OpenSsl {
    /// Whose rules.
    pub release: OpenSslRelease,
    /// The security level (`SSL_CTX_set_security_level`), 0 to 5: 1 where nobody has changed it, 2
    /// in Debian's and Ubuntu's builds.
    pub security_level: u8,
}

/// What the steps of a verification need to know.
struct Context<'a> {
    model: OpenSsl,
    check: &'a Check<'a>,
}

impl Context<'_> {
    fn is_old(&self) -> bool {
        self.model.release == OpenSslRelease::V1_1_1
    }

    fn flags(&self, certificate: &Certificate) -> Flags {
        Flags::of(certificate, self.model.release)
    }

    fn time(&self) -> OffsetDateTime {
        self.check.time
    }

    /// `x509_check_cert_time`: unlike RFC 5280, OpenSSL takes the last second for over
    /// (`X509_cmp_time` never says "equal").
    fn is_over(&self, last: OffsetDateTime) -> bool {
        self.time().unix_timestamp() >= last.unix_timestamp()
    }

    fn is_before(&self, first: OffsetDateTime) -> bool {
        self.time().unix_timestamp() < first.unix_timestamp()
    }
}

impl OpenSsl {
    /// Whether a server starts with these certificates, or libpq connects with them, as far as its
    /// own library goes (`SSL_CTX_use_certificate_chain_file`). What the other end thinks of them is
    /// another question, see [`Check`].
    ///
    /// ```
    /// use pki::{
    ///     Authority, KeyAlgorithm, OpenSsl, OpenSslRelease, Profile, Subject, Validity,
    /// };
    /// use time::OffsetDateTime;
    ///
    /// let validity = Validity::days(OffsetDateTime::UNIX_EPOCH, 30);
    /// let p256 = KeyAlgorithm::EcdsaP256;
    /// let root = Authority::create(p256, &Subject::common_name("CA"), validity)?;
    /// let alice = root.issue(p256, &Profile::client("alice"), validity)?;
    ///
    /// let level = |security_level| OpenSsl { release: OpenSslRelease::V3_0, security_level };
    /// assert!(level(2).loads(&alice.chain()).is_ok());
    /// // No P-256 key has 192 bits of security.
    /// assert_eq!(
    ///     level(4).loads(&alice.chain()).unwrap_err().to_string(),
    ///     "the certificate of CN=alice has a key that is too small for security level 4: ECDSA P-256"
    /// );
    /// # Ok::<(), pki::Error>(())
    /// ```
    ///
    /// # Errors
    /// The first certificate whose key is too small (`ee key too small`, `ca key too small`), whose
    /// signature is too weak (`ca md too weak`); with 3.0 also a damaged extension of the first one
    /// (`invalid certificate`).
    pub fn loads(self, chain: &[Certificate]) -> Result<(), Rejection> {
        for (position, certificate) in chain.iter().enumerate() {
            level::judge_key(certificate, self)?;
            let flags = Flags::of(certificate, self.release);
            let minded = position == 0 && self.release >= OpenSslRelease::V3_0;
            if let Some(oid) = flags.invalid.filter(|_| minded) {
                return Err(Rejection::new(Reason::MalformedExtension(oid), certificate));
            }
            if !flags.self_signed {
                level::judge_signature(certificate, self)?;
            }
        }
        Ok(())
    }

    pub(super) fn verify(self, check: &Check<'_>) -> Result<Path, Rejection> {
        let context = Context { model: self, check };
        let leaf =
            check.presented.first().ok_or_else(|| Rejection::general(Reason::NoCertificate))?;
        level::judge_key(leaf, self)?;
        let kind = leaf.public_key().kind();
        if !kind.signs_handshakes() {
            return Err(Rejection::new(Reason::KeyNotForTls { kind: kind.clone() }, leaf));
        }
        let chain = path::build(&context, leaf)?;
        judge_extensions(&context, &chain)?;
        level::judge_chain(&chain, self)?;
        revocation::judge(&context, &chain)?;
        judge_signatures(&context, &chain)?;
        names::judge(&context, &chain)?;
        Ok(Path(chain))
    }
}

/// `check_chain_extensions` (1.1.1), `check_extensions` (3.0).
fn judge_extensions(context: &Context<'_>, chain: &[Certificate]) -> Result<(), Rejection> {
    // How many certificates below count for a path length.
    let mut length = 0;
    for (depth, certificate) in chain.iter().enumerate() {
        let refuse = |reason| Err(Rejection::new(reason, certificate));
        let flags = context.flags(certificate);
        // Some builds want all above to hold these too (RFC 3779), others do not know them.
        if depth == 0 && flags::holds_resources(certificate) {
            let words = "holds addresses or autonomous systems (RFC 3779), which not all accept";
            return refuse(Reason::Other(words.to_owned()));
        }
        if let Some(oid) = flags.unknown_critical {
            return refuse(Reason::UnknownCriticalExtension(oid));
        }
        if flags.proxy {
            return refuse(Reason::ProxyCertificate);
        }
        if depth > 0 {
            match flags.role(certificate) {
                Role::Authority => {}
                // A root without basicConstraints passes as the last one only.
                Role::OldAuthority if depth + 1 == chain.len() => {}
                Role::OldAuthority => return refuse(Reason::NotAnAuthority),
                Role::Other(reason) => return refuse(reason),
            }
        }
        let explicit = KeyKind::Ec(Curve::Explicit);
        if !context.is_old() && chain.len() > 1 && *certificate.public_key().kind() == explicit {
            return refuse(Reason::ExplicitCurve);
        }
        if let Err(reason) = flags.allow(certificate, context.check.purpose, depth > 0) {
            return refuse(reason);
        }
        let limit = certificate.extensions().basic_constraints.and_then(|read| read.path_len);
        if let Some(limit) = limit.filter(|_| depth > 1) {
            // 1.1.1 counts the leaf too and makes up for it; what matters is that it lets every
            // self-issued certificate, so each root, off.
            let exempt = context.is_old() && flags.self_issued;
            if length > limit && !exempt {
                return refuse(Reason::PathLength { limit });
            }
        }
        if depth > 0 && !flags.self_issued {
            length += 1;
        }
    }
    Ok(())
}

/// `internal_verify`: from the top down, signature first, then the time.
fn judge_signatures(context: &Context<'_>, chain: &[Certificate]) -> Result<(), Rejection> {
    let Some((top, below)) = chain.split_last() else { return Ok(()) };
    let mut issuer = top;
    // A root's own signature is not verified, as OpenSSL does not: its octets are trusted.
    judge_time(context, top)?;
    for certificate in below.iter().rev() {
        let key = issuer.public_key();
        if !certificate.signature_algorithms_agree() {
            return Err(Rejection::new(Reason::SignatureWrong, certificate));
        }
        let signature = certificate.signature();
        key.verify(certificate.signature_algorithm(), certificate.tbs(), signature).map_err(
            |error| {
                let reason = match error {
                    SignatureError::Wrong => Reason::SignatureWrong,
                    SignatureError::Unsupported { algorithm, key } => {
                        Reason::SignatureUnsupported { algorithm, key }
                    }
                };
                Rejection::new(reason, certificate)
            },
        )?;
        judge_time(context, certificate)?;
        issuer = certificate;
    }
    Ok(())
}

fn judge_time(context: &Context<'_>, certificate: &Certificate) -> Result<(), Rejection> {
    let validity = certificate.validity();
    let reason = if context.is_before(validity.not_before) {
        Reason::NotYetValid { not_before: validity.not_before }
    } else if context.is_over(validity.not_after) {
        Reason::Expired { not_after: validity.not_after }
    } else {
        return Ok(());
    };
    Err(Rejection::new(reason, certificate))
}

/// Whether extended key usages name one of those that serve the purpose. A server's may also be
/// one of the two for step-up cryptography of the nineties.
fn allows_usage(certificate: &Certificate, purpose: Purpose) -> bool {
    use crate::oid;
    let wanted: &[&[u8]] = match purpose {
        Purpose::Client => &[oid::CLIENT_AUTH],
        Purpose::Server => &[oid::SERVER_AUTH, oid::MICROSOFT_SGC, oid::NETSCAPE_SGC],
    };
    wanted.iter().any(|usage| certificate.allows_usage(usage))
}
