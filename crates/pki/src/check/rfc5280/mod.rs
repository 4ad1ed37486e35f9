//! The verdict of RFC 5280, strictly read: for certificates that are to last, not for what a server
//! will bear with.
//!
//! All paths are searched, so an order of files or a second certificate of the same authority never
//! matters. The work is limited, for a hostile heap of certificates has more paths than there is
//! time.

mod names;
mod profile;

use std::cell::Cell;

pub(crate) use self::names::judge as judge_names;
use self::profile::Place;
use super::{Check, Path, Purpose, Reason, Rejection};
use crate::certificate::{Certificate, KeyUsage};
use crate::oid;
use crate::revocation::Crl;
use crate::signature::SignatureError;

/// How many certificates a path may have above the leaf.
const DEPTH: usize = 16;
/// How many signatures are verified before the search is given up.
const MOST_SIGNATURES: u32 = 256;

pub(super) fn verify(check: &Check<'_>) -> Result<Path, Rejection> {
    let leaf = check.presented.first().ok_or_else(|| Rejection::general(Reason::NoCertificate))?;
    profile::judge(leaf, Place::Leaf)?;
    judge_purpose(check, leaf)?;
    let search = Search { check, signatures: Cell::new(0) };
    let mut chain = vec![leaf.clone()];
    search.extend(&mut chain)?;
    Ok(Path(chain))
}

fn judge_purpose(check: &Check<'_>, leaf: &Certificate) -> Result<(), Rejection> {
    let usage = match check.purpose {
        Purpose::Server => oid::SERVER_AUTH,
        Purpose::Client => oid::CLIENT_AUTH,
    };
    if !leaf.allows_usage(usage) && !leaf.allows_usage(oid::ANY_EXTENDED_KEY_USAGE) {
        return Err(Rejection::new(Reason::ExtendedKeyUsage, leaf));
    }
    let usages = KeyUsage::DIGITAL_SIGNATURE
        .union(KeyUsage::KEY_ENCIPHERMENT)
        .union(KeyUsage::KEY_AGREEMENT);
    // An authority may stand at the end of a path too: its key then signs more than certificates.
    let lacking = leaf.extensions().key_usage.is_some_and(|read| !read.allows_any(usages));
    if lacking && !leaf.is_authority() {
        return Err(Rejection::new(Reason::KeyUsage, leaf));
    }
    judge_time(check, leaf)
}

fn judge_time(check: &Check<'_>, certificate: &Certificate) -> Result<(), Rejection> {
    let validity = certificate.validity();
    if validity.contains(check.time) {
        return Ok(());
    }
    let reason = if check.time < validity.not_before {
        Reason::NotYetValid { not_before: validity.not_before }
    } else {
        Reason::Expired { not_after: validity.not_after }
    };
    Err(Rejection::new(reason, certificate))
}

struct Search<'a> {
    check: &'a Check<'a>,
    signatures: Cell<u32>,
}

