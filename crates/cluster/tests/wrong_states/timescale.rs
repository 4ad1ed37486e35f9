//! A TimescaleDB access node and its data nodes.

use std::{fs, path::PathBuf, sync::Arc};

use cluster::{
    spec::{Mode, TimescaleSpec, TopologyKind, UserChain},
    verify::Code,
};
use pg_version::PgVersion;

use crate::{
    Outcome,
    bench::{Bench, nothing},
};
use standin::{Ca, TimescaleCluster, secured};

const TESTROLE: &str = "testrole";

async fn secured_cluster(mode: Mode, chain: UserChain) -> Outcome<(TimescaleCluster, Bench)> {
    let cluster = TimescaleCluster::open(PgVersion::V15, 2).await?;
    let folder = tempfile::tempdir()?;
    let nodes: Vec<Arc<standin::Node>> = cluster.nodes().cloned().collect();
    let from = cluster.site().peers_from();
    let kind = TopologyKind::Timescale;
    let mut spec = secured::describe(kind, mode, "postgres", folder.path(), &nodes, &from)?;
    spec.roles.push(TESTROLE.to_owned());
    spec.certificates.user_chain = chain;
    spec.timescale =
        Some(TimescaleSpec { access_node: cluster.access().name().to_owned(), copy_chunk: false });
    let bench = Bench::secure(spec, nodes, folder).await?;
    Ok((cluster, bench))
}

fn moved(from: PathBuf, to: PathBuf) -> standin::Result {
    fs::rename(&from, &to).map_err(|error| standin::Error::File(from.display().to_string(), error))
}

