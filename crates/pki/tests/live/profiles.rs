//! Every profile and every kind of key, on both ends.

use pki::{Certificate, Issued, KeyAlgorithm, Profile, Served, served};

use crate::support::{
    Client, HOSTS, authority, install, libpqs, major, on_each_server, presented, roots, runtime,
    rustls_connect, server, year,
};

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
        let mut server = server(installation, &deployments[0].0, &deployments[0].2);
        for (node, client, trust) in &deployments {
            install(&server, node, trust);
            server.restart().unwrap();
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
