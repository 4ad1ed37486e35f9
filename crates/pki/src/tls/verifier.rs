//! How a client with libpq's semantics judges a server's certificate.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use pg_version::PgVersion;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::{
    CertificateError, DigitallySignedStruct, Error as RustlsError, OtherError, PeerMisbehaved,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use time::OffsetDateTime;

use crate::certificate::Certificate;
use crate::check::{Check, Purpose, Rejection, Verifier};
use crate::error::Error;
use crate::host::{HostMismatch, HostRules};
use crate::revocation::Crl;

/// Why a server's certificate was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// Nothing trusted leads to it.
    Chain(Rejection),
    /// It is another host's.
    Host(HostMismatch),
    /// It cannot be read.
    Unreadable(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chain(rejection) => write!(f, "certificate verify failed: {rejection}"),
            Self::Host(mismatch) => mismatch.fmt(f),
            Self::Unreadable(words) => f.write_str(words),
        }
    }
}

impl std::error::Error for Refusal {}

/// What a server presented in a handshake.
#[derive(Clone, Debug)]
pub struct Observation {
    /// The certificates as they came, in DER: the server's own first.
    pub presented: Vec<Vec<u8>>,
    /// Why they were refused, if they were.
    pub refusal: Option<Refusal>,
}

impl Observation {
    /// The presented certificates, read.
    ///
    /// # Errors
    /// [`Error::Certificate`] for one that is none.
    pub fn certificates(&self) -> Result<Vec<Certificate>, Error> {
        self.presented.iter().map(|der| Certificate::from_der(der)).collect()
    }
}

/// Where a verifier leaves what it saw.
#[derive(Clone, Debug, Default)]
pub(super) struct Observed(Arc<Mutex<Option<Observation>>>);

impl Observed {
    pub(super) fn get(&self) -> Option<Observation> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, observation: Observation) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(observation);
    }
}

#[derive(Debug)]
pub(super) struct LibpqVerifier {
    pub(super) roots: Option<Arc<Vec<Certificate>>>,
    pub(super) crls: Vec<Crl>,
    /// The host to compare, and whose rules, if it is to be compared.
    pub(super) host: Option<(Option<String>, PgVersion)>,
    pub(super) verifier: Verifier,
    pub(super) schemes: WebPkiSupportedAlgorithms,
    pub(super) observed: Observed,
}

impl LibpqVerifier {
    fn judge(&self, presented: &[Vec<u8>], now: UnixTime) -> Result<(), Refusal> {
        let certificates: Vec<Certificate> = presented
            .iter()
            .map(|der| Certificate::from_der(der))
            .collect::<Result<_, _>>()
            .map_err(|error| Refusal::Unreadable(error.to_string()))?;
        if let Some(roots) = &self.roots {
            let time = i64::try_from(now.as_secs())
                .ok()
                .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
                .ok_or_else(|| Refusal::Unreadable("the clock is out of range".to_owned()))?;
            Check::new(&certificates, roots, Purpose::Server, time)
                .crls(&self.crls)
                .verifier(self.verifier)
                .run()
                .map_err(Refusal::Chain)?;
        }
        if let (Some((host, version)), Some(leaf)) = (&self.host, certificates.first()) {
            leaf.matches_host(host.as_deref(), HostRules::Libpq(*version))
                .map_err(Refusal::Host)?;
        }
        Ok(())
    }
}

impl ServerCertVerifier for LibpqVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, RustlsError> {
        let presented: Vec<Vec<u8>> =
            std::iter::once(end_entity).chain(intermediates).map(|der| der.to_vec()).collect();
        let refusal = self.judge(&presented, now).err();
        self.observed.set(Observation { presented, refusal: refusal.clone() });
        match refusal {
            None => Ok(ServerCertVerified::assertion()),
            Some(refusal) => Err(CertificateError::Other(OtherError(Arc::new(refusal))).into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        // rustls' own function refuses certificates that webpki does not like, of version 1 for
        // instance. Only the key matters here.
        let certificate = read(certificate)?;
        let key = certificate.public_key();
        let known = self.schemes.mapping.iter().find(|(scheme, _)| *scheme == signed.scheme);
        let (_, algorithms) = known.ok_or(RustlsError::PeerMisbehaved(
            PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme,
        ))?;
        let verified = algorithms
            .iter()
            .filter(|algorithm| *algorithm.public_key_alg_id() == *key.algorithm_der())
            .any(|algorithm| {
                algorithm.verify_signature(key.bits(), message, signed.signature()).is_ok()
            });
        if verified {
            Ok(HandshakeSignatureValid::assertion())
        } else {
            Err(CertificateError::BadSignature.into())
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        let certificate = read(certificate)?;
        let key = SubjectPublicKeyInfoDer::from(certificate.public_key().as_der());
        rustls::crypto::verify_tls13_signature_with_raw_key(message, &key, signed, &self.schemes)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.supported_schemes()
    }
}

fn read(certificate: &CertificateDer<'_>) -> Result<Certificate, RustlsError> {
    Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding.into())
}
