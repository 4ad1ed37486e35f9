//! What inspection would find on an open node: everybody is let in from the network of its peers.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use cluster::{
    inspect::{AdminSession, Homes, NodeState, Setting},
    transport::NodeFile,
};
use pg_version::PgVersion;
use pgconf::Configuration;
use textfile::{MemoryFiles, fs::Access};

const OWNER: Access = Access { mode: 0o600, uid: 70, gid: 70 };
const HBA: &str = "local all all peer\nhost all all 127.0.0.1/32 scram-sha-256\n\
                   host all all 10.1.0.0/16 trust\nhost replication all 10.1.0.0/16 trust\n";

/// A node without roles and links. Its administrator comes in to `database`; `settings` come to those
/// that tell where its files are.
pub(crate) fn open_node(
    name: &str,
    version: PgVersion,
    database: &str,
    conf: &str,
    settings: &[(&str, &str)],
) -> NodeState {
    let mut files = MemoryFiles::default();
    files.insert("/data/postgresql.conf", conf);
    files.insert("/data/postgresql.auto.conf", "");
    let configuration = Configuration::read(&files, "/data/postgresql.conf", None, version);
    let file =
        |text: &str| Some(NodeFile { bytes: text.as_bytes().to_vec().into(), access: OWNER });
    let setting = |(name, value): &(&str, &str)| {
        let source = "configuration file".to_owned();
        ((*name).to_owned(), Setting { value: (*value).to_owned(), source })
    };
    let places = [
        ("config_file", "/data/postgresql.conf"),
        ("data_directory", "/data"),
        ("hba_file", "/data/pg_hba.conf"),
    ];
    NodeState {
        name: name.to_owned(),
        version,
        server_version: format!("{version}.1"),
        settings: places.iter().chain(settings).map(setting).collect(),
        owner: Access { mode: 0o700, ..OWNER },
        files: BTreeMap::from([
            (PathBuf::from("/data/pg_hba.conf"), file(HBA)),
            (PathBuf::from("/data/postgresql.conf"), file(conf)),
            (PathBuf::from("/data/postgresql.auto.conf"), file("")),
        ]),
        folders: BTreeSet::from(["/", "/data", "/home"].map(PathBuf::from)),
        shut_folders: BTreeSet::new(),
        configuration,
        hba_included: MemoryFiles::default(),
        admin: AdminSession {
            user: "postgres".to_owned(),
            database: database.to_owned(),
            address: None,
            tls: false,
            tls_if_spoken: false,
        },
        hba_errors: Vec::new(),
        configuration_errors: Vec::new(),
        changed_since_reload: None,
        pending_restart: Vec::new(),
        roles: Vec::new(),
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
        homes: Homes { environment: Some("/home".into()), account: Some("/home".into()) },
    }
}
