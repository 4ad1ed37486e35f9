//! A group of PGD nodes, with certificates and with passwords.

use std::{cell::RefCell, fs, time::SystemTime};

use cluster::{
    spec::{Mode, TopologyKind},
    verify::Code,
};
use pg_version::PgVersion;
use pgtest::Connect;
use time::{Duration, OffsetDateTime};

use crate::{
    Outcome,
    bench::{Bench, nothing},
};
use standin::{By, Ca, Node, PgdMesh, page::ROLE, secured};

async fn secured_mesh(version: PgVersion, mode: Mode, by: By) -> Outcome<(PgdMesh, Bench)> {
    let mesh = PgdMesh::open(version, 2, by).await?;
    let folder = tempfile::tempdir()?;
    let from = mesh.site().peers_from();
    let spec =
        secured::describe(TopologyKind::Pgd, mode, ROLE, folder.path(), mesh.nodes(), &from)?;
    let bench = Bench::secure(spec, mesh.nodes().to_vec(), folder).await?;
    Ok((mesh, bench))
}

/// Changes what a node has for a node.
fn alter(mesh: &PgdMesh, on: &Node, of: &Node, change: &dyn Fn(&str) -> String) -> standin::Result {
    let dsn = change(&mesh.dsn(on, of)?).replace('\'', "''");
    on.sql(&format!("SELECT bdr.alter_node_interface('{}', '{dsn}')", of.name()))?;
    Ok(())
}

fn remove(path: std::path::PathBuf) -> standin::Result {
    fs::remove_file(&path).map_err(|error| standin::Error::File(path.display().to_string(), error))
}

