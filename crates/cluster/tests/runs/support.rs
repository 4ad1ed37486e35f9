//! A cluster to work on, and all that must be as it was.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use cluster::{
    Error,
    apply::{Event, Limits, Observer},
    conninfo::ConnInfo,
    demo::{DemoCluster, Servers},
    inspect,
    prepare::{self, Prepared},
    run::{Outcome, Runner},
    spec::Mode,
    verify,
};
use pg_version::PgVersion;
use time::OffsetDateTime;

pub(crate) use crate::killed::{AdminWatch, LIMITS};

pub(crate) type Tested<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Servers that replicate, open to everybody, as an administrator describes them.
#[derive(Clone)]
pub(crate) struct Bench {
    pub(crate) servers: Servers,
    pub(crate) cluster: DemoCluster,
}

impl Bench {
    pub(crate) async fn start(version: PgVersion, mode: Mode, count: u8) -> Tested<Self> {
        let servers = Servers::default();
        servers.start(&pgtest::find(version)?, count).await?;
        servers.join().await?;
        let mut cluster = servers.cluster(mode)?;
        // The administrator of the last node comes in over the network.
        let last = cluster.spec.nodes.last_mut().ok_or("no node")?;
        let mut sql: ConnInfo = last.sql.parse()?;
        sql.set("host", last.address.to_string());
        last.sql = sql.to_text().to_string();
        Ok(Self { servers, cluster })
    }

    pub(crate) fn spec(&self) -> &cluster::spec::ClusterSpec {
        &self.cluster.spec
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.spec().nodes.iter().map(|node| node.name.clone()).collect()
    }

    pub(crate) fn runner(&self) -> Runner {
        Runner::new(self.spec(), &self.cluster.nodes()).limits(LIMITS)
    }

    /// One whose events are told.
    pub(crate) fn watched(&self, watch: impl Fn(&Event) + Send + Sync + 'static) -> Runner {
        let observer: Observer = Arc::new(move |event| watch(&event));
        self.runner().observer(observer)
    }

    pub(crate) async fn prepare(&self) -> Result<Prepared, Error> {
        let states = inspect::inspect_all(self.spec(), &self.cluster.nodes()).await?;
        prepare::prepare(self.spec(), &states, OffsetDateTime::now_utc())
    }

    pub(crate) async fn apply(&self) -> Result<Outcome, Error> {
        self.runner().apply(self.prepare().await?).await
    }

    pub(crate) async fn rollback(&self) -> Result<Outcome, Error> {
        self.runner().rollback().await
    }

    pub(crate) async fn is_proved(&self) -> Tested {
        let verification =
            verify::verify(self.spec(), &self.cluster.nodes(), OffsetDateTime::now_utc()).await?;
        assert!(verification.proved(), "{verification:#?}");
        Ok(())
    }

    pub(crate) fn data(&self, node: &str) -> Tested<PathBuf> {
        Ok(self.servers.with(node, |server| server.data_dir())?)
    }

    pub(crate) fn query(&self, node: &str, statement: &str) -> Tested<Option<String>> {
        Ok(self.servers.query(node, statement)?)
    }

    /// Everything that a run may change: files with owner and mode, every name in the data directory,
    /// roles with what their passwords are checked by, and the links.
    pub(crate) fn state(&self) -> Tested<BTreeMap<String, String>> {
        let mut state = BTreeMap::new();
        for kept in ["ca.crt", "ca.key", "applied.json"] {
            let there = self.spec().secrets.join(kept).exists();
            state.insert(format!("secrets {kept}"), there.to_string());
        }
        for node in self.names() {
            let data = self.data(&node)?;
            for path in tree(&data)? {
                let name = path.strip_prefix(&data)?.display().to_string();
                let metadata = fs::symlink_metadata(&path)?;
                let mut what =
                    format!("{:o} {}:{}", metadata.mode(), metadata.uid(), metadata.gid());
                if metadata.is_file() && is_ours(&name) {
                    what += &format!(" {}", String::from_utf8_lossy(&fs::read(&path)?));
                }
                state.insert(format!("{node} {name}"), what);
            }
            for (what, query) in STATE {
                let rows = self.query(&node, query)?.unwrap_or_default();
                state.insert(format!("{node} {what}"), rows);
            }
        }
        Ok(state)
    }

