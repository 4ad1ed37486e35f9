//! Servers, libpqs and clients with certificates.

use std::net::IpAddr;
use std::time::Duration;

use pg_version::PgVersion;
use pgtest::libpq::Libpq;
use pgtest::{Installation, Server};
use pki::fs::{Existing, write_public};
use pki::tls::{PgTls, SslMode, TlsClient, TlsSettings};
use pki::{
    Authority, Certificate, Issued, KeyAlgorithm, OpenSsl, OpenSslRelease, PrivateKey, Profile,
    Subject, Validity, Verifier,
};
use time::OffsetDateTime;

/// More than anything here takes, on however busy a machine.
pub(crate) const SOON: Duration = Duration::from_secs(120);
pub(crate) const HOSTS: [&str; 3] = ["node1.example.com", "192.0.2.1", "2001:db8::1"];
pub(crate) const VERIFIERS: [Verifier; 2] = [Verifier::OPENSSL_1_1_1, Verifier::OPENSSL_3_0];
pub(crate) const HBA: &str = "local all postgres trust\nhostssl all all all cert\n";

/// The validity of authorities, by the clock: real servers have no other.
pub(crate) fn decade() -> Validity {
    Validity::days(OffsetDateTime::now_utc() - days(30), 3650)
}

/// The validity of leaves.
pub(crate) fn year() -> Validity {
    Validity::days(OffsetDateTime::now_utc() - days(15), 365)
}

pub(crate) fn installations() -> Vec<Installation> {
    pgtest::find_each_major().unwrap()
}

/// OpenSSL as a server of this installation has it: servers of the system's packages are linked with
/// the system's, the others bring 1.1.1.
pub(crate) fn openssl_of(installation: &Installation) -> OpenSsl {
    if installation.bindir().starts_with("/usr") {
        OpenSsl { release: OpenSslRelease::V3_0, security_level: 2 }
    } else {
        OpenSsl { release: OpenSslRelease::V1_1_1, security_level: 1 }
    }
}

pub(crate) fn days(number: i64) -> time::Duration {
    time::Duration::days(number)
}

pub(crate) fn libpqs() -> Vec<Libpq> {
    installations().iter().map(|one| Libpq::load(one).unwrap()).collect()
}

pub(crate) fn major(libpq: &Libpq) -> PgVersion {
    libpq.major().unwrap()
}

pub(crate) fn authority(algorithm: KeyAlgorithm) -> Authority {
    Authority::create(algorithm, &Subject::common_name(format!("{algorithm} root")), decade())
        .unwrap()
}

/// An authority that nobody trusts.
pub(crate) fn stranger() -> Authority {
    Authority::create(KeyAlgorithm::EcdsaP256, &Subject::common_name("stranger"), decade()).unwrap()
}

pub(crate) fn issue(authority: &Authority, profile: &Profile, validity: Validity) -> Issued {
    authority.issue(KeyAlgorithm::EcdsaP256, profile, validity).unwrap()
}

pub(crate) fn roots(roots: &[&Authority]) -> String {
    roots.iter().map(|root| root.certificate().to_pem()).collect()
}

/// A server with TLS and `cert` logins that trusts some roots.
pub(crate) fn server(installation: &Installation, node: &Issued, trust: &str) -> Server {
    let mut server = Server::builder(installation)
        .setting("ssl", "on")
        .setting("ssl_ca_file", "root.crt")
        .hba(HBA)
        .init()
        .unwrap();
    install(&server, node, trust);
    server.start().unwrap();
    server.query("CREATE ROLE alice LOGIN").unwrap();
    server
}

pub(crate) fn install(server: &Server, node: &Issued, trust: &str) {
    server.write_file("server.key", node.key.to_pem().as_bytes(), 0o600).unwrap();
    server.write_file("server.crt", node.chain_pem(), 0o644).unwrap();
    server.write_file("root.crt", trust, 0o644).unwrap();
}

