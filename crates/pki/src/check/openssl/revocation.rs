//! Revocation as PostgreSQL asks for it: `X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL`, without
//! extended support and without deltas, so that a delta counts as a list like any other.

use time::OffsetDateTime;

use super::super::{Reason, Rejection};
use super::Context;
use super::flags::{ids_fit, lacks};
use crate::certificate::{Certificate, KeyUsage};
use crate::oid::{self, Oid};
use crate::revocation::Crl;

/// Extensions of a list that may be critical (`crl_cb`). In entries there are none.
const SUPPORTED: [&[u8]; 3] =
    [oid::AUTHORITY_KEY_ID, oid::ISSUING_DISTRIBUTION_POINT, oid::DELTA_CRL];

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

/// `check_cert` with `get_crl`, `check_crl` and `cert_crl`
fn judge_certificate(
    context: &Context<'_>,
    certificate: &Certificate,
    issuer: &Certificate,
) -> Result<(), Reason> {
    let list = best(context, certificate, issuer).ok_or(Reason::CrlMissing)?;
    if !list.is_delta() {
        if lacks(issuer, KeyUsage::CRL_SIGN) {
            return Err(Reason::CrlSignMissing);
        }
        if !is_for(list, certificate) {
            return Err(Reason::CrlScope);
        }
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
    if let Some(oid) = unsupported(list) {
        return Err(Reason::CrlUnknownCriticalExtension(oid.clone()));
    }
    if list.holds(certificate) { Err(Reason::Revoked) } else { Ok(()) }
}

/// The list with the highest score, the newest of those, the first of those (`get_crl_sk`).
fn best<'c>(
    context: &'c Context<'_>,
    certificate: &Certificate,
    issuer: &Certificate,
) -> Option<&'c Crl> {
    let mut best: Option<((bool, bool, bool), OffsetDateTime, &Crl)> = None;
    for list in context.check.crls {
        let Some(score) = score(context, list, certificate, issuer) else { continue };
        let update = list.this_update();
        if best.is_none_or(|(known, newest, _)| (score, update) > (known, newest)) {
            best = Some((score, update, list));
        }
    }
    best.map(|(_, _, list)| list)
}

/// `get_crl_score`: nothing critical is unknown, the certificate is in its scope, it is in date.
/// `None` for a list that does not count at all.
fn score(
    context: &Context<'_>,
    list: &Crl,
    certificate: &Certificate,
    issuer: &Certificate,
) -> Option<(bool, bool, bool)> {
    let scope = list.scope();
    let only = [scope.only_users, scope.only_authorities, scope.only_attributes];
    let contradictory = only.iter().filter(|only| **only).count() > 1;
    let fits =
        list.extensions().authority_key_id.as_ref().is_none_or(|wanted| ids_fit(issuer, wanted));
    if contradictory
        || scope.indirect
        || scope.some_reasons
        || list.issuer() != certificate.issuer()
        || !fits
    {
        return None;
    }
    let is_current = !context.is_before(list.this_update())
        && list.next_update().is_none_or(|next| !context.is_over(next));
    Some((unsupported(list).is_none(), is_for(list, certificate), is_current))
}

/// `crl_crldp_check`, but for the names of distribution points, which are not compared.
fn is_for(list: &Crl, certificate: &Certificate) -> bool {
    let scope = list.scope();
    let others = if certificate.is_authority() { scope.only_users } else { scope.only_authorities };
    !(scope.only_attributes || others || scope.named)
}

/// A critical extension of the list or of an entry that OpenSSL does not know.
fn unsupported(list: &Crl) -> Option<&Oid> {
    let mut critical = list.extensions().present.iter().filter(|present| present.critical);
    critical
        .find(|present| !SUPPORTED.iter().any(|known| present.oid == *known))
        .map(|present| &present.oid)
        .or_else(|| list.critical_in_entry())
}
