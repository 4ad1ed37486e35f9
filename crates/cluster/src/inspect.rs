//! What a node is like now: its settings, files, roles and links, as the server itself tells them.
//!
//! Inspection only reads. What it finds, and the [description](crate::spec), are all that a plan is
//! made from.

mod databases;
mod disk;
mod queries;
#[cfg(test)]
pub(crate) mod sample;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

pub(crate) use queries::{hba_errors, in_recovery, load_time, roles, settings};

use pg_version::PgVersion;
use pgconf::Configuration;
use textfile::{MemoryFiles, fs::Access};
use tokio_postgres::{Client, error::SqlState};
use zeroize::Zeroizing;

use crate::{
    bounded::{AT_ONCE, for_each},
    conninfo::ConnInfo,
    deadline::within,
    error::{Error, NodeContext as _},
    spec::{ClusterSpec, NodeSpec},
    sql,
    topology::{self, LinkPlace},
    transport::{FilesSpec, LocalFiles, NodeFile, NodeFiles},
};

/// A node that can be reached: its description and the way to its files.
#[derive(Clone, Debug)]
pub struct Node {
    /// What the description says of it.
    pub spec: NodeSpec,
    /// Its files.
    pub files: Arc<dyn NodeFiles>,
}

/// What the machine that pgward runs on is called in a plan. No node can be called so.
pub const THIS_MACHINE: &str = "(this machine)";

impl Node {
    /// The machine that pgward runs on, which has files of a plan, and no server.
    #[must_use]
    pub fn this_machine() -> Self {
        let spec = NodeSpec {
            name: THIS_MACHINE.to_owned(),
            host: None,
            address: std::net::Ipv4Addr::UNSPECIFIED.into(),
            port: 0,
            peers_from: Vec::new(),
            sql: String::new(),
            files: FilesSpec::Local,
        };
        Self { spec, files: Arc::new(LocalFiles) }
    }
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
    /// Those of them that the server's user cannot enter: what is in them is not there for it.
    pub shut_folders: BTreeSet<PathBuf>,
    /// `postgresql.conf` with all that it includes, and `postgresql.auto.conf`.
    pub configuration: Configuration,
    /// The files that `pg_hba.conf` includes.
    pub hba_included: MemoryFiles,
    /// How the administrator came in.
    pub admin: AdminSession,
    /// What the server says of each line of `pg_hba.conf` that it would not load.
    pub hba_errors: Vec<HbaError>,
    /// What the server says of its configuration files that it would not take: the place, and the
    /// message.
    pub configuration_errors: Vec<(String, String)>,
    /// A configuration file that was changed after the server last read it.
    pub changed_since_reload: Option<String>,
    /// The settings that have another value from the next start on.
    pub pending_restart: Vec<String>,
    /// Every role.
    pub roles: Vec<Role>,
    /// Whether the server is a standby.
    pub in_recovery: bool,
    /// How a standby connects to the server that it follows.
    pub primary_conninfo: Option<ConnInfo>,
    /// The host, as its connection string calls it, and the port that a standby receives WAL from;
    /// `None` while it does not.
    pub receives_from: Option<(String, u16)>,
    /// Every subscription.
    pub subscriptions: Vec<Subscription>,
    /// The foreign servers that lead to PostgreSQL servers, of every database that has links of the
    /// description's topology.
    pub foreign_servers: Vec<ForeignServer>,
    /// The databases that could not be searched for foreign servers, and why.
    pub unseen_databases: Vec<(String, String)>,
    /// Who receives WAL from it without a replication slot: application name and address.
    pub receivers: Vec<(String, Option<IpAddr>)>,
    /// The replication slots of it that somebody uses.
    pub slots_in_use: Vec<SlotInUse>,
    /// What `initdb` called it and all copies of it, `pg_control_system()`.
    pub system_identifier: Option<String>,
    /// What the node knows of its PGD group; `None` where the administrator's database has none.
    pub bdr: Option<BdrState>,
    /// Where the server's libpq looks for password files.
    pub homes: Homes,
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
    /// Whether another session like it has TLS where the server speaks it, by the `sslmode` of `sql`.
    pub tls_if_spoken: bool,
}

