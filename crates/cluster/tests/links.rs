//! PostgreSQL's own links beside subscriptions: standbys and postgres_fdw, from open to proved, and
//! back.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use cluster::{
    inspect::{self, Node, NodeState},
    prepare::{self, Prepared},
    run::{self, Runner},
    spec::{CertificatePolicy, ClusterSpec, IKnow, Mode, NodeSpec, TopologyKind},
    transport::{FilesSpec, LocalFiles},
    verify::{self, Verification},
};
use pg_version::PgVersion;
use pgtest::{Installation, Run, Server, Shutdown};
use time::OffsetDateTime;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

fn spec_of(mode: Mode, roles: &[&str], secrets: &Path, servers: &[(&str, &Server)]) -> ClusterSpec {
    let node = |(name, server): &(&str, &Server)| NodeSpec {
        name: (*name).to_owned(),
        host: None,
        address: server.addr(),
        port: server.port(),
        peers_from: "127.0.0.1/32".parse().into_iter().collect(),
        sql: format!(
            "host={} port={} user=postgres dbname=postgres",
            server.socket_dir().display(),
            server.port()
        ),
        files: FilesSpec::Local,
    };
    ClusterSpec {
        topology: TopologyKind::Native,
        mode,
        link_role: roles[0].to_owned(),
        roles: roles[1..].iter().map(|role| (*role).to_owned()).collect(),
        secrets: secrets.join("secrets"),
        certificates: CertificatePolicy::default(),
        i_know: IKnow::default(),
        timescale: None,
        nodes: servers.iter().map(node).collect(),
    }
}

fn nodes(spec: &ClusterSpec) -> Vec<Node> {
    let node = |spec: &NodeSpec| Node { spec: spec.clone(), files: Arc::new(LocalFiles) };
    spec.nodes.iter().map(node).collect()
}

async fn states(spec: &ClusterSpec) -> Outcome<Vec<NodeState>> {
    Ok(inspect::inspect_all(spec, &nodes(spec)).await?)
}

async fn plan(spec: &ClusterSpec) -> Outcome<Prepared> {
    Ok(prepare::prepare(spec, &states(spec).await?, OffsetDateTime::now_utc())?)
}

async fn secure(spec: &ClusterSpec) -> Outcome {
    Runner::new(spec, &nodes(spec)).apply(plan(spec).await?).await?;
    Ok(())
}

/// Takes back what was applied; nothing must have been in the way.
async fn taken_back(spec: &ClusterSpec) -> Outcome {
    let outcome = Runner::new(spec, &nodes(spec)).rollback().await?;
    assert_eq!(outcome, run::Outcome::TakenBack { kept: Vec::new() });
    Ok(())
}

async fn look(spec: &ClusterSpec) -> Outcome<Verification> {
    Ok(verify::verify(spec, &nodes(spec), OffsetDateTime::now_utc()).await?)
}

/// From open to proved; the second time there is nothing to do.
async fn secured_and_proved(spec: &ClusterSpec, links: usize) -> Outcome {
    assert!(!look(spec).await?.proved());
    secure(spec).await?;
    let after = look(spec).await?;
    assert!(after.proved(), "{after:#?}");
    assert_eq!(after.links.len(), links);
    let again = plan(spec).await?.plan;
    assert!(again.is_empty(), "{again:#?}");
    Ok(())
}

fn server(installation: &Installation, last: u8) -> Outcome<Server> {
    let server = Server::builder(installation)
        .addr([127, 0, 0, last])
        .setting("logging_collector", "on")
        .setting("wal_retrieve_retry_interval", "100ms")
        .start()?;
    Ok(server)
}

