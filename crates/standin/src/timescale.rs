//! An access node and its data nodes, as TimescaleDB had them up to 2.13.
//!
//! How the access node connects is the point: see `timescale.sql`. What the product does and this does
//! not: hypertables and chunks (a distributed table here is a view that sends and fetches rows),
//! pushing queries down, subtransactions on the data nodes, `timescaledb.*` in `pg_settings`, and the
//! extension itself (`pg_extension`, `shared_preload_libraries`).

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use pg_version::PgVersion;
use pgtest::Session;
use tokio::task::spawn_blocking;

use super::{
    Node, Result,
    node::{Setup, hosts_of},
    pgd::By,
    site::Site,
};

const ACCESS_NODE: &str = include_str!("timescale.sql");
const DATABASE: &str = "tsdb";

/// An open cluster: connections over plain TCP, everybody on the network is trusted.
#[derive(Clone, Debug)]
pub struct TimescaleCluster {
    access: Arc<Node>,
    data: Vec<Arc<Node>>,
    by: By,
    site: Site,
    runs: Arc<AtomicU32>,
}

/// A cluster to be opened.
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    version: PgVersion,
    count: u8,
    by: By,
    site: Site,
    settings: Vec<(String, String)>,
}

/// What a data node has of the rows that were written through the access node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The data node.
    pub node: String,
    /// How many rows it has.
    pub rows: usize,
    /// How many it must have.
    pub expected: usize,
}

impl Builder {
    /// Where the nodes are; on the loopback network unless set.
    pub fn site(mut self, site: &Site) -> Self {
        self.site = site.clone();
        self
    }

    /// What the foreign servers have for a host; the address unless set. Names are known only where
    /// nodes are in namespaces.
    pub fn by(mut self, by: By) -> Self {
        self.by = by;
        self
    }

    /// A setting of every node.
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the nodes; the access node knows no data node yet.
    pub async fn start(self) -> Result<TimescaleCluster> {
        let installation = pgtest::find(self.version)?;
        let places = self.site.places(self.count + 1)?;
        let mut names = vec!["access".to_owned()];
        names.extend((1..=self.count).map(|number| format!("dn{number}")));
        let hosts = hosts_of(&names, &places);
        let mut hba = String::new();
        if self.site.network().is_some() {
            hba = format!("host all all {} trust\n", self.site.peers_from());
        }
        let mut settings = vec![
            ("max_prepared_transactions".to_owned(), "20".to_owned()),
            // Data nodes copy from one another by subscriptions.
            ("wal_level".to_owned(), "logical".to_owned()),
        ];
        settings.extend(self.settings);
        let setup = |(name, place): (String, _)| Setup {
            installation: installation.clone(),
            // A data node's database is made when it is added.
            create_database: name == "access",
            name,
            place,
            database: DATABASE,
            settings: settings.clone(),
            hba: hba.clone(),
            hosts: hosts.clone(),
            home: None,
        };
        let mut nodes = Node::start_all(names.into_iter().zip(places).map(setup).collect()).await?;
        let data = nodes.split_off(1);
        let access = nodes.remove(0);
        access.sql(ACCESS_NODE)?;
        Ok(TimescaleCluster { access, data, by: self.by, site: self.site, runs: Arc::default() })
    }

    /// Starts the nodes, adds the data nodes and makes the distributed table `metrics`, which every
    /// role may read and write.
    pub async fn open(self) -> Result<TimescaleCluster> {
        let cluster = self.start().await?;
        spawn_blocking(move || {
            cluster.add_data_nodes()?;
            cluster.create_table()?;
            Ok(cluster)
        })
        .await?
    }
}

impl TimescaleCluster {
    /// An open cluster with `count` data nodes on the loopback network.
    pub async fn open(version: PgVersion, count: u8) -> Result<Self> {
        Self::builder(version, count).open().await
    }

    /// An open cluster, to be described further.
    pub fn builder(version: PgVersion, count: u8) -> Builder {
        Builder { version, count, by: By::Ip, site: Site::Loopback, settings: Vec::new() }
    }

    /// The access node.
    pub fn access(&self) -> &Arc<Node> {
        &self.access
    }

