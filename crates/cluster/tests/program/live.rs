//! The cluster's commands on real servers: from an open cluster to a proved one, and on.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use cluster::{demo::Servers, spec::Mode};
use serde_json::Value;

use super::support::{Outcome, Place};

fn list<'v>(value: &'v Value, path: &str) -> Vec<&'v Value> {
    value.pointer(path).and_then(Value::as_array).into_iter().flatten().collect()
}

/// The codes of the findings.
fn codes(answer: &Value) -> Vec<&str> {
    list(answer, "/findings").iter().filter_map(|finding| finding["code"].as_str()).collect()
}

/// Two servers that replicate to one another by trust, and their description in a file.
async fn open_cluster(place: &Place, mode: Mode) -> Result<Servers, Box<dyn std::error::Error>> {
    let installed = pgtest::find_each_major()?;
    let newest = installed.last().ok_or("no server is installed")?;
    let servers = Servers::default();
    servers.start(newest, 2).await?;
    servers.join().await?;
    // As PostgreSQL has it: a run cuts it short.
    servers.query("node-1", "ALTER SYSTEM SET wal_retrieve_retry_interval = '5s'")?;
    servers.query("node-1", "SELECT pg_reload_conf()")?;
    let mut spec = servers.cluster(mode)?.spec;
    spec.secrets = "secrets".into();
    place.write("pgward.toml", toml::to_string(&spec)?, 0o600)?;
    Ok(servers)
}

async fn secured(mode: Mode) -> Outcome {
    let place = Place::new()?;
    let servers = open_cluster(&place, mode).await?;
    let json = |arguments: &[&str]| -> Result<Value, Box<dyn std::error::Error>> {
        place.run(arguments.iter().chain(&["--format", "json"]))?.json()
    };

    // What another system feeds is none of the links.
    let legacy = "CREATE SUBSCRIPTION legacy CONNECTION 'host=192.0.2.1 user=feed password=hunter2' \
                  PUBLICATION p WITH (connect = false, enabled = false, slot_name = NONE)";
    servers.query("node-1", legacy)?;
    let seen = json(&["inspect"])?;
    assert_eq!(list(&seen, "/result/nodes").len(), 2);
    assert_eq!(list(&seen, "/result/links").len(), 2);
    let all = list(&seen, "/result/elsewhere");
    assert_eq!(all.len(), 1, "{seen:#}");
    let elsewhere = all[0];
    assert_eq!((&elsewhere["from"], &elsewhere["name"]), (&"node-1".into(), &"legacy".into()));
    let conninfo = "host=192.0.2.1 user=feed password=********";
    assert_eq!((&elsewhere["conninfo"], &elsewhere["is-node"]), (&conninfo.into(), &false.into()));
    servers.query("node-1", "DROP SUBSCRIPTION legacy")?;
    let said = place.run(["status"])?;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains("answers") && said.out.contains("streaming"), "{said:?}");
    assert_eq!(list(&json(&["status"])?, "/result/links").len(), 2);

    // Open: not proved, each link named with its code.
    let open = json(&["verify"])?;
    assert_eq!((&open["outcome"], &open["result"]["proved"]), (&"findings".into(), &false.into()));
    assert!(codes(&open).contains(&"PGW102"), "{open:#}");

    // Planning writes nothing; without a terminal and --yes nothing is done.
    let plan = json(&["plan"])?;
    assert_eq!(plan["result"]["empty"], false);
    assert_eq!(place.run(["plan", "--check"])?.code, Some(1));
    let said = place.run(["apply"])?;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.talk.contains("nothing was done") && said.talk.contains("--yes"), "{said:?}");
    assert!(!place.path("secrets").exists());

    let said = place.run(["apply", "--yes", "-v"])?;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains("PLAN") && said.out.contains("\nPROVED: 2 of 2 links"), "{said:?}");
    assert!(said.talk.contains("node-1: "), "each step is told with -v: {said:?}");
    let proved = json(&["verify", "--reconnect", "--html", "report.html"])?;
    assert_eq!(proved["result"]["proved"], true, "{proved:#}");
    reported(&place, &servers, mode, &proved)?;

    let status = json(&["status"])?;
    assert_eq!(status["result"]["runs"][0]["state"], "applied", "{status:#}");
    for command in ["resume", "abandon"] {
        let said = place.run([command, "--yes"])?;
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(said.talk.contains("there is no unfinished run"), "{said:?}");
    }

    // Taken back, and done again.
    let said = place.run(["rollback"])?;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.talk.contains("applied") && said.talk.contains("give --yes"), "{said:?}");
    let back = json(&["rollback", "--yes"])?;
    assert_eq!(back["result"]["outcome"], "taken-back", "{back:#}");
    assert_eq!(json(&["verify"])?["result"]["proved"], false);
    assert_eq!(json(&["apply", "--yes"])?["outcome"], "fine");

    // Nothing is left to do.
    let again = json(&["apply"])?;
    assert_eq!((&again["result"]["applied"], &again["outcome"]), (&false.into(), &"fine".into()));
    let said = place.run(["plan", "--check"])?;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.starts_with("nothing to do: the cluster is as described\n"), "{said:?}");

    // Changed by hand, and meant to be so: it is named until somebody says that.
    let hba = servers.query("node-1", "SHOW hba_file")?.ok_or("no hba_file")?;
    let said = place.run(["hba", "add", &hba, "hostssl app web 10.1.0.0/16 scram-sha-256"])?;
    assert_eq!(said.code, Some(0), "{said:?}");
    servers.query("node-1", "SELECT pg_reload_conf()")?;
    let changed = json(&["verify"])?;
    assert_eq!(changed["outcome"], "fine", "{changed:#}");
    assert!(codes(&changed).contains(&"PGW701"), "{changed:#}");
    let said = place.run(["apply", "--accept-changes"])?;
    assert_eq!(said.code, Some(1), "{said:?}");
    let named = said.talk.contains("pg_hba.conf was changed: web to app from 10.1.0.0/16");
    assert!(named && said.talk.contains("nothing was done"), "{said:?}");
    assert!(codes(&json(&["verify"])?).contains(&"PGW701"), "nobody has said yes");
    let accepted = json(&["apply", "--accept-changes", "--yes"])?;
    assert_eq!(accepted["outcome"], "fine", "{accepted:#}");
    assert!(!codes(&accepted).contains(&"PGW701"), "{accepted:#}");

    let what = if mode == Mode::Cert { "certs" } else { "passwords" };
    let rotated = json(&["rotate", what, "--yes"])?;
    assert_eq!(
        (&rotated["result"]["applied"], &rotated["outcome"]),
        (&true.into(), &"fine".into())
    );
    let rotated = json(&["rotate", "ca", "--yes"])?;
    assert_eq!(rotated["outcome"], "fine", "{rotated:#}");
    if mode == Mode::Scram {
        interrupted_proof(&place)?;
    }
    if mode == Mode::Cert {
        let said = place.run(["rotate", "passwords", "--yes"])?;
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(said.talk.contains("have no passwords"), "{said:?}");
    }

    // Opened again by hand: it is named.
    let added = ["hba", "add", &hba, "host all all 127.0.0.0/8 trust", "--first"];
    let said = place.run(added)?;
    assert_eq!(said.code, Some(0), "{said:?}");
    servers.query("node-1", "SELECT pg_reload_conf()")?;
    let opened = json(&["verify"])?;
    assert_eq!(opened["result"]["proved"], false);
    for code in ["PGW301", "PGW501"] {
        assert!(codes(&opened).contains(&code), "{code}: {opened:#}");
    }
    servers.stop();

    let said = place.run(["status"])?;
    assert_eq!(said.code, Some(2), "{said:?}");
    Ok(())
}

