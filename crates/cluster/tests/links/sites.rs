//! Links as sites have them: names that need quotes, files where Debian or an administrator put them,
//! passwords of former times, settings that get in the way.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use cluster::spec::{ClusterSpec, Mode};
use pg_version::PgVersion;
use pgtest::{Run, Server, Session, Shutdown};

use crate::{
    found::{files, taken_back},
    support::{Outcome, STREAMING, plan, secured_and_proved, server, spec_of, wait},
};

const DATABASE: &str = "Pröd \"1\", all";
const ROLE: &str = "Repl \"öl\"";
/// As the server's own tools would write it on a German Windows.
const HBA: &[u8] = b"# Zugang f\xfcr alle\r\nlocal all all trust\r\n\
    host \"Pr\xc3\xb6d \"\"1\"\", all\" \"Repl \"\"\xc3\xb6l\"\"\" samehost md5\r\n\
    host all all 127.0.0.0/8 md5\r\nhost replication all 127.0.0.0/8 md5";

/// A server with a history: its data directory is behind a symbolic link, its rules are elsewhere, its
/// settings come from a folder, it speaks TLS by a certificate of the site's, and sessions only read
/// unless they say otherwise.
fn old_server(version: PgVersion, last: u8) -> Outcome<Server> {
    let mut server = server(&pgtest::find(version)?, last)?;
    server.query("CREATE ROLE \"Dba\" SUPERUSER LOGIN")?;
    let root = server.root().to_owned();
    server.stop(Shutdown::Fast)?;
    let (data, etc) = (server.data_dir(), root.join("etc"));
    fs::rename(&data, root.join("volume"))?;
    symlink(root.join("volume"), &data)?;
    let own = |path: &Path, bytes: &[u8]| server.write_file(path, bytes, 0o640);
    Run::new("install")
        .args(["-d", "-o", server.account().name()])
        .args([etc.as_os_str(), etc.join("conf.d").as_os_str()])
        .check()?;
    own(&etc.join("pg_hba.conf"), HBA)?;
    Run::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "9", "-subj", "/CN=site"])
        .args(["-keyout".as_ref(), root.join("site.key").as_os_str()])
        .args(["-out".as_ref(), etc.join("site.crt").as_os_str()])
        .check()?;
    server.write_file(etc.join("site.key"), fs::read(root.join("site.key"))?, 0o600)?;
    let site = format!(
        "ssl = on\nssl_cert_file = '{0}/site.crt'\nSSL_KEY_FILE '{0}/site.key'\n\
         password_encryption = md5\nwal_level = logical\ndefault_transaction_read_only = on\n\
         hba_file = '{0}/pg_hba.conf'\n",
        etc.display()
    );
    own(&etc.join("conf.d/50-site.conf"), site.as_bytes())?;
    let conf = fs::read_to_string(data.join("postgresql.conf"))?;
    let conf = format!("{conf}\ninclude_dir = '{}/conf.d'\n", etc.display());
    own(&data.join("postgresql.conf"), conf.as_bytes())?;
    server.start()?;
    Ok(server)
}

fn in_database(server: &Server) -> Outcome<Session> {
    let mut session = server.connect().database(DATABASE).open()?;
    session.query("SET default_transaction_read_only = off")?;
    Ok(session)
}

/// Every file of an administrator, wherever it is.
fn all_files(servers: &[&Server]) -> Outcome<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = files(servers)?;
    for server in servers {
        for name in ["pg_hba.conf", "conf.d/50-site.conf", "site.crt", "site.key"] {
            let path = server.root().join("etc").join(name);
            found.insert(path.clone(), fs::read(path)?);
        }
        assert!(fs::symlink_metadata(server.data_dir())?.is_symlink());
    }
    Ok(found)
}

