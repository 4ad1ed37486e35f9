//! Certificates by hand, from the authority to the check.

use std::os::unix::fs::MetadataExt as _;

use super::support::{Outcome, Place};

fn authority() -> Result<Place, Box<dyn std::error::Error>> {
    let place = Place::new()?;
    let said = place.run(["pki", "ca", "--name", "our CA", "--organization", "Example"])?;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.out.starts_with("ca.crt: the authority CN=our CA,O=Example, valid until"),
        "{said:?}"
    );
    assert_eq!(std::fs::metadata(place.path("ca.key"))?.mode() & 0o7777, 0o600);
    Ok(place)
}

#[test]
fn an_authority_is_not_made_over_another() -> Outcome {
    let place = authority()?;
    let key = place.read("ca.key")?;
    let said = place.run(["pki", "ca", "--name", "another"])?;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.talk.contains("ca.crt exists already"), "{said:?}");
    assert_eq!(place.read("ca.key")?, key);
    let said = place.run(["pki", "ca", "--name", "another", "--replace"])?;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_ne!(place.read("ca.key")?, key);
    Ok(())
}

/// As the examples have it: what goes into a folder takes no folder.
#[test]
fn the_folder_is_made() -> Outcome {
    let place = authority()?;
    for (folder, arguments) in [
        ("a", &["ca", "--name", "our cluster"][..]),
        ("b", &["issue", "--role", "repl"]),
        ("c", &["request", "--host", "node-1"]),
    ] {
        let out = ["--out", folder];
        let said = place.run(["pki"].iter().chain(arguments).chain(&out))?;
        assert_eq!(said.code, Some(0), "{said:?}");
        assert_eq!(std::fs::metadata(place.path(folder))?.mode() & 0o7777, 0o700);
        assert_eq!(std::fs::read_dir(place.path(folder))?.count(), 2, "{said:?}");
        // Only the last of a path, lest a typing error makes many.
        let said = place.run(["pki"].iter().chain(arguments).chain(&["--out", "no/such"]))?;
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(said.talk.contains("cannot make the folder no/such"), "{said:?}");
    }
    Ok(())
}

#[test]
fn issued_checked_and_inspected() -> Outcome {
    let place = authority()?;
    let issue = ["pki", "issue", "--host", "node-1", "--host", "10.0.0.1", "--days", "90"];
    let said = place.run(issue)?;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(std::fs::metadata(place.path("node-1.key"))?.mode() & 0o7777, 0o600);
    let said = place.run(issue)?;
    assert_eq!(said.code, Some(1), "never over an existing key: {said:?}");
    assert!(said.talk.starts_with("error: node-1.crt exists already\n"), "{said:?}");
    assert!(said.talk.contains("--replace"), "{said:?}");

    let check = ["pki", "check", "node-1.crt", "--trust", "ca.crt", "--key", "node-1.key"];
    let hosts = ["--host", "node-1", "--host", "10.0.0.1"];
    let said = place.run(check.iter().chain(&hosts))?;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains("CN=node-1 is accepted as a server"), "{said:?}");
    let said = place.run(check.iter().chain(&["--host", "node-2"]))?;
    assert!(said.out.contains("PKI009") && said.out.contains("libpq 12 to 18"), "{said:?}");
    let said = place.run(check.iter().chain(&["--warn-days", "100"]))?;
    assert!(said.out.contains("PKI003"), "{said:?}");
    let said = place.run(check.iter().chain(&["--at", "2000-01-01"]))?;
    assert!(said.out.contains("PKI001") && said.out.contains("is not valid yet"), "{said:?}");
    std::fs::set_permissions(
        place.path("node-1.key"),
        std::os::unix::fs::PermissionsExt::from_mode(0o644),
    )?;
    let said = place.run(check)?;
    assert!(said.out.contains("PKI010") && said.out.contains("chmod 600 node-1.key"), "{said:?}");

    let said = place.run(["pki", "check", "node-1.crt", "--trust", "ca.crt", "--client"])?;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.out.contains("refused by OpenSSL 3.0, OpenSSL 1.1.1"), "{said:?}");

    let said = place.run(["pki", "inspect", "node-1.crt", "node-1.key"])?;
    assert!(said.out.contains("DNS:node-1, DNS:10.0.0.1, IP Address:10.0.0.1"), "{said:?}");
    assert!(said.out.contains("a private key: ECDSA P-256"), "{said:?}");
    assert!(!said.out.contains("BEGIN"), "{said:?}");
    Ok(())
}