/// A standby of a server, as `pg_basebackup -R` leaves it: its primary's files, with a configuration of
/// its own. The primary is restarted.
fn standby(
    installation: &Installation,
    primary: &mut Server,
    last: u8,
    conninfo: &str,
    slot: Option<&str>,
) -> Outcome<Server> {
    let mut standby = Server::builder(installation)
        .addr([127, 0, 0, last])
        .setting("logging_collector", "on")
        .setting("wal_retrieve_retry_interval", "100ms")
        .init()?;
    let data = standby.data_dir();
    let own: Vec<(&str, Vec<u8>)> = ["postgresql.conf", "pg_hba.conf"]
        .into_iter()
        .map(|name| Ok((name, fs::read(data.join(name))?)))
        .collect::<Outcome<_>>()?;
    let conninfo =
        format!("host={} port={} user=replicator {conninfo}", primary.addr(), primary.port());
    primary.stop(Shutdown::Fast)?;
    fs::remove_dir_all(&data)?;
    Run::new("cp")
        .args(["-a".as_ref(), primary.data_dir().as_os_str(), data.as_os_str()])
        .check()?;
    for (name, bytes) in own {
        fs::write(data.join(name), bytes)?;
    }
    standby.write_file(data.join("standby.signal"), b"", 0o600)?;
    let mut auto = format!("# as pg_basebackup leaves it\nprimary_conninfo = '{conninfo}'\n");
    if let Some(slot) = slot {
        auto.push_str(&format!("primary_slot_name = '{slot}'\n"));
    }
    standby.write_file(data.join("postgresql.auto.conf"), auto.as_bytes(), 0o600)?;
    primary.start()?;
    standby.start()?;
    Ok(standby)
}

/// Waits until a query's only value is `expected`.
fn wait(server: &Server, query: &str, expected: &str) -> Outcome {
    let deadline = Instant::now() + Duration::from_secs(120);
    while server.query(query)?.value() != Some(expected) {
        assert!(Instant::now() < deadline, "{query}: {}", server.log_text()?);
        std::thread::yield_now();
    }
    Ok(())
}

const STREAMING: &str = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'";

/// What an administrator has on a node: files and their bytes.
fn files(servers: &[&Server]) -> Outcome<BTreeMap<PathBuf, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for server in servers {
        for name in ["postgresql.conf", "postgresql.auto.conf", "pg_hba.conf"] {
            let path = server.data_dir().join(name);
            files.insert(path.clone(), fs::read(path)?);
        }
        assert!(!server.data_dir().join("pgward").exists());
    }
    Ok(files)
}

/// A standby with a slot, and one that follows that one without a slot.
#[tokio::test(flavor = "multi_thread")]
async fn standbys() -> Outcome {
    for (version, mode) in
        [(PgVersion::V15, Mode::Scram), (PgVersion::V18, Mode::Cert), (PgVersion::V13, Mode::Cert)]
    {
        let installation = pgtest::find(version)?;
        let folder = tempfile::tempdir()?;
        let mut first = server(&installation, 5)?;
        first.query("CREATE ROLE replicator LOGIN REPLICATION")?;
        first.query("SELECT pg_create_physical_replication_slot('second')")?;
        let mut second = standby(&installation, &mut first, 6, "", Some("second"))?;
        let third = standby(&installation, &mut second, 7, "application_name=third", None)?;
        let servers = [("first", &first), ("second", &second), ("third", &third)];
        wait(&first, STREAMING, "1")?;
        wait(&second, STREAMING, "1")?;
        let found = files(&[&first, &second, &third])?;

        let spec = spec_of(mode, &["replicator"], folder.path(), &servers);
        secured_and_proved(&spec, 2).await?;
        first.query("CREATE TABLE t (i int)")?;
        first.query("INSERT INTO t VALUES (1)")?;
        wait(&third, "SELECT count(*) FROM pg_class WHERE relname = 't'", "1")?;
        wait(&third, "SELECT count(*) FROM t", "1")?;

        // And back: every byte, and the links.
        taken_back(&spec).await?;
        assert_eq!(files(&[&first, &second, &third])?, found, "{version}");
        wait(&first, STREAMING, "1")?;
        wait(&second, STREAMING, "1")?;
    }
    Ok(())
}

