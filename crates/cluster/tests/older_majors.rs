//! What only older majors do: 12 and 13 never log by which method a session came in, and libpq of 12
//! to 14 does not compare addresses with those of a certificate.
#![cfg(feature = "demo")]

use std::{fs, path::PathBuf};

use cluster::{
    conninfo::ConnInfo,
    demo::Servers,
    spec::{ClusterSpec, Mode},
    verify::{Code, Finding, MethodSource, Options, Severity, Verification},
};
use pg_version::PgVersion;
use standin::{Ca, secured};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// A primary and its subscriber.
async fn secured_pair(version: PgVersion, mode: Mode) -> Outcome<(Servers, ClusterSpec)> {
    let servers = Servers::default();
    servers.start(&pgtest::find(version)?, 2).await?;
    servers.join().await?;
    let spec = servers.cluster(mode)?.spec;
    secured::secure(&spec).await?;
    Ok((servers, spec))
}

fn of(verification: &Verification, code: Code) -> Vec<&Finding> {
    verification.findings.iter().filter(|found| found.code == code).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn before_14_the_rules_tell_the_method() -> Outcome {
    for (version, mode) in [(PgVersion::V12, Mode::Scram), (PgVersion::V13, Mode::Cert)] {
        let (_servers, spec) = secured_pair(version, mode).await?;
        // The link was switched before the open way in was closed.
        let verification = secured::look(&spec).await?;
        assert!(verification.proved(), "{verification:#?}");
        let doubts = of(&verification, Code::OldSession);
        assert!(doubts.iter().all(|doubt| doubt.severity == Severity::Warning), "{doubts:?}");
        assert_eq!(doubts.len(), 1, "{verification:#?}");

        let options = Options::default().reconnect(true);
        let verification = secured::look_with(&spec, options).await?;
        assert!(verification.proved(), "{verification:#?}");
        assert_eq!(of(&verification, Code::OldSession), [] as [&Finding; 0]);
        assert_eq!(verification.links[0].method_from, MethodSource::Rules);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_only_in_its_own_kind_of_name() -> Outcome {
    for (version, mismatch) in [(PgVersion::V14, true), (PgVersion::V15, false)] {
        let (servers, spec) = secured_pair(version, Mode::Cert).await?;
        let primary = &spec.nodes[0];
        let conninfo: ConnInfo = primary.sql.parse()?;
        let socket = PathBuf::from(conninfo.get("host").ok_or("no socket")?);
        let folder = socket.parent().ok_or("no folder")?.join("data/pgward");
        let authority = Ca::load(&spec.secrets.join("ca.crt"), &spec.secrets.join("ca.key"))?;
        let names = [format!("IP:{}", primary.address), "DNS:node-1".to_owned()];
        let server = authority.server("node-1", &names.each_ref().map(String::as_str))?;
        // Over what is there, so that owner and mode stay.
        fs::write(folder.join("server.crt"), server.cert)?;
        fs::write(folder.join("server.key"), server.key)?;
        servers.query("node-1", "SELECT pg_reload_conf()")?;

        // The link is up still, and would not come up again.
        let deadline = tokio::time::Instant::now() + standin::PATIENCE;
        let verification = loop {
            let verification = secured::look(&spec).await?;
            // The postmaster reads its files when it comes to it.
            if of(&verification, Code::StaleCertificate).is_empty() {
                break verification;
            }
            assert!(tokio::time::Instant::now() < deadline, "{verification:#?}");
        };
        let unproved = of(&verification, Code::ServerUnproved);
        if mismatch {
            let address = primary.address;
            let expected = format!(
                "server certificate for \"node-1\" does not match host name \"{address}\", by libpq \
                 14 of node-2"
            );
            assert_eq!(unproved.iter().map(|f| &f.what).collect::<Vec<_>>(), [&expected]);
        } else {
            assert!(verification.proved(), "{verification:#?}");
        }
    }
    Ok(())
}