/// A replication slot that somebody uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotInUse {
    /// Its name.
    pub name: String,
    /// The database that it is of; `None` for a physical one.
    pub database: Option<String>,
    /// Who uses it.
    pub role: Option<String>,
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
    /// The other attributes, as `CREATE ROLE` has them: `INHERIT NOCREATEDB …`.
    pub attributes: String,
    /// The roles that it is a direct member of.
    pub member_of: Vec<String>,
    /// What the server stores to check its password with (`pg_authid.rolpassword`).
    pub stored_password: Option<Zeroizing<String>>,
    /// Whether no password lets it in any more (VALID UNTIL).
    pub password_expired: bool,
    /// VALID UNTIL, in UTC; `None` where no password of it ends.
    pub valid_until: Option<String>,
}

impl Role {
    /// CONNECTION LIMIT; `None` for no limit.
    pub(crate) fn connection_limit(&self) -> Option<i32> {
        let (_, limit) = self.attributes.rsplit_once("CONNECTION LIMIT ")?;
        limit.parse().ok().filter(|limit| *limit >= 0)
    }
}

/// Whether there is a password, not which.
impl std::fmt::Debug for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Role")
            .field("name", &self.name)
            .field("can_login", &self.can_login)
            .field("replication", &self.replication)
            .field("superuser", &self.superuser)
            .field("attributes", &self.attributes)
            .field("member_of", &self.member_of)
            .field("has_password", &self.stored_password.is_some())
            .field("password_expired", &self.password_expired)
            .field("valid_until", &self.valid_until)
            .finish()
    }
}

/// What an EDB Postgres Distributed node knows of its group, from `bdr.node_summary`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BdrState {
    /// The database that has the schema `bdr`.
    pub database: String,
    /// The node's own name in the group.
    pub local_node: Option<String>,
    /// What the replication slots that its links use on their peers may be called.
    pub slots: Vec<String>,
    /// Every node of the group: its name, and how this node connects to it.
    pub interfaces: Vec<(String, ConnInfo)>,
    /// Of nodes that are no data nodes, what they are: `witness`, `subscriber-only` …
    pub kinds: BTreeMap<String, String>,
}

/// A foreign server: where a wrapper connects to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignServer {
    /// Its name.
    pub name: String,
    /// The foreign-data wrapper: `postgres_fdw`, `dblink_fdw`, `timescaledb_fdw`.
    pub wrapper: String,
    /// The database that it is in.
    pub database: String,
    /// Its options, as a connection string: `host`, `port`, `dbname` …
    pub options: ConnInfo,
    /// The user mappings: the local role (`None` for PUBLIC) and its options.
    pub mappings: Vec<(Option<String>, ConnInfo)>,
    /// The roles of the description that may use it.
    pub usable_by: Vec<String>,
    /// TimescaleDB's `distributed_exec` of the database, as it is called, up to its arguments.
    pub distributed_exec: Option<String>,
    /// A foreign table of it for each mapping by which somebody may read one: the role, for PUBLIC one
    /// that has no mapping of its own, and the table as SQL writes it.
    pub tables: Vec<(String, String)>,
}

/// Where the server process' libpq looks for password files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Homes {
    /// `HOME` of the server process: what libpq 15 and newer take.
    pub environment: Option<PathBuf>,
    /// The home folder of the operating system's user: what libpq 14 and older take, and newer ones
    /// where `HOME` is not set.
    pub account: Option<PathBuf>,
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
    /// Its owner, where that is no superuser and the connection string must have a password therefore.
    pub owner_needs_password: Option<String>,
}