/// Ctrl-C is not for the work, and breaks off the proof that follows it.
fn interrupted_proof(place: &Place) -> Outcome {
    let mut codes = Vec::new();
    // On a loaded machine the proof may be over before the signal is sent.
    for _ in 0..5 {
        let mut child = place.command(["rotate", "passwords", "--yes", "-v"]).spawn()?;
        let talk = BufReader::new(child.stderr.take().ok_or("no standard error")?);
        let number = i32::try_from(child.id())?;
        let process = rustix::process::Pid::from_raw(number).ok_or("no process")?;
        for line in talk.lines() {
            if line?.starts_with("apply: done") {
                // It may be gone already.
                let _ = rustix::process::kill_process(process, rustix::process::Signal::INT);
            }
        }
        codes.push(child.wait()?.code());
        if codes.ends_with(&[Some(130)]) {
            let applied = place.run(["status"])?;
            assert!(applied.out.contains("applied"), "{applied:?}");
            return Ok(());
        }
    }
    Err(format!("{codes:?}").into())
}

/// What the page is made from, and the page.
fn reported(place: &Place, servers: &Servers, mode: Mode, proved: &Value) -> Outcome {
    let verification = &proved["result"]["verification"];
    for (key, number) in [
        ("/nodes", 2),
        // Each node has a server's certificate, and perhaps one for its links; and there is the authority.
        ("/certificates", if mode == Mode::Cert { 5 } else { 3 }),
    ] {
        assert_eq!(list(verification, key).len(), number, "{verification:#}");
    }
    let decisions = list(verification, "/decisions");
    assert!(!decisions.is_empty());
    let method = if mode == Mode::Cert { "cert" } else { "scram-sha-256" };
    for decision in decisions {
        assert_eq!(decision["over-tls"]["method"], method, "{decision:#}");
        assert_eq!(decision["plain-text"]["method"], "reject", "{decision:#}");
        assert_eq!(decision["missing"], serde_json::json!([]));
    }

    let page = place.read("report.html")?;
    assert!(page.contains("<title>PROVED: 2 of 2 links, "), "{page}");
    assert!(page.contains(&format!("{method}</code>")), "the rules: {page}");
    // No key and no password.
    assert!(!page.contains("PRIVATE KEY") && !page.contains("SCRAM-SHA-256$"));
    if mode == Mode::Scram {
        let data = servers.query("node-1", "SHOW data_directory")?.ok_or("no data directory")?;
        let passfile = std::fs::read_to_string(format!("{data}/pgward/passfile"))?;
        let passwords: Vec<&str> =
            passfile.lines().filter_map(|line| line.rsplit(':').next()).collect();
        assert!(passwords.iter().any(|password| password.len() >= 32));
        for password in passwords {
            assert!(!page.contains(password) && !proved.to_string().contains(password));
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn by_certificates() -> Outcome {
    secured(Mode::Cert).await
}

#[tokio::test(flavor = "multi_thread")]
async fn by_passwords() -> Outcome {
    secured(Mode::Scram).await
}

/// The user that the description names may not read what inspection must.
#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_who_is_none() -> Outcome {
    let place = Place::new()?;
    let servers = open_cluster(&place, Mode::Cert).await?;
    for node in ["node-1", "node-2"] {
        servers.query(node, "CREATE ROLE nobody LOGIN")?;
    }
    let text = place.read("pgward.toml")?.replace("user=postgres", "user=nobody");
    place.write("pgward.toml", text, 0o600)?;
    let said = place.run(["plan"])?;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.talk.contains("error: node node-"), "{said:?}");
    assert!(said.talk.contains("let \"sql\" name a superuser"), "{said:?}");
    Ok(())
}

/// An apply that is killed half-way, before the links of node-1 are changed.
async fn killed(place: &Place, servers: &Servers) -> Outcome {
    let sql = servers.cluster(Mode::Cert)?.spec.nodes[0].sql.clone();
    // With this lock the links of node-1 can be looked at, and not changed: apply stands still there.
    let (holder, connection) = tokio_postgres::connect(&sql, tokio_postgres::NoTls).await?;
    let connection = tokio::spawn(connection);
    holder.batch_execute("BEGIN; LOCK TABLE pg_catalog.pg_subscription IN SHARE MODE").await?;

    let mut child = place.command(["apply", "--yes", "-v"]).stdout(Stdio::null()).spawn()?;
    let talk = child.stderr.take().ok_or("no standard error")?;
    let mut lines = BufReader::new(talk).lines().map_while(Result::ok);
    let switching = lines.find(|line| line.contains("switch"));
    child.kill()?;
    child.wait()?;
    assert!(switching.is_some(), "it came to the links");
    drop(holder);
    connection.await?.ok();
    Ok(())
}

/// The run is on disk, is named, is in the way of others, and can be finished.
#[tokio::test(flavor = "multi_thread")]
async fn killed_and_resumed() -> Outcome {
    let place = Place::new()?;
    let servers = open_cluster(&place, Mode::Cert).await?;
    killed(&place, &servers).await?;

    let said = place.run(["status"])?;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.out.contains("is unfinished") && said.out.contains("pgward resume"), "{said:?}");
    let said = place.run(["apply", "--yes"])?;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.talk.contains("is unfinished") && said.talk.contains("pgward resume"), "{said:?}");
    assert_eq!(said.out, "", "nothing is planned that cannot be done: {said:?}");
    let said = place.run(["plan"])?;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.talk.contains("is unfinished") && said.talk.contains("pgward resume"), "{said:?}");
    let said = place.run(["verify"])?;
    assert!(said.talk.contains("is unfinished"), "{said:?}");
    let said = place.run(["resume"])?;
    assert_eq!(said.code, Some(1), "nobody was asked: {said:?}");

    let resumed = place.run(["resume", "--yes", "--format", "json"])?.json()?;
    assert_eq!(resumed["result"]["outcome"], "applied", "{resumed:#}");
    assert_eq!(resumed["outcome"], "fine", "{resumed:#}");
    Ok(())
}

/// Nobody wants it any more: it is in nobody's way, and what is there is described anew.
#[tokio::test(flavor = "multi_thread")]
async fn killed_and_given_up() -> Outcome {
    let place = Place::new()?;
    let servers = open_cluster(&place, Mode::Cert).await?;
    killed(&place, &servers).await?;

    let said = place.run(["abandon"])?;
    assert_eq!(said.code, Some(1), "nobody was asked: {said:?}");
    let given_up = place.run(["abandon", "--yes", "--format", "json"])?.json()?;
    assert_eq!(given_up["result"]["outcome"], "abandoned", "{given_up:#}");
    let status = place.run(["status", "--format", "json"])?.json()?;
    assert_eq!(status["result"]["runs"][0]["state"], "abandoned", "{status:#}");
    let applied = place.run(["apply", "--yes", "--format", "json"])?.json()?;
    assert_eq!(applied["outcome"], "fine", "{applied:#}");
    Ok(())
}
