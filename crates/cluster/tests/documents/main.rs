//! The documents say what is so: descriptions are read, commands exist, links lead somewhere, and the
//! guides' descriptions secure the clusters that they are for.
#![cfg(feature = "cli")]

mod blocks;
mod guides;
mod links;
use std::{
    fs,
    path::{Path, PathBuf},
};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// The folder of the whole workspace.
fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap_or_default()
}

/// A document of the workspace.
struct Document {
    /// Relative to the workspace.
    path: PathBuf,
    text: String,
}

impl Document {
    fn read(path: impl Into<PathBuf>) -> Outcome<Self> {
        let path = path.into();
        Ok(Self { text: fs::read_to_string(workspace().join(&path))?, path })
    }
}

/// Every document that people read: in the workspace's folder, in `docs`, and a crate's own.
fn documents() -> Outcome<Vec<Document>> {
    let mut folders =
        vec![PathBuf::new(), "docs".into(), "benches".into(), "packaging/systemd".into()];
    for entry in fs::read_dir(workspace().join("crates"))? {
        let name = entry?.file_name();
        folders.push(Path::new("crates").join(&name));
        folders.push(Path::new("crates").join(name).join("schemas"));
    }
    let mut found = Vec::new();
    for folder in folders {
        for entry in fs::read_dir(workspace().join(&folder)).into_iter().flatten() {
            let path = folder.join(entry?.file_name());
            if path.extension().is_some_and(|extension| extension == "md") {
                found.push(Document::read(path)?);
            }
        }
    }
    assert!(found.len() > 10, "the documents are where they were");
    Ok(found)
}
