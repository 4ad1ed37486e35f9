//! What is issued and predicted here, on real servers and through real libpqs.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pg_version::PgVersion;
use pgtest::libpq::Libpq;
use pgtest::{Installation, Server};
use pki::fs::{Existing, write_public};
use pki::tls::{PgTls, SslMode, TlsClient, TlsSettings};
use pki::{
    Account, Authority, Certificate, Check, Conditions, FileStatus, HostRules, Issued,
    KeyAlgorithm, KeyReader, Member, NewChains, Profile, Purpose, Revocation, RevocationReason,
    Rotation, Served, Subject, Validity, Verifier, judge_key_file, served,
};
use time::OffsetDateTime;

const SOON: Duration = Duration::from_secs(20);
const HOSTS: [&str; 3] = ["node1.example.com", "192.0.2.1", "2001:db8::1"];
const VERIFIERS: [Verifier; 2] = [Verifier::OPENSSL_1_1_1, Verifier::OPENSSL_3_0];
const HBA: &str = "local all postgres trust\nhostssl all all all cert\n";

/// The validity of authorities, by the clock: real servers have no other.
fn decade() -> Validity {
    Validity::days(OffsetDateTime::now_utc() - time::Duration::days(30), 3650)
}

/// The validity of leaves.
fn year() -> Validity {
    Validity::days(OffsetDateTime::now_utc() - time::Duration::days(15), 365)
}

fn installations() -> Vec<Installation> {
    pgtest::find_each_major().unwrap()
}

fn libpqs() -> Vec<Libpq> {
    installations().iter().map(|one| Libpq::load(one).unwrap()).collect()
}

fn major(libpq: &Libpq) -> PgVersion {
    libpq.major().unwrap()
}

fn authority(algorithm: KeyAlgorithm) -> Authority {
    Authority::create(algorithm, &Subject::common_name(format!("{algorithm} root")), decade())
        .unwrap()
}

fn roots(roots: &[&Authority]) -> String {
    roots.iter().map(|root| root.certificate().to_pem()).collect()
}