/// Two nodes that read each other's tables, as a superuser, as another role, and as whoever it is.
#[tokio::test(flavor = "multi_thread")]
async fn foreign_servers() -> Outcome {
    for (version, mode) in
        [(PgVersion::V15, Mode::Cert), (PgVersion::V18, Mode::Scram), (PgVersion::V18, Mode::Cert)]
    {
        let installation = pgtest::find(version)?;
        let folder = tempfile::tempdir()?;
        let (one, two) = (server(&installation, 8)?, server(&installation, 9)?);
        let set_up = |from: &Server, to: &Server| -> Outcome {
            let leads_there = format!(
                "FOREIGN DATA WRAPPER postgres_fdw \
                 OPTIONS (host '{}', port '{}', dbname 'postgres', fetch_size '7')",
                to.addr(),
                to.port()
            );
            for statement in [
                "CREATE ROLE reader LOGIN".to_owned(),
                "CREATE ROLE writer LOGIN PASSWORD 'w'".to_owned(),
                "CREATE TABLE numbers (i int)".to_owned(),
                "INSERT INTO numbers VALUES (41), (1)".to_owned(),
                "GRANT SELECT ON numbers TO reader, writer".to_owned(),
                "CREATE EXTENSION postgres_fdw".to_owned(),
                format!("CREATE SERVER other {leads_there}"),
                // Links of one role to one node, each with a session of its own.
                format!("CREATE SERVER again {leads_there}"),
                "CREATE USER MAPPING FOR postgres SERVER again OPTIONS (user 'reader')".to_owned(),
                "GRANT USAGE ON FOREIGN SERVER other TO writer".to_owned(),
                "CREATE USER MAPPING FOR postgres SERVER other OPTIONS (user 'reader')".to_owned(),
                "CREATE USER MAPPING FOR writer SERVER other OPTIONS (user 'writer', password 'w')"
                    .to_owned(),
                "CREATE FOREIGN TABLE theirs (i int) SERVER other OPTIONS (table_name 'numbers')"
                    .to_owned(),
                "GRANT SELECT ON theirs TO writer".to_owned(),
            ] {
                from.query(&statement)?;
            }
            Ok(())
        };
        set_up(&one, &two)?;
        set_up(&two, &one)?;
        let found = files(&[&one, &two])?;
        let options = "SELECT string_agg(o, ';') FROM (SELECT s.srvoptions::text || m.umoptions::text \
             AS o FROM pg_foreign_server s JOIN pg_user_mapping m ON m.umserver = s.oid ORDER BY 1) x";
        let options_found = one.query(options)?.value().map(str::to_owned);

        let servers = [("one", &one), ("two", &two)];
        let spec = spec_of(mode, &["reader", "writer"], folder.path(), &servers);
        let shown = plan(&spec).await?;
        assert!(!format!("{shown:?}{}", serde_json::to_string(&shown.plan)?).contains("'w'"));
        secured_and_proved(&spec, 6).await?;
        let sessions = look(&spec).await?.links.into_iter().filter_map(|link| link.session);
        assert_eq!(sessions.collect::<BTreeSet<_>>().len(), 6);
        let sum = "SELECT sum(i) FROM theirs";
        assert_eq!(one.query(sum)?.value(), Some("42"));
        assert_eq!(two.connect().user("writer").open()?.query(sum)?.value(), Some("42"));
        let options_now = one.query(options)?.value().map(str::to_owned).unwrap_or_default();
        assert!(!options_now.contains("password=w"), "{options_now}");

        taken_back(&spec).await?;
        assert_eq!(files(&[&one, &two])?, found, "{version}");
        assert_eq!(one.query(options)?.value().map(str::to_owned), options_found);
        assert_eq!(two.query(sum)?.value(), Some("42"));
    }
    Ok(())
}
