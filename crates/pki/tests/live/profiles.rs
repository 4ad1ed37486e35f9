//! Every profile and every kind of key, on both ends.

use pki::{Certificate, Issued, KeyAlgorithm, PrivateKey, Profile, Served, served};

use crate::support::{
    Client, HOSTS, authority, install, libpqs, major, on_each_server, presented, roots, runtime,
    rustls_connect, server, year,
};

/// A server's certificate, a client's, and the root that both trust.
struct Deployment {
    name: String,
    node: Issued,
    client: Issued,
    trust: String,
}

/// Every profile with keys of one kind, under a root of the same kind or of the default one.
fn deployments_of(algorithm: KeyAlgorithm, under: KeyAlgorithm) -> Vec<Deployment> {
    let root = authority(under);
    // One key for the three of them: making one is what takes the time.
    let key = PrivateKey::generate(algorithm).unwrap();
    let issue = |profile: &Profile| Issued {
        certificate: root.issue_for(key.public_key(), profile, year()).unwrap(),
        key: key.clone(),
        intermediates: root.intermediates(),
    };
    let alice = Profile::client("alice");
    let both = issue(&Profile::node("alice", HOSTS).unwrap());
    // The way of TimescaleDB's guide: the node's certificate signs its users'.
    let signer = issue(&Profile::timescale_intermediate(HOSTS).unwrap());
    let user = root.delegate(&signer).unwrap().issue(algorithm, &alice, year()).unwrap();
    [
        ("server and client", issue(&Profile::server(HOSTS).unwrap()), issue(&alice)),
        ("node", both.clone(), both),
        ("timescale-intermediate", signer, user),
    ]
    .into_iter()
    .map(|(name, node, client)| Deployment {
        name: format!("{name}, {algorithm} under {under}"),
        node,
        client,
        trust: roots(&[&root]),
    })
    .collect()
}

#[test]
fn every_profile_and_key_is_accepted_by_every_server_and_libpq() {
    let default = KeyAlgorithm::EcdsaP256;
    let own_kind = [KeyAlgorithm::EcdsaP384, KeyAlgorithm::Rsa2048, KeyAlgorithm::Ed25519];
    let under_default =
        KeyAlgorithm::ALL.into_iter().flat_map(|kind| deployments_of(kind, default));
    // Of roots of other kinds, one profile is enough.
    let under_others = own_kind.into_iter().filter_map(|kind| deployments_of(kind, kind).pop());
    let deployments: Vec<Deployment> = under_default.chain(under_others).collect();
    let libpqs = libpqs();
    on_each_server(|installation| {
        let mut server = server(installation, &deployments[0].node, &deployments[0].trust);
        for (number, Deployment { name, node, client, trust }) in deployments.iter().enumerate() {
            install(&server, node, trust);
            server.restart().unwrap();
            assert_eq!(served(&presented(&server), &node.chain()), Served::Current, "{name}");
            let files = Client::new(client, trust);
            for (turn, libpq) in libpqs.iter().enumerate() {
                // Names do not depend on keys: all of them with keys of the first kind, then in turns.
                let all = number < 3;
                let hosts = HOSTS.iter().cycle().skip(number + turn).take(if all { 3 } else { 1 });
                for host in hosts {
                    files.connect(libpq, &server, host).unwrap_or_else(|error| {
                        let version = server.version();
                        panic!("{name}: server {version}, libpq {}, {host}: {error}", major(libpq))
                    });
                }
            }
            let host = HOSTS[number / 3 % HOSTS.len()];
            runtime()
                .block_on(rustls_connect(
                    (server.addr(), server.port()),
                    host,
                    &client.chain(),
                    &client.key,
                    Certificate::all_from_pem(trust.as_bytes()).unwrap(),
                ))
                .unwrap_or_else(|error| panic!("{name}: {} {host}: {error}", server.version()));
        }
    });
}
