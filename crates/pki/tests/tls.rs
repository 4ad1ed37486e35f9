//! TLS clients against an acceptor, with libpq's semantics.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod common;

use std::sync::Arc;

use common::{NOW, decade, root, year};
use pg_version::PgVersion;
use pki::tls::{PgTls, Refusal, Roots, SslMode, TlsClient, TlsError, TlsSettings, acceptor};
use pki::{Authority, Certificate, HostMismatch, Issued, KeyAlgorithm, Profile, Reason, Subject};
use rustls::time_provider::TimeProvider;
use rustls_pki_types::UnixTime;
use tokio_postgres::tls::TlsConnect;
use tokio_rustls::TlsAcceptor;

#[derive(Debug)]
struct Clock(u64);

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(self.0)))
    }
}

fn settings(mode: SslMode, roots: &[&Authority]) -> TlsSettings {
    let mut settings = TlsSettings::new(mode);
    settings.clock = Some(Arc::new(Clock(NOW.unix_timestamp().unsigned_abs())));
    if !roots.is_empty() {
        let roots = roots.iter().map(|root| root.certificate().clone());
        settings.roots = Roots::File(roots.collect());
    }
    settings
}

/// A handshake: what the client thought of the server's certificate, and whether it came about.
fn handshake(
    server: &Issued,
    settings: TlsSettings,
    host: Option<&str>,
) -> (bool, Option<Refusal>, usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (near, far) = tokio::io::duplex(1 << 16);
        let acceptor = TlsAcceptor::from(acceptor(&server.chain(), &server.key).unwrap());
        let accepted = tokio::spawn(async move { acceptor.accept(far).await.is_ok() });
        let client = PgTls::new(TlsClient::new(settings).unwrap());
        let connector = client.connector(host).unwrap();
        let session = connector.session().clone();
        let connected = connector.connect(near).await;
        let connected = connected.is_ok() && accepted.await.unwrap();
        let observation = session.observation().unwrap();
        assert_eq!(observation.presented[0], server.certificate.as_der());
        (connected, observation.refusal, observation.presented.len())
    })
}

fn server(root: &Authority, algorithm: KeyAlgorithm) -> Issued {
    let profile = Profile::server(["node1.example.com", "192.0.2.1"]).unwrap();
    root.issue(algorithm, &profile, year()).unwrap()
}

#[test]
fn modes_mean_what_they_mean_to_libpq() {
    let (ours, other) = (root("ours"), root("other"));
    let server = server(&ours, KeyAlgorithm::EcdsaP256);
    let chain_refused = |refusal: Option<Refusal>| matches!(refusal, Some(Refusal::Chain(rejection)) if *rejection.reason() == Reason::IssuerUnknown);
    for mode in [SslMode::Allow, SslMode::Prefer, SslMode::Require] {
        let (connected, refusal, _) = handshake(&server, settings(mode, &[]), Some("else"));
        assert!(connected && refusal.is_none(), "{mode} verifies nothing without a root file");
        let (connected, refusal, _) = handshake(&server, settings(mode, &[&ours]), Some("else"));
        assert!(connected && refusal.is_none(), "{mode} never verifies the name");
    }
    for mode in SslMode::ALL.into_iter().filter(|mode| *mode != SslMode::Disable) {
        let (connected, refusal, _) =
            handshake(&server, settings(mode, &[&other]), Some("node1.example.com"));
        assert!(!connected && chain_refused(refusal), "{mode} verifies with a root file");
    }
    for (mode, host, accepted) in [
        (SslMode::VerifyCa, "else", true),
        (SslMode::VerifyFull, "else", false),
        (SslMode::VerifyFull, "node1.example.com", true),
        (SslMode::VerifyFull, "192.0.2.1", true),
        (SslMode::VerifyFull, "192.0.513", true),
    ] {
        let (connected, refusal, _) = handshake(&server, settings(mode, &[&ours]), Some(host));
        assert_eq!(connected, accepted, "{mode} {host}");
        assert_eq!(matches!(refusal, Some(Refusal::Host(_))), !accepted);
    }
    let (connected, refusal, _) = handshake(&server, settings(SslMode::VerifyFull, &[&ours]), None);
    assert_eq!((connected, refusal), (false, Some(Refusal::Host(HostMismatch::NoHost))));
}

