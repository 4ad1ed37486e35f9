//! An open cluster of throw-away servers, as people really have them: joined by subscriptions over
//! plain TCP, where everybody on the network is trusted. For demonstrations and tests.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use crate::{
    conninfo::ConnInfo,
    inspect::Node,
    spec::{CertificatePolicy, ClusterSpec, IKnow, Mode, NodeSpec, TopologyKind},
    sql::PATIENCE,
    transport::{FilesSpec, LocalFiles},
};
use pg_version::PgVersion;
use pgtest::{Installation, Rows, Server, Session};
use serde::Serialize;
use time::OffsetDateTime;

/// The role that replicates.
pub const ROLE: &str = "replicator";
/// The database that is replicated.
pub const DATABASE: &str = "app";

/// Why there is no open cluster to show.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DemoError {
    /// A server does not start, stop or answer.
    #[error(transparent)]
    Server(#[from] pgtest::Error),
    /// No server was started.
    #[error("no server was started")]
    NoServer,
    /// What was to be replicated did not arrive.
    #[error("{0}")]
    Replication(String),
    /// A thread of this process ended before its work did.
    #[error("a thread ended before its work did")]
    Thread,
}

/// The running servers. Dropped, they stop and their folders are removed, after a panic too.
#[derive(Clone, Debug, Default)]
pub struct Servers(Arc<Mutex<BTreeMap<u8, Server>>>);

/// The servers as an administrator would describe them.
#[derive(Clone, Debug)]
pub struct DemoCluster {
    /// The description.
    pub spec: ClusterSpec,
    version: PgVersion,
}

impl DemoCluster {
    /// What joins the nodes, in words.
    #[must_use]
    pub fn topology_words(&self) -> &'static str {
        if self.version >= PgVersion::V16 {
            "a logical-replication mesh, every node subscribes to every other (origin = none)"
        } else {
            "one primary and its subscribers (a mesh needs origin = none, which PostgreSQL 16 brought)"
        }
    }

    /// The nodes, with the way to their files.
    #[must_use]
    pub fn nodes(&self) -> Vec<Node> {
        let node = |spec: &NodeSpec| Node { spec: spec.clone(), files: Arc::new(LocalFiles) };
        self.spec.nodes.iter().map(node).collect()
    }
}

/// A row written on one node, and where it was seen.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RowSeen {
    /// The node that it was written on.
    pub written_on: String,
    /// The other nodes that must have it.
    pub expected_on: Vec<String>,
    /// Those that had it within the time allowed.
    pub seen_on: Vec<String>,
    /// How long it took until all had it.
    pub milliseconds: u128,
}

impl RowSeen {
    /// Whether every other node had it.
    #[must_use]
    pub fn everywhere(&self) -> bool {
        self.expected_on == self.seen_on
    }
}

/// How to reach and to stop a server that was left running.
#[derive(Clone, Debug, Serialize)]
pub struct KeptServer {
    /// The node.
    pub node: String,
    /// The address that it listens on.
    pub address: String,
    /// How a peer's links connect to it, for a client on this machine.
    pub conninfo: String,
    /// The shell command that stops it and removes its folder.
    pub stop: String,
}

fn name_of(number: u8) -> String {
    format!("node-{number}")
}

