//! What a node is like now: its settings, files, roles and links, as the server itself tells them.
//!
//! Inspection only reads. What it finds, and the [description](crate::spec), are all that a plan is
//! made from.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use hba_parser::{HbaDocument, Server};
use pg_version::PgVersion;
use pgconf::Configuration;
use textfile::{
    FileError, FileKind, Files, MemoryFiles,
    fs::{Access, path_of},
};
use tokio::task::JoinSet;
use tokio_postgres::Client;
use zeroize::Zeroizing;

use crate::{
    conninfo::ConnInfo,
    error::{Error, NodeContext as _},
    spec::{ClusterSpec, NodeSpec},
    sql, topology,
    transport::{NodeFile, NodeFiles},
};

/// A node that can be reached: its description and the way to its files.
#[derive(Clone, Debug)]
pub struct Node {
    /// What the description says of it.
    pub spec: NodeSpec,
    /// Its files.
    pub files: Arc<dyn NodeFiles>,
}

/// What inspection found on a node.
#[derive(Clone, Debug)]
pub struct NodeState {
    /// The node's name in the description.
    pub name: String,
    /// The server's major version.
    pub version: PgVersion,
    /// The server's version as it prints it: `16.4 (Debian 16.4-1)`.
    pub server_version: String,
    /// The settings that matter here, by name.
    pub settings: BTreeMap<String, Setting>,
    /// Who owns the data directory, and so the server's process; mode is that of the data directory.
    pub owner: Access,
    /// The files that a plan may change or depend on; `None` for one that is not there.
    pub files: BTreeMap<PathBuf, Option<NodeFile>>,
    /// The folders for credentials that are there.
    pub folders: BTreeSet<PathBuf>,
    /// `postgresql.conf` with all that it includes, and `postgresql.auto.conf`.
    pub configuration: Configuration,
    /// The files that `pg_hba.conf` includes.
    pub hba_included: MemoryFiles,
    /// How the administrator came in.
    pub admin: AdminSession,
    /// What the server says of each line of `pg_hba.conf` that it would not load.
    pub hba_errors: Vec<HbaError>,
    /// Every role.
    pub roles: Vec<Role>,
    /// Every subscription.
    pub subscriptions: Vec<Subscription>,
}

/// How the session that inspects came in, as the server sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminSession {
    /// The role.
    pub user: String,
    /// The database.
    pub database: String,
    /// The client's address; `None` for a Unix socket.
    pub address: Option<IpAddr>,
    /// Whether it has TLS.
    pub tls: bool,
}

/// A row of `pg_settings`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The value in force.
    pub value: String,
    /// Where it comes from: `default`, `configuration file`, `command line` …
    pub source: String,
}

/// A row of `pg_hba_file_rules` with an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HbaError {
    /// The line, from 1.
    pub line: i32,
    /// The server's message.
    pub message: String,
}

/// A role of the server.
#[derive(Clone)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// LOGIN
    pub can_login: bool,
    /// REPLICATION
    pub replication: bool,
    /// SUPERUSER
    pub superuser: bool,
    /// The roles that it is a direct member of.
    pub member_of: Vec<String>,
    /// What the server stores to check its password with (`pg_authid.rolpassword`).
    pub stored_password: Option<Zeroizing<String>>,
}

/// Whether there is a password, not which.
impl std::fmt::Debug for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Role")
            .field("name", &self.name)
            .field("can_login", &self.can_login)
            .field("replication", &self.replication)
            .field("superuser", &self.superuser)
            .field("member_of", &self.member_of)
            .field("has_password", &self.stored_password.is_some())
            .finish()
    }
}

/// A subscription of the server: a link to another node.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// Its name.
    pub name: String,
    /// The database that it is in.
    pub database: String,
    /// How it connects to the publisher.
    pub conninfo: ConnInfo,
    /// The replication slot on the publisher.
    pub slot: Option<String>,
    /// Whether it is enabled.
    pub enabled: bool,
}

