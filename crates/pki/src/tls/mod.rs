//! TLS for clients, with the meaning that libpq gives to its connection parameters.
//!
//! A [`TlsClient`] is what `sslmode`, `sslrootcert`, `sslcert`, `sslkey` and `sslcrl` say, with the
//! files read already. For each host it gives a [`Session`]: a rustls configuration that verifies
//! as libpq would, and a place where the certificates that the server showed can be found
//! afterwards, also if they were refused.

#[cfg(feature = "tokio-postgres")]
mod connect;
mod mode;
mod verifier;

use std::fmt;
use std::sync::Arc;

use pg_version::PgVersion;
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ServerConfig, SignatureScheme};
use rustls_pki_types::{DnsName, IpAddr, ServerName};

#[cfg(feature = "tokio-postgres")]
pub use self::connect::{PgTls, PgTlsConnect, PgTlsFuture, PgTlsStream};
pub use self::mode::{Attempt, SslMode};
use self::verifier::{LibpqVerifier, Observed};
pub use self::verifier::{Observation, Refusal};
use crate::certificate::Certificate;
use crate::check::Verifier;
use crate::host::host_address;
use crate::key::PrivateKey;
use crate::revocation::Crl;

/// The trusted certificates of a client: libpq's `sslrootcert`.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Roots {
    /// The file does not exist.
    #[default]
    Absent,
    /// What is in the file. Its existence alone turns verification on, under every mode but
    /// `disable`.
    File(Vec<Certificate>),
    /// `sslrootcert=system` (libpq 16 and later): the system's roots, found by the caller.
    System(Vec<Certificate>),
}

/// What a client was told about TLS.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// `sslmode`
    pub mode: SslMode,
    /// The libpq whose rules apply.
    pub version: PgVersion,
    /// `sslrootcert`
    pub roots: Roots,
    /// `sslcrl`: with any list, every certificate of the chain must be covered by one. libpq looks at
    /// it only where there is a root file, so not with [`Roots::System`].
    pub crls: Vec<Crl>,
    /// `sslcert` and `sslkey`: the chain, own certificate first, and its key.
    pub identity: Option<(Vec<Certificate>, PrivateKey)>,
    /// Whose way of verifying chains applies. libpq's is that of the OpenSSL it is linked with.
    pub verifier: Verifier,
    /// The clock, `None` for the system's.
    pub clock: Option<Arc<dyn TimeProvider>>,
}

impl TlsSettings {
    /// Settings with a mode and nothing else: no roots, no certificate, the newest libpq.
    #[must_use]
    pub fn new(mode: SslMode) -> Self {
        Self {
            mode,
            version: PgVersion::NEWEST,
            roots: Roots::Absent,
            crls: Vec::new(),
            identity: None,
            verifier: Verifier::OPENSSL_3_0,
            clock: None,
        }
    }

    /// The same with trusted certificates.
    #[must_use]
    pub fn roots(mut self, roots: Vec<Certificate>) -> Self {
        self.roots = Roots::File(roots);
        self
    }

    /// The same with a client certificate.
    #[must_use]
    pub fn identity(mut self, chain: Vec<Certificate>, key: PrivateKey) -> Self {
        self.identity = Some((chain, key));
        self
    }
}

/// Why no TLS client, or no session, can be made of some settings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// `verify-ca` or `verify-full` without a root file.
    #[error(
        "root certificate file does not exist: either provide it, use the system's trusted roots \
         with sslrootcert=system, or change sslmode to disable server certificate verification"
    )]
    RootsMissing,
    /// The root file exists and holds no certificate.
    #[error("could not read root certificate file: no certificate found")]
    RootsEmpty,
    /// `sslrootcert=system` with anything less than `verify-full`.
    #[error("weak sslmode \"{0}\" may not be used with sslrootcert=system (use \"verify-full\")")]
    WeakMode(SslMode),
    /// `sslrootcert=system` before libpq 16, where it is the name of a file.
    #[error("sslrootcert=system needs libpq 16 or later")]
    SystemRoots,
    /// There is a certificate list for `sslcert`, and it is empty.
    #[error("could not read certificate file: no certificate found")]
    CertificateMissing,
    /// The key is not the certificate's.
    #[error("certificate does not match private key file: key values mismatch")]
    KeyMismatch,
    /// `sslmode` is `disable`, or the attempt is one without TLS.
    #[error("sslmode \"disable\" makes no TLS connection")]
    Disabled,
    /// Something that rustls does not accept.
    #[error("{0}")]
    Rustls(#[from] rustls::Error),
}

