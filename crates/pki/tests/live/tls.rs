//! The TLS client beside libpq: the same modes, files and servers give the same connections.

use std::process::Command;

use pg_version::PgVersion;
use pgtest::Server;
use pgtest::libpq::Libpq;
use pki::fs::{Existing, write_public};
use pki::tls::{Attempt, PgTls, Roots, SslMode, TlsClient, TlsSettings};
use pki::{
    Authority, AuthorityOptions, Certificate, Crl, Issued, KeyAlgorithm, PrivateKey, Profile,
    Request, Revocation, RevocationReason, Subject, Validity, Verifier,
};
use time::OffsetDateTime;
use tokio_postgres::config::ChannelBinding;

use crate::support::{
    HOSTS, SOON, authority, days, decade, install, installations, issue, libpqs, major,
    on_each_server, openssl_of, roots, runtime, stranger, year,
};

/// Servers that let in by password need no client certificate.
const PASSWORD: &str = "correct horse";

/// One attempt through rustls and tokio-postgres. Whether it was encrypted, or what went wrong.
async fn attempt(
    server: &Server,
    settings: &TlsSettings,
    host: &str,
    attempt: Attempt,
    binding: ChannelBinding,
) -> Result<bool, String> {
    let mut config = tokio_postgres::Config::new();
    config
        .host(host)
        .hostaddr(server.addr())
        .port(server.port())
        .user("alice")
        .password(PASSWORD)
        .dbname("postgres")
        .channel_binding(binding);
    let failed = |error: tokio_postgres::Error| format!("{error:?}");
    let client = match attempt {
        Attempt::Plain => {
            config.ssl_mode(tokio_postgres::config::SslMode::Disable);
            let (client, connection) =
                config.connect(tokio_postgres::NoTls).await.map_err(failed)?;
            tokio::spawn(connection);
            client
        }
        Attempt::Tls => {
            config.ssl_mode(tokio_postgres::config::SslMode::Require);
            let tls = TlsClient::new(settings.clone()).map_err(|error| error.to_string())?;
            let (client, connection) = config.connect(PgTls::new(tls)).await.map_err(failed)?;
            tokio::spawn(connection);
            client
        }
    };
    let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let row = client.query_one(sql, &[]).await.map_err(failed)?;
    Ok(row.get(0))
}

/// All the attempts of a mode, as libpq makes them.
fn connect(server: &Server, settings: &TlsSettings, host: &str) -> Result<bool, String> {
    runtime().block_on(async {
        let mut outcome = Err("no attempt was made".to_owned());
        for one in settings.mode.attempts() {
            outcome = attempt(server, settings, host, *one, ChannelBinding::Prefer).await;
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    })
}

/// The same through a libpq, with files.
struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new(roots: &Roots, crls: &[Crl]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            write_public(&folder.path().join(name), text, Existing::Keep).unwrap();
        };
        if let Roots::File(roots) = roots {
            write("root.crt", &roots.iter().map(Certificate::to_pem).collect::<String>());
        }
        write("root.crl", &crls.iter().map(Crl::to_pem).collect::<String>());
        Self { folder }
    }

    fn connect(
        &self,
        libpq: &Libpq,
        server: &Server,
        mode: SslMode,
        host: &str,
    ) -> Result<bool, String> {
        let file = |name: &str| self.folder.path().join(name).display().to_string();
        let parameters = [
            ("host", host.to_owned()),
            ("hostaddr", server.addr().to_string()),
            ("port", server.port().to_string()),
            ("user", "alice".to_owned()),
            ("password", PASSWORD.to_owned()),
            ("dbname", "postgres".to_owned()),
            ("sslmode", mode.to_string()),
            ("sslrootcert", file("root.crt")),
            ("sslcrl", file("root.crl")),
            // None of the account's own files.
            ("sslcert", file("none")),
            ("sslkey", file("none")),
        ];
        libpq
            .connect(&parameters, SOON)
            .map(|connection| connection.ssl_in_use())
            .map_err(|error| error.to_string())
    }
}

/// A server with a role that has a password.
fn server(installation: &pgtest::Installation, node: &Issued, hba: &str) -> Server {
    let mut server = Server::builder(installation)
        .setting("ssl", "on")
        .setting("password_encryption", "scram-sha-256")
        .hba(format!("local all postgres trust\n{hba}"))
        .init()
        .unwrap();
    install(&server, node, "");
    server.start().unwrap();
    server.query(&format!("CREATE ROLE alice LOGIN PASSWORD '{PASSWORD}'")).unwrap();
    server
}