impl Search<'_> {
    /// Extends `chain` to a trusted certificate. The reason for a failure is that of the path that
    /// came furthest.
    fn extend(&self, chain: &mut Vec<Certificate>) -> Result<(), Rejection> {
        let Some(last) = chain.last().cloned() else {
            return Err(Rejection::general(Reason::NoCertificate));
        };
        if chain.len() > DEPTH {
            return Err(Rejection::new(Reason::ChainTooLong, &last));
        }
        let mut failure: Option<(usize, Rejection)> = None;
        let mut note = |depth: usize, rejection: Rejection| {
            if failure.as_ref().is_none_or(|(known, _)| depth > *known) {
                failure = Some((depth, rejection));
            }
        };
        let trusted = self.check.trust.iter().map(|certificate| (certificate, true));
        let presented = self.check.presented.iter().map(|certificate| (certificate, false));
        for (issuer, anchor) in trusted.chain(presented) {
            if issuer.subject() != last.issuer() || chain.contains(issuer) {
                continue;
            }
            // The same key under the same name twice leads nowhere new.
            let repeated = chain[1..].iter().any(|known| {
                known.subject() == issuer.subject() && known.public_key() == issuer.public_key()
            });
            if repeated {
                continue;
            }
            let depth = chain.len();
            let place = if anchor { Place::Anchor } else { Place::Authority };
            if let Err(rejection) = self.judge_link(chain, &last, issuer, place) {
                note(depth, rejection);
                continue;
            }
            chain.push(issuer.clone());
            let outcome = if anchor {
                names::judge(chain).and_then(|()| judge_revocation(self.check, chain))
            } else {
                self.extend(chain)
            };
            match outcome {
                Ok(()) => return Ok(()),
                Err(rejection) => note(chain.len(), rejection),
            }
            chain.truncate(depth);
        }
        let unknown = if chain.len() == 1 && last.is_self_issued() {
            Reason::SelfSigned
        } else {
            Reason::IssuerUnknown
        };
        Err(failure.map_or_else(|| Rejection::new(unknown, &last), |(_, rejection)| rejection))
    }

    /// Everything about one step but the names: RFC 5280 section 6.1.3 (a) and 6.1.4 (k) to (o).
    fn judge_link(
        &self,
        chain: &[Certificate],
        subject: &Certificate,
        issuer: &Certificate,
        place: Place,
    ) -> Result<(), Rejection> {
        profile::judge_key_ids(subject, issuer)?;
        profile::judge(issuer, place)?;
        judge_time(self.check, issuer)?;
        let usage = match self.check.purpose {
            Purpose::Server => oid::SERVER_AUTH,
            Purpose::Client => oid::CLIENT_AUTH,
        };
        if !issuer.allows_usage(usage) && !issuer.allows_usage(oid::ANY_EXTENDED_KEY_USAGE) {
            return Err(Rejection::new(Reason::ExtendedKeyUsage, issuer));
        }
        // The leaf is no intermediate, and self-issued ones do not count.
        let between = chain[1..].iter().filter(|below| !below.is_self_issued()).count();
        let limit = issuer.extensions().basic_constraints.and_then(|read| read.path_len);
        if let Some(limit) = limit
            && usize::try_from(limit).is_ok_and(|limit| between > limit)
        {
            return Err(Rejection::new(Reason::PathLength { limit }, issuer));
        }
        self.signatures.set(self.signatures.get() + 1);
        if self.signatures.get() > MOST_SIGNATURES {
            let words = "stands among so many others that the search for a path was given up";
            return Err(Rejection::new(Reason::Other(words.to_owned()), subject));
        }
        issuer
            .public_key()
            .verify(subject.signature_algorithm(), subject.tbs(), subject.signature())
            .map_err(|error| {
                let reason = match error {
                    SignatureError::Wrong => Reason::SignatureWrong,
                    SignatureError::Unsupported { algorithm, key } => {
                        Reason::SignatureUnsupported { algorithm, key }
                    }
                };
                Rejection::new(reason, subject)
            })
    }
}

/// RFC 5280 section 6.3, for complete lists of the issuer's own. Where there are lists, the leaf
/// and every intermediate must be covered.
fn judge_revocation(check: &Check<'_>, chain: &[Certificate]) -> Result<(), Rejection> {
    if check.crls.is_empty() {
        return Ok(());
    }
    for (certificate, issuer) in chain.iter().zip(&chain[1..]) {
        judge_status(check, certificate, issuer)
            .map_err(|reason| Rejection::new(reason, certificate))?;
    }
    Ok(())
}

fn judge_status(
    check: &Check<'_>,
    certificate: &Certificate,
    issuer: &Certificate,
) -> Result<(), Reason> {
    let mut lists: Vec<&Crl> =
        check.crls.iter().filter(|list| list.issuer() == certificate.issuer()).collect();
    lists.sort_by_key(|list| std::cmp::Reverse(list.this_update()));
    let mut reason = Reason::CrlMissing;
    for list in lists {
        match judge_list(check, list, issuer) {
            Ok(()) if list.holds(certificate) => return Err(Reason::Revoked),
            Ok(()) => return Ok(()),
            Err(found) => reason = found,
        }
    }
    Err(reason)
}

fn judge_list(check: &Check<'_>, list: &Crl, issuer: &Certificate) -> Result<(), Reason> {
    let usage = issuer.extensions().key_usage;
    if usage.is_some_and(|read| !read.allows_any(KeyUsage::CRL_SIGN)) {
        return Err(Reason::CrlSignMissing);
    }
    if list.this_update() > check.time {
        return Err(Reason::CrlNotYetValid { this_update: list.this_update() });
    }
    if let Some(next_update) = list.next_update().filter(|next| *next < check.time) {
        return Err(Reason::CrlExpired { next_update });
    }
    let extensions = list.extensions();
    let critical = extensions.present.iter().find(|present| present.critical);
    if let Some(oid) = critical.map(|present| &present.oid).or_else(|| list.unknown_in_entry()) {
        return Err(Reason::CrlUnknownCriticalExtension(oid.clone()));
    }
    // Sections 5.2.1 and 5.2.3 demand both.
    for wanted in [oid::AUTHORITY_KEY_ID, oid::CRL_NUMBER] {
        if extensions.find(wanted).is_none() {
            let words = "has a revocation list without the extensions that RFC 5280 demands";
            return Err(Reason::Other(words.to_owned()));
        }
    }
    if list.is_signed_by(issuer.public_key()) { Ok(()) } else { Err(Reason::CrlSignatureWrong) }
}
