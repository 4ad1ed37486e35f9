//! Servers as they were found: what is taken back, and compared.

use std::{collections::BTreeMap, fs, path::PathBuf};

use cluster::{
    run::{self, Runner},
    spec::ClusterSpec,
};
use pgtest::Server;

use crate::support::{Outcome, nodes};

/// Takes back what was applied; nothing must have been in the way.
pub(crate) async fn taken_back(spec: &ClusterSpec) -> Outcome {
    let outcome = Runner::new(spec, &nodes(spec)).rollback().await?;
    assert_eq!(outcome, run::Outcome::TakenBack { kept: Vec::new() });
    Ok(())
}

/// What an administrator has on a node: files and their bytes.
pub(crate) fn files(servers: &[&Server]) -> Outcome<BTreeMap<PathBuf, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for server in servers {
        for name in ["postgresql.conf", "postgresql.auto.conf", "pg_hba.conf"] {
            let path = server.data_dir().join(name);
            files.insert(path.clone(), fs::read(path)?);
        }
        assert!(!server.data_dir().join("pgward").exists());
    }
    Ok(files)
}
