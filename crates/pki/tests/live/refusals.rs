//! What is refused, by whom, and with which words.

use pg_version::PgVersion;
use pgtest::libpq::Libpq;
use pki::{
    Certificate, Check, HostRules, Issued, KeyAlgorithm, OpenSsl, PrivateKey, Profile, Purpose,
    Validity, Verifier,
};
use time::OffsetDateTime;

use crate::odd::{
    ANY_USAGE, CERT_SIGN, CRL_SIGN, DIGITAL_SIGNATURE, KEY_ENCIPHERMENT, Made, Odd, SERVER_AUTH,
    element, p256, permits,
};
use crate::support::{
    Client, HOSTS, authority, days, install, issue, major, on_each_server, openssl_of, roots,
    server, stranger, year,
};

/// What a client presents, with its key, and what the server trusts.
struct Case {
    name: String,
    presented: Vec<Certificate>,
    key: PrivateKey,
    trust: Vec<Certificate>,
}

/// Cases are collected here.
#[derive(Default)]
struct Cases(Vec<Case>);

impl Cases {
    fn add(&mut self, name: &str, chain: &[&Made], trust: &[&Made]) {
        let certificates =
            |made: &[&Made]| made.iter().map(|one| one.certificate.clone()).collect::<Vec<_>>();
        self.0.push(Case {
            name: name.to_owned(),
            presented: certificates(chain),
            key: chain[0].key.clone(),
            trust: certificates(trust),
        });
    }
}

fn alice() -> Odd {
    Odd::leaf("alice")
}

fn root() -> Odd {
    Odd::authority("root", 1)
}

fn middle() -> Odd {
    Odd::authority("middle", 2)
}

fn leaves(cases: &mut Cases) {
    let root = root().root();
    for (name, leaf) in [
        ("sound", alice()),
        ("no usages", Odd { usages: None, ..alice() }),
        ("serverAuth only", Odd { usages: Some(vec![SERVER_AUTH]), ..alice() }),
        ("any usage only", Odd { usages: Some(vec![ANY_USAGE]), ..alice() }),
        ("an authority", Odd { basic_constraints: Some((true, None)), ..alice() }),
        ("no basicConstraints", Odd { basic_constraints: None, ..alice() }),
        ("keyCertSign only", Odd { key_usage: Some(CERT_SIGN), ..alice() }),
        ("keyEncipherment only", Odd { key_usage: Some(KEY_ENCIPHERMENT), ..alice() }),
        ("expired", Odd { days: (-9, -1), ..alice() }),
        ("not valid yet", Odd { days: (1, 9), ..alice() }),
        ("another key's authority", Odd { issuer_key_id: Some(9), ..alice() }),
        ("serial number zero", Odd { serial: 0, ..alice() }),
        ("another role", Odd::leaf("bob")),
        ("another case", Odd::leaf("Alice")),
        ("a role with a blank", Odd::leaf("alice ")),
        ("PrintableString", Odd { common_name: (0x13, b"alice".to_vec()), ..alice() }),
        ("no octet", Odd { common_name: (0x0c, Vec::new()), ..alice() }),
    ] {
        cases.add(name, &[&leaf.under(&root)], &[&root]);
    }
}