/// The settings that inspection reads.
const SETTINGS: [&str; 32] = [
    "allow_alter_system",
    "cluster_name",
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
    "primary_slot_name",
    "server_version",
    "server_version_num",
    "ssl",
    "ssl_ca_file",
    "ssl_cert_file",
    "ssl_crl_dir",
    "ssl_crl_file",
    "ssl_key_file",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "synchronous_standby_names",
    "unix_socket_directories",
    "wal_level",
    "wal_retrieve_retry_interval",
    "max_prepared_transactions",
    "scram_iterations",
    "timescaledb.passfile",
    "timescaledb.ssl_dir",
];

impl NodeState {
    /// The value of a setting that inspection reads; empty where this major has no such setting.
    #[must_use]
    pub fn setting(&self, name: &str) -> &str {
        self.settings.get(name).map_or("", |setting| setting.value.as_str())
    }

    /// Why a link may be at a place and not be seen; `None` where it would be.
    pub(crate) fn why_unseen(&self, place: &LinkPlace) -> Option<&str> {
        let LinkPlace::ForeignServer(place) = place else { return None };
        let mut unseen = self.unseen_databases.iter();
        unseen.find(|(name, _)| *name == place.database).map(|(_, reason)| reason.as_str())
    }

    /// The value of `log_connections` with which the log tells by which method each session was let in;
    /// `None` where it does. From 18 on it is a list of what is told: what it has by now stays.
    pub(crate) fn log_connections_wanted(&self) -> Option<String> {
        let value = self.setting("log_connections").to_ascii_lowercase();
        let words: Vec<&str> = value.split(',').map(|word| word.trim_matches([' ', '"'])).collect();
        match words.as_slice() {
            ["" | "off" | "false" | "no" | "0"] => Some("on".to_owned()),
            _ if self.version < PgVersion::V18 => None,
            ["on" | "true" | "yes" | "1"] => None,
            words if words.iter().any(|word| ["all", "authentication"].contains(word)) => None,
            words => Some([words, &["authentication"]].concat().join(",")),
        }
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

    /// Where `ALTER SYSTEM` writes.
    #[must_use]
    pub fn auto_conf(&self) -> PathBuf {
        self.in_data_directory("postgresql.auto.conf")
    }

    /// What a file that inspection read holds.
    #[must_use]
    pub fn file(&self, path: &Path) -> Option<&NodeFile> {
        self.files.get(path)?.as_ref()
    }

    /// Whether the server's user may read a file. What other groups it is in is not known: a file that
    /// its group may read is taken for one that it may.
    pub(crate) fn can_read(&self, path: &Path, file: &NodeFile) -> bool {
        let bits = if file.access.uid == self.owner.uid { 0o400 } else { 0o044 };
        file.access.mode & bits != 0 && self.shut_folder(path).is_none()
    }

    /// The folder above a file that keeps the server's user from it.
    pub(crate) fn shut_folder(&self, path: &Path) -> Option<&Path> {
        let shut = |folder: &Path| self.shut_folders.get(folder).map(PathBuf::as_path);
        path.ancestors().skip(1).find_map(shut)
    }

    /// The role of a name.
    #[must_use]
    pub fn role(&self, name: &str) -> Option<&Role> {
        self.roles.iter().find(|role| role.name == name)
    }
}

/// Inspects every node, many at the same time; what is found is in the order of `nodes`.
///
/// # Errors
/// As [`inspect`], for the first node that fails.
pub async fn inspect_all(spec: &ClusterSpec, nodes: &[Node]) -> Result<Vec<NodeState>, Error> {
    let spec = Arc::new(spec.clone());
    let inspected = for_each(AT_ONCE, nodes.to_vec(), |node| {
        let spec = spec.clone();
        async move { inspect(&spec, &node).await }
    });
    let mut states: Vec<NodeState> = inspected.await?.into_iter().collect::<Result<_, _>>()?;
    let failed = read_paths_of_others(&spec, nodes, &mut states, sql::PATIENCE).await?;
    match failed.into_iter().next() {
        Some((name, error)) => Err(error).on_node(&name),
        None => Ok(states),
    }
}

/// Reads the files that nodes have where another has its own, which is known when all have been
/// inspected; the nodes where that cannot be done in time, and why.
pub(crate) async fn read_paths_of_others(
    spec: &ClusterSpec,
    nodes: &[Node],
    states: &mut [NodeState],
    patience: Duration,
) -> Result<Vec<(String, Error)>, Error> {
    let paths = topology::of(spec.topology).paths_of_others(spec, states);
    let files = |(name, paths): (String, Vec<PathBuf>)| {
        let node = nodes.iter().find(|node| node.spec.name == name)?;
        let owner = states.iter().find(|state| state.name == name)?.owner;
        Some((name, node.files.clone(), paths, owner))
    };
    let asked: Vec<_> = paths.into_iter().filter_map(files).collect();
    let read = for_each(AT_ONCE, asked, move |(name, files, paths, owner)| async move {
        let read = disk::read_credentials(files, paths, owner);
        (name, within(patience, "the node's files to be read", read).await)
    });
    let mut failed = Vec::new();
    for (name, read) in read.await? {
        match (read, states.iter_mut().find(|state| state.name == name)) {
            (Ok(read), Some(state)) => {
                state.files.extend(read.files);
                state.folders.extend(read.folders);
                state.shut_folders.extend(read.shut_folders);
            }
            (Ok(_), None) => {}
            (Err(error), _) => failed.push((name, error)),
        }
    }
    Ok(failed)
}

/// What is waited for.
pub(crate) const ANSWER: &str = "the node's answer";

/// Inspects a node.
///
/// # Errors
/// [`Error`] with the node's name if it cannot be reached, lets this user not read what it must, or
/// falls silent after it let the user in.
pub async fn inspect(spec: &ClusterSpec, node: &Node) -> Result<NodeState, Error> {
    inspect_within(sql::PATIENCE, spec, node).await
}

/// [`inspect`] with another patience once it is connected.
pub(crate) async fn inspect_within(
    patience: Duration,
    spec: &ClusterSpec,
    node: &Node,
) -> Result<NodeState, Error> {
    let client = sql::connect(&node.spec, None).await?;
    within(patience, ANSWER, inspect_with(&client, spec, node)).await.on_node(&node.spec.name)
}

/// [`inspect`] by a session that is open already.
pub(crate) async fn inspect_with(
    client: &Client,
    spec: &ClusterSpec,
    node: &Node,
) -> Result<NodeState, Error> {
    look(client, spec, node).await.map_err(|error| match &error {
        Error::Sql(refused) if refused.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            for_superusers(&error.to_string())
        }
        _ => error,
    })
}

