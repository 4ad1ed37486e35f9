//! A group of PGD nodes: each replicates from every other.
//!
//! The schema `bdr` and the links are as the product's public reference has them; what moves the rows
//! is PostgreSQL's own logical replication (`origin = none`, so major 16 and newer). What the product
//! does and this does not: it replicates DDL and roles, joins and parts nodes, and its links are not
//! in `pg_subscription`.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use pg_version::PgVersion;
use tokio::task::spawn_blocking;

use super::{
    Error, Login, Node, PATIENCE, Result, RowSeen,
    node::{self, Setup, hosts_of},
    site::Site,
};

const SCHEMA: &str = include_str!("bdr.sql");
const DATABASE: &str = "pgddb";
/// The table whose rows are replicated. A node notes when it applies another's row.
const NOTE: &str = "
    CREATE TABLE public.note (
        id text PRIMARY KEY,
        written_on text NOT NULL,
        written_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        arrived_at timestamptz
    );
    CREATE FUNCTION public.arrive() RETURNS trigger LANGUAGE plpgsql
    AS 'BEGIN NEW.arrived_at := clock_timestamp(); RETURN NEW; END';
    CREATE TRIGGER arrive BEFORE INSERT ON public.note FOR EACH ROW EXECUTE FUNCTION public.arrive();
    ALTER TABLE public.note ENABLE REPLICA TRIGGER arrive";

/// What the nodes' connection strings have for a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// A name. On the loopback network, where nobody knows it, `hostaddr` says where it is.
    Name,
    /// The address.
    Ip,
}

/// An open group: links over plain TCP, everybody on the network is trusted.
#[derive(Clone, Debug)]
pub struct PgdMesh {
    nodes: Vec<Arc<Node>>,
    site: Site,
    rows: Arc<AtomicU32>,
}

/// A group to be opened.
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    version: PgVersion,
    count: u8,
    by: By,
    site: Site,
    user: String,
    parameters: String,
    settings: Vec<(String, String)>,
    home: Option<PathBuf>,
}

/// A link, seen by the node that is connected to.
#[derive(Clone, Debug)]
pub struct Link {
    /// The node that connects, and is written to.
    pub from: String,
    /// The node that is connected to.
    pub to: String,
    /// The session; `None` where the link is down.
    pub session: Option<LinkSession>,
}

/// What the server says of a link's session.
#[derive(Clone, Debug)]
pub struct LinkSession {
    /// The role, by `pg_stat_replication`.
    pub user: String,
    /// Where it comes from.
    pub client_addr: String,
    /// Whether TLS is spoken, by `pg_stat_ssl`.
    pub ssl: bool,
    /// The client certificate's subject, by `pg_stat_ssl`.
    pub client_dn: Option<String>,
    /// What the log says of its beginning.
    pub login: Login,
}

impl Builder {
    /// Where the nodes are; on the loopback network unless set.
    pub fn site(mut self, site: &Site) -> Self {
        self.site = site.clone();
        self
    }

    /// The role of the links: `pgd_replication` unless set, which is made. With `postgres` there is no
    /// `pgd_replication` yet.
    pub fn link_user(mut self, user: &str) -> Self {
        user.clone_into(&mut self.user);
        self
    }

    /// Further parameters of every node's connection string.
    pub fn parameters(mut self, parameters: &str) -> Self {
        self.parameters = format!(" {parameters}");
        self
    }

    /// A setting of every node.
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The `HOME` of every server, as where all run as one account of one machine; each has its own
    /// unless set.
    pub fn home(mut self, home: &Path) -> Self {
        self.home = Some(home.to_owned());
        self
    }