#[test]
fn signed_only_if_it_is_allowed() -> Outcome {
    let place = authority()?;
    let said = place.run(["pki", "request", "--host", "node-1", "--role", "repl"])?;
    assert_eq!(said.code, Some(0), "{said:?}");
    let said = place.run(["pki", "sign", "repl.csr", "--allow-role", "repl"])?;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.talk.contains("does not allow the request: the host \"node-1\""), "{said:?}");
    assert!(!place.path("repl.crt").exists());
    let allow = ["--allow-role", "repl", "--allow-host", "node-1"];
    let said = place.run(["pki", "sign", "repl.csr"].iter().chain(&allow))?;
    assert_eq!(said.code, Some(0), "{said:?}");
    let said =
        place.run_with(["pki", "sign", "-"].iter().chain(&allow), place.read("repl.csr")?)?;
    assert!(said.out.starts_with("-----BEGIN CERTIFICATE-----\n"), "{said:?}");
    let said =
        place.run(["pki", "sign", "repl.csr", "--ca-key", "repl.key"].iter().chain(&allow))?;
    assert!(said.talk.contains("the private key does not belong to the certificate"), "{said:?}");
    Ok(())
}

#[test]
fn chains_from_a_heap() -> Outcome {
    let place = authority()?;
    let under = ["--under-cert", "ca.crt", "--under-key", "ca.key", "--file", "issuing"];
    let said = place.run(["pki", "ca", "--name", "issuing"].iter().chain(&under))?;
    assert_eq!(said.code, Some(0), "{said:?}");
    let by = ["--ca-cert", "issuing.crt", "--ca-key", "issuing.key"];
    let said = place.run(["pki", "issue", "--host", "node-1"].iter().chain(&by))?;
    assert_eq!(said.code, Some(0), "{said:?}");

    let heap = ["pki", "chain", "issuing.crt", "node-1.crt", "--key", "node-1.key"];
    let outs = ["--out", "chain.crt", "--root-out", "root.crt"];
    let said = place.run(heap.iter().chain(&outs))?;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(place.read("root.crt")?, place.read("ca.crt")?);
    assert_eq!(place.read("chain.crt")?, place.read("node-1.crt")?);
    let said = place.run(["pki", "check", "chain.crt", "--trust", "root.crt"])?;
    assert_eq!(said.code, Some(0), "{said:?}");

    // Without the intermediate the chain is not complete, and verifiers say so.
    let leaf = place.read("node-1.crt")?;
    let leaf = leaf.split_inclusive("-----END CERTIFICATE-----\n").next().ok_or("no leaf")?;
    place.write("leaf.crt", leaf, 0o644)?;
    let said = place.run(["pki", "chain", "leaf.crt", "ca.crt", "--key", "node-1.key"])?;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.talk.contains("the certificate of CN=issuing is missing"), "{said:?}");
    let said = place.run(["pki", "check", "leaf.crt", "--trust", "root.crt"])?;
    assert!(said.out.contains("neither presented nor trusted"), "{said:?}");
    Ok(())
}

/// Not one that is over as it is made, for a mistake of a number.
#[test]
fn a_certificate_lasts_a_day_at_least() -> Outcome {
    let place = authority()?;
    let before = place.read("ca.crt")?;
    for arguments in [
        &["pki", "ca", "--name", "again", "--replace", "--days", "0"][..],
        &["pki", "issue", "--host", "node-1", "--days", "0"],
    ] {
        let said = place.run(arguments)?;
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(said.talk.contains("invalid value '0' for '--days <DAYS>'"), "{said:?}");
    }
    assert_eq!(place.read("ca.crt")?, before);
    let forever = ["pki", "ca", "--name", "old", "--file", "old", "--days", "4294967295"];
    let said = place.run(forever)?;
    assert!(said.out.contains("valid until 9999-12-31"), "{said:?}");
    Ok(())
}

#[test]
fn what_is_no_certificate() -> Outcome {
    let place = authority()?;
    place.write("text", "hello\n", 0o600)?;
    place.write("damaged", "-----BEGIN CERTIFICATE-----\nAAEC\n", 0o600)?;
    for (arguments, words) in [
        (&["pki", "check", "text", "--trust", "ca.crt"][..], "there is no certificate in it"),
        (&["pki", "check", "ca.crt", "--trust", "nothing"], "cannot find nothing"),
        (&["pki", "inspect", "damaged"], "damaged: the PEM block that begins in line 1 is damaged"),
        (&["pki", "inspect", "text"], "there is no PEM block in it"),
        (&["pki", "issue"], "it is not said whom the certificate is for"),
        (&["pki", "issue", "--host", "no host"], "the host name \"no host\""),
        (&["pki", "issue", "--role", "x", "--ca-key", "text"], "no private key found"),
        (&["pki", "issue", "--role", "x", "--key-type", "dsa"], "is no kind of key"),
        (
            &["pki", "check", "ca.crt", "--trust", "ca.crt", "--at", "soon"],
            "write it as 2026-01-31",
        ),
        (&["pki", "ca", "--name", "x", "--file", "y", "--only", "a b"], "neither a host name nor"),
    ] {
        let said = place.run(arguments)?;
        assert_eq!(said.code, Some(1), "{arguments:?}: {said:?}");
        assert!(said.talk.contains(words), "{arguments:?}: {said:?}");
    }
    Ok(())
}