/// A client's files, and the connection parameters that name them.
pub(crate) struct Client {
    pub(crate) folder: tempfile::TempDir,
}

impl Client {
    pub(crate) fn new(issued: &Issued, trust: &str) -> Self {
        Self::of(&issued.chain(), &issued.key, trust)
    }

    pub(crate) fn of(chain: &[Certificate], key: &PrivateKey, trust: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let chain: String = chain.iter().map(Certificate::to_pem).collect();
        key.write(&path("alice.key"), Existing::Keep).unwrap();
        write_public(&path("alice.crt"), &chain, Existing::Keep).unwrap();
        write_public(&path("root.crt"), trust, Existing::Keep).unwrap();
        Self { folder }
    }

    pub(crate) fn parameters(&self, server: &Server, host: &str) -> Vec<(String, String)> {
        let file = |name: &str| self.folder.path().join(name).display().to_string();
        [
            ("host", host.to_owned()),
            ("hostaddr", server.addr().to_string()),
            ("port", server.port().to_string()),
            ("user", "alice".to_owned()),
            ("dbname", "postgres".to_owned()),
            ("sslmode", "verify-full".to_owned()),
            ("sslcert", file("alice.crt")),
            ("sslkey", file("alice.key")),
            ("sslrootcert", file("root.crt")),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    /// The message of libpq, if it does not connect.
    pub(crate) fn connect(&self, libpq: &Libpq, server: &Server, host: &str) -> Result<(), String> {
        libpq
            .connect(&self.parameters(server, host), SOON)
            .map(drop)
            .map_err(|error| error.to_string())
    }
}

/// One connection through rustls and tokio-postgres.
pub(crate) async fn rustls_connect(
    server: (IpAddr, u16),
    host: &str,
    chain: &[Certificate],
    key: &pki::PrivateKey,
    trust: Vec<Certificate>,
) -> Result<(), String> {
    let settings =
        TlsSettings::new(SslMode::VerifyFull).roots(trust).identity(chain.to_vec(), key.clone());
    let tls = PgTls::new(TlsClient::new(settings).unwrap());
    let (client, connection) = tokio_postgres::Config::new()
        .host(host)
        .hostaddr(server.0)
        .port(server.1)
        .user("alice")
        .dbname("postgres")
        .ssl_mode(tokio_postgres::config::SslMode::Require)
        .connect(tls)
        .await
        .map_err(|error| format!("{error:?}"))?;
    let connection = tokio::spawn(connection);
    client.simple_query("SELECT 1").await.map_err(|error| format!("{error:?}"))?;
    drop(client);
    connection.await.unwrap().map_err(|error| format!("{error:?}"))
}

/// What a server presents, without logging in.
pub(crate) fn presented(server: &Server) -> Vec<Certificate> {
    let runtime = runtime();
    runtime.block_on(async {
        let tls = PgTls::new(TlsClient::new(TlsSettings::new(SslMode::Require)).unwrap());
        let connector = tls.connector(None).unwrap();
        let session = connector.session().clone();
        let mut stream =
            tokio::net::TcpStream::connect((server.addr(), server.port())).await.unwrap();
        // SSLRequest, and the server's S.
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'S');
        let stream = tokio_postgres::tls::TlsConnect::connect(connector, stream).await;
        drop(stream);
        session.observation().unwrap().certificates().unwrap()
    })
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// For each server, in parallel: one of every major, and those of the system's packages, which have
/// another OpenSSL.
pub(crate) fn on_each_server(check: impl Fn(&Installation) + Sync) {
    let mut all = installations();
    for packaged in pgtest::find_all() {
        let known = all.iter().any(|one| one.bindir() == packaged.bindir());
        if packaged.bindir().starts_with("/usr") && !known {
            all.push(packaged);
        }
    }
    std::thread::scope(|scope| {
        for installation in &all {
            scope.spawn(|| check(installation));
        }
    });
}