impl Servers {
    /// Starts `count` servers, each on an address of its own.
    ///
    /// # Errors
    /// [`DemoError::Server`] for the first that does not start.
    pub async fn start(&self, installation: &Installation, count: u8) -> Result<(), DemoError> {
        // Two demonstrations at the same time get different networks, most of the time; where not,
        // they get different ports.
        let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
        let [a, b, ..] = random.to_le_bytes();
        let mut starting = tokio::task::JoinSet::new();
        for number in 1..=count {
            let (servers, installation) = (self.clone(), installation.clone());
            let address = Ipv4Addr::new(127, a % 200 + 20, b, number);
            starting.spawn_blocking(move || {
                let server = open_server(&installation, address, count)?;
                servers.lock().insert(number, server);
                Ok::<(), DemoError>(())
            });
        }
        while let Some(started) = starting.join_next().await {
            started.map_err(|_| DemoError::Thread)??;
        }
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u8, Server>> {
        // A panic elsewhere must not keep the servers from being stopped.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops the servers and removes their folders.
    pub fn stop(&self) {
        self.lock().clear();
    }

    /// The description that an administrator would write of these servers.
    ///
    /// # Errors
    /// [`DemoError::NoServer`].
    pub fn cluster(&self, mode: Mode) -> Result<DemoCluster, DemoError> {
        let servers = self.lock();
        let first = servers.values().next().ok_or(DemoError::NoServer)?;
        // Beside the first server's data, so that it goes when the server goes.
        let secrets = first.root().join("pgward-secrets");
        // On loopback the kernel chooses 127.0.0.1 as the source of every connection to 127.0.0.0/8.
        let peers_from = vec![ipnet::IpNet::from(IpAddr::V4(Ipv4Addr::LOCALHOST))];
        let nodes = servers.iter().map(|(number, server)| NodeSpec {
            name: name_of(*number),
            host: None,
            address: server.addr(),
            port: server.port(),
            peers_from: peers_from.clone(),
            sql: admin_conninfo(server),
            files: FilesSpec::Local,
        });
        Ok(DemoCluster {
            version: first.version(),
            spec: ClusterSpec {
                topology: TopologyKind::Native,
                mode,
                link_role: ROLE.to_owned(),
                roles: Vec::new(),
                secrets,
                certificates: CertificatePolicy::default(),
                i_know: IKnow::default(),
                timescale: None,
                nodes: nodes.collect(),
            },
        })
    }

    /// Joins the servers by subscriptions over plain TCP, and waits until all replicate: a mesh where
    /// the major can have one (16 and newer), else a star around the first node.
    ///
    /// # Errors
    /// [`DemoError`] if a statement fails or replication does not come up.
    pub async fn join(&self) -> Result<(), DemoError> {
        self.blocking(|servers| {
            for server in servers.values() {
                server.query(&format!("CREATE DATABASE {DATABASE}"))?;
                let mut session = app(server)?;
                session.query(&format!("CREATE ROLE {ROLE} LOGIN REPLICATION"))?;
                session.query("CREATE TABLE note (node text PRIMARY KEY, text text)")?;
                session.query("CREATE PUBLICATION everything FOR ALL TABLES")?;
            }
            for (from, to) in links(servers) {
                let publisher = &servers[&to];
                let origin =
                    if publisher.version() >= PgVersion::V16 { ", origin = none" } else { "" };
                app(&servers[&from])?.query(&format!(
                    "CREATE SUBSCRIPTION node_{from}_from_node_{to} \
                     CONNECTION 'host={} port={} dbname={DATABASE} user={ROLE}' \
                     PUBLICATION everything WITH (copy_data = false{origin})",
                    publisher.addr(),
                    publisher.port(),
                ))?;
            }
            let subscribers = |to: u8| links(servers).filter(|link| link.1 == to).count();
            for (number, server) in servers {
                let expected = subscribers(*number).to_string();
                wait(server, &expected, STREAMING)?;
            }
            Ok(())
        })
        .await
    }

    /// Writes a row on each node that others follow, and looks where it arrives.
    ///
    /// # Errors
    /// [`DemoError::Server`] if it cannot be written or looked for.
    pub async fn write_rows(&self) -> Result<Vec<RowSeen>, DemoError> {
        self.blocking(|servers| {
            let mut rows = Vec::new();
            for (to, publisher) in servers {
                let readers: Vec<u8> =
                    links(servers).filter(|link| link.1 == *to).map(|link| link.0).collect();
                if readers.is_empty() {
                    continue;
                }
                let start = Instant::now();
                let name = name_of(*to);
                // Another text each time: a row from before is not taken for this one.
                let text = OffsetDateTime::now_utc().unix_timestamp_nanos();
                app(publisher)?.query(&format!(
                    "INSERT INTO note VALUES ('{name}', '{text}') \
                     ON CONFLICT (node) DO UPDATE SET text = excluded.text"
                ))?;
                let mut seen = Vec::new();
                for reader in &readers {
                    let count = format!(
                        "SELECT count(*) FROM note WHERE node = '{name}' AND text = '{text}'"
                    );
                    if wait(&servers[reader], "1", &count).is_ok() {
                        seen.push(name_of(*reader));
                    }
                }
                rows.push(RowSeen {
                    written_on: name,
                    expected_on: readers.into_iter().map(name_of).collect(),
                    seen_on: seen,
                    milliseconds: start.elapsed().as_millis(),
                });
            }
            Ok(rows)
        })
        .await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&BTreeMap<u8, Server>) -> Result<T, DemoError> + Send + 'static,
    ) -> Result<T, DemoError> {
        let servers = self.clone();
        let worked = tokio::task::spawn_blocking(move || work(&servers.lock())).await;
        worked.map_err(|_| DemoError::Thread)?
    }

    /// Runs a statement on a node in [`DATABASE`], as `postgres`, and returns the first value.
    ///
    /// # Errors
    /// [`DemoError::Server`] if the server refuses, [`DemoError::NoServer`] for a node that is none.
    pub fn query(&self, node: &str, statement: &str) -> Result<Option<String>, DemoError> {
        let servers = self.lock();
        let found = servers.iter().find(|(number, _)| name_of(**number) == node);
        let (_, server) = found.ok_or(DemoError::NoServer)?;
        Ok(app(server)?.query(statement)?.value().map(str::to_owned))
    }

    /// Does something with a node's server: stops it, or starts it again.
    ///
    /// # Errors
    /// [`DemoError::NoServer`] for a node that is none.
    pub fn with<T>(&self, node: &str, act: impl FnOnce(&mut Server) -> T) -> Result<T, DemoError> {
        let mut servers = self.lock();
        let found = servers.iter_mut().find(|(number, _)| name_of(**number) == node);
        found.map(|(_, server)| act(server)).ok_or(DemoError::NoServer)
    }

    /// Leaves the servers running, each with the connection string that a link to it has.
    ///
    /// # Errors
    /// [`DemoError::Server`] for one that is not running.
    pub fn keep(&self, mode: Mode) -> Result<Vec<KeptServer>, DemoError> {
        let servers = std::mem::take(&mut *self.lock());
        // The links of the last node lead to all others, those of the first to the last.
        let data: BTreeMap<u8, PathBuf> =
            servers.iter().map(|(number, server)| (*number, server.data_dir())).collect();
        let mut kept = Vec::new();
        for (number, server) in servers {
            let peer = data.iter().rev().find(|(peer, _)| **peer != number);
            let conninfo = peer.map(|(_, data)| link_conninfo(&server, number, data, mode));
            let address = server.addr().to_string();
            let stop = server.keep()?.stop_command();
            let conninfo = conninfo.unwrap_or_default();
            kept.push(KeptServer { node: name_of(number), address, conninfo, stop });
        }
        Ok(kept)
    }
}

/// How the administrator connects to a server.
fn admin_conninfo(server: &Server) -> String {
    let mut conninfo = ConnInfo::default();
    conninfo.set("host", server.socket_dir().display().to_string());
    conninfo.set("port", server.port().to_string());
    conninfo.set("user", "postgres");
    conninfo.set("dbname", DATABASE);
    conninfo.to_text().to_string()
}

/// How a peer's links connect to a server, for a client on this machine.
fn link_conninfo(server: &Server, number: u8, peer_data: &Path, mode: Mode) -> String {
    let mut conninfo = ConnInfo::default();
    let own = |file: &str| peer_data.join("pgward").join(file).display().to_string();
    conninfo.set("host", name_of(number));
    conninfo.set("hostaddr", server.addr().to_string());
    conninfo.set("port", server.port().to_string());
    conninfo.set("dbname", DATABASE);
    conninfo.set("user", ROLE);
    conninfo.set("sslmode", "verify-full");
    conninfo.set("sslrootcert", own("root.crt"));
    match mode {
        Mode::Cert => {
            conninfo.set("sslcert", own("client.crt"));
            conninfo.set("sslkey", own("client.key"));
        }
        Mode::Scram | Mode::Trust => {
            conninfo.set("passfile", own("passfile"));
            conninfo.set("channel_binding", "require");
        }
    }
    conninfo.to_text().to_string()
}

const STREAMING: &str = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'";

/// (subscriber, publisher): a mesh where the major can have one, else a star around the first node.
fn links(servers: &BTreeMap<u8, Server>) -> impl Iterator<Item = (u8, u8)> + '_ {
    let mesh = servers.values().all(|server| server.version() >= PgVersion::V16);
    servers
        .keys()
        .flat_map(move |from| {
            let to = servers.keys().filter(move |to| *to != from && (mesh || **to == 1));
            to.map(|to| (*from, *to))
        })
        .filter(move |(from, _)| mesh || *from != 1)
}

