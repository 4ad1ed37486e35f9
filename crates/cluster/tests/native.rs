//! The library on real servers: secured twice, refused plans, failures that are taken back.
#![cfg(feature = "demo")]

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cluster::{
    Error,
    apply::{Event, Observer},
    conninfo::ConnInfo,
    demo::{DATABASE, DemoCluster, ROLE, RowSeen, Servers},
    inspect,
    plan::{Action, Step},
    prepare,
    run::{Outcome, Runner},
    spec::Mode,
    verify::{self, Code, Severity},
};
use pg_version::PgVersion;
use time::OffsetDateTime;

type Tested<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Three servers that replicate, open to everybody.
async fn open_cluster(version: PgVersion, mode: Mode) -> Tested<(Servers, DemoCluster)> {
    let servers = Servers::default();
    servers.start(&pgtest::find(version)?, 3).await?;
    servers.join().await?;
    let cluster = servers.cluster(mode)?;
    Ok((servers, cluster))
}

async fn prepare_now(cluster: &DemoCluster) -> Result<prepare::Prepared, Error> {
    let states = inspect::inspect_all(&cluster.spec, &cluster.nodes()).await?;
    prepare::prepare(&cluster.spec, &states, OffsetDateTime::now_utc())
}

async fn apply_it(cluster: &DemoCluster, prepared: prepare::Prepared) -> Result<Outcome, Error> {
    Runner::new(&cluster.spec, &cluster.nodes()).apply(prepared).await
}

/// Every file that is the administrator's: the configuration, and what pgward puts beside it.
fn files_of(cluster: &DemoCluster) -> Tested<BTreeMap<PathBuf, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for node in &cluster.spec.nodes {
        let conninfo: ConnInfo = node.sql.parse()?;
        let socket = PathBuf::from(conninfo.get("host").ok_or("no socket")?);
        let data = socket.parent().ok_or("no folder")?.join("data");
        for name in ["pg_hba.conf", "postgresql.conf", "postgresql.auto.conf"] {
            files.insert(data.join(name), fs::read(data.join(name))?);
        }
        for entry in fs::read_dir(data.join("pgward")).into_iter().flatten().flatten() {
            files.insert(entry.path(), fs::read(entry.path()).unwrap_or_default());
        }
    }
    assert!(files.len() >= 9);
    Ok(files)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_plans_nothing() -> Tested {
    for mode in [Mode::Cert, Mode::Scram] {
        for version in [PgVersion::V15, PgVersion::V18] {
            let (servers, cluster) = open_cluster(version, mode).await?;
            let prepared = prepare_now(&cluster).await?;
            assert!(!prepared.plan.is_empty());
            apply_it(&cluster, prepared).await?;
            let after = files_of(&cluster)?;

            let again = prepare_now(&cluster).await?;
            let steps: Vec<String> = again
                .plan
                .stages
                .iter()
                .flat_map(|stage| &stage.steps)
                .map(|step| format!("{}: {}", step.node, step.action))
                .collect();
            assert!(steps.is_empty(), "{version} {mode:?}: {steps:#?}");
            assert_eq!(apply_it(&cluster, again).await?, Outcome::NothingToDo);
            assert_eq!(files_of(&cluster)?, after);
            let verification =
                verify::verify(&cluster.spec, &cluster.nodes(), OffsetDateTime::now_utc()).await?;
            assert!(verification.proved(), "{version} {mode:?}: {verification:#?}");
            assert!(servers.write_rows().await?.iter().all(RowSeen::everywhere));
        }
    }
    Ok(())
}

/// The open cluster itself must not look secure.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_cluster_is_not_proved() -> Tested {
    let (_servers, cluster) = open_cluster(PgVersion::V17, Mode::Cert).await?;
    let now = OffsetDateTime::now_utc();
    let verification = verify::verify(&cluster.spec, &cluster.nodes(), now).await?;
    assert!(!verification.proved());
    for link in &verification.links {
        assert_eq!(link.method.as_deref(), Some("trust"));
        assert!(link.missing.iter().any(|missing| missing.contains("no TLS")), "{link:?}");
    }
    assert!(verification.refusals.iter().all(|refusal| !refusal.refused));
    assert!(verification.servers.iter().all(|server| !server.proved()));
    Ok(())
}

