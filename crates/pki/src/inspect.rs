//! What a certificate says, and what is wrong with the set of files that a node has.

use std::fmt;

use time::OffsetDateTime;

use crate::certificate::{Certificate, Fingerprint, GeneralName, Moment, colons};
use crate::check::{Check, Purpose, Rejection, Verifier};
use crate::key::PrivateKey;
use crate::oid::Oid;

/// Where in a chain a certificate stands, as far as it says itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Position {
    /// It signed itself.
    Root,
    /// It may sign others and was signed by another.
    Intermediate,
    /// It may not sign others.
    Leaf,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Root => "root",
            Self::Intermediate => "intermediate",
            Self::Leaf => "leaf",
        })
    }
}

/// What people want to know of a certificate, ready to be printed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Summary {
    /// Whose it is.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// Its serial number, `AB:CD`.
    pub serial: String,
    /// Where in a chain it stands.
    pub position: Position,
    /// Its alternative names.
    pub names: Vec<GeneralName>,
    /// What its key may be used for, in OpenSSL's words.
    pub key_usage: Option<String>,
    /// Its extended usages.
    pub extended_key_usage: Option<Vec<Oid>>,
    /// Its key.
    pub key: String,
    /// How it is signed.
    pub signature: String,
    /// Its first second.
    pub not_before: OffsetDateTime,
    /// Its last second.
    pub not_after: OffsetDateTime,
    /// Whole days until then; negative if it is over.
    pub days_left: i64,
    /// Its subject key identifier.
    pub subject_key_id: Option<String>,
    /// Its issuer's.
    pub authority_key_id: Option<String>,
    /// Its SHA-256 digest.
    pub fingerprint: Fingerprint,
}

impl Certificate {
    /// A summary, as of `time`.
    #[must_use]
    pub fn summary(&self, time: OffsetDateTime) -> Summary {
        let extensions = self.extensions();
        let key_id = extensions.authority_key_id.as_ref().and_then(|id| id.key_id.as_deref());
        Summary {
            subject: self.subject().to_string(),
            issuer: self.issuer().to_string(),
            serial: colons(self.serial()),
            position: if self.is_self_signed() {
                Position::Root
            } else if self.is_authority() {
                Position::Intermediate
            } else {
                Position::Leaf
            },
            names: extensions.subject_alt_names.clone().unwrap_or_default(),
            key_usage: extensions.key_usage.map(|usage| usage.to_string()),
            extended_key_usage: extensions.extended_key_usage.clone(),
            key: self.public_key().kind().to_string(),
            signature: self.signature_algorithm().to_string(),
            not_before: self.validity().not_before,
            not_after: self.validity().not_after,
            days_left: self.validity().days_left(time),
            subject_key_id: extensions.subject_key_id.as_deref().map(colons),
            authority_key_id: key_id.map(colons),
            fingerprint: self.fingerprint(),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let day = |time: OffsetDateTime| time.date().to_string();
        writeln!(f, "{} ({})", self.subject, self.position)?;
        writeln!(f, "  issuer       {}", self.issuer)?;
        writeln!(f, "  serial       {}", self.serial)?;
        let (first, last) = (day(self.not_before), day(self.not_after));
        match self.days_left {
            left @ 0.. => writeln!(f, "  valid        {first} to {last}, {left} days left")?,
            _ => writeln!(f, "  valid        {first} to {last}, expired")?,
        }
        writeln!(f, "  key          {}, signed with {}", self.key, self.signature)?;
        if !self.names.is_empty() {
            let names: Vec<_> = self.names.iter().map(ToString::to_string).collect();
            writeln!(f, "  names        {}", names.join(", "))?;
        }
        if let Some(usage) = &self.key_usage {
            writeln!(f, "  key usage    {usage}")?;
        }
        if let Some(usages) = &self.extended_key_usage {
            let usages: Vec<_> = usages
                .iter()
                .map(|usage| usage.name().map_or_else(|| usage.to_string(), str::to_owned))
                .collect();
            writeln!(f, "  used for     {}", usages.join(", "))?;
        }
        writeln!(f, "  fingerprint  {}", self.fingerprint)
    }
}

/// The files of one end of a connection.
#[derive(Clone, Debug)]
pub struct Deployment<'a> {
    /// What is presented: own certificate first.
    pub chain: &'a [Certificate],
    /// The key, if it may be read.
    pub key: Option<&'a PrivateKey>,
    /// What the other end trusts.
    pub trust: &'a [Certificate],
    /// Which end it is.
    pub purpose: Purpose,
    /// The certificate of the authority that issues now, if there is one.
    pub current_authority: Option<&'a Certificate>,
}