    /// The data nodes: `dn1`, `dn2`, ...
    pub fn data(&self) -> &[Arc<Node>] {
        &self.data
    }

    /// All nodes, the access node first.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        std::iter::once(&self.access).chain(&self.data)
    }

    /// Where the nodes are.
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// Adds every data node, as the superuser of the access node.
    pub fn add_data_nodes(&self) -> Result {
        self.data.iter().try_for_each(|node| self.add_data_node(node))
    }

    /// Adds a data node, as the superuser of the access node.
    pub fn add_data_node(&self, node: &Node) -> Result {
        self.access.sql(&self.addition(node))?;
        Ok(())
    }

    fn addition(&self, node: &Node) -> String {
        let host = match self.by {
            By::Ip => node.address().to_string(),
            By::Name => node.host(),
        };
        let (name, port) = (node.name(), node.port());
        format!("SELECT * FROM add_data_node('{name}', host => '{host}', port => {port})")
    }

    /// Makes another database on the access node, which has the same data nodes by the same names; a session
    /// there.
    pub fn another_database(&self, name: &str) -> Result<Session> {
        self.access.sql(&format!("CREATE DATABASE {name}"))?;
        let mut session = self.access.server().connect().database(name).open()?;
        session.query(ACCESS_NODE)?;
        for node in &self.data {
            session.query(&self.addition(node))?;
        }
        Ok(session)
    }

    /// Makes the distributed table `metrics`, which every role may read and write.
    pub fn create_table(&self) -> Result {
        let mut session = self.access.session()?;
        for statement in [
            "CREATE TABLE metrics (time timestamptz NOT NULL, device integer NOT NULL, run text)",
            "SELECT create_distributed_hypertable('metrics', 'time', 'device')",
            "GRANT SELECT, INSERT ON metrics TO PUBLIC",
            "CALL distributed_exec('GRANT SELECT, INSERT ON metrics TO PUBLIC')",
        ] {
            session.query(statement)?;
        }
        Ok(())
    }

    /// A session on the access node as a role, as if an external client had logged in as it. Its
    /// connections to the data nodes are its own.
    pub fn session_as(&self, role: &str) -> Result<Session> {
        let mut session = self.access.session()?;
        session.query(&format!("SET SESSION AUTHORIZATION \"{role}\""))?;
        Ok(session)
    }

    /// Makes a role as the document does, on the access node and through it on the data nodes.
    /// `attributes` are those on the data nodes: `LOGIN`, a password.
    pub fn create_role(&self, role: &str, attributes: &str) -> Result {
        let servers: Vec<&str> = self.data.iter().map(|node| node.name()).collect();
        let mut session = self.access.session()?;
        session.query(&format!("CREATE ROLE {role}"))?;
        session
            .query(&format!("GRANT USAGE ON FOREIGN SERVER {} TO {role}", servers.join(", ")))?;
        session.query(&format!("CALL distributed_exec($$ CREATE ROLE {role} {attributes} $$)"))?;
        Ok(())
    }

    /// Writes rows through the access node as a role, two for each data node; reads them through it;
    /// and looks on each data node, by its own administrator, what is there.
    pub async fn write_and_see(&self, role: &str) -> Result<Vec<Arrival>> {
        let (cluster, role) = (self.clone(), role.to_owned());
        spawn_blocking(move || {
            let run = format!("run-{}", cluster.runs.fetch_add(1, Ordering::Relaxed));
            let mut session = cluster.session_as(&role)?;
            session.query(&format!(
                "INSERT INTO metrics SELECT now(), device, '{run}' \
                 FROM generate_series(0, {}) AS device",
                2 * cluster.data.len() - 1
            ))?;
            let count = format!("SELECT count(*) FROM metrics WHERE run = '{run}'");
            let through = session.query(&count)?;
            let mut arrivals = vec![Arrival {
                node: cluster.access.name().to_owned(),
                rows: number(through.value()),
                expected: 2 * cluster.data.len(),
            }];
            for node in &cluster.data {
                let rows = number(Some(&node.value(&count)?));
                arrivals.push(Arrival { node: node.name().to_owned(), rows, expected: 2 });
            }
            Ok(arrivals)
        })
        .await?
    }
}

fn number(text: Option<&str>) -> usize {
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}
