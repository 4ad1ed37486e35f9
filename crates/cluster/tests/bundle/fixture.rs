//! A server, and bundles for it.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use cluster::transport::{BundleNode, BundleSpec, bundle::Connector};
use pg_version::PgVersion;
use tempfile::TempDir;
use textfile::fs::Access;
use time::{OffsetDateTime, macros::datetime};
use tokio_postgres::{Client, NoTls};

pub(crate) const NOW: OffsetDateTime = datetime!(2026-11-26 18:00 UTC);

/// A server, and a runtime to ask it in.
pub(crate) struct Fixture {
    pub(crate) server: pgtest::Server,
    pub(crate) runtime: tokio::runtime::Runtime,
    pub(crate) folder: TempDir,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::of(PgVersion::V16)
    }

    pub(crate) fn of(version: PgVersion) -> Self {
        let installation = pgtest::find(version).unwrap();
        Self {
            server: pgtest::Server::builder(&installation).start().unwrap(),
            runtime: tokio::runtime::Runtime::new().unwrap(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn connector(&self) -> Connector {
        let conninfo = format!(
            "host={} port={} user=postgres",
            self.server.socket_dir().display(),
            self.server.port()
        );
        Arc::new(move || {
            let conninfo = conninfo.clone();
            Box::pin(async move {
                let (client, connection) = tokio_postgres::connect(&conninfo, NoTls).await?;
                tokio::spawn(connection);
                Ok(client)
            })
        })
    }

    pub(crate) fn client(&self) -> Client {
        self.runtime.block_on(self.connector()()).unwrap()
    }

    pub(crate) fn spec(&self) -> BundleSpec {
        BundleSpec::new(self.folder.path().join("bundles"))
    }

    pub(crate) fn open(&self, spec: BundleSpec) -> BundleNode {
        self.runtime.block_on(BundleNode::open(spec, "node-1", self.connector())).unwrap()
    }

    /// The owner of the server's files, with a mode.
    pub(crate) fn owned(&self, mode: u32) -> Access {
        let account = self.server.account();
        Access { mode, uid: account.uid(), gid: account.gid() }
    }
}

/// What is in a folder and below, with modes; a folder has no bytes.
pub(crate) fn tree(folder: &Path) -> BTreeMap<PathBuf, (u32, Option<Vec<u8>>)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap().map(Result::unwrap) {
            let (path, metadata) = (entry.path(), entry.metadata().unwrap());
            let bytes = if metadata.is_dir() {
                folders.push(path.clone());
                None
            } else {
                Some(fs::read(&path).unwrap())
            };
            found.insert(path.strip_prefix(folder).unwrap().to_owned(), (metadata.mode(), bytes));
        }
    }
    found
}
