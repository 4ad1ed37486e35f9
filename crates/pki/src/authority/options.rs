//! What goes into an authority's certificate before it is signed.

use std::net::IpAddr;

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, GeneralSubtree, IsCa, KeyUsagePurpose,
    NameConstraints, SerialNumber,
};

use crate::certificate::Validity;
use crate::error::Error;
use crate::key::KeyAlgorithm;
use crate::profile::Subject;

/// A subtree of names, for the name constraints of an authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameSubtree {
    /// A host name and everything below it; with a leading dot only what is below it.
    Dns(String),
    /// The addresses that share the first so many bits with one.
    Ip(IpAddr, u8),
}

/// What a new authority may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthorityOptions {
    /// How many intermediates may stand below it, `None` for any number.
    ///
    /// OpenSSL 1.1.1 does not apply a root's own limit: it lets in one intermediate below a root
    /// with 0, which OpenSSL 3.0 refuses. Rely on no limit of a root.
    pub path_len: Option<u8>,
    /// If not empty, host names and addresses must lie in one of these.
    pub permitted: Vec<NameSubtree>,
    /// Host names and addresses must lie in none of these.
    pub excluded: Vec<NameSubtree>,
    /// Clients log in with SCRAM passwords through certificates of this authority, so that an
    /// Ed25519 key is refused ([`KeyAlgorithm::scram_refusal`]).
    pub scram: bool,
}

impl AuthorityOptions {
    pub(super) fn parameters(
        &self,
        algorithm: Option<KeyAlgorithm>,
        subject: &Subject,
        validity: Validity,
    ) -> Result<CertificateParams, Error> {
        let refusal = algorithm.and_then(KeyAlgorithm::scram_refusal);
        if let Some(reason) = refusal.filter(|_| self.scram) {
            return Err(Error::Refused(reason.to_owned()));
        }
        let mut parameters = parameters(self.path_len);
        subject.write(&mut parameters)?;
        if parameters.distinguished_name == rcgen::DistinguishedName::new() {
            return Err(Error::Refused("an authority needs a name".to_owned()));
        }
        if !self.permitted.is_empty() || !self.excluded.is_empty() {
            parameters.name_constraints = Some(NameConstraints {
                permitted_subtrees: subtrees(&self.permitted)?,
                excluded_subtrees: subtrees(&self.excluded)?,
            });
        }
        date(&mut parameters, validity)?;
        Ok(parameters)
    }
}

/// What all authorities' certificates have in common.
pub(super) fn parameters(path_len: Option<u8>) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(match path_len {
        Some(length) => BasicConstraints::Constrained(length),
        None => BasicConstraints::Unconstrained,
    });
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters.use_authority_key_identifier_extension = true;
    parameters
}

fn subtrees(names: &[NameSubtree]) -> Result<Vec<GeneralSubtree>, Error> {
    names
        .iter()
        .map(|name| match name {
            NameSubtree::Dns(name) if name.is_ascii() => Ok(GeneralSubtree::DnsName(name.clone())),
            NameSubtree::Dns(name) => {
                Err(Error::Refused(format!("the subtree {name:?} is not ASCII")))
            }
            NameSubtree::Ip(address, bits) => {
                let width = if address.is_ipv4() { 32 } else { 128 };
                if *bits > width {
                    return Err(Error::Refused(format!("{address}/{bits} is no subnet")));
                }
                Ok(GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(*address, *bits)))
            }
        })
        .collect()
}

/// Puts validity and serial number into a certificate that is to be signed.
pub(super) fn date(parameters: &mut CertificateParams, validity: Validity) -> Result<(), Error> {
    // The years that a certificate can hold.
    let known = 1950..=9999;
    if validity.not_after < validity.not_before
        || !known.contains(&validity.not_before.year())
        || !known.contains(&validity.not_after.year())
    {
        return Err(Error::Refused(
            "a validity must end after it begins, in the years 1950 to 9999".to_owned(),
        ));
    }
    parameters.not_before = validity.not_before;
    parameters.not_after = validity.not_after;
    parameters.serial_number = Some(random_serial()?);
    Ok(())
}

/// 126 random bits, never negative and never zero (RFC 5280 section 4.1.2.2).
fn random_serial() -> Result<SerialNumber, Error> {
    let mut octets = [0; 16];
    aws_lc_rs::rand::fill(&mut octets).map_err(|_| Error::Make {
        what: "serial number",
        reason: "the system has no random numbers".to_owned(),
    })?;
    octets[0] = octets[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&octets))
}