    /// Starts the nodes and joins them; returns when all replicate.
    pub async fn open(self) -> Result<PgdMesh> {
        let installation = pgtest::find(self.version)?;
        let places = self.site.places(self.count)?;
        let names: Vec<String> = (1..=self.count).map(|number| format!("node-{number}")).collect();
        let hosts = hosts_of(&names, &places);
        let mut hba = String::new();
        if self.site.network().is_some() {
            for database in ["all", "replication"] {
                hba += &format!("host {database} all {} trust\n", self.site.peers_from());
            }
        }
        let workers = (u32::from(self.count) * 4 + 8).to_string();
        let mut settings = vec![("wal_level".to_owned(), "logical".to_owned())];
        for name in [
            "max_wal_senders",
            "max_replication_slots",
            "max_worker_processes",
            "max_logical_replication_workers",
        ] {
            settings.push((name.to_owned(), workers.clone()));
        }
        if self.version >= PgVersion::V18 {
            settings.push(("max_active_replication_origins".to_owned(), workers));
        }
        // A link that was refused tries again after this long; 5 s would be all that one sees.
        settings.push(("wal_retrieve_retry_interval".to_owned(), "100ms".to_owned()));
        settings.extend(self.settings.clone());

        let setup = |(name, place)| Setup {
            installation: installation.clone(),
            name,
            place,
            database: DATABASE,
            create_database: true,
            settings: settings.clone(),
            hba: hba.clone(),
            hosts: hosts.clone(),
            home: self.home.clone(),
        };
        let nodes = Node::start_all(names.into_iter().zip(places).map(setup).collect()).await?;
        let mesh = PgdMesh { nodes, site: self.site.clone(), rows: Arc::default() };
        spawn_blocking(move || {
            self.join(&mesh)?;
            mesh.wait_linked()?;
            Ok(mesh)
        })
        .await?
    }

    fn join(&self, mesh: &PgdMesh) -> Result {
        for node in &mesh.nodes {
            let mut session = node.session()?;
            session.query(SCHEMA)?;
            session.query(NOTE)?;
            session.query("CREATE PUBLICATION bdr_pgdgroup FOR TABLES IN SCHEMA public")?;
        }
        if self.user != "postgres" {
            mesh.create_role(&self.user)?;
        }
        let dsns: Vec<String> = mesh.nodes.iter().map(|node| self.dsn(node)).collect();
        for node in &mesh.nodes {
            let mut session = node.session()?;
            for (number, (peer, dsn)) in (1..).zip(mesh.nodes.iter().zip(&dsns)) {
                let mut link = "NULL".to_owned();
                if peer.name() != node.name() {
                    let subscription =
                        format!("pgddb_pgdgroup_{}_{}", peer.name(), node.name()).replace('-', "_");
                    session.query(&format!(
                        "CREATE SUBSCRIPTION {subscription} CONNECTION '{dsn}' \
                         PUBLICATION bdr_pgdgroup WITH (copy_data = false, origin = none, \
                         slot_name = {})",
                        slot_of(node)
                    ))?;
                    link = format!("'{subscription}'");
                }
                session.query(&format!(
                    "INSERT INTO bdr_standin.node VALUES \
                     ('{}', {}, {number}, md5('{}')::uuid, '{dsn}', {link})",
                    peer.name(),
                    2_710_197_610_u32 + number,
                    peer.name(),
                ))?;
            }
        }
        Ok(())
    }

    fn dsn(&self, node: &Node) -> String {
        let host = match (self.by, node.namespace()) {
            (By::Ip, _) => format!("host={}", node.address()),
            (By::Name, Some(_)) => format!("host={}", node.host()),
            (By::Name, None) => format!("host={} hostaddr={}", node.host(), node.address()),
        };
        let (port, parameters) = (node.port(), &self.parameters);
        format!("{host} port={port} dbname={DATABASE} user={}{parameters}", self.user)
    }
}

/// The slot, on each of its peers, of what a node is sent.
fn slot_of(node: &Node) -> String {
    format!("bdr_pgddb_pgdgroup_{}", node.name().replace('-', "_"))
}

impl PgdMesh {
    /// An open group of `count` nodes on the loopback network.
    pub async fn open(version: PgVersion, count: u8, by: By) -> Result<Self> {
        Self::builder(version, count, by).open().await
    }

    /// An open group, to be described further.
    pub fn builder(version: PgVersion, count: u8, by: By) -> Builder {
        Builder {
            version,
            count,
            by,
            site: Site::Loopback,
            user: "pgd_replication".to_owned(),
            parameters: String::new(),
            settings: Vec::new(),
            home: None,
        }
    }

    /// The nodes: `node-1`, `node-2`, ...
    pub fn nodes(&self) -> &[Arc<Node>] {
        &self.nodes
    }

    /// Where the nodes are.
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// What a node has for a node: its `interface_connstr`.
    pub fn dsn(&self, on: &Node, of: &Node) -> Result<String> {
        on.value(&format!(
            "SELECT interface_connstr FROM bdr.node_summary WHERE node_name = '{}'",
            of.name()
        ))
    }

