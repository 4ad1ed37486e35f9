//! `kill -9` after records of runs on standbys and foreign servers.

use std::{collections::BTreeMap, path::PathBuf};

use cluster::spec::{ClusterSpec, Mode};
use pg_version::PgVersion;
use pgtest::Server;

use crate::{
    anywhere::{Found, killed_anywhere},
    found::files,
    standbys::rests_long,
    support::{Outcome, STREAMING, server, spec_of, standby, wait},
};

/// What else than files a run may change.
const STATE: [&str; 3] = [
    "SELECT string_agg(concat_ws('|', rolname, rolcanlogin, rolreplication, \
     coalesce(rolpassword, '-')), ' ' ORDER BY rolname) FROM pg_authid",
    "SELECT string_agg(concat_ws('|', srvname, srvoptions, umoptions), ' ' ORDER BY srvname) \
     FROM pg_user_mapping JOIN pg_foreign_server s ON s.oid = umserver",
    "SELECT string_agg(concat_ws('=', name, setting), ' ' ORDER BY name) FROM pg_settings \
     WHERE name LIKE 'ssl%' OR name IN ('log_connections', 'primary_conninfo', \
     'wal_retrieve_retry_interval')",
];

struct Victim<'a, W> {
    spec: ClusterSpec,
    servers: [&'a Server; 2],
    works: W,
}

impl<W: Fn() -> Outcome> Found for Victim<'_, W> {
    type State = (BTreeMap<PathBuf, Vec<u8>>, Vec<Option<String>>);

    fn spec(&self) -> &ClusterSpec {
        &self.spec
    }

    fn state(&self) -> Outcome<Self::State> {
        let mut seen = Vec::new();
        for server in self.servers {
            for query in STATE {
                seen.push(server.query(query)?.value().map(str::to_owned));
            }
        }
        Ok((files(&self.servers)?, seen))
    }

    async fn works(&self) -> Outcome {
        (self.works)()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_killed_after_records() -> Outcome {
    let installation = pgtest::find(PgVersion::V16)?;
    let folder = tempfile::tempdir()?;
    let mut first = server(&installation, 31)?;
    for statement in [
        "CREATE ROLE replicator LOGIN REPLICATION",
        "SELECT pg_create_physical_replication_slot('second')",
        "CREATE TABLE seen (at int)",
    ] {
        first.query(statement)?;
    }
    let second = standby(&installation, &mut first, 32, "", Some("second"))?;
    // The pause between its attempts is one that is cut short, too.
    rests_long(&second)?;
    wait(&first, STREAMING, "1")?;
    let works = || {
        let at = "WITH new AS (INSERT INTO seen SELECT count(*) FROM seen RETURNING at) SELECT at FROM new";
        let at = first.query(at)?.value().ok_or("no row")?.to_owned();
        wait(&second, &format!("SELECT count(*) FROM seen WHERE at = {at}"), "1")
    };
    let servers = [("first", &first), ("second", &second)];
    let spec = spec_of(Mode::Scram, &["replicator"], folder.path(), &servers);
    killed_anywhere(&Victim { spec, servers: [&first, &second], works }, 0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_servers_killed_after_records() -> Outcome {
    let installation = pgtest::find(PgVersion::V18)?;
    let folder = tempfile::tempdir()?;
    let (one, two) = (server(&installation, 33)?, server(&installation, 34)?);
    for server in [&one, &two] {
        server.query("CREATE ROLE reader LOGIN PASSWORD 'r'")?;
        server.query("CREATE TABLE numbers (i int)")?;
        server.query("INSERT INTO numbers VALUES (42)")?;
        server.query("GRANT SELECT ON numbers TO reader")?;
    }
    for statement in [
        "CREATE EXTENSION postgres_fdw".to_owned(),
        format!(
            "CREATE SERVER other FOREIGN DATA WRAPPER postgres_fdw \
             OPTIONS (host '{}', port '{}', dbname 'postgres')",
            two.addr(),
            two.port()
        ),
        "CREATE USER MAPPING FOR postgres SERVER other OPTIONS (user 'reader', password 'r')"
            .to_owned(),
        "CREATE FOREIGN TABLE theirs (i int) SERVER other OPTIONS (table_name 'numbers')"
            .to_owned(),
    ] {
        one.query(&statement)?;
    }
    let works = || wait(&one, "SELECT i FROM theirs", "42");
    let servers = [("one", &one), ("two", &two)];
    let spec = spec_of(Mode::Cert, &["reader"], folder.path(), &servers);
    killed_anywhere(&Victim { spec, servers: [&one, &two], works }, 1).await
}
