//! Revocation lists.

use pgtest::Server;
use pgtest::libpq::Libpq;
use pki::{Check, KeyAlgorithm, Profile, Purpose, Revocation, RevocationReason, Validity};
use time::OffsetDateTime;

use crate::support::{
    Client, HBA, HOSTS, VERIFIERS, authority, install, on_each_server, roots, year,
};

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