fn settings(mode: SslMode, roots: &Roots, version: PgVersion, verifier: Verifier) -> TlsSettings {
    let mut settings = TlsSettings::new(mode);
    settings.roots = roots.clone();
    settings.version = version;
    settings.verifier = verifier;
    settings
}

#[test]
fn every_mode_gives_the_connections_that_libpq_makes() {
    let (own, stranger) = (authority(KeyAlgorithm::EcdsaP256), stranger());
    let node = issue(&own, &Profile::server(HOSTS).unwrap(), year());
    let newest = installations().pop().unwrap();
    let server = server(&newest, &node, "");
    let file = |authority: &Authority| Roots::File(vec![authority.certificate().clone()]);
    for kind in ["host", "hostssl", "hostnossl"] {
        let hba = format!("local all postgres trust\n{kind} all alice all trust\n");
        server.write_file("pg_hba.conf", hba, 0o600).unwrap();
        server.reload().unwrap();
        for roots in [Roots::Absent, file(&own), file(&stranger)] {
            let files = Files::new(&roots, &[]);
            for mode in SslMode::ALL {
                for host in ["node1.example.com", "elsewhere.example.com"] {
                    for libpq in libpqs() {
                        let said = files.connect(&libpq, &server, mode, host);
                        let settings =
                            settings(mode, &roots, major(&libpq), Verifier::OPENSSL_1_1_1);
                        let got = connect(&server, &settings, host);
                        let context = format!("{kind} {mode} {host} libpq {}", major(&libpq));
                        assert_eq!(
                            got.clone().ok(),
                            said.clone().ok(),
                            "{context}: {got:?} but {said:?}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn revocation_lists_count_as_they_do_for_libpq() {
    let root = authority(KeyAlgorithm::EcdsaP256);
    let options = AuthorityOptions::default();
    let subject = Subject::common_name("issuing");
    let issuing = root.intermediate(KeyAlgorithm::EcdsaP256, &subject, decade(), &options).unwrap();
    let node = issue(&issuing, &Profile::server(HOSTS).unwrap(), year());
    let other = issue(&issuing, &Profile::client("bob"), year());
    let now = OffsetDateTime::now_utc();
    let day = Validity::days(now - days(1), 7);
    let list = |authority: &Authority, revoked: Option<&Issued>, validity| {
        let revocations: Vec<Revocation> = revoked
            .into_iter()
            .map(|issued| Revocation {
                serial: issued.certificate.serial().to_vec(),
                since: now - days(1),
                reason: RevocationReason::KeyCompromise,
            })
            .collect();
        authority.revoke(&revocations, 1, validity).unwrap()
    };
    let of_root = list(&root, None, day);
    let newest = installations().pop().unwrap();
    let server = server(&newest, &node, "hostssl all alice all scram-sha-256\n");
    let roots = Roots::File(vec![root.certificate().clone()]);
    for (name, crls) in [
        ("none", vec![]),
        ("nothing revoked", vec![of_root.clone(), list(&issuing, None, day)]),
        ("another revoked", vec![of_root.clone(), list(&issuing, Some(&other), day)]),
        ("revoked", vec![of_root.clone(), list(&issuing, Some(&node), day)]),
        ("none of the root", vec![list(&issuing, None, day)]),
        ("none of the intermediate", vec![of_root.clone()]),
        ("stale", vec![of_root, list(&issuing, None, Validity::days(now - days(9), 3))]),
    ] {
        let files = Files::new(&roots, &crls);
        for mode in [SslMode::Require, SslMode::VerifyCa, SslMode::VerifyFull] {
            for libpq in libpqs() {
                let said = files.connect(&libpq, &server, mode, HOSTS[0]);
                let mut settings = settings(mode, &roots, major(&libpq), Verifier::OPENSSL_1_1_1);
                settings.crls.clone_from(&crls);
                let got = connect(&server, &settings, HOSTS[0]);
                let context = format!("{name} {mode} libpq {}", major(&libpq));
                assert_eq!(got.is_ok(), said.is_ok(), "{context}: {got:?} but {said:?}");
                let refused = matches!(name, "revoked" | "stale") || name.starts_with("none of");
                assert_eq!(got.is_err(), refused, "{context}");
            }
        }
    }
}

/// Certificates of a server whose signatures have each digest and scheme, by way of openssl for
/// those that are not made here.
fn signatures() -> Vec<(&'static str, Issued, Authority)> {
    let profile = Profile::server(HOSTS).unwrap();
    let mut all = Vec::new();
    for (name, algorithm) in [
        ("ECDSA with SHA-256", KeyAlgorithm::EcdsaP256),
        ("ECDSA with SHA-384", KeyAlgorithm::EcdsaP384),
        ("ECDSA with SHA-512", KeyAlgorithm::EcdsaP521),
        ("RSA with SHA-256", KeyAlgorithm::Rsa2048),
    ] {
        let root = authority(algorithm);
        all.push((name, issue(&root, &profile, year()), root));
    }
    let root = all[3].2.clone();
    for (name, digest) in [
        ("RSA with SHA-384", "-sha384"),
        ("RSA with SHA-512", "-sha512"),
        ("RSA-PSS with SHA-256", "-sha256"),
        ("RSA-PSS with SHA-384", "-sha384"),
        ("RSA-PSS with SHA-512", "-sha512"),
    ] {
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let certificate = sign_with_openssl(&root, &key, &profile, digest, name.contains("PSS"));
        assert_eq!(certificate.signature_algorithm().to_string(), name);
        let issued = Issued { certificate, key, intermediates: Vec::new() };
        all.push((name, issued, root.clone()));
    }
    all
}

fn sign_with_openssl(
    root: &Authority,
    key: &PrivateKey,
    profile: &Profile,
    digest: &str,
    pss: bool,
) -> Certificate {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("root.crt", &root.certificate().to_pem());
    write("root.key", &root.key().to_pem());
    write("node.csr", &Request::create(key, profile).unwrap().to_pem());
    let names = profile.host_names().unwrap().to_string().replace("IP Address:", "IP:");
    write(
        "extensions",
        &format!(
            "subjectAltName={names}\nbasicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth\n"
        ),
    );
    let mut command = Command::new("openssl");
    command
        .args(["x509", "-req", "-in", "node.csr", "-CA", "root.crt", "-CAkey", "root.key"])
        .args(["-extfile", "extensions", "-days", "30", digest, "-out", "node.crt"]);
    if pss {
        command.args(["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"]);
    }
    let output = command.current_dir(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Certificate::from_pem(&std::fs::read(folder.path().join("node.crt")).unwrap()).unwrap()
}

#[test]
fn logins_are_bound_to_the_channel_under_every_signature() {
    let signatures = signatures();
    on_each_server(|installation| {
        let verifier = Verifier::OpenSsl(openssl_of(installation));
        let server =
            server(installation, &signatures[0].1, "hostssl all alice all scram-sha-256\n");
        for (name, node, root) in &signatures {
            install(&server, node, &roots(&[root]));
            server.reload().unwrap();
            let trust = Roots::File(vec![root.certificate().clone()]);
            let settings = settings(SslMode::VerifyFull, &trust, PgVersion::NEWEST, verifier);
            let bound = runtime().block_on(attempt(
                &server,
                &settings,
                HOSTS[0],
                Attempt::Tls,
                ChannelBinding::Require,
            ));
            assert_eq!(bound, Ok(true), "server {}, {name}", server.version());
        }
    });
}

#[test]
fn a_signature_without_a_digest_binds_nothing() {
    let root = authority(KeyAlgorithm::Ed25519);
    let node = issue(&root, &Profile::server(HOSTS).unwrap(), year());
    let newest = installations().pop().unwrap();
    let server = server(&newest, &node, "hostssl all alice all scram-sha-256\n");
    let trust = Roots::File(vec![root.certificate().clone()]);
    let settings = settings(SslMode::VerifyFull, &trust, PgVersion::NEWEST, Verifier::OPENSSL_3_0);
    let login =
        |binding| runtime().block_on(attempt(&server, &settings, HOSTS[0], Attempt::Tls, binding));
    assert_eq!(login(ChannelBinding::Disable), Ok(true));
    assert!(login(ChannelBinding::Require).is_err());
    // What libpq makes of it, and the reason why such an authority is refused where SCRAM is used.
    let files = Files::new(&trust, &[]);
    for libpq in libpqs() {
        let said = files.connect(&libpq, &server, SslMode::VerifyFull, HOSTS[0]);
        assert!(said.unwrap_err().contains("could not find digest for NID UNDEF"));
    }
    assert!(root.scram_refusal().is_some_and(|words| words.contains("NID UNDEF")));
}