/// A TLS client with libpq's semantics.
///
/// ```
/// use pki::tls::{Attempt, SslMode, TlsClient, TlsSettings};
/// use pki::{Authority, KeyAlgorithm, Subject, Validity};
/// use time::OffsetDateTime;
///
/// let validity = Validity::days(OffsetDateTime::UNIX_EPOCH, 36_500);
/// let root = Authority::create(KeyAlgorithm::EcdsaP256, &Subject::common_name("CA"), validity)?;
/// let settings =
///     TlsSettings::new(SslMode::VerifyFull).roots(vec![root.certificate().clone()]);
/// let client = TlsClient::new(settings)?;
/// assert_eq!(client.mode().attempts(), [Attempt::Tls]);
/// let session = client.session(Some("node1.example.com"))?;
/// // After PostgreSQL's SSLRequest: rustls::ClientConnection::new(session.config(), ...)
/// assert_eq!(session.server_name().to_str(), "node1.example.com");
///
/// // Where nothing is trusted, nothing can be verified.
/// assert!(TlsClient::new(TlsSettings::new(SslMode::VerifyFull)).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct TlsClient {
    settings: Arc<TlsSettings>,
    provider: Arc<CryptoProvider>,
    roots: Option<Arc<Vec<Certificate>>>,
    identity: Option<Arc<Identity>>,
}

impl TlsClient {
    /// A client for these settings.
    ///
    /// # Errors
    /// [`TlsError`] for combinations that libpq refuses too.
    pub fn new(settings: TlsSettings) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifying = matches!(settings.mode, SslMode::VerifyCa | SslMode::VerifyFull);
        let roots = match &settings.roots {
            Roots::Absent if verifying => return Err(TlsError::RootsMissing),
            Roots::Absent => None,
            Roots::File(roots) if roots.is_empty() => return Err(TlsError::RootsEmpty),
            Roots::File(roots) => Some(Arc::new(roots.clone())),
            Roots::System(_) if settings.version < PgVersion::V16 => {
                return Err(TlsError::SystemRoots);
            }
            Roots::System(_) if settings.mode != SslMode::VerifyFull => {
                return Err(TlsError::WeakMode(settings.mode));
            }
            Roots::System(roots) => Some(Arc::new(roots.clone())),
        };
        let identity = settings
            .identity
            .as_ref()
            .map(|(chain, key)| Identity::new(chain, key, &provider))
            .transpose()?;
        Ok(Self { settings: Arc::new(settings), provider, roots, identity: identity.map(Arc::new) })
    }

    /// The mode.
    #[must_use]
    pub fn mode(&self) -> SslMode {
        self.settings.mode
    }

    /// Whether the server's chain is verified: where there is a root file, under every mode.
    #[must_use]
    pub fn verifies_chain(&self) -> bool {
        self.roots.is_some()
    }

    /// Whether the server's name is verified.
    #[must_use]
    pub fn verifies_host(&self) -> bool {
        self.settings.mode == SslMode::VerifyFull
    }

    /// What is needed for a TLS handshake with `host`: the parameter `host` of the connection
    /// string, `None` where only `hostaddr` is given.
    ///
    /// # Errors
    /// [`TlsError::Disabled`] under `sslmode=disable`; what rustls does not accept.
    pub fn session(&self, host: Option<&str>) -> Result<Session, TlsError> {
        if self.settings.mode == SslMode::Disable {
            return Err(TlsError::Disabled);
        }
        let observed = Observed::default();
        let verifier = LibpqVerifier {
            roots: self.roots.clone(),
            crls: match self.settings.roots {
                Roots::File(_) => self.settings.crls.clone(),
                Roots::Absent | Roots::System(_) => Vec::new(),
            },
            host: self.verifies_host().then(|| (host.map(str::to_owned), self.settings.version)),
            verifier: self.settings.verifier,
            schemes: self.provider.signature_verification_algorithms,
            observed: observed.clone(),
        };
        let provider = Arc::clone(&self.provider);
        let builder = match &self.settings.clock {
            Some(clock) => ClientConfig::builder_with_details(provider, Arc::clone(clock)),
            None => ClientConfig::builder_with_provider(provider),
        };
        let builder = builder
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match &self.identity {
            Some(identity) => builder.with_client_cert_resolver(Arc::clone(identity) as _),
            None => builder.with_no_client_auth(),
        };
        // libpq never resumes a session, and servers do not offer to.
        config.resumption = Resumption::disabled();
        let (server_name, is_name) = server_name(host);
        // libpq names the server from 14 on (sslsni), and the protocol from 17 on.
        config.enable_sni = is_name && self.settings.version >= PgVersion::V14;
        if self.settings.version >= PgVersion::V17 {
            config.alpn_protocols = vec![b"postgresql".to_vec()];
        }
        Ok(Session { config: Arc::new(config), server_name, observed })
    }
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClient")
            .field("mode", &self.settings.mode)
            .field("version", &self.settings.version)
            .field("verifies_chain", &self.verifies_chain())
            .field("identity", &self.identity.is_some())
            .finish_non_exhaustive()
    }
}