    /// A row that is written on each node that has subscribers reaches them.
    pub(crate) async fn replicates(&self) -> Tested {
        static NEXT: AtomicU32 = AtomicU32::new(0);

        for node in self.names() {
            let subscribers: usize = self
                .query(&node, "SELECT count(*) FROM pg_replication_slots")?
                .ok_or("no count")?
                .parse()?;
            if subscribers == 0 {
                continue;
            }
            let row = format!("{node}-{}", NEXT.fetch_add(1, Ordering::Relaxed));
            self.query(&node, &format!("INSERT INTO note VALUES ('{row}', 'seen')"))?;
            let seen = format!("SELECT count(*) FROM note WHERE node = '{row}'");
            for reader in self.names() {
                until(&format!("{row} on {reader}"), async || {
                    Ok(self.query(&reader, &seen)?.as_deref() == Some("1"))
                })
                .await?;
            }
        }
        Ok(())
    }

    /// Everything is as it was found, and works.
    pub(crate) async fn is_as_found(&self, found: &BTreeMap<String, String>, when: &str) -> Tested {
        let now = self.state()?;
        let all = found.keys().chain(now.keys());
        let differ: Vec<_> = all
            .filter(|key| found.get(*key) != now.get(*key))
            .map(|key| format!("{key}\n  was {:?}\n  is  {:?}", found.get(key), now.get(key)))
            .collect();
        assert!(differ.is_empty(), "{when}: {}", differ.join("\n"));
        self.replicates().await
    }
}

/// For what does not come at all; what does must have the time for it on a busy machine, too.
pub(crate) const SHORT: Limits = Limits { answer: Duration::from_secs(5), ..LIMITS };

const STATE: [(&str, &str); 4] = [
    (
        "roles",
        "SELECT string_agg(concat_ws('|', rolname, rolsuper, rolcanlogin, rolreplication, \
         coalesce(rolpassword, '-')), ' ' ORDER BY rolname) FROM pg_authid",
    ),
    (
        "members",
        "SELECT string_agg(concat_ws('|', roleid::regrole, member::regrole), ' ' ORDER BY 1) \
         FROM (SELECT roleid, member FROM pg_auth_members ORDER BY 1, 2) m",
    ),
    (
        "links",
        "SELECT string_agg(concat_ws('|', subname, subconninfo, subenabled), ' ' ORDER BY subname) \
         FROM pg_subscription",
    ),
    (
        "settings in force",
        "SELECT string_agg(concat_ws('=', name, setting), ' ' ORDER BY name) FROM pg_settings \
         WHERE name IN ('ssl', 'ssl_ca_file', 'ssl_cert_file', 'ssl_key_file', 'log_connections')",
    ),
];

/// Whether a file is an administrator's: its bytes matter.
fn is_ours(name: &str) -> bool {
    name.starts_with("pgward") || (name.ends_with(".conf") && !name.contains('/'))
}

/// The files and folders that are not the server's own data.
fn tree(data: &Path) -> Tested<Vec<PathBuf>> {
    const VOLATILE: [&str; 3] = ["postmaster.pid", "postmaster.opts", "current_logfiles"];
    let mut found = Vec::new();
    for entry in fs::read_dir(data)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if VOLATILE.contains(&name.as_str()) {
            continue;
        }
        found.push(entry.path());
        if name == "pgward" || name == "conf.d" {
            for inner in fs::read_dir(entry.path()).into_iter().flatten() {
                found.push(inner?.path());
            }
        }
    }
    Ok(found)
}

/// How long a state that must come may take, on a busy machine, too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Asks until a condition holds.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> Tested<bool>) -> Tested {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds().await? {
        assert!(tokio::time::Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}