#[test]
fn names_are_compared_by_the_rules_of_the_chosen_libpq() {
    let ours = root("ours");
    let server = server(&ours, KeyAlgorithm::EcdsaP256);
    for version in PgVersion::ALL {
        let mut settings = settings(SslMode::VerifyFull, &[&ours]);
        settings.version = version;
        // Only an iPAddress matches this notation.
        let (connected, ..) = handshake(&server, settings, Some("0xc0000201"));
        assert_eq!(connected, version >= PgVersion::V15, "{version}");
    }
}

#[test]
fn every_key_and_every_authority() {
    for authority in [KeyAlgorithm::EcdsaP384, KeyAlgorithm::Rsa2048, KeyAlgorithm::Ed25519] {
        let ours = Authority::create(authority, &Subject::common_name("ours"), decade()).unwrap();
        for algorithm in [
            KeyAlgorithm::EcdsaP256,
            KeyAlgorithm::EcdsaP521,
            KeyAlgorithm::Rsa2048,
            KeyAlgorithm::Ed25519,
        ] {
            let server = server(&ours, algorithm);
            let (connected, refusal, _) = handshake(
                &server,
                settings(SslMode::VerifyFull, &[&ours]),
                Some("node1.example.com"),
            );
            assert!(connected, "{authority} {algorithm} {refusal:?}");
        }
    }
}

#[test]
fn a_node_certificate_that_is_an_authority_is_accepted_as_libpq_does() {
    let ours = root("ours");
    let profile = Profile::timescale_intermediate(["node1.example.com"]).unwrap();
    let node = ours.issue(KeyAlgorithm::EcdsaP256, &profile, year()).unwrap();
    let host = Some("node1.example.com");
    let (connected, ..) = handshake(&node, settings(SslMode::VerifyFull, &[&ours]), host);
    assert!(connected);
    let user = ours.delegate(&node).unwrap();
    let user = user.issue(KeyAlgorithm::EcdsaP256, &Profile::client("alice"), year()).unwrap();
    assert_eq!(user.chain().len(), 2);
    let (connected, refusal, presented) =
        handshake(&user, settings(SslMode::VerifyFull, &[&ours]), host);
    assert!(!connected && presented == 2, "a client's certificate is no server's");
    let Some(Refusal::Chain(rejection)) = refusal else { panic!("{refusal:?}") };
    assert_eq!(*rejection.reason(), Reason::ExtendedKeyUsage);
}

#[test]
fn settings_that_libpq_refuses() {
    let ours = root("ours");
    let error = |settings| TlsClient::new(settings).unwrap_err();
    for mode in [SslMode::VerifyCa, SslMode::VerifyFull] {
        assert!(matches!(error(TlsSettings::new(mode)), TlsError::RootsMissing));
    }
    assert!(matches!(
        error(TlsSettings::new(SslMode::Prefer).roots(Vec::new())),
        TlsError::RootsEmpty
    ));
    let system = |mode, version| {
        let mut settings = TlsSettings::new(mode);
        settings.roots = Roots::System(vec![ours.certificate().clone()]);
        settings.version = version;
        settings
    };
    assert_eq!(
        error(system(SslMode::VerifyCa, PgVersion::V16)).to_string(),
        "weak sslmode \"verify-ca\" may not be used with sslrootcert=system (use \"verify-full\")"
    );
    assert!(matches!(error(system(SslMode::VerifyFull, PgVersion::V15)), TlsError::SystemRoots));
    assert!(TlsClient::new(system(SslMode::VerifyFull, PgVersion::V16)).is_ok());

    let client =
        |name: &str| ours.issue(KeyAlgorithm::EcdsaP256, &Profile::client(name), year()).unwrap();
    let (alice, bob) = (client("alice"), client("bob"));
    let mixed = TlsSettings::new(SslMode::Require).identity(alice.chain(), bob.key.clone());
    assert!(matches!(error(mixed), TlsError::KeyMismatch));
    let empty: Vec<Certificate> = Vec::new();
    let none = TlsSettings::new(SslMode::Require).identity(empty, bob.key);
    assert!(matches!(error(none), TlsError::CertificateMissing));
    let disabled = TlsClient::new(TlsSettings::new(SslMode::Disable)).unwrap();
    assert!(matches!(disabled.session(Some("x")), Err(TlsError::Disabled)));
}
