//! The access node and its data nodes, and what becomes of them when TimescaleDB's page on multi-node
//! authentication is followed.

use std::fs;

use pg_version::PgVersion;

use standin::{Arrival, By, Ca, Error, Node, Result, Site, TimescaleCluster};

const VERSION: PgVersion = PgVersion::V15;
/// A query on every data node, with an answer that does not matter.
const ASK: &str = "CALL distributed_exec('SELECT 1')";
/// md5 of `postgres`, as the facts have it.
const POSTGRES: &str = "e8a48653851e28c69d0506508fb27fc5";

fn all_there(arrivals: &[Arrival]) -> bool {
    !arrivals.is_empty() && arrivals.iter().all(|one| one.rows == one.expected && one.rows > 0)
}

/// What the access node answers to a query, in a session of its own: the error, with its detail.
fn refusal(cluster: &TimescaleCluster, role: &str, sql: &str) -> Result<String> {
    let mut session = cluster.session_as(role)?;
    Ok(match session.query(sql) {
        Ok(_) => "no refusal".to_owned(),
        Err(error) => error.to_string(),
    })
}

fn each(nodes: &[std::sync::Arc<Node>], what: impl Fn(&Node) -> Result) -> Result {
    nodes.iter().try_for_each(|node| what(node))
}

fn marks(cluster: &TimescaleCluster) -> Result<Vec<usize>> {
    cluster.data().iter().map(|node| node.mark()).collect()
}