/// The settings that inspection reads.
const SETTINGS: [&str; 21] = [
    "config_file",
    "data_directory",
    "hba_file",
    "ident_file",
    "listen_addresses",
    "log_connections",
    "log_destination",
    "log_line_prefix",
    "logging_collector",
    "password_encryption",
    "port",
    "server_version",
    "server_version_num",
    "ssl",
    "ssl_ca_file",
    "ssl_cert_file",
    "ssl_crl_file",
    "ssl_key_file",
    "unix_socket_directories",
    "wal_level",
    "scram_iterations",
];

impl NodeState {
    /// The value of a setting that inspection reads; empty where this major has no such setting.
    #[must_use]
    pub fn setting(&self, name: &str) -> &str {
        self.settings.get(name).map_or("", |setting| setting.value.as_str())
    }

    /// The data directory.
    #[must_use]
    pub fn data_directory(&self) -> &Path {
        Path::new(self.setting("data_directory"))
    }

    /// A path as the server takes it: relative to the data directory.
    #[must_use]
    pub fn in_data_directory(&self, path: impl AsRef<Path>) -> PathBuf {
        self.data_directory().join(path)
    }

    /// Where `pg_hba.conf` is.
    #[must_use]
    pub fn hba_file(&self) -> &Path {
        Path::new(self.setting("hba_file"))
    }

    /// Where `postgresql.conf` is.
    #[must_use]
    pub fn config_file(&self) -> &Path {
        Path::new(self.setting("config_file"))
    }

    /// What a file that inspection read holds.
    #[must_use]
    pub fn file(&self, path: &Path) -> Option<&NodeFile> {
        self.files.get(path)?.as_ref()
    }

    /// The role of a name.
    #[must_use]
    pub fn role(&self, name: &str) -> Option<&Role> {
        self.roles.iter().find(|role| role.name == name)
    }
}

/// Inspects every node, all at the same time; what is found is in the order of `nodes`.
///
/// # Errors
/// As [`inspect`], for the first node that fails.
pub async fn inspect_all(spec: &ClusterSpec, nodes: &[Node]) -> Result<Vec<NodeState>, Error> {
    let spec = Arc::new(spec.clone());
    let mut inspecting = JoinSet::new();
    for (index, node) in nodes.iter().enumerate() {
        let (spec, node) = (spec.clone(), node.clone());
        inspecting.spawn(async move { inspect(&spec, &node).await.map(|state| (index, state)) });
    }
    let mut states = Vec::new();
    while let Some(inspected) = inspecting.join_next().await {
        states.push(inspected.map_err(|_| Error::Cancelled)??);
    }
    states.sort_by_key(|(index, _)| *index);
    Ok(states.into_iter().map(|(_, state)| state).collect())
}

/// Inspects a node.
///
/// # Errors
/// [`Error`] with the node's name if it cannot be reached, or lets this user not read what it must.
pub async fn inspect(spec: &ClusterSpec, node: &Node) -> Result<NodeState, Error> {
    let name = &node.spec.name;
    let client = sql::connect(&node.spec, None).await?;
    inspect_with(&client, spec, node).await.on_node(name)
}

async fn inspect_with(
    client: &Client,
    spec: &ClusterSpec,
    node: &Node,
) -> Result<NodeState, Error> {
    let settings = settings(client).await?;
    let value = |name: &str| settings.get(name).map_or("", |s: &Setting| s.value.as_str());
    let version = value("server_version_num").parse().unwrap_or(0);
    let version = PgVersion::from_server_version_num(version).map_err(Error::version)?;
    let data_directory = PathBuf::from(value("data_directory"));
    let credentials = topology::of(spec.topology).credential_paths(
        spec,
        &topology::Places {
            node: &node.spec.name,
            version,
            data_directory: &data_directory,
            settings: &settings,
        },
    );
    let places = Places {
        credentials: credentials.iter().map(|path| data_directory.join(path)).collect(),
        data_directory,
        config_file: value("config_file").into(),
        hba_file: value("hba_file").into(),
    };
    let on_disk = read_files(node.files.clone(), places, version).await?;
    let link_roles: Vec<&str> = spec.link_roles().collect();

    Ok(NodeState {
        name: node.spec.name.clone(),
        version,
        server_version: value("server_version").to_owned(),
        owner: on_disk.owner,
        files: on_disk.files,
        folders: on_disk.folders,
        configuration: on_disk.configuration,
        hba_included: on_disk.hba_included,
        admin: admin_session(client).await?,
        hba_errors: hba_errors(client).await?,
        roles: roles(client, &link_roles).await?,
        subscriptions: subscriptions(client).await?,
        settings,
    })
}