fn authorities(cases: &mut Cases) {
    let sound = root().root();
    for (name, odd) in [
        ("sound", root()),
        ("no basicConstraints", Odd { basic_constraints: None, ..root() }),
        (
            "neither basicConstraints nor keyUsage",
            Odd { basic_constraints: None, key_usage: None, ..root() },
        ),
        ("CA:FALSE", Odd { basic_constraints: Some((false, None)), ..root() }),
        ("no keyUsage", Odd { key_usage: None, ..root() }),
        ("no keyCertSign", Odd { key_usage: Some(DIGITAL_SIGNATURE), ..root() }),
        ("cRLSign only", Odd { key_usage: Some(CRL_SIGN), ..root() }),
        ("serverAuth only", Odd { usages: Some(vec![SERVER_AUTH]), ..root() }),
        ("path length 0", Odd { basic_constraints: Some((true, Some(0))), ..root() }),
        ("expired", Odd { days: (-9, -1), ..root() }),
        ("not valid yet", Odd { days: (1, 9), ..root() }),
        ("no key identifier", Odd { key_id: None, ..root() }),
        ("another key's signature", Odd { issuer_key_id: Some(9), ..root() }),
    ] {
        let top = odd.clone().root();
        cases.add(&format!("root {name}"), &[&alice().under(&top)], &[&top]);
        let between = middle().under(&top);
        let leaf = alice().under(&between);
        cases.add(&format!("root {name}, intermediate"), &[&leaf, &between], &[&top]);

        let odd = Odd { common_name: middle().common_name, key_id: odd.key_id.map(|_| 2), ..odd };
        let between = odd.under(&sound);
        let leaf = alice().under(&between);
        cases.add(&format!("intermediate {name}"), &[&leaf, &between], &[&sound]);
        cases.add(&format!("intermediate {name}, not sent"), &[&leaf], &[&sound]);
        cases.add(&format!("intermediate {name}, trusted"), &[&leaf], &[&between, &sound]);
    }
}

fn constraints(cases: &mut Cases) {
    let root = root().root();
    let dns = |name: &str| element(0x82, name.as_bytes());
    let ip = |octets: &[u8]| element(0x87, octets);
    for (name, base, san) in [
        ("host inside", dns("example.com"), dns("node1.example.com")),
        ("host outside", dns("example.com"), dns("example.org")),
        ("leading dot", dns(".example.com"), dns("example.com")),
        ("address inside", ip(&[10, 0, 0, 0, 255, 0, 0, 0]), ip(&[10, 1, 2, 3])),
        ("address outside", ip(&[10, 0, 0, 0, 255, 0, 0, 0]), ip(&[11, 1, 2, 3])),
        ("other kinds", ip(&[10, 0, 0, 0, 255, 0, 0, 0]), dns("example.org")),
    ] {
        let between = Odd { others: vec![permits(&base)], ..middle() }.under(&root);
        let leaf = Odd { names: vec![san], ..alice() }.under(&between);
        cases.add(&format!("constraints, {name}"), &[&leaf, &between], &[&root]);
    }
}

fn trust(cases: &mut Cases) {
    let key = p256();
    let top = root().made(key.clone(), None);
    let between = middle().under(&top);
    let leaf = alice().under(&between);
    let renewed = |days, serial| Odd { days, serial, ..root() }.made(key.clone(), None);
    let (old, new) = (renewed((-9, -1), 2), renewed((-1, 90), 3));
    let twin = Odd { key_id: Some(8), ..root() }.root();
    let nameless_twin = Odd { key_id: None, ..root() }.root();
    let other = Odd::authority("other", 7).root();
    let crossed = Odd { serial: 4, ..root() }.made(key.clone(), Some(&other));
    let chain = [&leaf, &between];
    for (name, trust) in [
        ("renewed root", &[&new][..]),
        ("expired before renewed", &[&old, &new]),
        ("renewed before expired", &[&new, &old]),
        ("expired alone", &[&old]),
        ("namesake before", &[&twin, &top]),
        ("namesake behind", &[&top, &twin]),
        ("namesake without identifier before", &[&nameless_twin, &top]),
        ("namesake alone", &[&twin]),
        ("another alone", &[&other]),
        ("cross-signed alone", &[&crossed]),
        ("cross-signed and its root", &[&crossed, &other]),
        ("leaf alone", &[&leaf]),
    ] {
        cases.add(&format!("trusted: {name}"), &chain, trust);
    }
    for (name, presented) in [
        ("cross-signed", &[&leaf, &between, &crossed][..]),
        ("cross-signed, and the root", &[&leaf, &between, &crossed, &top]),
        ("the root, and cross-signed", &[&leaf, &between, &top, &crossed]),
        ("wrong order", &[&leaf, &crossed, &between]),
    ] {
        cases.add(&format!("presented: {name}"), presented, &[&other]);
    }
    // One root without key identifiers beside another of its name: the first one counts.
    let nameless = Odd { key_id: None, ..root() }.root();
    let leaf = alice().under(&nameless);
    for (name, trust) in
        [("first", [&nameless, &nameless_twin]), ("second", [&nameless_twin, &nameless])]
    {
        cases.add(&format!("no identifiers, the right one {name}"), &[&leaf], &trust);
    }
}