/// The methods by which the access node's connections since then were let in, and whether over TLS.
fn methods(cluster: &TimescaleCluster, marks: &[usize]) -> Result<Vec<(String, bool)>> {
    let mut methods = Vec::new();
    for (node, mark) in cluster.data().iter().zip(marks) {
        for login in node.logins_since(*mark)? {
            if login.application.as_deref() == Some("timescaledb") {
                methods.push((login.method.unwrap_or_default(), login.tls));
            }
        }
    }
    methods.dedup();
    Ok(methods)
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_arrive_on_the_data_nodes() -> Result {
    for version in [VERSION, PgVersion::V18] {
        let cluster = TimescaleCluster::open(version, 2).await?;
        cluster.create_role("testrole", "LOGIN")?;
        let before = marks(&cluster)?;
        for role in ["postgres", "testrole"] {
            let arrivals = cluster.write_and_see(role).await?;
            assert!(all_there(&arrivals), "{version}: {arrivals:?}");
            assert_eq!(arrivals.len(), 3);
        }
        // One connection for each session, role and data node.
        for (node, mark) in cluster.data().iter().zip(&before) {
            let logins = node.logins_since(*mark)?;
            let users: Vec<&str> = logins
                .iter()
                .filter(|login| login.application.as_deref() == Some("timescaledb"))
                .filter_map(|login| login.user.as_deref())
                .collect();
            assert_eq!(users, ["postgres", "testrole"], "{version}");
        }
        let nodes = "SELECT string_agg(node_name || ' ' || owner || ' ' || array_to_string(options, ' '), ';') \
                     FROM (SELECT * FROM timescaledb_information.data_nodes ORDER BY node_name) AS n";
        let expected: Vec<String> = cluster
            .data()
            .iter()
            .map(|node| {
                let (name, host, port) = (node.name(), node.address(), node.port());
                format!("{name} postgres host={host} port={port} dbname=tsdb")
            })
            .collect();
        assert_eq!(cluster.access().value(nodes)?, expected.join(";"));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_role_needs() -> Result {
    let cluster = TimescaleCluster::open(VERSION, 2).await?;
    let access = cluster.access();
    access.sql("CREATE ROLE testrole")?;
    let refused = refusal(&cluster, "testrole", ASK)?;
    assert!(refused.contains("permission denied for foreign server dn1"), "{refused}");
    access.sql("GRANT USAGE ON FOREIGN SERVER dn1, dn2 TO testrole")?;
    let refused = refusal(&cluster, "testrole", ASK)?;
    assert!(refused.contains("role \"testrole\" does not exist"), "{refused}");
    access.sql("CALL distributed_exec('CREATE ROLE testrole')")?;
    let refused = refusal(&cluster, "testrole", ASK)?;
    assert!(refused.contains("role \"testrole\" is not permitted to log in"), "{refused}");
    access.sql("CALL distributed_exec('ALTER ROLE testrole LOGIN')")?;
    assert!(all_there(&cluster.write_and_see("testrole").await?));

    // Since 15, nobody makes tables in public without being let.
    let make =
        "CREATE TABLE t (time timestamptz); SELECT create_distributed_hypertable('t', 'time')";
    assert!(refusal(&cluster, "testrole", make)?.contains("permission denied for schema public"));
    access.sql("GRANT CREATE ON SCHEMA public TO testrole")?;
    let refused = refusal(&cluster, "testrole", make)?;
    assert!(refused.contains("[dn1]: permission denied for schema public"), "{refused}");
    access.sql("CALL distributed_exec('GRANT CREATE ON SCHEMA public TO testrole')")?;
    cluster.session_as("testrole")?.query(make)?;

    // Nobody borrows another role's connection.
    let borrowed = "SELECT timescaledb_standin.connection('dn1', 'postgres')";
    assert!(refusal(&cluster, "testrole", borrowed)?.contains("permission denied for role"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn distributed_exec_is_one_transaction() -> Result {
    let cluster = TimescaleCluster::open(VERSION, 2).await?;
    let access = cluster.access();
    let has_role = "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'made%'";
    let counts = || -> Result<Vec<String>> {
        cluster.data().iter().map(|node| node.value(has_role)).collect()
    };
    // It fails on the second node: the first has nothing of it, and the log of the access node has the
    // password in clear.
    cluster.data()[1].sql("CREATE ROLE made_before")?;
    let error = refusal(
        &cluster,
        "postgres",
        "CALL distributed_exec($$ CREATE ROLE made_before LOGIN PASSWORD 'in-clear' $$)",
    )?;
    assert!(error.contains("[dn2]: role \"made_before\" already exists"), "{error}");
    assert_eq!(counts()?, ["0", "1"]);
    assert!(access.wait_for_log("STATEMENT:", 0)?.contains("PASSWORD 'in-clear'"));

    // What the caller's transaction takes back is taken back, also where it is the caller that fails.
    let mut session = access.session()?;
    for end in ["ROLLBACK", "SELECT 1/0"] {
        session.query("BEGIN")?;
        session.query("CALL distributed_exec('CREATE ROLE made_1')")?;
        let _ = session.query(end);
        session.query("ROLLBACK")?;
        assert_eq!(counts()?, ["0", "1"]);
    }
    session.query("CALL distributed_exec('CREATE ROLE made_2')")?;
    assert_eq!(counts()?, ["1", "2"]);
    session.query("BEGIN")?;
    session.query("CREATE ROLE made_here")?;
    session.query("CALL distributed_exec('CREATE ROLE made_3', node_list => '{dn1}')")?;
    assert_eq!(counts()?, ["1", "2"]);
    session.query("COMMIT")?;
    assert_eq!(counts()?, ["2", "2"]);
    // And what cannot be in a transaction is possible outside of one.
    let outside = "CALL distributed_exec('CREATE DATABASE other', transactional => false)";
    session.query(outside)?;
    session.query("BEGIN")?;
    assert!(session.query(outside).is_err());
    drop(session);
    for node in cluster.data() {
        assert_eq!(node.value("SELECT count(*) FROM pg_prepared_xacts")?, "0");
    }

    // A connection that a data node ended is made again by the next who needs it.
    let mut session = access.session()?;
    session.query(ASK)?;
    let end = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity \
               WHERE application_name = 'timescaledb'";
    each(cluster.data(), |node| node.sql(end).map(drop))?;
    assert!(session.query(ASK).is_err() && session.query(ASK).is_err());
    session.query(ASK)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn adding_a_data_node_wants_more_than_its_database() -> Result {
    let cluster = TimescaleCluster::builder(VERSION, 1).start().await?;
    let node = &cluster.data()[0];
    let add = |cluster: &TimescaleCluster| match cluster.add_data_node(&cluster.data()[0]) {
        Ok(()) => "added".to_owned(),
        Err(error) => error.to_string(),
    };
    node.edit_hba("host tsdb all all trust\nhost all all all reject\n", "")?;
    node.reload()?;
    let refused = add(&cluster);
    assert!(refused.contains("could not connect to \"dn1\""), "{refused}");
    assert!(refused.contains("database \"defaultdb\""), "{refused}");
    for database in ["postgres", "template1", "defaultdb"] {
        node.wait_for_log(&format!("database \"{database}\""), 0)?;
    }
    node.edit_hba("host template1 all all trust\n", "")?;
    node.edit_conf("max_prepared_transactions = 0\n")?;
    node.server().restart()?;
    let refused = add(&cluster);
    assert!(refused.contains("prepared transactions need to be enabled"), "{refused}");
    node.edit_conf("max_prepared_transactions = 5\n")?;
    node.server().restart()?;
    assert_eq!(add(&cluster), "added");
    assert!(add(&cluster).contains("already exists"));
    cluster.create_table()?;
    assert!(all_there(&cluster.write_and_see("postgres").await?));
    let options = "CREATE SERVER odd FOREIGN DATA WRAPPER timescaledb_fdw OPTIONS (sslmod 'x')";
    assert!(refusal(&cluster, "postgres", options)?.contains("invalid option \"sslmod\""));
    Ok(())
}

/// Asks for passwords, with the superuser's and `testrole`'s set on the data nodes.
async fn password_cluster() -> Result<TimescaleCluster> {
    let cluster = TimescaleCluster::open(VERSION, 2).await?;
    cluster.create_role("testrole", "LOGIN PASSWORD 'internalpass'")?;
    let network = cluster.site().peers_from();
    each(cluster.data(), |node| {
        node.sql("ALTER ROLE postgres PASSWORD 'xyzzy'")?;
        node.edit_hba(&format!("host all all {network} scram-sha-256\n"), "")?;
        node.reload()
    })?;
    Ok(cluster)
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_come_from_the_access_nodes_passfile() -> Result {
    let cluster = password_cluster().await?;
    let access = cluster.access();
    let lines = b"*:*:*:postgres:xyzzy\n*:*:*:testrole:internalpass\n";
    let refused = |role: &str| refusal(&cluster, role, ASK);
    assert!(refused("postgres")?.contains("fe_sendauth: no password supplied"));

    // No comments: the rest of the line is the password.
    access.write("passfile", b"*:*:*:postgres:xyzzy #assuming 'xyzzy' is the password\n", 0o600)?;
    assert!(refused("postgres")?.contains("password authentication failed"));

    for mode in [0o644, 0o640] {
        let mark = access.mark()?;
        access.write("passfile", lines, mode)?;
        assert!(refused("postgres")?.contains("fe_sendauth: no password supplied"));
        let warning = access.wait_for_log("has group or world access", mark)?;
        assert!(warning.contains("passfile"), "{warning}");
    }

    // What the server may not read is as if it were not there, and nobody says so. Only root can give
    // a file away.
    if rustix::process::geteuid().is_root() {
        let mark = access.mark()?;
        let path = access.data_dir().join("passfile");
        access.write("passfile", lines, 0o600)?;
        std::os::unix::fs::chown(&path, Some(0), Some(0))
            .map_err(|error| Error::File(path.display().to_string(), error))?;
        assert!(refused("postgres")?.contains("fe_sendauth: no password supplied"));
        let said = access.log_until_now()?;
        assert!(!said.get(mark..).unwrap_or_default().contains("WARNING"));
    }

    let marks = marks(&cluster)?;
    access.write("passfile", lines, 0o600)?;
    for role in ["postgres", "testrole"] {
        assert!(all_there(&cluster.write_and_see(role).await?), "{role}");
    }
    assert_eq!(methods(&cluster, &marks)?, [("scram-sha-256".to_owned(), false)]);

    // Another place, relative to the data directory; a reload tells open sessions, too.
    let mut session = access.session()?;
    access.edit_conf("timescaledb.passfile = 'global/elsewhere'\n")?;
    access.reload()?;
    access.wait("SHOW timescaledb.passfile", "global/elsewhere")?;
    assert!(refused("postgres")?.contains("fe_sendauth: no password supplied"));
    access.write("global/elsewhere", lines, 0o600)?;
    session.query(ASK)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_mapping_wins_over_the_passfile() -> Result {
    let cluster = password_cluster().await?;
    let access = cluster.access();
    access.write("passfile", b"*:*:*:postgres:xyzzy\n*:*:*:testrole:wrong\n", 0o600)?;
    let refused = refusal(&cluster, "testrole", ASK)?;
    assert!(refused.contains("password authentication failed for user \"testrole\""), "{refused}");
    for node in ["dn1", "dn2"] {
        access.sql(&format!(
            "CREATE USER MAPPING FOR testrole SERVER {node} \
             OPTIONS (user 'testrole', password 'internalpass')"
        ))?;
    }
    assert!(all_there(&cluster.write_and_see("testrole").await?));
    // In clear, for whoever may see the mapping.
    let mapping = "SELECT umoptions FROM pg_user_mappings WHERE srvname = 'dn1'";
    assert_eq!(access.value(mapping)?, "{user=testrole,password=internalpass}");
    for node in ["dn1", "dn2"] {
        access.sql(&format!(
            "ALTER USER MAPPING FOR testrole SERVER {node} OPTIONS (SET password 'wrong again')"
        ))?;
    }
    access.write("passfile", b"*:*:*:testrole:internalpass\n", 0o600)?;
    let refused = refusal(&cluster, "testrole", ASK)?;
    assert!(refused.contains("password authentication failed"), "{refused}");
    Ok(())
}

const SSL_ON: &str = "ssl = on\nssl_cert_file = 'server.crt'\nssl_key_file = 'server.key'\n";

/// Data nodes that let in whoever has a certificate, and an access node that has none yet.
async fn certificate_cluster(ca: &Ca) -> Result<TimescaleCluster> {
    let cluster = TimescaleCluster::open(VERSION, 2).await?;
    cluster.create_role("testrole", "LOGIN")?;
    for node in cluster.nodes() {
        // Host names are never compared.
        let server = ca.server(node.name(), &["DNS:another.name.invalid"])?;
        node.write("server.crt", server.cert.as_bytes(), 0o644)?;
        node.write("server.key", server.key.as_bytes(), 0o600)?;
        node.write("root.crt", ca.cert.as_bytes(), 0o644)?;
    }
    each(cluster.data(), |node| {
        node.edit_conf(&format!("{SSL_ON}ssl_ca_file = 'root.crt'\n"))?;
        node.edit_hba("hostssl all all all cert\nhost all all all reject\n", "")?;
        node.reload()
    })?;
    Ok(cluster)
}

/// Writes a role's certificate and key below a folder of the data directory.
fn provide(access: &Node, folder: &str, name: &str, ca: &Ca, role: &str) -> Result {
    let path = access.data_dir().join(folder);
    let owner = access.server().account().clone();
    let made = pgtest::Run::new("mkdir").args(["-p".into(), path]).account(&owner).check();
    made?;
    let client = ca.client(role)?;
    access.write(format!("{folder}/{name}.crt"), client.cert.as_bytes(), 0o644)?;
    access.write(format!("{folder}/{name}.key"), client.key.as_bytes(), 0o600)
}

fn md5(access: &Node, role: &str) -> Result<String> {
    access.value(&format!("SELECT md5('{role}')"))
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_want_ssl_on_the_access_node() -> Result {
    let ca = Ca::create("ts")?;
    let cluster = certificate_cluster(&ca).await?;
    let access = cluster.access();
    assert_eq!(md5(access, "postgres")?, POSTGRES);
    provide(access, "timescaledb/certs", POSTGRES, &ca, "postgres")?;
    let required = "connection requires a valid client certificate";
    // The certificate is there, but nothing looks at it.
    assert!(refusal(&cluster, "postgres", ASK)?.contains(required));

    access.edit_conf(&format!("{SSL_ON}ssl_ca_file = 'root.crt'\n"))?;
    access.reload()?;
    let before = marks(&cluster)?;
    assert!(all_there(&cluster.write_and_see("postgres").await?));
    assert_eq!(methods(&cluster, &before)?, [("cert".to_owned(), true)]);
    // Every role needs one of its own.
    assert!(refusal(&cluster, "testrole", ASK)?.contains(required));
    provide(access, "timescaledb/certs", &md5(access, "testrole")?, &ca, "testrole")?;
    assert!(all_there(&cluster.write_and_see("testrole").await?));

    // In ssl_dir they lie directly.
    access.edit_conf("timescaledb.ssl_dir = 'certificates'\n")?;
    access.reload()?;
    access.wait("SHOW timescaledb.ssl_dir", "certificates")?;
    provide(access, "certificates/timescaledb/certs", POSTGRES, &ca, "postgres")?;
    assert!(refusal(&cluster, "postgres", ASK)?.contains(required));
    provide(access, "certificates", POSTGRES, &ca, "postgres")?;
    assert!(all_there(&cluster.write_and_see("postgres").await?));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_data_nodes_ca_is_checked_only_where_the_file_is() -> Result {
    let ca = Ca::create("ts")?;
    let cluster = certificate_cluster(&ca).await?;
    let access = cluster.access();
    provide(access, "timescaledb/certs", POSTGRES, &ca, "postgres")?;
    access.edit_conf(SSL_ON)?;
    access.reload()?;
    // No ssl_ca_file: nothing is verified.
    assert!(all_there(&cluster.write_and_see("postgres").await?));

    let other = Ca::create("other")?;
    access.write("other.crt", other.cert.as_bytes(), 0o644)?;
    access.edit_conf("ssl_ca_file = 'other.crt'\n")?;
    access.reload()?;
    assert!(refusal(&cluster, "postgres", ASK)?.contains("certificate verify failed"));

    // The server has read it and does not miss it; the connections do, and go on without.
    fs::remove_file(access.data_dir().join("other.crt"))
        .map_err(|error| Error::File("other.crt".into(), error))?;
    let mark = access.mark()?;
    assert!(all_there(&cluster.write_and_see("postgres").await?));
    let log = access.log_until_now()?;
    assert!(!log.get(mark..).unwrap_or_default().contains("WARNING"), "{log}");
    assert_eq!(access.value("SHOW ssl_ca_file")?, "other.crt");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_have_their_rules() -> Result {
    let ca = Ca::create("ts")?;
    let cluster = certificate_cluster(&ca).await?;
    let access = cluster.access();
    access.edit_conf(&format!("{SSL_ON}ssl_ca_file = 'root.crt'\n"))?;
    access.reload()?;
    let client = ca.client("postgres")?;
    provide(access, "timescaledb/certs", POSTGRES, &ca, "postgres")?;
    let (key, cert) =
        (format!("timescaledb/certs/{POSTGRES}.key"), format!("timescaledb/certs/{POSTGRES}.crt"));
    access.write(&cert, client.cert.as_bytes(), 0o644)?;
    for mode in [0o644, 0o640] {
        access.write(&key, client.key.as_bytes(), mode)?;
        let refused = refusal(&cluster, "postgres", ASK)?;
        assert!(refused.contains("has group or world access"), "{mode:o}: {refused}");
    }
    access.write(&key, client.key.as_bytes(), 0o600)?;
    assert!(all_there(&cluster.write_and_see("postgres").await?));

    let missing = |name: &str| {
        let path = access.data_dir().join(name);
        fs::remove_file(&path).map_err(|error| Error::File(path.display().to_string(), error))
    };
    missing(&key)?;
    let refused = refusal(&cluster, "postgres", ASK)?;
    assert!(refused.contains("certificate present, but not private key file"), "{refused}");
    access.write(&key, client.key.as_bytes(), 0o600)?;
    missing(&cert)?;
    let refused = refusal(&cluster, "postgres", ASK)?;
    assert!(refused.contains("connection requires a valid client certificate"), "{refused}");

    // Another's certificate proves who that is, and does not get in.
    let before = marks(&cluster)?;
    provide(access, "timescaledb/certs", POSTGRES, &ca, "testrole")?;
    let refused = refusal(&cluster, "postgres", ASK)?;
    assert!(refused.contains("certificate authentication failed"), "{refused}");
    let logins = cluster.data()[0].logins_since(before[0])?;
    let login = logins.iter().find(|login| login.identity.is_some());
    assert!(
        login.is_some_and(|l| l.identity.as_deref() == Some("CN=testrole") && l.user.is_none())
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn data_nodes_copy_from_one_another_with_the_access_nodes_paths() -> Result {
    let cluster = TimescaleCluster::open(VERSION, 2).await?;
    assert!(all_there(&cluster.write_and_see("postgres").await?));
    let (source, destination) = (&cluster.data()[0], &cluster.data()[1]);
    let copy = "CALL timescaledb_experimental.copy_chunk('metrics', 'dn1', 'dn2')";
    let mark = source.mark()?;
    cluster.access().sql(copy)?;
    assert_eq!(destination.value("SELECT count(*) FROM metrics")?, "4");
    source.wait_for_log("replication connection authorized", mark)?;
    for (node, what) in [(source, "pg_publication"), (destination, "pg_subscription")] {
        assert_eq!(node.value(&format!("SELECT count(*) FROM {what}"))?, "0");
    }

    each(cluster.data(), |node| {
        node.sql("ALTER ROLE postgres PASSWORD 'xyzzy'")?;
        node.edit_hba("host all all all scram-sha-256\n", "")?;
        node.reload()
    })?;
    cluster.access().write("passfile", b"*:*:*:postgres:xyzzy\n", 0o600)?;
    cluster.access().sql(copy)?;
    assert_eq!(destination.value("SELECT count(*) FROM metrics")?, "6");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_in_namespaces_see_the_access_nodes_address() -> Result {
    let sites = [(Site::namespaces()?, By::Name), (Site::namespaces_v6()?, By::Ip)];
    for (site, by) in sites {
        let Some(site) = site else { continue };
        let cluster = TimescaleCluster::builder(VERSION, 2).site(&site).by(by).open().await?;
        assert!(all_there(&cluster.write_and_see("postgres").await?));
        let address = cluster.access().address();
        let mut session = cluster.access().session()?;
        session.query(ASK)?;
        let seen = "SELECT DISTINCT host(client_addr) FROM pg_stat_activity \
                    WHERE application_name = 'timescaledb'";
        each(cluster.data(), |node| {
            assert_eq!(node.sql(seen)?.column(), [address.to_string()]);
            Ok(())
        })?;
        // A rule for the access node's address, and nobody else's.
        let host = if address.is_ipv4() { 32 } else { 128 };
        each(cluster.data(), |node| {
            node.edit_hba(
                &format!("host all all {address}/{host} trust\nhost all all all reject\n"),
                "",
            )?;
            node.reload()?;
            let connect = node.server().connect_tcp();
            assert!(connect.open().is_err());
            Ok(())
        })?;
        assert!(all_there(&cluster.write_and_see("postgres").await?));
    }
    Ok(())
}
