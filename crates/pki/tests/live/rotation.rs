//! A change of authority under load.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pg_version::PgVersion;
use pgtest::Server;
use pki::{
    Authority, Certificate, Conditions, Issued, KeyAlgorithm, Member, NewChains, Profile, Rotation,
    Served, Subject, served,
};
use time::OffsetDateTime;

use crate::support::{
    Client, HOSTS, SOON, VERIFIERS, authority, decade, install, installations, libpqs, presented,
    roots, runtime, rustls_connect, server, year,
};

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