/// A rule by hand that lets the link role in again, before ours.
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_opens_the_link_again_is_found_and_mended() -> Tested {
    let (servers, cluster) = open_cluster(PgVersion::V16, Mode::Scram).await?;
    apply_it(&cluster, prepare_now(&cluster).await?).await?;

    let hba = files_of(&cluster)?.into_keys().find(|path| path.ends_with("pg_hba.conf"));
    let hba = hba.ok_or("no pg_hba.conf")?;
    let secured = fs::read(&hba)?;
    let opened = [b"host all all samehost trust\n", &secured[..]].concat();
    fs::write(&hba, opened)?;
    for node in &cluster.spec.nodes {
        servers.query(&node.name, "SELECT pg_reload_conf()")?;
    }
    let now = OffsetDateTime::now_utc();
    let verification = verify::verify(&cluster.spec, &cluster.nodes(), now).await?;
    assert!(!verification.proved(), "the link role gets in without a password");

    let mended = prepare_now(&cluster).await?;
    assert!(!mended.plan.is_empty());
    apply_it(&cluster, mended).await?;
    let verification = verify::verify(&cluster.spec, &cluster.nodes(), now).await?;
    assert!(verification.proved(), "{verification:#?}");

    // The files are right again, but nobody has told the server: it is told.
    servers.query("node-1", "ALTER SYSTEM SET ssl_cert_file = 'gone.crt'")?;
    servers.query("node-1", "SELECT pg_reload_conf()")?;
    servers.query("node-1", "ALTER SYSTEM RESET ssl_cert_file")?;
    let told = prepare_now(&cluster).await?;
    let steps: Vec<_> = told.plan.stages.iter().flat_map(|stage| &stage.steps).collect();
    assert!(matches!(steps[..], [Step { action: Action::Reload(_), .. }]), "{steps:#?}");
    apply_it(&cluster, told).await?;
    assert!(prepare_now(&cluster).await?.plan.is_empty());
    Ok(())
}

