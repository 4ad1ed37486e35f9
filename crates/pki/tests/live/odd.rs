//! Certificates that nobody issues on purpose: built field by field, and signed.

use pki::{Certificate, PrivateKey};
use time::OffsetDateTime;

use crate::support::days;

/// One element of DER: its tag octet and its contents.
pub(crate) fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut element = vec![tag];
    match u8::try_from(contents.len()) {
        Ok(short @ 0..=0x7f) => element.push(short),
        Ok(length) => element.extend([0x81, length]),
        Err(_) => {
            element.push(0x82);
            element.extend(u16::try_from(contents.len()).unwrap().to_be_bytes());
        }
    }
    element.extend_from_slice(contents);
    element
}

pub(crate) fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    element(0x30, &parts.concat())
}

pub(crate) const CLIENT_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 2];
pub(crate) const SERVER_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 1];
pub(crate) const ANY_USAGE: &[u8] = &[0x55, 0x1d, 0x25, 0];

/// The first octet of a `keyUsage`.
pub(crate) const DIGITAL_SIGNATURE: u8 = 0x80;
pub(crate) const KEY_ENCIPHERMENT: u8 = 0x20;
pub(crate) const CERT_SIGN: u8 = 0x04;
pub(crate) const CRL_SIGN: u8 = 0x02;

/// What a certificate says. Leaves and authorities begin sound; a test changes one thing.
#[derive(Clone)]
pub(crate) struct Odd {
    pub(crate) common_name: (u8, Vec<u8>),
    /// From and to, in days from today.
    pub(crate) days: (i64, i64),
    /// CA, and the path length.
    pub(crate) basic_constraints: Option<(bool, Option<u8>)>,
    pub(crate) key_usage: Option<u8>,
    pub(crate) usages: Option<Vec<&'static [u8]>>,
    pub(crate) key_id: Option<u8>,
    /// The identifier of the issuer's key, if it is not to be the issuer's own.
    pub(crate) issuer_key_id: Option<u8>,
    /// Names of `subjectAltName`, in DER.
    pub(crate) names: Vec<Vec<u8>>,
    /// Other extensions, in DER.
    pub(crate) others: Vec<Vec<u8>>,
    pub(crate) serial: u8,
}

impl Odd {
    pub(crate) fn leaf(name: &str) -> Self {
        Self {
            common_name: (0x0c, name.as_bytes().to_vec()),
            days: (-2, 30),
            basic_constraints: Some((false, None)),
            key_usage: Some(DIGITAL_SIGNATURE),
            usages: Some(vec![CLIENT_AUTH]),
            key_id: None,
            issuer_key_id: None,
            names: Vec::new(),
            others: Vec::new(),
            serial: 1,
        }
    }

    pub(crate) fn authority(name: &str, key_id: u8) -> Self {
        Self {
            basic_constraints: Some((true, None)),
            key_usage: Some(CERT_SIGN | CRL_SIGN),
            usages: None,
            key_id: Some(key_id),
            ..Self::leaf(name)
        }
    }

    /// Signed with a new key of its own.
    pub(crate) fn root(self) -> Made {
        self.made(p256(), None)
    }

    /// Signed by `issuer`.
    pub(crate) fn under(self, issuer: &Made) -> Made {
        self.made(p256(), Some(issuer))
    }

    pub(crate) fn made(self, key: PrivateKey, issuer: Option<&Made>) -> Made {
        let (signer, signer_id, signer_name) = issuer.map_or_else(
            || (key.clone(), self.key_id, self.subject()),
            |issuer| (issuer.key.clone(), issuer.odd.key_id, issuer.odd.subject()),
        );
        let ecdsa_with_sha256 = element(0x30, &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]);
        let tbs = sequence(&[
            element(0xa0, &[2, 1, 2]),
            element(0x02, &[self.serial]),
            ecdsa_with_sha256.clone(),
            signer_name,
            sequence(&[time(self.days.0), time(self.days.1)]),
            self.subject(),
            key.public_key().as_der().to_vec(),
            element(0xa3, &sequence(&self.extensions(signer_id))),
        ]);
        let mut bits = vec![0];
        bits.extend(rcgen::SigningKey::sign(&signer, &tbs).unwrap());
        let der = sequence(&[tbs, ecdsa_with_sha256, element(0x03, &bits)]);
        Made { certificate: Certificate::from_der(&der).unwrap(), key, odd: self }
    }

    fn subject(&self) -> Vec<u8> {
        let (tag, value) = &self.common_name;
        let attribute = sequence(&[element(0x06, &[0x55, 4, 3]), element(*tag, value)]);
        sequence(&[element(0x31, &attribute)])
    }

    fn extensions(&self, issuer_key_id: Option<u8>) -> Vec<Vec<u8>> {
        let mut all = self.others.clone();
        if let Some((ca, path_len)) = self.basic_constraints {
            let ca = if ca { element(0x01, &[0xff]) } else { Vec::new() };
            let path_len = path_len.map_or_else(Vec::new, |length| element(0x02, &[length]));
            all.push(extension(0x13, true, &sequence(&[ca, path_len])));
        }
        if let Some(usage) = self.key_usage {
            let unused = u8::try_from(usage.trailing_zeros()).unwrap();
            all.push(extension(0x0f, true, &element(0x03, &[unused, usage])));
        }
        if let Some(usages) = &self.usages {
            let usages: Vec<_> = usages.iter().map(|oid| element(0x06, oid)).collect();
            all.push(extension(0x25, false, &sequence(&usages)));
        }
        if let Some(id) = self.key_id {
            all.push(extension(0x0e, false, &element(0x04, &[id; 20])));
        }
        if let Some(id) = self.issuer_key_id.or(issuer_key_id) {
            all.push(extension(0x23, false, &sequence(&[element(0x80, &[id; 20])])));
        }
        if !self.names.is_empty() {
            all.push(extension(0x11, false, &sequence(&self.names)));
        }
        all
    }
}

/// An extension under 2.5.29.
pub(crate) fn extension(id: u8, critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if critical { element(0x01, &[0xff]) } else { Vec::new() };
    sequence(&[element(0x06, &[0x55, 0x1d, id]), critical, element(0x04, value)])
}

/// `nameConstraints` that permit one subtree.
pub(crate) fn permits(base: &[u8]) -> Vec<u8> {
    extension(0x1e, true, &sequence(&[element(0xa0, &sequence(&[base.to_vec()]))]))
}

/// A certificate, its key, and what it was made of.
pub(crate) struct Made {
    pub(crate) certificate: Certificate,
    pub(crate) key: PrivateKey,
    odd: Odd,
}

pub(crate) fn p256() -> PrivateKey {
    PrivateKey::generate(pki::KeyAlgorithm::EcdsaP256).unwrap()
}

/// `UTCTime`
fn time(from_now: i64) -> Vec<u8> {
    let time = OffsetDateTime::now_utc() + days(from_now);
    let text = format!(
        "{:02}{:02}{:02}{:02}{:02}{:02}Z",
        time.year() % 100,
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second()
    );
    element(0x17, text.as_bytes())
}
