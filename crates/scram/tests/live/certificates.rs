//! Certificates of every signature type, and TLS with no questions asked.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    path::Path,
    sync::Arc,
};

use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, ServerConfig, SignatureScheme,
    StreamOwned,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
};

/// A certificate and its key, in PEM.
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// What OpenSSL makes of these arguments of `openssl req`: a self-signed certificate.
pub(crate) fn self_signed(arguments: &[&str]) -> Pair {
    let folder = tempfile::tempdir().unwrap();
    pgtest::Run::new("openssl")
        .args(["req", "-x509", "-subj", "/CN=localhost", "-days", "30", "-nodes"])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .args(arguments.iter().copied())
        .folder(folder.path())
        .check()
        .unwrap();
    read(folder.path(), "cert.pem", "key.pem")
}

/// A certificate whose key and whose issuer's key are of different types.
pub(crate) fn issued(issuer: &[&str], key: &[&str]) -> Pair {
    let folder = tempfile::tempdir().unwrap();
    let openssl = |arguments: &[&str]| {
        pgtest::Run::new("openssl")
            .args(arguments.iter().copied())
            .folder(folder.path())
            .check()
            .unwrap();
    };
    let ca = ["req", "-x509", "-subj", "/CN=ca", "-days", "30", "-nodes"];
    openssl(&[&ca[..], &["-keyout", "ca.key", "-out", "ca.pem"], issuer].concat());
    let request = ["req", "-new", "-subj", "/CN=localhost", "-nodes"];
    openssl(&[&request[..], &["-keyout", "key.pem", "-out", "request.pem"], key].concat());
    // With an extension it is a certificate of version 3, which rustls insists on.
    std::fs::write(folder.path().join("extensions"), "basicConstraints = CA:FALSE\n").unwrap();
    let sign = ["x509", "-req", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca.key"];
    let more = ["-set_serial", "7", "-days", "30", "-extfile", "extensions", "-out", "cert.pem"];
    openssl(&[&sign[..], &more].concat());
    read(folder.path(), "cert.pem", "key.pem")
}

fn read(folder: &Path, certificate: &str, key: &str) -> Pair {
    let text = |name| std::fs::read_to_string(folder.join(name)).unwrap();
    Pair { certificate: text(certificate), key: text(key) }
}

impl Pair {
    pub(crate) fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap()
    }

    /// A TLS server with this certificate.
    pub(crate) fn server_config(&self) -> Arc<ServerConfig> {
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.der()], key)
            .unwrap();
        Arc::new(config)
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Asks a server for TLS, takes whatever certificate it has, and returns it.
pub(crate) fn tls(mut stream: TcpStream) -> (impl Read + Write + use<>, CertificateDer<'static>) {
    stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).unwrap();
    let mut answer = [0];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, *b"S");
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TakeAny))
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
    while connection.is_handshaking() {
        match connection.complete_io(&mut stream) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => drop(result.unwrap()),
        }
    }
    let certificate = connection.peer_certificates().unwrap()[0].clone().into_owned();
    (StreamOwned::new(connection, stream), certificate)
}

/// These tests are about what comes after the certificate was checked.
#[derive(Debug)]
struct TakeAny;

impl ServerCertVerifier for TakeAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
