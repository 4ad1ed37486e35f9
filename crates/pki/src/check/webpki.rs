//! The verdict of rustls-webpki, by asking it.

use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{
    BorrowedCertRevocationList, CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage,
    RevocationOptionsBuilder,
};

use super::{Check, Path, Purpose, Reason, Rejection};
use crate::certificate::Certificate;

/// webpki names no certificate in its errors, so the reason is in its own words and blames the
/// presented certificate.
pub(super) fn verify(check: &Check<'_>) -> Result<Path, Rejection> {
    let leaf = check.presented.first().ok_or_else(|| Rejection::general(Reason::NoCertificate))?;
    let refuse = |error: webpki::Error| {
        Rejection::new(Reason::Other(format!("is refused by webpki: {error}")), leaf)
    };
    let leaf_der = CertificateDer::from(leaf.as_der());
    let entity = EndEntityCert::try_from(&leaf_der).map_err(refuse)?;
    let trusted: Vec<_> =
        check.trust.iter().map(|root| CertificateDer::from(root.as_der())).collect();
    // As rustls does with a root file, what webpki cannot use as an anchor is left out.
    let anchors: Vec<TrustAnchor<'_>> =
        trusted.iter().filter_map(|root| webpki::anchor_from_trusted_cert(root).ok()).collect();
    let intermediates: Vec<_> =
        check.presented[1..].iter().map(|above| CertificateDer::from(above.as_der())).collect();
    let lists: Vec<CertRevocationList<'_>> = check
        .crls
        .iter()
        .map(|list| BorrowedCertRevocationList::from_der(list.as_der()).map(Into::into))
        .collect::<Result<_, _>>()
        .map_err(refuse)?;
    let lists: Vec<&CertRevocationList<'_>> = lists.iter().collect();
    let revocation = RevocationOptionsBuilder::new(&lists)
        .ok()
        .map(|builder| builder.with_expiration_policy(ExpirationPolicy::Enforce).build());
    let seconds = u64::try_from(check.time.unix_timestamp()).unwrap_or(0);
    let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    let usage = match check.purpose {
        Purpose::Server => KeyUsage::server_auth(),
        Purpose::Client => KeyUsage::client_auth(),
    };
    let path = entity
        .verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &anchors,
            &intermediates,
            time,
            usage,
            revocation,
            None,
        )
        .map_err(refuse)?;
    let mut chain = vec![leaf.clone()];
    for above in path.intermediate_certificates() {
        let der = above.der();
        chain.extend(check.presented.iter().find(|known| known.as_der() == der.as_ref()).cloned());
    }
    let anchor = path.anchor();
    chain.extend(check.trust.iter().find(|root| is_anchor(root, anchor)).cloned());
    Ok(Path(chain))
}

/// An anchor keeps nothing of its certificate but the contents of the name and of the key.
fn is_anchor(certificate: &Certificate, anchor: &TrustAnchor<'_>) -> bool {
    let contents = |der| crate::der::split(der).map(|read| read.contents);
    contents(certificate.subject().as_der()) == Some(anchor.subject.as_ref())
        && contents(certificate.public_key().as_der())
            == Some(anchor.subject_public_key_info.as_ref())
}