/// The name that rustls wants, and whether it may be sent to the server.
fn server_name(host: Option<&str>) -> (ServerName<'static>, bool) {
    let host = host.unwrap_or_default();
    if let Some(address) = host_address(host) {
        return (ServerName::IpAddress(IpAddr::from(address)), false);
    }
    match DnsName::try_from(host.to_owned()) {
        Ok(name) => (ServerName::DnsName(name), true),
        // The verifier compares the host itself; this only has to be something.
        Err(_) => (ServerName::IpAddress(IpAddr::from(std::net::Ipv4Addr::UNSPECIFIED)), false),
    }
}

/// One TLS handshake to be made.
#[derive(Clone)]
pub struct Session {
    config: Arc<ClientConfig>,
    server_name: ServerName<'static>,
    observed: Observed,
}

impl Session {
    /// The configuration for [`rustls::ClientConnection::new`] or tokio-rustls.
    #[must_use]
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    /// The server's name, for the same.
    #[must_use]
    pub fn server_name(&self) -> ServerName<'static> {
        self.server_name.clone()
    }

    /// The certificates that the server presented and what was thought of them, once the handshake
    /// has come so far. They are there also if the handshake has failed because of them.
    #[must_use]
    pub fn observation(&self) -> Option<Observation> {
        self.observed.get()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("server_name", &self.server_name)
            .field("observation", &self.observation())
            .finish_non_exhaustive()
    }
}

/// A client certificate, presented to every server that asks for one, as libpq does: whatever
/// authorities the server says it knows.
struct Identity(Arc<CertifiedKey>);

impl Identity {
    fn new(
        chain: &[Certificate],
        key: &PrivateKey,
        provider: &CryptoProvider,
    ) -> Result<Self, TlsError> {
        let own = chain.first().ok_or(TlsError::CertificateMissing)?;
        if !key.matches(own) {
            return Err(TlsError::KeyMismatch);
        }
        let key = provider.key_provider.load_private_key(key.to_rustls())?;
        let chain = chain.iter().map(Certificate::to_rustls).collect();
        Ok(Self(Arc::new(CertifiedKey::new(chain, key))))
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.key.choose_scheme(schemes).map(|_| Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity")
    }
}

/// A server's side, for tests: it presents `chain` and asks for no certificate.
///
/// # Errors
/// [`TlsError`] for a key that is not the chain's, or that rustls does not accept.
pub fn acceptor(chain: &[Certificate], key: &PrivateKey) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let identity = Identity::new(chain, key, &provider)?;
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(identity));
    Ok(Arc::new(config))
}

impl rustls::server::ResolvesServerCert for Identity {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}