#[test]
fn chains_of_clients_are_judged_as_predicted() {
    let mut cases = Cases::default();
    leaves(&mut cases);
    authorities(&mut cases);
    constraints(&mut cases);
    trust(&mut cases);
    let own = authority(KeyAlgorithm::EcdsaP256);
    let node = issue(&own, &Profile::server(HOSTS).unwrap(), year());
    on_each_server(|installation| {
        let model = openssl_of(installation);
        let server = server(installation, &node, &roots(&[&own]));
        let libpq = Libpq::load(installation).unwrap();
        for Case { name, presented, key, trust } in &cases.0 {
            let trusted: String = trust.iter().map(Certificate::to_pem).collect();
            server.write_file("root.crt", trusted, 0o644).unwrap();
            server.reload().unwrap();
            let client = Client::of(presented, key, &roots(&[&own]));
            let said = client.connect(&libpq, &server, HOSTS[0]);
            let predicted = predict(presented, trust, model);
            let context = format!("{name}, server {}: {predicted:?}", server.version());
            match (&said, &predicted) {
                (Ok(()), Ok(())) => {}
                (Err(said), Err(words)) => assert!(said.contains(words), "{context} but {said}"),
                _ => panic!("{context} but {said:?}"),
            }
        }
    });
}

/// Whether a server lets in as alice whoever presents this, or what the client hears.
fn predict(presented: &[Certificate], trust: &[Certificate], model: OpenSsl) -> Result<(), String> {
    Check::new(presented, trust, Purpose::Client, OffsetDateTime::now_utc())
        .verifier(Verifier::OpenSsl(model))
        .run()
        .map_err(|rejection| format!("alert {}", rejection.reason().openssl_alert()))?;
    match presented[0].client_name() {
        Ok(b"alice") => Ok(()),
        _ => Err("certificate authentication failed for user \"alice\"".to_owned()),
    }
}

#[test]
fn certificates_of_servers_are_refused_as_predicted() {
    let root = authority(KeyAlgorithm::EcdsaP256);
    let stranger = stranger();
    let now = OffsetDateTime::now_utc();
    let past = Validity::days(now - days(9), 3);
    let future = Validity { not_before: now + days(3), not_after: now + days(9) };
    let alice = Profile::client("alice");
    let node = Profile::server(HOSTS).unwrap();
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
    let good_client = issue(&root, &alice, year());
    on_each_server(|installation| {
        let server = server(installation, &servers[4].0, &trust);
        let libpq = Libpq::load(installation).unwrap();
        let client = Client::new(&good_client, &trust);
        for (node, host) in &servers {
            install(&server, node, &trust);
            server.reload().unwrap();
            let message = client.connect(&libpq, &server, host).unwrap_err();
            let verifier = Verifier::OpenSsl(openssl_of(installation));
            let words = refused(node, &trusted, host, verifier, major(&libpq));
            assert!(message.contains(&words), "{:?}: {words} but {message}", node.certificate);
        }
    });
}

/// What libpq says to a server that is refused.
fn refused(
    node: &Issued,
    trusted: &[Certificate],
    host: &str,
    verifier: Verifier,
    version: PgVersion,
) -> String {
    let now = OffsetDateTime::now_utc();
    let chain = node.chain();
    match Check::new(&chain, trusted, Purpose::Server, now).verifier(verifier).run() {
        Err(_) => "certificate verify failed".to_owned(),
        Ok(_) => {
            let rules = HostRules::Libpq(version);
            chain[0].matches_host(Some(host), rules).unwrap_err().to_string()
        }
    }
}