async fn settings(client: &Client) -> Result<BTreeMap<String, Setting>, Error> {
    const QUERY: &str = "SELECT name, setting, source FROM pg_catalog.pg_settings \
                         WHERE name = ANY ($1::text[])";
    let rows = client.query(QUERY, &[&&SETTINGS[..]]).await?;
    Ok(rows
        .iter()
        .map(|row| {
            let value: Option<String> = row.get(1);
            (row.get(0), Setting { value: value.unwrap_or_default(), source: row.get(2) })
        })
        .collect())
}

/// Where the server has its files.
struct Places {
    data_directory: PathBuf,
    config_file: PathBuf,
    hba_file: PathBuf,
    /// What may hold credentials, or may be made to.
    credentials: Vec<PathBuf>,
}

/// What is on the node's disk.
struct OnDisk {
    owner: Access,
    files: BTreeMap<PathBuf, Option<NodeFile>>,
    folders: BTreeSet<PathBuf>,
    configuration: Configuration,
    hba_included: MemoryFiles,
}

async fn read_files(
    files: Arc<dyn NodeFiles>,
    places: Places,
    version: PgVersion,
) -> Result<OnDisk, Error> {
    let read = move || -> Result<OnDisk, Error> {
        let Places { data_directory, config_file, hba_file, credentials } = places;
        let owner = files
            .access(&data_directory)?
            .ok_or_else(|| Error::NoDataDirectory { path: data_directory.clone() })?;
        let configuration = Configuration::read(
            &files.as_ref(),
            config_file.as_os_str().as_bytes(),
            Some(data_directory.as_os_str().as_bytes()),
            version,
        );
        let hba_included = hba_included(files.as_ref(), &hba_file, version)?;
        let mut folders = BTreeSet::new();
        for folder in credentials.iter().flat_map(|path| path.ancestors().skip(1)) {
            if folder.starts_with(&data_directory)
                && !folders.contains(folder)
                && files.access(folder)?.is_some()
            {
                folders.insert(folder.to_owned());
            }
        }
        let mut paths = vec![hba_file];
        paths.extend(credentials);
        paths.extend(configuration.files().map(|(path, _)| path_of(path).to_owned()));
        let mut found = BTreeMap::new();
        for path in paths {
            let file = files.find(&path)?;
            found.insert(path, file);
        }
        Ok(OnDisk { owner, files: found, folders, configuration, hba_included })
    };
    tokio::task::spawn_blocking(read).await.map_err(|_| Error::Cancelled)?
}

/// What `pg_hba.conf` includes: reading it asks for the files, and they are kept.
fn hba_included(
    files: &dyn NodeFiles,
    hba_file: &Path,
    version: PgVersion,
) -> Result<MemoryFiles, Error> {
    let Some(main) = files.find(hba_file)? else { return Ok(MemoryFiles::default()) };
    let recorder = Recorder { files, seen: RefCell::default() };
    let document = HbaDocument::try_parse(main.bytes.to_vec())
        .map_err(|error| Error::plan(format!("{}: {error}", hba_file.display())))?;
    let path = hba_file.as_os_str().as_bytes();
    let _ = document.interpret_at(path, &Server::new(version), &recorder);
    Ok(recorder.seen.into_inner())
}

