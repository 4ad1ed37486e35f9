//! What holds for any input.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{root, year};
use pg_version::PgVersion;
use pki::{Certificate, HostNames, HostRules, KeyAlgorithm, Profile, pem};
use proptest::prelude::*;

fn host() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z][a-z0-9]{0,8}(\\.[a-z][a-z0-9-]{0,6}[a-z]){0,3}",
        any::<std::net::Ipv4Addr>().prop_map(|address| address.to_string()),
        any::<std::net::Ipv6Addr>().prop_map(|address| address.to_string()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// The set of names is portable: every libpq and rustls match every host of it.
    #[test]
    fn every_client_matches_every_host(hosts in prop::collection::vec(host(), 1..4)) {
        let profile = Profile::server(&hosts).unwrap();
        let issued = root("root").issue(KeyAlgorithm::EcdsaP256, &profile, year()).unwrap();
        for host in &hosts {
            for version in PgVersion::ALL {
                let rules = HostRules::Libpq(version);
                prop_assert_eq!(issued.certificate.matches_host(Some(host), rules), Ok(()));
            }
            prop_assert_eq!(issued.certificate.matches_host(Some(host), HostRules::Rustls), Ok(()));
        }
    }

    /// Whatever the text: no panic, and blocks come back as they were written.
    #[test]
    fn any_text_is_read(text in prop::collection::vec(any::<u8>(), 0..400), host in ".{0,40}") {
        let _ = pem::read(&text);
        let _ = Certificate::from_der(&text);
        let _ = HostNames::new([host.as_str()]);
        let authority = root("root");
        for version in [PgVersion::V12, PgVersion::V18] {
            let _ = authority.certificate().matches_host(Some(&host), HostRules::Libpq(version));
        }
    }
}