/// Something to mind about a [`Deployment`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// There is no certificate in the file.
    Empty,
    /// The key is not the first certificate's. A server does not start with it, and keeps serving
    /// the old one when it is reloaded.
    KeyMismatch {
        /// Whether it belongs to another certificate of the file, so that only the order is wrong.
        belongs_to_another: bool,
    },
    /// A verifier refuses the chain.
    Refused(Verifier, Rejection),
    /// A certificate ends soon.
    EndsSoon {
        /// Its subject.
        subject: String,
        /// Whole days left.
        days: i64,
    },
    /// A certificate outlives the one that signed it, which ends everything earlier than its own
    /// date says.
    OutlivesIssuer {
        /// Its subject.
        subject: String,
        /// When its issuer ends.
        issuer_ends: OffsetDateTime,
    },
    /// It was signed with another key than the current authority's: it will be refused as soon as
    /// the old authority is no longer trusted.
    NotOfCurrentAuthority {
        /// Who signed it.
        issuer: String,
    },
    /// The file holds certificates that do not lead from the first to a root, which are of no use.
    Unused {
        /// Their subjects.
        subjects: Vec<String>,
    },
    /// The file holds a root, which is never needed there.
    RootPresented,
    /// A server's certificate has no alternative names, so that rustls refuses it.
    NoAlternativeNames,
    /// An address stands as an `iPAddress` only, so that libpq 12 to 14 do not match it.
    AddressNotAsName {
        /// The address.
        address: String,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("there is no certificate in the file"),
            Self::KeyMismatch { belongs_to_another: true } => f.write_str(
                "the key belongs to another certificate of the file: its own must stand first",
            ),
            Self::KeyMismatch { belongs_to_another: false } => {
                f.write_str("the key does not belong to the certificate")
            }
            Self::Refused(Verifier::WebPki, rejection) => write!(f, "rustls refuses: {rejection}"),
            Self::Refused(Verifier::Rfc5280, rejection) => {
                write!(f, "RFC 5280 forbids: {rejection}")
            }
            Self::Refused(_, rejection) => write!(f, "OpenSSL refuses: {rejection}"),
            Self::EndsSoon { subject, days } => {
                write!(f, "the certificate of {subject} ends in {days} days")
            }
            Self::OutlivesIssuer { subject, issuer_ends } => write!(
                f,
                "the certificate of {subject} outlives its issuer, which ends at {}",
                Moment(*issuer_ends)
            ),
            Self::NotOfCurrentAuthority { issuer } => {
                write!(f, "the certificate was issued by {issuer}, not by the current authority")
            }
            Self::Unused { subjects } => {
                write!(f, "the file holds certificates of no use: {}", subjects.join("; "))
            }
            Self::RootPresented => {
                f.write_str("the file holds the root, which the other end has or must not trust")
            }
            Self::NoAlternativeNames => f.write_str(
                "the certificate has no subjectAltName: rustls never matches a common name",
            ),
            Self::AddressNotAsName { address } => {
                write!(f, "the address {address} is no dNSName too: libpq 12 to 14 do not match it")
            }
        }
    }
}

impl Deployment<'_> {
    /// Everything to mind at `time`, asking every verifier given, and warning of certificates that
    /// end within `warn_days`.
    #[must_use]
    pub fn findings(
        &self,
        time: OffsetDateTime,
        verifiers: &[Verifier],
        warn_days: u32,
    ) -> Vec<Finding> {
        let Some(leaf) = self.chain.first() else { return vec![Finding::Empty] };
        let mut findings = Vec::new();
        if let Some(key) = self.key.filter(|key| !key.matches(leaf)) {
            let belongs_to_another = self.chain.iter().any(|other| key.matches(other));
            findings.push(Finding::KeyMismatch { belongs_to_another });
        }
        let mut path = None;
        for verifier in verifiers {
            let check = Check::new(self.chain, self.trust, self.purpose, time);
            match check.verifier(*verifier).run() {
                Ok(found) => path = Some(found),
                Err(rejection) => findings.push(Finding::Refused(*verifier, rejection)),
            }
        }
        let path = path.as_ref().map_or(self.chain, |path| path.certificates());
        for certificate in path {
            let days = certificate.validity().days_left(time);
            if (0..i64::from(warn_days)).contains(&days) {
                let subject = certificate.subject().to_string();
                findings.push(Finding::EndsSoon { subject, days });
            }
        }
        for (certificate, issuer) in path.iter().zip(path.iter().skip(1)) {
            if certificate.issuer() == issuer.subject()
                && certificate.validity().not_after > issuer.validity().not_after
            {
                findings.push(Finding::OutlivesIssuer {
                    subject: certificate.subject().to_string(),
                    issuer_ends: issuer.validity().not_after,
                });
            }
        }
        if let Some(authority) = self.current_authority
            && !path.iter().any(|part| part.is_signed_by(authority.public_key()))
        {
            let issuer = leaf.issuer().to_string();
            findings.push(Finding::NotOfCurrentAuthority { issuer });
        }
        self.judge_file(path, &mut findings);
        if self.purpose == Purpose::Server {
            judge_names(leaf, &mut findings);
        }
        findings
    }

    fn judge_file(&self, path: &[Certificate], findings: &mut Vec<Finding>) {
        let above = self.chain.get(1..).unwrap_or_default();
        if above.iter().any(Certificate::is_self_signed) {
            findings.push(Finding::RootPresented);
        }
        let unused = above.iter().filter(|part| !path.contains(part) && !part.is_self_signed());
        let subjects: Vec<_> = unused.map(|part| part.subject().to_string()).collect();
        if !subjects.is_empty() {
            findings.push(Finding::Unused { subjects });
        }
    }
}

fn judge_names(leaf: &Certificate, findings: &mut Vec<Finding>) {
    let Some(names) = &leaf.extensions().subject_alt_names else {
        findings.push(Finding::NoAlternativeNames);
        return;
    };
    for address in names.iter().filter_map(GeneralName::ip) {
        let text = address.to_string();
        if !names.contains(&GeneralName::Dns(text.clone().into_bytes())) {
            findings.push(Finding::AddressNotAsName { address: text });
        }
    }
}