/// What the server does not tell everybody.
fn for_superusers(what: &str) -> Error {
    Error::plan(format!("{what}: let \"sql\" name a superuser"))
}

async fn look(client: &Client, spec: &ClusterSpec, node: &Node) -> Result<NodeState, Error> {
    let settings = queries::settings(client).await?;
    let value = |name: &str| settings.get(name).map_or("", |s: &Setting| s.value.as_str());
    let version = value("server_version_num").parse().unwrap_or(0);
    let version = PgVersion::from_server_version_num(version).map_err(Error::version)?;
    let data_directory = PathBuf::from(value("data_directory"));
    if data_directory.as_os_str().is_empty() {
        // The server has one, and hides it (`GUC_SUPERUSER_ONLY`).
        return Err(for_superusers("the server does not tell this user where its files are"));
    }
    let from_disk = async {
        let homes = disk::homes(node.files.clone(), data_directory.clone()).await?;
        let credentials = topology::of(spec.topology).credential_paths(
            spec,
            &topology::Places {
                node: &node.spec.name,
                version,
                data_directory: &data_directory,
                homes: &homes,
                settings: &settings,
            },
        );
        let revoked = Some(value("ssl_crl_file")).filter(|path| !path.is_empty()).map(Path::new);
        let credentials = credentials.iter().map(PathBuf::as_path).chain(revoked);
        let places = disk::Places {
            credentials: credentials.map(|path| data_directory.join(path)).collect(),
            data_directory: data_directory.clone(),
            config_file: value("config_file").into(),
            hba_file: value("hba_file").into(),
            tls: ["ssl_cert_file", "ssl_key_file", "ssl_ca_file", "ssl_crl_file"]
                .map(value)
                .into_iter()
                .filter(|path| value("ssl") == "on" && !path.is_empty())
                .map(|path| data_directory.join(path))
                .collect(),
        };
        let on_disk = disk::read_files(node.files.clone(), places, version).await?;
        Ok::<_, Error>((homes, on_disk))
    };
    let link_roles: Vec<&str> = spec.link_roles().collect();
    let foreign = async {
        let in_recovery = queries::in_recovery(client).await?;
        let servers =
            databases::foreign_servers(client, spec, &node.spec, in_recovery, &link_roles).await?;
        Ok((in_recovery, servers))
    };
    let changed = async {
        let from_disk = from_disk.await?;
        let read: Vec<&str> =
            from_disk.1.read_at_reload.iter().filter_map(|it| it.to_str()).collect();
        let changed = queries::changed_since_reload(client, &read).await?;
        Ok::<_, Error>((from_disk, changed))
    };
    // All at once: a node that is far away is waited for twice, not twenty times.
    let (
        ((homes, on_disk), changed_since_reload),
        admin,
        configuration_errors,
        pending_restart,
        roles,
        (in_recovery, foreign_servers),
        primary_conninfo,
        receives_from,
        subscriptions,
        receivers,
        slots_in_use,
        system_identifier,
        bdr,
    ) = tokio::try_join!(
        changed,
        queries::admin_session(client, &node.spec.sql),
        queries::configuration_errors(client),
        queries::pending_restart(client),
        queries::roles(client, &link_roles),
        foreign,
        queries::primary_conninfo(client),
        queries::receives_from(client),
        queries::subscriptions(client),
        queries::receivers(client),
        queries::slots_in_use(client),
        queries::system_identifier(client),
        queries::bdr(client),
    )?;
    let hba_errors = match on_disk.hba_crash {
        // Even a look into the view would be the end of the session, or of the server.
        Some(crash) => vec![crash],
        None => queries::hba_errors(client).await?,
    };

    Ok(NodeState {
        name: node.spec.name.clone(),
        version,
        server_version: value("server_version").to_owned(),
        owner: on_disk.owner,
        files: on_disk.files,
        folders: on_disk.folders,
        shut_folders: on_disk.shut_folders,
        configuration: on_disk.configuration,
        hba_included: on_disk.hba_included,
        admin,
        hba_errors,
        configuration_errors,
        changed_since_reload,
        pending_restart,
        roles,
        in_recovery,
        primary_conninfo,
        receives_from,
        subscriptions,
        foreign_servers: foreign_servers.found,
        unseen_databases: foreign_servers.unseen,
        receivers,
        slots_in_use,
        system_identifier: Some(system_identifier),
        bdr,
        homes,
        settings,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_tells_the_method() {
        let mut node = sample::node(b"", &[]);
        let mut wanted = |version, value: &str| {
            node.version = version;
            sample::set(&mut node, "log_connections", value);
            node.log_connections_wanted()
        };
        let on = Some("on".to_owned());
        for version in [PgVersion::V12, PgVersion::V17, PgVersion::V18] {
            assert_eq!(wanted(version, "off"), on);
            assert_eq!(wanted(version, "on"), None);
        }
        assert_eq!(wanted(PgVersion::V18, ""), on);
        assert_eq!(wanted(PgVersion::V18, "1"), None);
        assert_eq!(wanted(PgVersion::V18, "all"), None);
        assert_eq!(wanted(PgVersion::V18, "receipt, Authentication"), None);
        assert_eq!(
            wanted(PgVersion::V18, "receipt,setup_durations").as_deref(),
            Some("receipt,setup_durations,authentication")
        );
    }
}
