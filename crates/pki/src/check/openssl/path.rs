//! How OpenSSL looks for a path: `build_chain` with `X509_V_FLAG_TRUSTED_FIRST`.
//!
//! It never goes back: at each step it takes one issuer, a trusted one if there is any, and lives
//! with it. So valid paths are missed that a search would find, and that is part of the verdict.

use super::super::{Reason, Rejection, Unfit};
use super::flags::{key_ids_fit, lacks};
use super::{Context, OpenSslRelease};
use crate::certificate::{Certificate, KeyUsage};

/// How many certificates may stand above the leaf (`X509_VERIFY_PARAM`'s default depth).
const DEPTH: usize = 100;

pub(super) fn build(
    context: &Context<'_>,
    leaf: &Certificate,
) -> Result<Vec<Certificate>, Rejection> {
    let mut search = Search {
        context,
        chain: vec![leaf.clone()],
        untrusted: 1,
        pool: context.check.presented.iter().collect(),
    };
    if search.run() {
        return Ok(search.chain);
    }
    let Some(last) = search.chain.last() else {
        return Err(Rejection::general(Reason::NoCertificate));
    };
    let flags = context.flags(last);
    let reason = if search.chain.len() > DEPTH + 1 {
        Reason::ChainTooLong
    } else if flags.self_signed {
        if search.chain.len() == 1 { Reason::SelfSigned } else { Reason::SelfSignedInChain }
    } else if search.untrusted < search.chain.len() {
        Reason::IssuerOfTrustedUnknown
    } else if let Some(oid) = flags.invalid {
        // OpenSSL only says that there is no issuer, here and below.
        Reason::MalformedExtension(oid)
    } else if let Some((unfit, issuer)) = search.unfit_issuer(last) {
        let blamed = if unfit == Unfit::KeyId { last } else { issuer };
        return Err(Rejection::new(Reason::IssuerUnfit(unfit), blamed));
    } else {
        Reason::IssuerUnknown
    };
    Err(Rejection::new(reason, last))
}

struct Search<'a> {
    context: &'a Context<'a>,
    chain: Vec<Certificate>,
    /// How many of the chain's certificates come from the other end.
    untrusted: usize,
    /// Presented certificates that are not in the chain yet.
    pool: Vec<&'a Certificate>,
}

impl Search<'_> {
    /// Whether the chain ends in a trusted root.
    fn run(&mut self) -> bool {
        let mut presented = true;
        loop {
            let Some(current) = self.chain.last().cloned() else { return false };
            let mut self_signed = self.context.flags(&current).self_signed;
            let room = self.chain.len() <= DEPTH + 1;
            if room && let Some(issuer) = self.trusted_issuer(&current) {
                let grown = if !self_signed {
                    self_signed = self.context.flags(&issuer).self_signed;
                    self.chain.push(issuer.clone());
                    true
                } else if self.chain.len() == self.untrusted && current == issuer {
                    // A presented root that is trusted takes its own place.
                    self.untrusted -= 1;
                    true
                } else {
                    // It only looks like a trusted root.
                    false
                };
                if grown {
                    presented = false;
                    if self.context.flags(&issuer).self_signed {
                        return true;
                    }
                    if !self_signed {
                        continue;
                    }
                }
            }
            if !presented {
                return false;
            }
            let issuer = (!self_signed && room).then(|| self.presented_issuer(&current)).flatten();
            match issuer {
                Some(position) => {
                    let issuer = self.pool.remove(position);
                    self.chain.push(issuer.clone());
                    self.untrusted += 1;
                }
                None => return false,
            }
        }
    }

    /// `X509_STORE_CTX_get1_issuer`
    fn trusted_issuer(&self, subject: &Certificate) -> Option<Certificate> {
        let candidates = self.context.check.trust.iter();
        let fitting = candidates.filter(|issuer| self.is_issued(subject, issuer, false));
        self.best(fitting.enumerate()).map(|(_, issuer)| issuer.clone())
    }

    /// `find_issuer`: where in the pool it is.
    fn presented_issuer(&self, subject: &Certificate) -> Option<usize> {
        let candidates = self.pool.iter().copied().enumerate();
        let fitting = candidates.filter(|(_, issuer)| self.is_issued(subject, issuer, true));
        self.best(fitting).map(|(position, _)| position)
    }

    /// The first that is valid now. If none is, 1.1.1 takes the last, 3.0 the one that has expired
    /// last.
    fn best<'c>(
        &self,
        candidates: impl Iterator<Item = (usize, &'c Certificate)>,
    ) -> Option<(usize, &'c Certificate)> {
        let mut best: Option<(usize, &Certificate)> = None;
        for candidate in candidates {
            let validity = candidate.1.validity();
            if !self.context.is_before(validity.not_before)
                && !self.context.is_over(validity.not_after)
            {
                return Some(candidate);
            }
            let better = self.context.is_old()
                || best.is_none_or(|(_, best)| validity.not_after > best.validity().not_after);
            if better {
                best = Some(candidate);
            }
        }
        best
    }

    /// `check_issued`: could `issuer` have issued `subject`, by everything but the signature?
    fn is_issued(&self, subject: &Certificate, issuer: &Certificate, presented: bool) -> bool {
        if issuer.subject() != subject.issuer() {
            return false;
        }
        let flags = self.context.flags(subject);
        if flags.invalid.is_some() || self.misfit(subject, issuer).is_some() {
            return false;
        }
        // No presented certificate twice, but for the single self-signed one. Trusted ones may go
        // round until the chain is too long.
        let alone = self.chain.len() == 1
            && if self.context.is_old() { flags.self_signed } else { flags.self_issued };
        alone || !presented || !self.chain.contains(issuer)
    }

    /// Why a certificate of the right name is not the issuer.
    fn misfit(&self, subject: &Certificate, issuer: &Certificate) -> Option<Unfit> {
        if !key_ids_fit(issuer, subject) {
            return Some(Unfit::KeyId);
        }
        if let Some(oid) = self.context.flags(issuer).invalid {
            return Some(Unfit::Malformed(oid));
        }
        let kind = issuer.public_key().kind();
        match self.context.model.release {
            OpenSslRelease::V1_1_1 if lacks(issuer, KeyUsage::KEY_CERT_SIGN) => {
                Some(Unfit::KeyUsage)
            }
            OpenSslRelease::V3_0 if !subject.signed_algorithm().fits(kind) => Some(Unfit::KeyKind),
            _ => None,
        }
    }

    /// A certificate of the issuer's name, trusted or presented, and why it is not the issuer.
    fn unfit_issuer(&self, subject: &Certificate) -> Option<(Unfit, &Certificate)> {
        let check = self.context.check;
        let named = check.trust.iter().chain(check.presented);
        named
            .filter(|issuer| issuer.subject() == subject.issuer())
            .find_map(|issuer| Some((self.misfit(subject, issuer)?, issuer)))
    }
}