fn as_dba(mut spec: ClusterSpec) -> ClusterSpec {
    for node in &mut spec.nodes {
        node.sql = node.sql.replace("user=postgres", "user=Dba");
    }
    spec
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_with_a_history() -> Outcome {
    for (version, mode) in [(PgVersion::V15, Mode::Scram), (PgVersion::V18, Mode::Cert)] {
        let folder = tempfile::tempdir()?;
        let (one, two) = (old_server(version, 22)?, old_server(version, 23)?);
        for server in [&one, &two] {
            let mut session = server.session()?;
            session.query("SET default_transaction_read_only = off")?;
            session.query(
                "CREATE ROLE \"Repl \"\"öl\"\"\" LOGIN REPLICATION PASSWORD 'it''s an old one'",
            )?;
            session.query("CREATE DATABASE \"Pröd \"\"1\"\", all\"")?;
            in_database(server)?.query("CREATE TABLE t (i int PRIMARY KEY)")?;
        }
        in_database(&one)?.query("CREATE PUBLICATION p FOR TABLE t")?;
        let mut session = in_database(&two)?;
        for name in ["\"Sub \"\"ä\"\"\"", "second"] {
            let conninfo = format!(
                "host={} port={} dbname=''{DATABASE}'' user=''{ROLE}'' \
                 password=''it\\''s an old one'' keepalives_idle=7 options=''-c extra_float_digits=3''",
                one.addr(),
                one.port()
            );
            session.query(&format!(
                "CREATE SUBSCRIPTION {name} CONNECTION '{conninfo}' PUBLICATION p \
                 WITH (copy_data = false, slot_name = 'slot_{}')",
                name.trim_matches('"')
                    .to_lowercase()
                    .replace(|c: char| !c.is_ascii_alphanumeric(), "_")
            ))?;
        }
        wait(&one, STREAMING, "2")?;
        let servers = [("one", &one), ("two", &two)];
        let spec = as_dba(spec_of(mode, &[ROLE], folder.path(), &servers));
        let found = all_files(&[&one, &two])?;
        let links =
            "SELECT string_agg(subname || subconninfo, ' ' ORDER BY subname) FROM pg_subscription";
        let links_found = two.query(links)?.value().map(str::to_owned);

        let shown = plan(&spec).await?;
        assert!(!format!("{shown:?}{}", serde_json::to_string(&shown.plan)?).contains("old one"));
        secured_and_proved(&spec, 2).await?;
        let links_now = two.query(links)?.value().map(str::to_owned).unwrap_or_default();
        assert!(links_now.contains("keepalives_idle=7"), "{links_now}");
        assert!(links_now.contains("extra_float_digits"), "{links_now}");
        assert!(!links_now.contains("old one"), "{links_now}");
        let hba = fs::read(one.root().join("etc/pg_hba.conf"))?;
        assert!(hba.starts_with(b"# Zugang f\xfcr alle\r\nlocal all all trust\r\nhostssl "));
        let lines = hba.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        // The last line had no end; all others keep theirs.
        assert!(lines.rev().skip(1).all(|line| line.ends_with(b"\r")));

        taken_back(&spec).await?;
        assert_eq!(all_files(&[&one, &two])?, found, "{version}");
        assert_eq!(two.query(links)?.value().map(str::to_owned), links_found);
        wait(&one, STREAMING, "2")?;
    }
    Ok(())
}

/// Majors that never met, joined in a ring, on IPv6 only.
#[tokio::test(flavor = "multi_thread")]
async fn different_majors_on_ipv6() -> Outcome {
    for mode in [Mode::Cert, Mode::Scram] {
        let folder = tempfile::tempdir()?;
        let versions = [PgVersion::V12, PgVersion::V15, PgVersion::V18];
        let start = |version| -> Outcome<Server> {
            Ok(Server::builder(&pgtest::find(version)?)
                .addr(std::net::Ipv6Addr::LOCALHOST)
                .setting("wal_level", "logical")
                .setting("logging_collector", "on")
                .setting("wal_retrieve_retry_interval", "100ms")
                .hba("local all all trust\nhost all all ::/0 trust\n")
                .start()?)
        };
        let servers: Vec<Server> = versions.into_iter().map(start).collect::<Outcome<_>>()?;
        for (number, server) in servers.iter().enumerate() {
            server.query("CREATE ROLE replicator LOGIN REPLICATION")?;
            for table in 0..servers.len() {
                server.query(&format!("CREATE TABLE t{table} (i int PRIMARY KEY)"))?;
            }
            server.query(&format!("CREATE PUBLICATION p FOR TABLE t{number}"))?;
        }
        let ring: Vec<(&Server, usize)> =
            servers.iter().enumerate().map(|(to, server)| (server, (to + 1) % 3)).collect();
        for (publisher, subscriber) in &ring {
            servers[*subscriber].query(&format!(
                "CREATE SUBSCRIPTION s CONNECTION 'host=::1 port={} dbname=postgres user=replicator' \
                 PUBLICATION p WITH (copy_data = false, slot_name = 'slot_{subscriber}')",
                publisher.port()
            ))?;
        }
        for server in &servers {
            wait(server, STREAMING, "1")?;
        }
        let names = ["twelve", "fifteen", "eighteen"];
        let described: Vec<(&str, &Server)> = names.into_iter().zip(&servers).collect();
        let mut spec = spec_of(mode, &["replicator"], folder.path(), &described);
        for node in &mut spec.nodes {
            node.peers_from = "::1/128".parse().into_iter().collect();
        }
        let all: Vec<&Server> = servers.iter().collect();
        let found = files(&all)?;
        secured_and_proved(&spec, 3).await?;
        for (number, (publisher, subscriber)) in ring.iter().enumerate() {
            publisher.query(&format!("INSERT INTO t{number} VALUES (1)"))?;
            wait(&servers[*subscriber], &format!("SELECT count(*) FROM t{number}"), "1")?;
        }
        taken_back(&spec).await?;
        assert_eq!(files(&all)?, found);
    }
    Ok(())
}

/// What pgward cannot follow is refused in words that say what it is, before anything is changed.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_followed_is_refused() -> Outcome {
    let folder = tempfile::tempdir()?;
    let installation = pgtest::find(PgVersion::V17)?;
    let (one, two) = (server(&installation, 24)?, server(&installation, 25)?);
    for server in [&one, &two] {
        server.query(
            "CREATE ROLE replicator LOGIN REPLICATION PASSWORD 'x' VALID UNTIL '2001-01-01'",
        )?;
    }
    let servers = [("one", &one), ("two", &two)];
    let found = files(&[&one, &two])?;
    let refusal = async |mode| -> Outcome<String> {
        let spec = spec_of(mode, &["replicator"], folder.path(), &servers);
        Ok(plan(&spec).await.err().map(|error| error.to_string()).unwrap_or_default())
    };
    let subscribe = |conninfo: &str| -> Outcome {
        two.query(&format!(
            "CREATE SUBSCRIPTION s CONNECTION '{conninfo}' PUBLICATION p \
             WITH (connect = false, slot_name = 's')"
        ))?;
        Ok(())
    };
    let again = || -> Outcome {
        two.query("ALTER SUBSCRIPTION s SET (slot_name = NONE)")?;
        two.query("DROP SUBSCRIPTION s")?;
        Ok(())
    };
    let several = format!("host=elsewhere,{} port=5432,{}", one.addr(), one.port());
    for (conninfo, expected) in [
        // None of these is known to be a link, and without one there is nothing to secure.
        ("service=other", "only its own machine can read the service file (service=other)"),
        ("host=elsewhere", "leads to none of the described nodes (host=elsewhere)"),
        ("host=one,two port=5432", "leads to none of the described nodes (host=one,two"),
        ("host=/var/run/postgresql", "leads to none of the described nodes"),
        (&several, "names several servers"),
    ] {
        subscribe(conninfo)?;
        let said = refusal(Mode::Cert).await?;
        assert!(said.contains(expected), "{conninfo}: {said}");
        assert!(said.contains("subscription s"), "{said}");
        again()?;
    }
    subscribe(&format!("host={} port={} user=replicator", one.addr(), one.port()))?;
    let said = refusal(Mode::Scram).await?;
    assert!(said.contains("the password of the role replicator has expired"), "{said}");
    // A certificate is no password.
    assert_eq!(refusal(Mode::Cert).await?, "");
    // Whoever is no superuser must give a password, unless a superuser says otherwise.
    two.query("GRANT CREATE ON DATABASE postgres TO replicator")?;
    two.query("ALTER SUBSCRIPTION s OWNER TO replicator")?;
    let said = refusal(Mode::Cert).await?;
    let mend = "ALTER SUBSCRIPTION \"s\" SET (password_required = false)";
    assert!(said.contains(mend), "{said}");
    two.query(mend)?;
    assert_eq!(refusal(Mode::Cert).await?, "");
    // One of several is no better from a foreign server.
    two.query("CREATE EXTENSION postgres_fdw")?;
    two.query(&format!(
        "CREATE SERVER either FOREIGN DATA WRAPPER postgres_fdw \
         OPTIONS (host 'elsewhere,{}', port '5432,{}')",
        one.addr(),
        one.port()
    ))?;
    let said = refusal(Mode::Cert).await?;
    assert!(
        said.contains("the foreign server either of the database postgres names several servers"),
        "{said}"
    );
    assert_eq!(files(&[&one, &two])?, found);
    Ok(())
}
