//! Revocation as PostgreSQL asks for it: `X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL`.

use super::super::{Reason, Rejection};
use super::Context;
use super::flags::lacks;
use crate::certificate::{Certificate, KeyUsage};
use crate::oid;
use crate::revocation::Crl;

/// Extensions of a list that may be critical. A partitioned, indirect or delta list is never
/// enough here, and PostgreSQL does not turn on what would make it so.
const SUPPORTED: [&[u8]; 2] = [oid::AUTHORITY_KEY_ID, oid::CRL_NUMBER];

pub(super) fn judge(context: &Context<'_>, chain: &[Certificate]) -> Result<(), Rejection> {
    if context.check.crls.is_empty() {
        return Ok(());
    }
    for (depth, certificate) in chain.iter().enumerate() {
        // The issuer of the last one is itself.
        let issuer = chain.get(depth + 1).unwrap_or(certificate);
        judge_certificate(context, certificate, issuer)
            .map_err(|reason| Rejection::new(reason, certificate))?;
    }
    Ok(())
}

fn judge_certificate(
    context: &Context<'_>,
    certificate: &Certificate,
    issuer: &Certificate,
) -> Result<(), Reason> {
    let fitting = context.check.crls.iter().filter(|list| {
        list.issuer() == certificate.issuer() && !is_partial(list) && key_id_fits(list, issuer)
    });
    // The best list is the one that is in date; among those the newest.
    let list = fitting
        .max_by_key(|list| (is_current(context, list), list.this_update()))
        .ok_or(Reason::CrlMissing)?;
    if lacks(issuer, KeyUsage::CRL_SIGN) {
        return Err(Reason::CrlSignMissing);
    }
    if context.is_before(list.this_update()) {
        return Err(Reason::CrlNotYetValid { this_update: list.this_update() });
    }
    if let Some(next_update) = list.next_update().filter(|next| context.is_over(*next)) {
        return Err(Reason::CrlExpired { next_update });
    }
    if !list.is_signed_by(issuer.public_key()) {
        return Err(Reason::CrlSignatureWrong);
    }
    let critical =
        list.extensions().present.iter().find(|present| {
            present.critical && !SUPPORTED.iter().any(|known| present.oid == *known)
        });
    let unknown = critical.map(|present| &present.oid).or_else(|| list.unknown_in_entry());
    if let Some(oid) = unknown {
        return Err(Reason::CrlUnknownCriticalExtension(oid.clone()));
    }
    if list.holds(certificate) { Err(Reason::Revoked) } else { Ok(()) }
}

fn is_partial(list: &Crl) -> bool {
    [oid::ISSUING_DISTRIBUTION_POINT, oid::DELTA_CRL]
        .iter()
        .any(|oid| list.extensions().find(oid).is_some())
}

fn is_current(context: &Context<'_>, list: &Crl) -> bool {
    !context.is_before(list.this_update())
        && list.next_update().is_none_or(|next| !context.is_over(next))
}

fn key_id_fits(list: &Crl, issuer: &Certificate) -> bool {
    let wanted = list.extensions().authority_key_id.as_ref().and_then(|id| id.key_id.as_ref());
    match (wanted, &issuer.extensions().subject_key_id) {
        (Some(wanted), Some(found)) => wanted == found,
        _ => true,
    }
}
