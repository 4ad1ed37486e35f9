//! A node that there is not, for tests of what is made of one.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use pg_version::PgVersion;
use pgconf::Configuration;
use textfile::{MemoryFiles, fs::Access};
use zeroize::Zeroizing;

use super::{AdminSession, Homes, NodeState, Role, Setting};
use crate::{
    conninfo::ConnInfo,
    spec::{ClusterSpec, SpecError},
    topology::{Link, LinkPlace, SessionKey},
    transport::NodeFile,
};

/// Who owns everything.
pub(crate) const ACCESS: Access = Access { mode: 0o600, uid: 1, gid: 1 };

/// The node `n`, with this `pg_hba.conf` and what it includes; its administrator comes in over the
/// Unix socket.
pub(crate) fn node(hba: &[u8], included: &[(&str, &str)]) -> NodeState {
    let mut files = MemoryFiles::default();
    files.insert("/d/postgresql.conf", "");
    for (path, text) in included {
        files.insert(*path, *text);
    }
    let setting = |value: &str| Setting { value: value.to_owned(), source: String::new() };
    let role = |name: &str| Role {
        name: name.to_owned(),
        can_login: true,
        replication: true,
        superuser: name == "postgres",
        attributes: String::new(),
        member_of: Vec::new(),
        stored_password: None,
        password_expired: false,
        valid_until: None,
    };
    NodeState {
        name: "n".to_owned(),
        version: PgVersion::V17,
        server_version: String::new(),
        settings: BTreeMap::from([
            ("hba_file".to_owned(), setting("/d/pg_hba.conf")),
            ("data_directory".to_owned(), setting("/d")),
        ]),
        owner: ACCESS,
        files: BTreeMap::from([
            (PathBuf::from("/d/pg_hba.conf"), Some(file(hba))),
            (PathBuf::from("/d/postgresql.conf"), Some(file(b""))),
        ]),
        folders: BTreeSet::new(),
        shut_folders: BTreeSet::new(),
        configuration: Configuration::read(&files, "/d/postgresql.conf", None, PgVersion::V17),
        hba_included: files,
        admin: AdminSession {
            user: "postgres".to_owned(),
            database: "postgres".to_owned(),
            address: None,
            tls: false,
            tls_if_spoken: false,
        },
        hba_errors: Vec::new(),
        configuration_errors: Vec::new(),
        changed_since_reload: None,
        pending_restart: Vec::new(),
        roles: vec![role("postgres"), role("repl")],
        in_recovery: false,
        primary_conninfo: None,
        receives_from: None,
        subscriptions: Vec::new(),
        foreign_servers: Vec::new(),
        unseen_databases: Vec::new(),
        receivers: Vec::new(),
        slots_in_use: Vec::new(),
        system_identifier: None,
        bdr: None,
        homes: Homes::default(),
    }
}

/// A file of the node's owner that nobody else may read.
pub(crate) fn file(bytes: &[u8]) -> NodeFile {
    NodeFile { bytes: Zeroizing::new(bytes.to_vec()), access: ACCESS }
}

/// Gives a node a setting that nobody has set.
pub(crate) fn set(node: &mut NodeState, name: &str, value: &str) {
    let setting = Setting { value: value.to_owned(), source: String::new() };
    node.settings.insert(name.to_owned(), setting);
}

/// Gives a node a file.
pub(crate) fn put(node: &mut NodeState, path: impl AsRef<Path>, found: Option<NodeFile>) {
    node.files.insert(path.as_ref().to_owned(), found);
}

/// A link that is there and has no session that could be found.
pub(crate) fn link(from: &str, to: &str) -> Link {
    Link {
        from: from.into(),
        to: to.into(),
        name: "l".into(),
        place: LinkPlace::PrimaryConninfo.into(),
        conninfo: ConnInfo::default().into(),
        session: SessionKey::None.into(),
        enabled: true,
    }
}

/// The description that begins so, of nodes of these names, addresses and ports.
pub(crate) fn spec(begin: &str, nodes: &[(&str, &str, u16)]) -> Result<ClusterSpec, SpecError> {
    let mut text = format!("{begin}\nsecrets = \"s\"\n");
    for (name, address, port) in nodes {
        text += &format!(
            "[[nodes]]\nname = \"{name}\"\naddress = \"{address}\"\nport = {port}\n\
             peers-from = [\"10.0.0.0/8\"]\nsql = \"host=127.0.0.1\"\n"
        );
    }
    ClusterSpec::from_toml(&text, "/".as_ref())
}
