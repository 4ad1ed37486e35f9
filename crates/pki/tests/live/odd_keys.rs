//! Certificates for keys that are not made here, by way of openssl.

use std::path::Path;

use pgtest::libpq::Libpq;
use pki::fs::{Existing, write_public};
use pki::{Certificate, Check, KeyAlgorithm, OpenSsl, Profile, Purpose, Reason, Verifier};
use time::OffsetDateTime;

use crate::support::{
    Client, HOSTS, SOON, authority, install, issue, libpqs, on_each_server, openssl_of, roots,
    server, year,
};

/// Kinds of keys, as `openssl genpkey` makes them, and whether TLS works with them.
const KINDS: [(&str, &[&str], bool); 7] = [
    ("rsa2047", &["-algorithm", "rsa", "-pkeyopt", "rsa_keygen_bits:2047"], true),
    ("rsa-pss", &["-algorithm", "rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048"], true),
    ("ed448", &["-algorithm", "ed448"], true),
    ("p224", &["-algorithm", "ec", "-pkeyopt", "ec_paramgen_curve:P-224"], false),
    ("secp256k1", &["-algorithm", "ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"], false),
    ("brainpool", &["-algorithm", "ec", "-pkeyopt", "ec_paramgen_curve:brainpoolP256r1"], false),
    ("dsa", &["-paramfile", "dsa.pem"], false),
];

fn openssl(folder: &Path, arguments: &[&[&str]]) {
    let arguments = arguments.concat();
    pgtest::Run::new("openssl").args(arguments).folder(folder).check().unwrap();
}

/// A certificate that is a server's and alice's, in files of the kind's name.
fn make(folder: &Path, kind: &str, arguments: &[&str]) -> Certificate {
    let file = |extension: &str| format!("{kind}.{extension}");
    let (key, csr, crt) = (file("key"), file("csr"), file("crt"));
    openssl(folder, &[&["genpkey", "-out", &key], arguments]);
    openssl(folder, &[&["req", "-new", "-subj", "/CN=alice", "-key", &key, "-out", &csr]]);
    openssl(
        folder,
        &[
            &["x509", "-req", "-in", &csr, "-CA", "root.crt", "-CAkey", "root.key", "-out", &crt],
            &["-extfile", "extensions", "-days", "30"],
        ],
    );
    Certificate::from_pem(&std::fs::read(folder.join(crt)).unwrap()).unwrap()
}

#[test]
fn keys_that_sign_no_handshake_are_of_no_use_to_either_end() {
    let root = authority(KeyAlgorithm::EcdsaP256);
    let (trust, trusted) = (roots(&[&root]), [root.certificate().clone()]);
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("root.crt", &trust);
    write("root.key", &root.key().to_pem());
    let usages = "extendedKeyUsage=serverAuth,clientAuth";
    write(
        "extensions",
        &format!("subjectAltName=DNS:{}\n{usages}\nbasicConstraints=CA:FALSE\n", HOSTS[0]),
    );
    let dsa = ["genpkey", "-genparam", "-algorithm", "dsa", "-out", "dsa.pem"];
    openssl(folder.path(), &[&dsa, &["-pkeyopt", "dsa_paramgen_bits:2048"]]);
    let made =
        KINDS.map(|(kind, arguments, works)| (kind, make(folder.path(), kind, arguments), works));
    let node = issue(&root, &Profile::server(HOSTS).unwrap(), year());
    let client = Client::new(&issue(&root, &Profile::client("alice"), year()), &trust);
    let predict = |certificate: &Certificate, purpose, model: OpenSsl| {
        let chain = std::slice::from_ref(certificate);
        Check::new(chain, &trusted, purpose, OffsetDateTime::now_utc())
            .verifier(Verifier::OpenSsl(model))
            .run()
            .map(drop)
            .map_err(|rejection| rejection.reason().clone())
    };
    on_each_server(|installation| {
        let model = openssl_of(installation);
        let server = server(installation, &node, &trust);
        let libpq = Libpq::load(installation).unwrap();
        for (kind, certificate, works) in &made {
            let context = format!("{kind}, server {}", server.version());
            let read = |extension: &str| {
                std::fs::read(folder.path().join(format!("{kind}.{extension}"))).unwrap()
            };
            model.loads(std::slice::from_ref(certificate)).unwrap();
            let unusable = Reason::KeyNotForTls { kind: certificate.public_key().kind().clone() };
            let predicted = if *works { Ok(()) } else { Err(unusable) };

            // a client's
            assert_eq!(predict(certificate, Purpose::Client, model), predicted, "{context}");
            let own = tempfile::tempdir().unwrap();
            let path = |name: &str| own.path().join(name).display().to_string();
            write_public(&own.path().join("crt"), &certificate.to_pem(), Existing::Keep).unwrap();
            write_private(&own.path().join("key"), &read("key"));
            let mut parameters = client.parameters(&server, HOSTS[0]);
            for (name, value) in &mut parameters {
                match name.as_str() {
                    "sslcert" => *value = path("crt"),
                    "sslkey" => *value = path("key"),
                    _ => {}
                }
            }
            let said = libpq.connect(&parameters, SOON).map(drop);
            assert_eq!(said.is_ok(), *works, "{context}: {said:?}");
            if let Err(said) = said {
                let words = "connection requires a valid client certificate";
                assert!(said.to_string().contains(words), "{context}: {said}");
            }

            // a server's
            assert_eq!(predict(certificate, Purpose::Server, model), predicted, "{context}");
            server.write_file("server.key", read("key"), 0o600).unwrap();
            server.write_file("server.crt", read("crt"), 0o644).unwrap();
            server.reload().unwrap();
            for libpq in libpqs() {
                let said = client.connect(&libpq, &server, HOSTS[0]);
                assert_eq!(said.is_ok(), *works, "{context}: {said:?}");
                if let (Err(said), Err(reason)) = (said, &predicted) {
                    assert!(said.contains(reason.openssl_alert()), "{context}: {said}");
                }
            }
            install(&server, &node, &trust);
            server.reload().unwrap();
        }
    });
}

/// A file that only its owner reads, as libpq wants keys to be.
fn write_private(path: &Path, contents: &[u8]) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, contents).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}