#[tokio::test(flavor = "multi_thread")]
async fn with_certificates() -> Outcome {
    // The page's chain: root, access node, role.
    let (cluster, mut bench) = secured_cluster(Mode::Cert, UserChain::AccessNode).await?;
    let (access, data) = (&*cluster.access().clone(), &*cluster.data()[0].clone());
    let authority = bench.authority()?;
    let md5 = access.value(&format!("SELECT md5('{TESTROLE}')"))?;
    let certs = access.data_dir().join("timescaledb/certs");
    let (cert, key) = (certs.join(format!("{md5}.crt")), certs.join(format!("{md5}.key")));
    let chain = fs::read_to_string(&cert)?;
    let second = chain.rfind("-----BEGIN").ok_or("a chain of two")?;
    let (leaf, above) = chain.split_at(second);
    let conf = |node: &standin::Node, lines: &str| {
        node.edit_conf(lines)?;
        node.reload()
    };

    bench
        .wrong(
            "ssl is off on the access node: no certificate is ever presented",
            &[Code::SslOff, Code::NotWorking],
            &|| conf(access, "ssl = off\n"),
            &nothing,
        )
        .await?;
    bench
        .wrong(
            "ssl is off on a data node",
            &[Code::SslOff, Code::NotWorking],
            &|| conf(data, "ssl = off\n"),
            &nothing,
        )
        .await?;
    bench
        .wrong(
            "ssl_ca_file is not set on the access node: no data node is verified",
            &[Code::NoCaFile],
            &|| conf(access, "ssl_ca_file = ''\n"),
            &nothing,
        )
        .await?;
    bench
        .wrong(
            "the authority's file is gone on the access node: no data node is verified",
            &[Code::RootMissing],
            &|| moved(access.data_dir().join("root.crt"), access.data_dir().join("old.crt")),
            &nothing,
        )
        .await?;
    bench
        .wrong(
            "the authority's file on the access node holds another one",
            &[Code::OtherRoot, Code::NotWorking],
            &|| access.write("root.crt", Ca::create("another")?.cert.as_bytes(), 0o644),
            &nothing,
        )
        .await?;
    bench
        .wrong(
            "no certificate for testrole",
            &[Code::CertificateMissing, Code::NotWorking],
            &|| {
                moved(cert.clone(), certs.join("old.crt"))?;
                moved(key.clone(), certs.join("old.key"))
            },
            &nothing,
        )
        .await?;
    bench
        .wrong(
            "testrole's certificate under another role's name",
            &[Code::CertificateMissing, Code::NotWorking],
            &|| moved(cert.clone(), certs.join("5f4dcc3b5aa765d61d8327deb882cf99.crt")),
            &nothing,
        )
        .await?;
    bench
        .wrong(
            "certificates below timescaledb.ssl_dir, not in it",
            &[Code::CertificateMissing, Code::NotWorking],
            &|| {
                let folder = access.data_dir().display().to_string();
                conf(access, &format!("timescaledb.ssl_dir = '{folder}'\n"))
            },
            &nothing,
        )
        .await?;
    bench
        .wrong(
            "the chain begins with the access node's certificate",
            &[Code::CertificateRefused, Code::NotWorking],
            &|| access.write(&cert, [above, leaf].concat().as_bytes(), 0o644),
            &nothing,
        )
        .await?;
    bench
        .wrong(
            "the access node's certificate is missing in the chain",
            &[Code::CertificateRefused, Code::NotWorking],
            &|| access.write(&cert, leaf.as_bytes(), 0o644),
            &nothing,
        )
        .await?;
    bench
        .wrong(
            "a certificate of another role",
            &[Code::CertificateRefused, Code::NotWorking],
            &|| {
                let other = authority.client("test_role")?;
                access.write(&cert, other.cert.as_bytes(), 0o644)?;
                access.write(&key, other.key.as_bytes(), 0o600)
            },
            &nothing,
        )
        .await?;
    bench
        .wrong(
            "a key that others may read",
            &[Code::KeyRefused, Code::NotWorking],
            &|| access.write(&key, &fs::read(&key).unwrap_or_default(), 0o644),
            &nothing,
        )
        .await?;
    bench
        .wrong(
            "a user mapping with a password",
            &[Code::PasswordInCatalogue],
            &|| {
                access
                    .sql(
                        "CREATE USER MAPPING FOR testrole SERVER dn1 \
                     OPTIONS (user 'testrole', password 'hunter2')",
                    )
                    .map(drop)
            },
            &|| access.sql("DROP USER MAPPING FOR testrole SERVER dn1").map(drop),
        )
        .await?;
    bench
        .wrong(
            "testrole is not there on a data node",
            &[Code::RoleUnfit, Code::NotWorking],
            &|| data.sql("ALTER ROLE testrole RENAME TO test_role").map(drop),
            &|| data.sql("ALTER ROLE test_role RENAME TO testrole").map(drop),
        )
        .await?;
    bench
        .wrong(
            "an earlier line on a data node trusts",
            &[Code::OtherMethod, Code::Shadowed, Code::TrustOpen, Code::NotRefused],
            &|| {
                data.edit_hba("host all all 127.0.0.1/32 trust\n", "")?;
                data.reload()
            },
            &nothing,
        )
        .await?;
    bench
        .wrong(
            "the lines for the links are for the application's database only: no node can be added",
            &[Code::NoRule],
            &|| {
                let path = data.data_dir().join("pg_hba.conf");
                let text = fs::read_to_string(&path).unwrap_or_default();
                let narrow = text.replace("hostssl all ", "hostssl tsdb ");
                data.write(&path, narrow.as_bytes(), 0o600)?;
                data.reload()
            },
            &nothing,
        )
        .await?;
    bench
        .wrong(
            "max_prepared_transactions is 0 on a data node",
            &[Code::OtherSetting],
            &|| {
                data.edit_conf("max_prepared_transactions = 0\n")?;
                Ok(data.server().restart()?)
            },
            &|| Ok(data.server().restart()?),
        )
        .await?;
    assert!(!bench.report().contains("hunter2"));

    insta::assert_snapshot!("timescale_with_certificates", bench.report());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn with_passwords() -> Outcome {
    let (cluster, mut bench) = secured_cluster(Mode::Scram, UserChain::Root).await?;
    let (access, data) = (&*cluster.access().clone(), &*cluster.data()[0].clone());
    let passfile = access.data_dir().join("passfile");
    let text = fs::read_to_string(&passfile)?;
    let stored = data.value("SELECT rolpassword FROM pg_authid WHERE rolname = 'testrole'")?;

    bench
        .wrong(
            "a comment behind the password, as page 002 has it",
            &[Code::PasswordMissing, Code::NotWorking],
            &|| access.write(&passfile, text.replace('\n', " #assuming\n").as_bytes(), 0o600),
            &nothing,
        )
        .await?;
    bench
        .wrong(
            "a password file that others may read",
            &[Code::PassfileIgnored, Code::NotWorking],
            &|| access.write(&passfile, text.as_bytes(), 0o640),
            &nothing,
        )
        .await?;
    bench
        .wrong(
            "timescaledb.passfile leads elsewhere",
            &[Code::PassfileMissing, Code::NotWorking],
            &|| {
                access.edit_conf("timescaledb.passfile = 'secret/pass'\n")?;
                access.reload()
            },
            &nothing,
        )
        .await?;
    bench
        .wrong(
            "a role has no password on a data node",
            &[Code::NoScramSecret, Code::NotWorking],
            &|| data.sql("ALTER ROLE testrole PASSWORD NULL").map(drop),
            &|| data.sql(&format!("ALTER ROLE testrole PASSWORD '{stored}'")).map(drop),
        )
        .await?;
    bench
        .wrong(
            "plain text is let in to a data node",
            &[Code::PlainTextOpen, Code::NotRefused],
            &|| {
                data.edit_hba("host all all 127.0.0.1/32 scram-sha-256\n", "")?;
                data.reload()
            },
            &nothing,
        )
        .await?;
    bench
        .wrong(
            "ssl is off on the access node",
            &[Code::SslOff, Code::NotWorking],
            &|| {
                access.edit_conf("ssl = off\n")?;
                // libpq's default would still use TLS where it is offered.
                data.edit_conf("ssl = off\n")?;
                data.reload()?;
                access.reload()
            },
            &nothing,
        )
        .await?;

    insta::assert_snapshot!("timescale_with_passwords", bench.report());
    Ok(())
}