/// A server as people have it: initdb's `pg_hba.conf`, where everybody on the network is trusted.
fn open_server(
    installation: &Installation,
    address: Ipv4Addr,
    count: u8,
) -> Result<Server, pgtest::Error> {
    let workers = u32::from(count) * 4 + 8;
    Server::builder(installation)
        .addr(address)
        .setting("wal_level", "logical")
        .setting("max_wal_senders", workers)
        .setting("max_replication_slots", workers)
        .setting("max_worker_processes", workers)
        .setting("max_logical_replication_workers", workers)
        // A worker that ended is started again after this long; 5 s would be all that one sees.
        .setting("wal_retrieve_retry_interval", "100ms")
        .setting("logging_collector", "on")
        // As an auditor has it: whatever a statement says is in the log.
        .setting("log_statement", "all")
        .start()
}

fn app(server: &Server) -> Result<Session, pgtest::Error> {
    server.connect().database(DATABASE).open()
}

/// Waits until a query's only value is `expected`.
fn wait(server: &Server, expected: &str, query: &str) -> Result<(), DemoError> {
    let mut session = app(server)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let rows: Rows = session.query(query)?;
        if rows.value() == Some(expected) {
            return Ok(());
        }
        if Instant::now() > deadline {
            let log = server.log_text().unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(10).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            return Err(DemoError::Replication(format!(
                "replication did not come up within {} s; the end of the server's log:\n{}",
                PATIENCE.as_secs(),
                tail.join("\n")
            )));
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}