#[tokio::test(flavor = "multi_thread")]
async fn with_certificates() -> Outcome {
    let (mesh, mut bench) = secured_mesh(PgVersion::V17, Mode::Cert, By::Ip).await?;
    let (one, two) = (&*mesh.nodes()[0].clone(), &*mesh.nodes()[1].clone());
    let authority = bench.authority()?;
    let names =
        [format!("IP:{}", one.address()), format!("DNS:{}", one.address()), "DNS:node-1".into()];
    let renewed = authority.server("node-1", &names.each_ref().map(String::as_str))?;
    let hba_first = |line: &str| {
        one.edit_hba(&format!("{line}\n"), "")?;
        one.reload()
    };
    let conf = |lines: &str| {
        one.edit_conf(lines)?;
        one.reload()
    };

    // Rules.
    bench
        .wrong(
            "an earlier line trusts",
            &[Code::Shadowed, Code::PlainTextOpen, Code::TrustOpen, Code::NotRefused],
            &|| hba_first("host all all 127.0.0.1/32 trust"),
            &nothing,
        )
        .await?;
    bench
        .wrong(
            "an earlier line trusts whoever comes with TLS",
            &[Code::Shadowed, Code::TrustOpen, Code::NotRefused],
            &|| hba_first("hostssl all pgd_replication samenet trust"),
            &nothing,
        )
        .await?;
    bench
        .wrong(
            "an earlier line asks for passwords, as the files of Debian and of the rpms have it",
            &[Code::Shadowed, Code::PlainTextOpen],
            &|| hba_first("host all all 127.0.0.1/32 scram-sha-256"),
            &nothing,
        )
        .await?;
    bench
        .wrong(
            "an earlier line takes any certificate",
            &[Code::Shadowed],
            &|| {
                one.write("pg_ident.conf", b"everybody /^.*$ pgd_replication\n", 0o600)?;
                hba_first("hostssl all all all cert map=everybody")
            },
            &nothing,
        )
        .await?;
    bench
        .wrong(
            "a line for others trusts the whole world",
            &[Code::TrustOpen],
            &|| {
                one.edit_hba("", "host all all 0.0.0.0/0 trust\n")?;
                one.reload()
            },
            &nothing,
        )
        .await?;
    bench
        .wrong(
            "the lines for the links are gone",
            &[Code::NoRule],
            &|| {
                one.write("pg_hba.conf", b"local all all trust\n", 0o600)?;
                one.reload()
            },
            &nothing,
        )
        .await?;
    bench
        .wrong(
            "a network without a mask, as page 002 has it: the reload is refused",
            &[Code::ReloadRefused],
            &|| hba_first("host all all 192.0.2.20 trust"),
            &nothing,
        )
        .await?;
    bench
        .wrong(
            "clientcert=1 on 14 and newer: the reload is refused",
            &[Code::ReloadRefused],
            &|| hba_first("hostssl all all all cert clientcert=1"),
            &nothing,
        )
        .await?;
    bench
        .wrong(
            "changed, and not reloaded",
            &[Code::NotReloaded],
            &|| {
                one.edit_hba("", "# later\n")?;
                // The server tells the time of files to the second.
                let path = one.data_dir().join("pg_hba.conf");
                let later = SystemTime::now() + std::time::Duration::from_secs(2);
                fs::File::open(&path)
                    .and_then(|file| file.set_modified(later))
                    .map_err(|error| standin::Error::File(path.display().to_string(), error))
            },
            &nothing,
        )
        .await?;
    bench
        .wrong(
            "sessions from before: they came in by a line that is gone",
            &[Code::OtherMethod, Code::OldSession],
            &|| {
                let secured = fs::read(one.data_dir().join("pg_hba.conf")).unwrap_or_default();
                hba_first("hostssl all all 127.0.0.1/32 trust")?;
                mesh.cut_links()?;
                mesh.wait_linked()?;
                one.write("pg_hba.conf", &secured, 0o600)?;
                one.reload()
            },
            &|| mesh.cut_links(),
        )
        .await?;

    // TLS of the server.
    bench
        .wrong(
            "ssl is off",
            &[Code::SslOff, Code::ServerUnproved],
            &|| conf("ssl = off\n"),
            &nothing,
        )
        .await?;
    bench
        .wrong(
            "ssl_ca_file is not set",
            &[Code::NoCaFile, Code::LoginRefused],
            &|| conf("ssl_ca_file = ''\n"),
            &nothing,
        )
        .await?;
    bench
        .wrong(
            "the authority's file is not there",
            &[Code::RootMissing],
            &|| {
                remove(one.data_dir().join("root.crt"))?;
                one.reload()
            },
            &nothing,
        )
        .await?;
    bench
        .wrong(
            "the authority's file holds another one",
            &[Code::OtherRoot, Code::LoginRefused],
            &|| {
                one.write("root.crt", Ca::create("another")?.cert.as_bytes(), 0o644)?;
                one.reload()
            },
            &nothing,
        )
        .await?;
    bench
        .wrong(
            "a new key that others may read: the reload is refused, the old certificate served",
            &[Code::KeyRefused, Code::StaleCertificate],
            &|| {
                one.write("server.crt", renewed.cert.as_bytes(), 0o644)?;
                one.write("server.key", renewed.key.as_bytes(), 0o644)?;
                one.reload()
            },
            &nothing,
        )
        .await?;
    bench
        .wrong(
            "a new certificate with the old key: the reload is refused, the old certificate served",
            &[Code::CertificateRefused, Code::StaleCertificate],
            &|| {
                one.write("server.crt", renewed.cert.as_bytes(), 0o644)?;
                one.reload()
            },
            &nothing,
        )
        .await?;
    bench
        .wrong(
            "a server certificate of another name",
            &[Code::ServerUnproved, Code::ConnectionManager],
            &|| {
                let other = authority.server("elsewhere", &["DNS:elsewhere"])?;
                one.write("server.crt", other.cert.as_bytes(), 0o644)?;
                one.write("server.key", other.key.as_bytes(), 0o600)?;
                one.reload()
            },
            &nothing,
        )
        .await?;

    // What the links present, and whom they take for the server.
    let client = |cert: &standin::Certificate| {
        two.write("bdr_client.crt", cert.cert.as_bytes(), 0o644)?;
        two.write("bdr_client.key", cert.key.as_bytes(), 0o600)
    };
    bench
        .wrong(
            "a client certificate of another role",
            &[Code::CertificateRefused],
            &|| client(&authority.client("somebody")?),
            &nothing,
        )
        .await?;
    bench
        .wrong(
            "a client certificate for servers only",
            &[Code::CertificateRefused],
            &|| client(&authority.server(ROLE, &["DNS:node-2"])?),
            &nothing,
        )
        .await?;
    bench
        .wrong(
            "a client certificate of another authority",
            &[Code::CertificateRefused],
            &|| client(&Ca::create("another")?.client(ROLE)?),
            &nothing,
        )
        .await?;
    bench
        .wrong(
            "a client key that others may read",
            &[Code::KeyRefused],
            &|| {
                let key = fs::read(two.data_dir().join("bdr_client.key")).unwrap_or_default();
                two.write("bdr_client.key", &key, 0o644)
            },
            &nothing,
        )
        .await?;
    bench
        .wrong(
            "no client certificate",
            &[Code::CertificateMissing],
            &|| remove(two.data_dir().join("bdr_client.crt")),
            &nothing,
        )
        .await?;
    bench
        .wrong(
            "a client certificate's file without one",
            &[Code::CertificateRefused],
            &|| two.write("bdr_client.crt", b"", 0o644),
            &nothing,
        )
        .await?;
    let as_it_is = mesh.dsn(two, one)?;
    let back = || alter(&mesh, two, one, &|_| as_it_is.clone());
    bench
        .wrong(
            "a link that takes any server",
            &[Code::ServerNotVerified],
            &|| alter(&mesh, two, one, &|dsn| dsn.replace("verify-full", "require")),
            &back,
        )
        .await?;
    bench
        .wrong(
            "a link as another role",
            &[Code::OtherRole],
            &|| alter(&mesh, two, one, &|dsn| dsn.replace("user=pgd_replication", "user=postgres")),
            &back,
        )
        .await?;

    bench
        .wrong(
            "a link that asks for a certificate that is not there",
            &[Code::LinkOtherwise],
            &|| alter(&mesh, two, one, &|dsn| dsn.replace("bdr_client.crt", "elsewhere.crt")),
            &back,
        )
        .await?;
    bench
        .wrong(
            "a link that is gone, and was secured",
            &[Code::LinkMissing],
            &|| {
                let forget = "CREATE UNLOGGED TABLE kept AS TABLE bdr_standin.node; \
                              DELETE FROM bdr_standin.node WHERE node_name = 'node-1'";
                two.sql(forget).map(drop)
            },
            &|| {
                let bring_back = "INSERT INTO bdr_standin.node SELECT * FROM kept \
                                  WHERE node_name = 'node-1'; DROP TABLE kept";
                two.sql(bring_back).map(drop)
            },
        )
        .await?;
    let stranger = RefCell::new(None);
    bench
        .wrong(
            "a session of the links' role that is no link, from before",
            &[Code::OldSession],
            &|| {
                let secured = fs::read(one.data_dir().join("pg_hba.conf")).unwrap_or_default();
                hba_first("hostnossl all all 127.0.0.1/32 trust")?;
                let there = Connect::tcp((one.address(), one.port()).into());
                let session = there.user(ROLE).database(one.database()).open()?;
                stranger.replace(Some(session));
                one.write("pg_hba.conf", &secured, 0o600)?;
                one.reload()
            },
            &|| {
                stranger.replace(None);
                Ok(())
            },
        )
        .await?;
    bench
        .wrong(
            "a setting that the next start takes",
            &[Code::NotReloaded],
            &|| conf("max_wal_senders = 7\n"),
            &nothing,
        )
        .await?;

    // Roles.
    bench
        .wrong(
            "the role may have no connection",
            &[Code::RoleUnfit],
            &|| one.sql("ALTER ROLE pgd_replication CONNECTION LIMIT 0").map(drop),
            &|| one.sql("ALTER ROLE pgd_replication CONNECTION LIMIT -1").map(drop),
        )
        .await?;
    bench
        .wrong(
            "the role may not log in",
            &[Code::RoleUnfit, Code::LoginRefused],
            &|| one.sql("ALTER ROLE pgd_replication NOLOGIN").map(drop),
            &|| one.sql("ALTER ROLE pgd_replication LOGIN").map(drop),
        )
        .await?;
    bench
        .wrong(
            "the role may not replicate: REPLICATION is not inherited",
            &[Code::RoleUnfit],
            &|| one.sql("ALTER ROLE pgd_replication NOREPLICATION").map(drop),
            &|| one.sql("ALTER ROLE pgd_replication REPLICATION").map(drop),
        )
        .await?;
    bench
        .wrong(
            "the role is no bdr_superuser",
            &[Code::RoleUnfit],
            &|| one.sql("REVOKE bdr_superuser FROM pgd_replication").map(drop),
            &|| one.sql("GRANT bdr_superuser TO pgd_replication").map(drop),
        )
        .await?;

    // Time.
    let later = |days| OffsetDateTime::now_utc() + Duration::days(days);
    bench.at("certificates end soon", &[Code::EndsSoon], later(380)).await?;
    bench.at("certificates have ended", &[Code::CertificateRefused], later(400)).await?;

    insta::assert_snapshot!("pgd_with_certificates", bench.report());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn with_passwords() -> Outcome {
    let (mesh, mut bench) = secured_mesh(PgVersion::V16, Mode::Scram, By::Name).await?;
    let (one, two) = (&*mesh.nodes()[0].clone(), &*mesh.nodes()[1].clone());
    let pgpass = two.home_dir().join(".pgpass");
    let text = fs::read_to_string(&pgpass)?;
    let stored =
        one.value("SELECT rolpassword FROM pg_authid WHERE rolname = 'pgd_replication'")?;
    let role_back =
        || one.sql(&format!("ALTER ROLE pgd_replication PASSWORD '{stored}'")).map(drop);

    bench
        .wrong(
            "a password file that others may read",
            &[Code::PassfileIgnored],
            &|| two.write(&pgpass, text.as_bytes(), 0o644),
            &nothing,
        )
        .await?;
    if rustix::process::geteuid().is_root() {
        bench
            .wrong(
                "a password file of another owner",
                &[Code::PassfileIgnored],
                &|| {
                    std::os::unix::fs::chown(&pgpass, Some(0), Some(0))
                        .map_err(|error| standin::Error::File(pgpass.display().to_string(), error))
                },
                &nothing,
            )
            .await?;
    }
    bench
        .wrong(
            "no password file in the HOME of the server",
            &[Code::PassfileMissing],
            &|| {
                two.write("mislaid.pgpass", text.as_bytes(), 0o600)?;
                remove(pgpass.clone())
            },
            &nothing,
        )
        .await?;
    bench
        .wrong(
            "a comment behind the password",
            &[Code::PasswordMissing],
            &|| two.write(&pgpass, text.replace('\n', " #node one\n").as_bytes(), 0o600),
            &nothing,
        )
        .await?;
    bench
        .wrong(
            "an earlier line has another password",
            &[Code::PasswordMissing],
            &|| two.write(&pgpass, format!("*:*:*:*:wrong\n{text}").as_bytes(), 0o600),
            &nothing,
        )
        .await?;
    bench
        .wrong(
            "no line for the node",
            &[Code::PasswordMissing],
            &|| two.write(&pgpass, b"elsewhere:*:*:*:x\n", 0o600),
            &nothing,
        )
        .await?;
    bench
        .wrong(
            "the role has no password",
            &[Code::NoScramSecret, Code::LoginRefused],
            &|| one.sql("ALTER ROLE pgd_replication PASSWORD NULL").map(drop),
            &role_back,
        )
        .await?;
    bench
        .wrong(
            "the role's password has expired",
            &[Code::RoleUnfit, Code::LoginRefused],
            &|| one.sql("ALTER ROLE pgd_replication VALID UNTIL '2020-01-01'").map(drop),
            &|| one.sql("ALTER ROLE pgd_replication VALID UNTIL 'infinity'").map(drop),
        )
        .await?;
    bench
        .wrong(
            "the role has an md5 password",
            &[Code::NoScramSecret],
            &|| {
                let md5 = "md5aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
                one.sql(&format!("ALTER ROLE pgd_replication PASSWORD '{md5}'")).map(drop)
            },
            &role_back,
        )
        .await?;
    bench
        .wrong(
            "an earlier line asks for the password in clear text",
            &[Code::Shadowed, Code::NotRefused],
            &|| {
                one.edit_hba("hostssl all all 127.0.0.1/32 password\n", "")?;
                one.reload()
            },
            &nothing,
        )
        .await?;
    bench
        .wrong(
            "a line without TLS, as the links' own",
            &[Code::PlainTextOpen, Code::NotRefused],
            &|| {
                one.edit_hba("host all pgd_replication 127.0.0.1/32 scram-sha-256\n", "")?;
                one.reload()
            },
            &nothing,
        )
        .await?;
    let as_it_is = mesh.dsn(two, one)?;
    let back = || alter(&mesh, two, one, &|_| as_it_is.clone());
    bench
        .wrong(
            "verify-ca, as the page has it: whoever has a certificate is given the password",
            &[Code::PasswordGivenAway, Code::ServerNotVerified],
            &|| {
                alter(&mesh, two, one, &|dsn| {
                    dsn.replace("verify-full", "verify-ca")
                        .replace(" channel_binding=require", "")
                        .replace(" require_auth=scram-sha-256", "")
                })
            },
            &back,
        )
        .await?;
    bench
        .wrong(
            "no TLS in the connection string, and a password in it",
            &[Code::PasswordGivenAway, Code::ServerNotVerified, Code::PasswordInCatalogue],
            &|| {
                alter(&mesh, two, one, &|dsn| {
                    let plain: Vec<&str> = dsn
                        .split(' ')
                        .filter(|word| {
                            !["ssl", "channel", "require"].iter().any(|s| word.starts_with(s))
                        })
                        .collect();
                    format!("{} sslmode=prefer password=hunter2", plain.join(" "))
                })
            },
            &back,
        )
        .await?;
    let beneath = two.value("SELECT subconninfo FROM pg_subscription")?;
    let under = |conninfo: &str| -> standin::Result {
        let name = two.value("SELECT subname FROM pg_subscription")?;
        two.sql(&format!("ALTER SUBSCRIPTION \"{name}\" CONNECTION '{conninfo}'"))?;
        Ok(())
    };
    bench
        .wrong(
            "the subscription beneath takes any server, and node_summary does not tell",
            &[Code::ServerNotVerified],
            &|| under(&beneath.replace("verify-full", "require")),
            &|| under(&beneath),
        )
        .await?;
    assert!(!bench.report().contains("hunter2"));

    insta::assert_snapshot!("pgd_with_passwords", bench.report());
    Ok(())
}