    /// Makes a role as the document does, on every node; and adds what native replication wants.
    pub fn create_role(&self, role: &str) -> Result {
        for node in &self.nodes {
            node.sql(&format!("CREATE ROLE \"{role}\" LOGIN IN ROLE bdr_superuser"))?;
            node.sql(&format!("ALTER ROLE \"{role}\" REPLICATION"))?;
        }
        Ok(())
    }

    /// Calls `bdr.alter_node_interface` on every node for every node, with a connection string made of
    /// the one that the node has.
    pub fn alter_interfaces(&self, change: impl Fn(&Node, String) -> String) -> Result {
        for on in &self.nodes {
            for of in &self.nodes {
                let dsn = change(of, self.dsn(on, of)?).replace('\'', "''");
                on.sql(&format!("SELECT bdr.alter_node_interface('{}', '{dsn}')", of.name()))?;
            }
        }
        Ok(())
    }

    /// Waits until every node is sent to by every other.
    pub fn wait_linked(&self) -> Result {
        let count = (self.nodes.len() - 1).to_string();
        self.nodes.iter().try_for_each(|node| {
            node.wait("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'", &count)
        })
    }

    /// Ends the sessions of all links. They come again as they can.
    pub fn cut_links(&self) -> Result {
        for node in &self.nodes {
            node.sql("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_replication")?;
        }
        Ok(())
    }

    /// Every directed link, from every node to every other.
    pub fn links(&self) -> Result<Vec<Link>> {
        let mut links = Vec::new();
        for to in &self.nodes {
            let rows = to.sql(
                "SELECT slot_name, r.pid, usename, host(client_addr), ssl, client_dn \
                 FROM pg_replication_slots \
                 LEFT JOIN pg_stat_replication AS r ON r.pid = active_pid \
                 LEFT JOIN pg_stat_ssl AS s ON s.pid = r.pid",
            )?;
            for from in self.nodes.iter().filter(|from| from.name() != to.name()) {
                let slot = slot_of(from);
                let mut session = None;
                for row in &rows.rows {
                    if let [Some(name), Some(pid), Some(user), Some(addr), Some(ssl), dn] = &row[..]
                        && *name == slot
                    {
                        let login = to.login_of(pid.parse().unwrap_or_default())?;
                        session = Some(LinkSession {
                            user: user.clone(),
                            client_addr: addr.clone(),
                            ssl: ssl == "t",
                            client_dn: dn.clone(),
                            login: login.unwrap_or_default(),
                        });
                    }
                }
                links.push(Link { from: from.name().into(), to: to.name().into(), session });
            }
        }
        Ok(links)
    }

    /// Writes a row on each node and waits until all others have it.
    pub async fn write_and_see(&self) -> Result<Vec<RowSeen>> {
        self.write_and_see_within(PATIENCE).await
    }

    /// Writes a row on each node, and looks which others have it in time.
    pub async fn write_and_see_within(&self, limit: Duration) -> Result<Vec<RowSeen>> {
        let mesh = self.clone();
        spawn_blocking(move || {
            let deadline = Instant::now() + limit;
            let mut rows = Vec::new();
            for node in &mesh.nodes {
                let id = format!("row-{}", mesh.rows.fetch_add(1, Ordering::Relaxed));
                node.sql(&format!("INSERT INTO public.note VALUES ('{id}', '{}')", node.name()))?;
                rows.push((node.name().to_owned(), id));
            }
            let look = |(written_on, id): (String, String)| {
                let mut row =
                    RowSeen { written_on, seen_on: BTreeSet::new(), missing_on: BTreeSet::new() };
                for node in mesh.nodes.iter().filter(|node| node.name() != row.written_on) {
                    let count = format!("SELECT count(*) FROM public.note WHERE id = '{id}'");
                    let mut session = node.session()?;
                    let arrived = node::poll_until(deadline, || {
                        let rows = session.query(&count)?;
                        Ok((rows.value() != Some("1")).then(String::new))
                    });
                    match arrived {
                        Ok(()) => row.seen_on.insert(node.name().to_owned()),
                        Err(Error::Late(_)) => row.missing_on.insert(node.name().to_owned()),
                        Err(error) => return Err(error),
                    };
                }
                Ok(row)
            };
            rows.into_iter().map(look).collect()
        })
        .await?
    }
}