/// Something in the way on the last node, in the last moment of each stage: all nodes are as found.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_taken_back_on_every_node() -> Tested {
    let (servers, cluster) = open_cluster(PgVersion::V18, Mode::Cert).await?;
    let found = files_of(&cluster)?;
    let conninfos = "SELECT string_agg(subname || subconninfo, ',' ORDER BY subname) \
                     FROM pg_subscription";
    let links_found = servers.query("node-1", conninfos)?;
    let last = found.keys().filter(|path| path.ends_with("pg_hba.conf")).collect::<Vec<_>>();

    for stage in
        ["put certificates and keys in place", "open the secured way in", "close the open way in"]
    {
        let prepared = prepare_now(&cluster).await?;
        // Somebody edits the last node's file just before this stage reads it.
        let reached = Arc::new(Mutex::new(false));
        let (seen, sabotaged): (_, PathBuf) = (reached.clone(), last[last.len() - 1].clone());
        let blocker = sabotaged.with_file_name("pgward");
        let observer: Observer = Arc::new(move |event| {
            if event == (Event::Stage { title: stage.to_owned() }) {
                *seen.lock().unwrap_or_else(PoisonError::into_inner) = true;
                if stage == "put certificates and keys in place" {
                    let _ = fs::write(&blocker, "in the way");
                } else {
                    let mut theirs = fs::read(&sabotaged).unwrap_or_default();
                    theirs.extend_from_slice(b"# an administrator was here\n");
                    let _ = fs::write(&sabotaged, theirs);
                }
            }
        });
        let runner = Runner::new(&cluster.spec, &cluster.nodes()).observer(observer);
        let outcome = runner.apply(prepared).await;
        assert!(*reached.lock().unwrap_or_else(PoisonError::into_inner), "{stage}");
        assert!(matches!(outcome, Err(Error::TakenBack { .. })), "{stage}: {outcome:?}");

        let sabotaged = last[last.len() - 1];
        if stage == "put certificates and keys in place" {
            fs::remove_file(sabotaged.with_file_name("pgward"))?;
        } else if stage == "open the secured way in" {
            let theirs = fs::read(sabotaged)?;
            assert!(theirs.ends_with(b"# an administrator was here\n"), "their edit is not lost");
            fs::write(sabotaged, &found[sabotaged])?;
        } else {
            // There the file had been edited by us before, so it is theirs to put in order.
            fs::write(sabotaged, &found[sabotaged])?;
            for node in &cluster.spec.nodes {
                servers.query(&node.name, "SELECT pg_reload_conf()")?;
            }
        }
        assert_eq!(files_of(&cluster)?, found, "{stage}");
        assert_eq!(servers.query("node-1", conninfos)?, links_found, "{stage}");
        assert!(servers.write_rows().await?.iter().all(RowSeen::everywhere), "{stage}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_must_be_different_before_is_said() -> Tested {
    let (servers, cluster) = open_cluster(PgVersion::V18, Mode::Cert).await?;
    let says = |expected: &'static str, outcome: Result<prepare::Prepared, Error>| {
        let message = outcome.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(message.contains(expected), "{message}");
    };

    // The administrator comes in as the link role, over the network that is closed to it.
    let mut own_way = cluster.clone();
    let node = &cluster.spec.nodes[0];
    own_way.spec.nodes[0].sql =
        format!("host={} port={} user={ROLE} dbname={DATABASE}", node.address, node.port);
    servers.query("node-1", &format!("ALTER ROLE {ROLE} SUPERUSER"))?;
    says("would shut your own way in", prepare_now(&own_way).await);
    servers.query("node-1", &format!("ALTER ROLE {ROLE} NOSUPERUSER"))?;

    // ALTER SYSTEM has the last word.
    servers.query("node-2", "ALTER SYSTEM SET ssl_ca_file = 'other.crt'")?;
    says("ALTER SYSTEM RESET ssl_ca_file", prepare_now(&cluster).await);
    servers.query("node-2", "ALTER SYSTEM RESET ssl_ca_file")?;

    servers.query("node-3", &format!("ALTER ROLE {ROLE} NOLOGIN"))?;
    says("node node-3: the role replicator may not log in", prepare_now(&cluster).await);
    servers.query("node-3", &format!("ALTER ROLE {ROLE} LOGIN"))?;

    let mut stranger = cluster.clone();
    stranger.spec.nodes.pop();
    // A node that was forgotten: it replicates as the links' role, too, and would be shut out.
    says("leads to none of the described nodes", prepare_now(&stranger).await);

    // What another system feeds is no link of the cluster.
    let legacy = "CREATE SUBSCRIPTION legacy CONNECTION 'host=192.0.2.1 dbname=x user=feed' \
                  PUBLICATION p WITH (connect = false, enabled = false, slot_name = NONE)";
    servers.query("node-1", legacy)?;
    let warnings = prepare_now(&cluster).await?.plan.warnings;
    let told: Vec<_> = warnings.iter().filter(|it| it.code.is_some()).collect();
    assert_eq!(told.len(), 1, "{warnings:?}");
    assert_eq!((&*told[0].node, told[0].code), ("node-1", Some(Code::LinkElsewhere)));
    let seen = verify::verify(&cluster.spec, &cluster.nodes(), OffsetDateTime::now_utc()).await?;
    let told = |severity| {
        let mut all = seen.findings.iter().filter(|it| it.code == Code::LinkElsewhere);
        all.any(|it| it.severity == severity && it.node == "node-1")
    };
    assert!(told(Severity::Warning) && !told(Severity::Error), "{:?}", seen.findings);
    Ok(())
}