/// A server with TLS and `cert` logins that trusts some roots.
fn server(installation: &Installation, node: &Issued, trust: &str) -> Server {
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

fn install(server: &Server, node: &Issued, trust: &str) {
    server.write_file("server.key", node.key.to_pem().as_bytes(), 0o600).unwrap();
    server.write_file("server.crt", node.chain_pem(), 0o644).unwrap();
    server.write_file("root.crt", trust, 0o644).unwrap();
}

/// A client's files, and the connection parameters that name them.
struct Client {
    folder: tempfile::TempDir,
}

impl Client {
    fn new(issued: &Issued, trust: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        issued.write(folder.path(), "alice", Existing::Keep).unwrap();
        write_public(&folder.path().join("root.crt"), trust, Existing::Keep).unwrap();
        Self { folder }
    }

    fn parameters(&self, server: &Server, host: &str) -> Vec<(String, String)> {
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
    fn connect(&self, libpq: &Libpq, server: &Server, host: &str) -> Result<(), String> {
        libpq
            .connect(&self.parameters(server, host), SOON)
            .map(drop)
            .map_err(|error| error.to_string())
    }
}

/// One connection through rustls and tokio-postgres.
async fn rustls_connect(
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
fn presented(server: &Server) -> Vec<Certificate> {
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

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// For each server, in parallel.
fn on_each_server(check: impl Fn(&Installation) + Sync) {
    let all = installations();
    std::thread::scope(|scope| {
        for installation in &all {
            scope.spawn(|| check(installation));
        }
    });
}

#[test]
fn every_profile_and_key_is_accepted_by_every_server_and_libpq() {
    let root = authority(KeyAlgorithm::EcdsaP256);
    let node = Profile::node("alice", HOSTS).unwrap();
    let mut deployments: Vec<(Issued, Issued, String)> = KeyAlgorithm::ALL
        .into_iter()
        .map(|algorithm| {
            let server = Profile::server(HOSTS).unwrap();
            let server = root.issue(algorithm, &server, year()).unwrap();
            let client = root.issue(algorithm, &Profile::client("alice"), year()).unwrap();
            (server, client, roots(&[&root]))
        })
        .collect();
    for algorithm in [KeyAlgorithm::EcdsaP384, KeyAlgorithm::Rsa2048, KeyAlgorithm::Ed25519] {
        let root = authority(algorithm);
        let both = root.issue(KeyAlgorithm::EcdsaP256, &node, year()).unwrap();
        deployments.push((both.clone(), both, roots(&[&root])));
    }
    // The way of TimescaleDB's guide: the node's certificate signs its users'.
    let intermediate = Profile::timescale_intermediate(HOSTS).unwrap();
    let signer = root.issue(KeyAlgorithm::EcdsaP256, &intermediate, year()).unwrap();
    let user = root.delegate(&signer).unwrap();
    let user = user.issue(KeyAlgorithm::EcdsaP256, &Profile::client("alice"), year()).unwrap();
    deployments.push((signer, user, roots(&[&root])));

    let libpqs = libpqs();
    on_each_server(|installation| {
        let server = server(installation, &deployments[0].0, &deployments[0].2);
        for (node, client, trust) in &deployments {
            install(&server, node, trust);
            server.reload().unwrap();
            assert_eq!(served(&presented(&server), &node.chain()), Served::Current);
            let files = Client::new(client, trust);
            for host in HOSTS {
                for libpq in &libpqs {
                    files.connect(libpq, &server, host).unwrap_or_else(|error| {
                        let version = server.version();
                        panic!("server {version}, libpq {}, {host}: {error}", major(libpq))
                    });
                }
                runtime()
                    .block_on(rustls_connect(
                        (server.addr(), server.port()),
                        host,
                        &client.chain(),
                        &client.key,
                        Certificate::all_from_pem(trust.as_bytes()).unwrap(),
                    ))
                    .unwrap();
            }
        }
    });
}

#[test]
fn refusals_are_those_that_were_predicted() {
    let root = authority(KeyAlgorithm::EcdsaP256);
    let stranger =
        Authority::create(KeyAlgorithm::EcdsaP256, &Subject::common_name("stranger"), decade())
            .unwrap();
    // Same name as the root, another key, as after a root was made anew.
    let twin = authority(KeyAlgorithm::EcdsaP256);
    let now = OffsetDateTime::now_utc();
    let days = time::Duration::days;
    let past = Validity::days(now - days(9), 3);
    let future = Validity { not_before: now + days(3), not_after: now + days(9) };
    let issue = |authority: &Authority, profile: &Profile, validity| {
        authority.issue(KeyAlgorithm::EcdsaP256, profile, validity).unwrap()
    };
    let alice = Profile::client("alice");
    let node = Profile::server(HOSTS).unwrap();
    let clients = [
        issue(&root, &node, year()),
        issue(&root, &alice, past),
        issue(&root, &alice, future),
        issue(&stranger, &alice, year()),
        issue(&twin, &alice, year()),
        issue(&root, &Profile::client("bob"), year()),
    ];
    let servers = [
        (issue(&root, &alice, year()), HOSTS[0]),
        (issue(&root, &node, past), HOSTS[0]),
        (issue(&root, &node, future), HOSTS[0]),
        (issue(&stranger, &node, year()), HOSTS[0]),
        (issue(&root, &node, year()), "node2.example.com"),
        (issue(&root, &node, year()), "192.0.2.2"),
    ];
    let trusted = [root.certificate().clone()];
    let trust = roots(&[&root]);
    let good_server = issue(&root, &node, year());
    let good_client = issue(&root, &alice, year());
    on_each_server(|installation| {
        let server = server(installation, &good_server, &trust);
        let libpq = Libpq::load(installation).unwrap();
        for client in &clients {
            let message = Client::new(client, &trust).connect(&libpq, &server, HOSTS[0]);
            let message = message.unwrap_err();
            for verifier in VERIFIERS {
                let chain = client.chain();
                let verdict =
                    Check::new(&chain, &trusted, Purpose::Client, now).verifier(verifier).run();
                let words = match verdict {
                    Err(rejection) => format!("alert {}", rejection.reason().openssl_alert()),
                    Ok(_) => "certificate authentication failed for user \"alice\"".to_owned(),
                };
                assert!(
                    message.contains(&words),
                    "{:?}: {words} but {message}",
                    client.certificate
                );
            }
        }
        for (node, host) in &servers {
            install(&server, node, &trust);
            server.reload().unwrap();
            let client = Client::new(&good_client, &trust);
            let message = client.connect(&libpq, &server, host).unwrap_err();
            let chain = node.chain();
            let verdict = Check::new(&chain, &trusted, Purpose::Server, now).run();
            let words = match verdict {
                Err(_) => "certificate verify failed".to_owned(),
                Ok(_) => {
                    let rules = HostRules::Libpq(major(&libpq));
                    chain[0].matches_host(Some(host), rules).unwrap_err().to_string()
                }
            };
            assert!(message.contains(&words), "{:?}: {words} but {message}", node.certificate);
        }
    });
}

#[test]
fn revoked_certificates_and_stale_lists_are_refused() {
    let root = authority(KeyAlgorithm::EcdsaP256);
    let now = OffsetDateTime::now_utc();
    let node =
        root.issue(KeyAlgorithm::EcdsaP256, &Profile::server(HOSTS).unwrap(), year()).unwrap();
    let issue = || root.issue(KeyAlgorithm::EcdsaP256, &Profile::client("alice"), year()).unwrap();
    let (kept, revoked) = (issue(), issue());
    let revocation = Revocation {
        serial: revoked.certificate.serial().to_vec(),
        since: now - time::Duration::days(1),
        reason: RevocationReason::KeyCompromise,
    };
    let day = Validity::days(now - time::Duration::hours(1), 1);
    let stale = Validity::days(now - time::Duration::days(5), 1);
    let lists = [
        root.revoke(std::slice::from_ref(&revocation), 1, day).unwrap(),
        root.revoke(&[revocation], 2, stale).unwrap(),
    ];
    let trusted = [root.certificate().clone()];
    on_each_server(|installation| {
        let mut server = Server::builder(installation)
            .setting("ssl", "on")
            .setting("ssl_ca_file", "root.crt")
            .setting("ssl_crl_file", "root.crl")
            .hba(HBA)
            .init()
            .unwrap();
        install(&server, &node, &roots(&[&root]));
        server.write_file("root.crl", lists[0].to_pem(), 0o644).unwrap();
        server.start().unwrap();
        server.query("CREATE ROLE alice LOGIN").unwrap();
        let libpq = Libpq::load(installation).unwrap();
        for list in &lists {
            server.write_file("root.crl", list.to_pem(), 0o644).unwrap();
            server.reload().unwrap();
            for client in [&kept, &revoked] {
                let said = Client::new(client, &roots(&[&root])).connect(&libpq, &server, HOSTS[0]);
                for verifier in VERIFIERS {
                    let (chain, lists) = (client.chain(), std::slice::from_ref(list));
                    let verdict = Check::new(&chain, &trusted, Purpose::Client, now)
                        .crls(lists)
                        .verifier(verifier)
                        .run();
                    match (verdict, &said) {
                        (Ok(_), Ok(())) => {}
                        (Err(rejection), Err(message)) => {
                            let alert = rejection.reason().openssl_alert();
                            assert!(message.contains(alert), "{rejection} but {message}");
                        }
                        (verdict, said) => panic!("{verdict:?} but {said:?}"),
                    }
                }
            }
        }
    });
}

/// Owners and modes of key files, as far as this process may make them.
fn ownerships(own: (u32, u32)) -> Vec<(u32, u32, u32)> {
    const NOBODY: u32 = 65_534;
    let modes = [0o600, 0o400, 0o700, 0o640, 0o644, 0o660, 0o604];
    let mut owners = vec![own];
    if rustix::process::geteuid().is_root() {
        owners.extend([(0, own.1), (0, 0), (NOBODY, own.1)]);
    }
    owners.dedup();
    owners.iter().flat_map(|(uid, gid)| modes.map(|mode| (*uid, *gid, mode))).collect()
}

fn give(path: &Path, (uid, gid, mode): (u32, u32, u32)) -> FileStatus {
    if rustix::process::geteuid().is_root() {
        chown(path, Some(uid), Some(gid)).unwrap();
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    FileStatus { uid, gid, mode, regular: true }
}

#[test]
fn servers_use_the_key_files_that_were_predicted() {
    let root = authority(KeyAlgorithm::EcdsaP256);
    let issue =
        || root.issue(KeyAlgorithm::EcdsaP256, &Profile::server(HOSTS).unwrap(), year()).unwrap();
    on_each_server(|installation| {
        let mut current = issue();
        let server = server(installation, &current, &roots(&[&root]));
        let account = server.account().clone();
        let reader = Account { uid: account.uid(), gids: &[account.gid()] };
        for ownership in ownerships((account.uid(), account.gid())) {
            let next = issue();
            install(&server, &next, &roots(&[&root]));
            let status = give(&server.data_dir().join("server.key"), ownership);
            let since = server.reload().unwrap();
            let verdict = judge_key_file(KeyReader::Server, status, reader);
            let log = server.log_since(since).unwrap();
            let context = format!("{} {status:?} {verdict:?}\n{log}", server.version());
            // A key that is not used leaves the old certificate in service, without a word to
            // anybody who does not read the log.
            let serves = served(&presented(&server), &next.chain());
            match verdict {
                Ok(()) => {
                    assert_eq!(serves, Served::Current, "{context}");
                    current = next;
                }
                Err(refusal) => {
                    assert_eq!(serves, Served::Other, "{context}");
                    assert_eq!(served(&presented(&server), &current.chain()), Served::Current);
                    let refusal = refusal.to_string();
                    let words = refusal.split([':', ';']).next().unwrap();
                    let denied = refusal.contains("Permission denied");
                    let words = if denied { "Permission denied" } else { words };
                    assert!(log.contains(words), "{context}");
                }
            }
        }
    });
}

#[test]
fn libpq_uses_the_key_files_that_were_predicted() {
    let root = authority(KeyAlgorithm::EcdsaP256);
    let node =
        root.issue(KeyAlgorithm::EcdsaP256, &Profile::server(HOSTS).unwrap(), year()).unwrap();
    let alice = root.issue(KeyAlgorithm::EcdsaP256, &Profile::client("alice"), year()).unwrap();
    let newest = installations().pop().unwrap();
    let server = server(&newest, &node, &roots(&[&root]));
    let client = Client::new(&alice, &roots(&[&root]));
    let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let account = Account { uid: own.0, gids: &[own.1] };
    for libpq in &libpqs() {
        for ownership in ownerships(own) {
            let status = give(&client.folder.path().join("alice.key"), ownership);
            let verdict = judge_key_file(KeyReader::Libpq, status, account);
            let said = client.connect(libpq, &server, HOSTS[0]);
            assert_eq!(verdict.is_ok(), said.is_ok(), "{} {status:?} {said:?}", major(libpq));
            if let (Err(refusal), Err(message)) = (verdict, said) {
                let refusal = refusal.to_string();
                let words = refusal.split([':', ';']).next().unwrap();
                assert!(message.contains(words), "{refusal} but {message}");
            }
        }
    }
}

/// Ends the client's loop.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What a client in a rotation presents and trusts at the moment.
type ClientState = Arc<Mutex<(Issued, Vec<Certificate>)>>;

#[test]
fn an_authority_and_all_certificates_change_under_load_and_no_connection_fails() {
    let start = OffsetDateTime::now_utc();
    let (old, new) = (
        authority(KeyAlgorithm::EcdsaP256),
        Authority::create(KeyAlgorithm::EcdsaP384, &Subject::common_name("new root"), decade())
            .unwrap(),
    );
    let profile = Profile::node("alice", HOSTS).unwrap();
    let issue =
        |authority: &Authority| authority.issue(KeyAlgorithm::EcdsaP256, &profile, year()).unwrap();
    let installations = installations();
    let chosen = [&installations[0], &installations[installations.len() - 1]];
    // Two servers and a client; each has its own certificate of either authority.
    let issued: Vec<(Issued, Issued)> = (0..3).map(|_| (issue(&old), issue(&new))).collect();
    let members: Vec<Member> = issued
        .iter()
        .enumerate()
        .map(|(position, (before, _))| Member {
            name: format!("member {position}"),
            hosts: HOSTS.map(str::to_owned).to_vec(),
            trust: vec![old.certificate().clone()],
            server: (position < 2).then(|| before.chain()),
            client: Some(before.chain()),
        })
        .collect();
    let chains: Vec<NewChains> = issued
        .iter()
        .enumerate()
        .map(|(position, (_, after))| NewChains {
            server: (position < 2).then(|| after.chain()),
            client: Some(after.chain()),
        })
        .collect();
    let rotation = Rotation::plan(&members, &[new.certificate().clone()], &chains).unwrap();
    let conditions = Conditions {
        from: start,
        until: start + time::Duration::hours(1),
        verifiers: &VERIFIERS,
        clients: &PgVersion::ALL,
    };
    rotation.prove(&conditions).unwrap();

    let servers: Vec<Server> = chosen
        .iter()
        .zip(&issued)
        .map(|(installation, (node, _))| server(installation, node, &roots(&[&old])))
        .collect();
    let addresses: Vec<_> = servers.iter().map(|server| (server.addr(), server.port())).collect();
    let state: ClientState =
        Arc::new(Mutex::new((issued[2].0.clone(), vec![old.certificate().clone()])));
    let stop = AtomicBool::new(false);
    let connections = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            runtime().block_on(async {
                let mut tick = tokio::time::interval(Duration::from_millis(20));
                while !stop.load(Ordering::Relaxed) {
                    tick.tick().await;
                    let turn = connections.fetch_add(1, Ordering::Relaxed);
                    let (own, trust) = state.lock().unwrap().clone();
                    let address = addresses[turn % addresses.len()];
                    let host = HOSTS[turn % HOSTS.len()];
                    if let Err(error) =
                        rustls_connect(address, host, &own.chain(), &own.key, trust).await
                    {
                        failures.lock().unwrap().push(error);
                    }
                }
            });
        });
        // Also where this thread panics.
        let _stop = StopAtEnd(&stop);
        // A few connections in each state.
        let settle = || {
            let seen = connections.load(Ordering::Relaxed);
            let deadline = std::time::Instant::now() + SOON;
            while connections.load(Ordering::Relaxed) < seen + 6 {
                assert!(std::time::Instant::now() < deadline, "the client stands still");
                std::thread::yield_now();
            }
        };
        settle();
        for step in rotation.steps() {
            for (position, member) in step.after.iter().enumerate() {
                let (before, after) = &issued[position];
                let own = [before, after]
                    .into_iter()
                    .find(|issued| Some(issued.chain()) == member.client)
                    .unwrap();
                match servers.get(position) {
                    Some(server) => {
                        let trust: String = member.trust.iter().map(Certificate::to_pem).collect();
                        install(server, own, &trust);
                        server.reload().unwrap();
                        assert_eq!(served(&presented(server), &own.chain()), Served::Current);
                    }
                    None => *state.lock().unwrap() = (own.clone(), member.trust.clone()),
                }
                settle();
            }
        }
    });
    assert_eq!(failures.into_inner().unwrap(), Vec::<String>::new());
    assert!(connections.load(Ordering::Relaxed) > 50);
    // The old certificates are worth nothing any more.
    let message = Client::new(&issued[2].0, &roots(&[&new]))
        .connect(&libpqs()[0], &servers[0], HOSTS[0])
        .unwrap_err();
    assert!(message.contains("alert unknown ca"), "{message}");
    assert_eq!(servers[0].addr(), IpAddr::from(Ipv4Addr::LOCALHOST));
}
