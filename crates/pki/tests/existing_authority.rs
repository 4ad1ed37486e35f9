//! Authorities that others have made: loaded, used, renewed, cross-signed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::path::Path;
use std::process::Command;

use common::{NOW, root};
use pki::{
    Authority, Check, Error, KeyAlgorithm, Profile, Purpose, Reason, Revocation, RevocationReason,
    Validity, Verifier,
};
use time::macros::datetime;

const VERIFIERS: [Verifier; 2] = [Verifier::OPENSSL_1_1_1, Verifier::OPENSSL_3_0];

fn openssl(folder: &Path, arguments: &[&str]) -> (bool, String) {
    let output = Command::new("openssl").args(arguments).current_dir(folder).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

/// A self-signed authority of openssl's, with extensions.
fn made_by_openssl(folder: &Path, subject: &str, extensions: &[&str]) -> Authority {
    let mut arguments = vec![
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "3650",
        "-subj",
        subject,
        "-keyout",
        "ca.key",
        "-out",
        "ca.crt",
    ];
    for extension in extensions {
        arguments.extend(["-addext", extension]);
    }
    let (made, text) = openssl(folder, &arguments);
    assert!(made, "{text}");
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    Authority::from_pem(&read("ca.crt"), &read("ca.key")).unwrap()
}

#[test]
fn its_name_stays_octet_by_octet() {
    let folder = tempfile::tempdir().unwrap();
    // Two organizational units, which rcgen alone would make one of.
    let authority = made_by_openssl(
        folder.path(),
        "/O=Example/OU=One/OU=Two/CN=Example CA",
        &["keyUsage=critical,keyCertSign,cRLSign"],
    );
    let validity = authority.certificate().validity();
    let issued =
        authority.issue(KeyAlgorithm::EcdsaP256, &Profile::client("alice"), validity).unwrap();
    let name = authority.certificate().subject();
    assert_eq!(issued.certificate.issuer().as_der(), name.as_der());
    assert_eq!(name.to_string(), "CN=Example CA,OU=Two,OU=One,O=Example");
    let list = authority.revoke(&[], 1, Validity::days(validity.not_before, 7)).unwrap();
    assert_eq!(list.issuer().as_der(), name.as_der());
    assert!(list.is_signed_by(authority.certificate().public_key()));
    let renewed = authority.renew(Validity::days(validity.not_before, 5000)).unwrap();
    assert_eq!(renewed.certificate().subject().as_der(), name.as_der());

    std::fs::write(folder.path().join("leaf.crt"), issued.certificate.to_pem()).unwrap();
    std::fs::write(folder.path().join("new.crt"), renewed.certificate().to_pem()).unwrap();
    for root in ["ca.crt", "new.crt"] {
        let (verified, text) = openssl(folder.path(), &["verify", "-CAfile", root, "leaf.crt"]);
        assert!(verified, "{root}: {text}");
    }
}

#[test]
fn what_limits_it_stays_when_it_is_signed_anew() {
    let folder = tempfile::tempdir().unwrap();
    let servers_only = made_by_openssl(
        folder.path(),
        "/CN=servers only",
        &["extendedKeyUsage=serverAuth", "nameConstraints=critical,permitted;DNS:example.com"],
    );
    let now = servers_only.certificate().validity().not_before;
    let validity = Validity::days(now, 100);
    let subject = pki::Subject::common_name("above");
    let above = Authority::create(KeyAlgorithm::EcdsaP256, &subject, validity).unwrap();
    let crossed = above.cross_sign(servers_only.certificate(), validity).unwrap();
    let renewed = servers_only.renew(validity).unwrap();
    let profile = Profile::node("alice", ["node1.example.com"]).unwrap();
    let node = servers_only.issue(KeyAlgorithm::EcdsaP256, &profile, validity).unwrap();
    for (chain, trust) in [
        (vec![node.certificate.clone(), crossed], above.certificate()),
        (vec![node.certificate.clone()], renewed.certificate()),
    ] {
        let trust = [trust.clone()];
        for verifier in VERIFIERS {
            let check = |purpose| Check::new(&chain, &trust, purpose, now).verifier(verifier).run();
            check(Purpose::Server).unwrap();
            let refused = check(Purpose::Client).unwrap_err();
            assert_eq!(*refused.reason(), Reason::ExtendedKeyUsage);
        }
    }
    let elsewhere = Profile::server(["example.org"]).unwrap();
    let issued = renewed.issue(KeyAlgorithm::EcdsaP256, &elsewhere, validity);
    assert!(matches!(issued, Err(Error::Refused(_))));
}

#[test]
fn lists_hold_the_serial_numbers_that_were_revoked() {
    let authority = root("root");
    let revoke = |serial: &[u8]| {
        let revocation = Revocation {
            serial: serial.to_vec(),
            since: NOW,
            reason: RevocationReason::Unspecified,
        };
        authority.revoke(&[revocation], 1, Validity::days(NOW, 30))
    };
    for serial in [&[0][..], &[1], &[0x7f], &[0, 0x80], &[0, 0xff, 0xff], &[0x7f; 20]] {
        let list = revoke(serial).unwrap();
        assert_eq!(list.len(), 1);
        let again = pki::Crl::from_der(list.as_der()).unwrap();
        assert!(again.revokes(serial), "{serial:02x?}");
    }
    for serial in [&[][..], &[0x80], &[0xff, 0x01], &[0, 1]] {
        assert!(matches!(revoke(serial), Err(Error::Refused(_))), "{serial:02x?}");
    }
}

#[test]
fn dates_beyond_2049_are_dates_too() {
    let folder = tempfile::tempdir().unwrap();
    let far = Validity {
        not_before: datetime!(2049-12-31 23:59:59 UTC),
        not_after: datetime!(9999-12-31 23:59:59 UTC),
    };
    let subject = pki::Subject::common_name("far");
    let authority = Authority::create(KeyAlgorithm::EcdsaP256, &subject, far).unwrap();
    assert_eq!(authority.certificate().validity(), far);
    std::fs::write(folder.path().join("c.crt"), authority.certificate().to_pem()).unwrap();
    let (read, text) = openssl(folder.path(), &["x509", "-noout", "-dates", "-in", "c.crt"]);
    let dates = "notBefore=Dec 31 23:59:59 2049 GMT\nnotAfter=Dec 31 23:59:59 9999 GMT\n";
    assert!(read && text == dates, "{text}");
    let beyond = Validity { not_before: datetime!(1949-12-31 23:59:59 UTC), ..far };
    assert!(Authority::create(KeyAlgorithm::EcdsaP256, &subject, beyond).is_err());
}