/// Asks until a condition holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> Tested<bool>) -> Tested {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(120);
    while !holds().await? {
        assert!(tokio::time::Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// A role of a name that needs quotes everywhere, a link that is switched off, and secrets in its
/// connection string.
#[tokio::test(flavor = "multi_thread")]
async fn awkward_names_secrets_and_a_disabled_link() -> Tested {
    let (servers, mut cluster) = open_cluster(PgVersion::V15, Mode::Cert).await?;
    cluster.spec.link_role = "all, \"é\" +R".to_owned();
    for node in &cluster.spec.nodes {
        servers.query(&node.name, "CREATE ROLE \"all, \"\"é\"\" +R\" LOGIN")?;
    }
    let message = prepare_now(&cluster).await.err().map(|error| error.to_string());
    assert!(message.as_ref().is_some_and(|m| m.contains("may not replicate")), "{message:?}");
    for node in &cluster.spec.nodes {
        servers.query(&node.name, "ALTER ROLE \"all, \"\"é\"\" +R\" REPLICATION")?;
    }
    let conninfo = "SELECT subconninfo FROM pg_subscription";
    let before = servers.query("node-2", conninfo)?.ok_or("no subscription")?;
    servers.query("node-2", "ALTER SUBSCRIPTION node_2_from_node_1 DISABLE")?;
    servers.query(
        "node-2",
        &format!("ALTER SUBSCRIPTION node_2_from_node_1 CONNECTION '{before} sslpassword=hunter2'"),
    )?;

    let prepared = prepare_now(&cluster).await?;
    let shown = serde_json::to_string(&prepared.plan)? + &format!("{prepared:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
    apply_it(&cluster, prepared).await?;
    let after = servers.query("node-2", conninfo)?.ok_or("no subscription")?;
    assert!(after.contains("sslmode=verify-full") && !after.contains("hunter2"), "{after}");

    let now = OffsetDateTime::now_utc();
    let verification = verify::verify(&cluster.spec, &cluster.nodes(), now).await?;
    let missing = |verification: &verify::Verification, from: &str| -> Vec<String> {
        let links = verification.links.iter().filter(|link| link.from == from);
        links.flat_map(|link| link.missing.clone()).collect()
    };
    assert_eq!(missing(&verification, "node-2"), ["the link is disabled"]);
    assert!(missing(&verification, "node-3").is_empty(), "{verification:#?}");
    servers.query("node-2", "ALTER SUBSCRIPTION node_2_from_node_1 ENABLE")?;
    until("the link to be proved", async || {
        Ok(verify::verify(&cluster.spec, &cluster.nodes(), now).await?.proved())
    })
    .await
}

/// What looks secure and is not: a session that came in by a rule that is gone, and a link that
/// would take any server.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_only_looks_secure_is_not_proved() -> Tested {
    let (servers, cluster) = open_cluster(PgVersion::V15, Mode::Cert).await?;
    apply_it(&cluster, prepare_now(&cluster).await?).await?;
    let now = OffsetDateTime::now_utc();
    let verification = verify::verify(&cluster.spec, &cluster.nodes(), now).await?;
    assert!(verification.proved(), "{verification:#?}");

    // The sessions come in by trust, over TLS and with their certificates; then the rule goes.
    let hba = servers.query("node-1", "SHOW hba_file")?.ok_or("no hba_file")?;
    let secured = fs::read(&hba)?;
    fs::write(&hba, [b"hostssl all all samehost trust\n", &secured[..]].concat())?;
    servers.query("node-1", "SELECT pg_reload_conf()")?;
    let sessions = "SELECT count(*) FROM pg_stat_replication r JOIN pg_stat_activity a USING (pid) \
                    WHERE r.state = 'streaming' AND a.backend_start > pg_conf_load_time()";
    servers.query("node-1", "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_replication")?;
    until("the links to come back", async || {
        Ok(servers.query("node-1", sessions)?.as_deref() == Some("2"))
    })
    .await?;
    fs::write(&hba, &secured)?;
    servers.query("node-1", "SELECT pg_reload_conf()")?;
    let verification = verify::verify(&cluster.spec, &cluster.nodes(), now).await?;
    for link in &verification.links {
        assert_eq!(link.missing, ["authenticated by trust, not by cert"], "{link:?}");
    }

    let conninfo = servers.query("node-2", "SELECT subconninfo FROM pg_subscription")?;
    let weaker = conninfo.ok_or("no subscription")?.replace("verify-full", "require");
    servers
        .query("node-2", &format!("ALTER SUBSCRIPTION node_2_from_node_1 CONNECTION '{weaker}'"))?;
    let expected = "it does not verify the server: sslmode is require, not verify-full";
    until("the link to be back", async || {
        let verification = verify::verify(&cluster.spec, &cluster.nodes(), now).await?;
        let link = verification.links.iter().find(|link| link.from == "node-2");
        Ok(link.is_some_and(|link| link.missing == [expected]))
    })
    .await
}