/// Files that remember what was asked for.
struct Recorder<'a> {
    files: &'a dyn NodeFiles,
    seen: RefCell<MemoryFiles>,
}

impl Files for Recorder<'_> {
    fn read(&self, path: &[u8]) -> Result<Vec<u8>, FileError> {
        let bytes = self.files.read(path)?;
        self.seen.borrow_mut().insert(path, bytes.clone());
        Ok(bytes)
    }

    fn list(&self, path: &[u8]) -> Result<Vec<(Vec<u8>, FileKind)>, FileError> {
        let names = self.files.list(path)?;
        self.seen.borrow_mut().insert_dir(path);
        Ok(names)
    }
}

async fn admin_session(client: &Client) -> Result<AdminSession, Error> {
    const QUERY: &str = "SELECT session_user::text, pg_catalog.current_database()::text, \
                                pg_catalog.inet_client_addr(), \
                                coalesce((SELECT ssl FROM pg_catalog.pg_stat_ssl \
                                          WHERE pid = pg_catalog.pg_backend_pid()), false)";
    let row = client.query_one(QUERY, &[]).await?;
    Ok(AdminSession {
        user: row.get(0),
        database: row.get(1),
        address: row.get(2),
        tls: row.get(3),
    })
}

pub(crate) async fn hba_errors(client: &Client) -> Result<Vec<HbaError>, Error> {
    // A row without type is a line that the server refuses; where the type is set the error is only
    // a warning. Some refusals have no text here: only the log tells them.
    const QUERY: &str = "SELECT line_number, coalesce(error, 'refused; the reason is in the log') \
                         FROM pg_catalog.pg_hba_file_rules WHERE type IS NULL ORDER BY 1";
    let rows = client.query(QUERY, &[]).await?;
    Ok(rows.iter().map(|row| HbaError { line: row.get(0), message: row.get(1) }).collect())
}

async fn roles(client: &Client, link_roles: &[&str]) -> Result<Vec<Role>, Error> {
    const QUERY: &str = "SELECT r.rolname::text, r.rolcanlogin, r.rolreplication, r.rolsuper, \
             ARRAY(SELECT g.rolname::text FROM pg_catalog.pg_auth_members m \
                   JOIN pg_catalog.pg_roles g ON g.oid = m.roleid \
                   WHERE m.member = r.oid ORDER BY 1), \
             CASE WHEN r.rolname = ANY ($1::text[]) THEN \
                  (SELECT a.rolpassword FROM pg_catalog.pg_authid a WHERE a.oid = r.oid) END \
         FROM pg_catalog.pg_roles r ORDER BY 1";
    let rows = client.query(QUERY, &[&link_roles]).await?;
    Ok(rows
        .iter()
        .map(|row| Role {
            name: row.get(0),
            can_login: row.get(1),
            replication: row.get(2),
            superuser: row.get(3),
            member_of: row.get(4),
            stored_password: row.get::<_, Option<String>>(5).map(Zeroizing::new),
        })
        .collect())
}

async fn subscriptions(client: &Client) -> Result<Vec<Subscription>, Error> {
    const QUERY: &str = "SELECT s.subname::text, d.datname::text, s.subconninfo, \
                                s.subslotname::text, s.subenabled \
         FROM pg_catalog.pg_subscription s \
         JOIN pg_catalog.pg_database d ON d.oid = s.subdbid ORDER BY 2, 1";
    let rows = client.query(QUERY, &[]).await?;
    rows.iter()
        .map(|row| {
            let text = Zeroizing::new(row.get::<_, String>(2));
            let conninfo = text.parse().map_err(|source| Error::ConnInfo {
                what: format!("subscription {}", row.get::<_, &str>(0)),
                source,
            })?;
            Ok(Subscription {
                name: row.get(0),
                database: row.get(1),
                conninfo,
                slot: row.get(3),
                enabled: row.get(4),
            })
        })
        .collect()
}
