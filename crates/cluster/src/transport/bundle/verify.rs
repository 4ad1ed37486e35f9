//! How far a node has come with its bundle, as its server tells.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use serde::Serialize;
use tokio_postgres::{Client, error::SqlState};

use super::{Before, Entry, Manifest, Phase};
use crate::{
    Error,
    inspect::{hba_errors, load_time},
};

/// How far a node has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Standing {
    /// The last phase whose files are all in place, or those of a later one; of a phase that has only
    /// statements nothing is seen here.
    pub reached: Option<Phase>,
    /// Whether the server has read its configuration since the last file was put in place; `None`
    /// where none is, or where it was in the same second, which is all that servers tell.
    pub loaded: Option<bool>,
    /// The lines of `pg_hba.conf` that the server would not load, with what it says; line 0 where it
    /// cannot read the file at all.
    pub refused: Vec<(i32, String)>,
    /// Each path of the bundle.
    pub files: Vec<(PathBuf, FileStanding)>,
}

/// What is at a path of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileStanding {
    /// What was there when the bundle was made.
    AsBefore,
    /// What this phase puts there.
    As(Phase),
    /// Nothing, and nothing should not be.
    Missing,
    /// Something else: somebody changed it.
    Other,
    /// The server may not read it: the wrong owner or mode, perhaps.
    Unreadable {
        /// What the server says.
        reason: String,
    },
}

/// What is there, and since when.
enum There {
    Nothing,
    Folder,
    /// By its SHA-256.
    File(String),
    Unreadable(String),
}

/// Asks a node's server how far it has come with its bundle. Hashes are computed there: no key comes
/// over the connection. Owner and mode are not seen, but what the server may not read is.
///
/// # Errors
/// [`Error::Sql`] if the server cannot be asked.
pub async fn verify(manifest: &Manifest, client: &Client) -> Result<Standing, Error> {
    let mut expected: BTreeMap<PathBuf, Vec<(Option<Phase>, Is)>> = BTreeMap::new();
    for (phase, entry) in manifest.entries() {
        let (before, after) = before_and_after(entry);
        let states = expected.entry(entry.path().to_owned()).or_default();
        if states.is_empty() {
            states.push((None, before));
        }
        states.push((Some(phase), after));
    }

    let mut files = Vec::new();
    let mut last_change = None;
    for (path, states) in &expected {
        let (there, changed) = look(client, &path.to_string_lossy()).await?;
        let standing = match &there {
            There::Unreadable(reason) => FileStanding::Unreadable { reason: reason.clone() },
            // The last that it can be: some phases leave it as it is.
            there => match states.iter().rev().find(|(_, is)| is.met_by(there)) {
                Some((Some(phase), _)) => FileStanding::As(*phase),
                Some((None, _)) => FileStanding::AsBefore,
                None if matches!(there, There::Nothing) => FileStanding::Missing,
                None => FileStanding::Other,
            },
        };
        if matches!((&standing, &there), (FileStanding::As(_), There::File(_))) {
            last_change = last_change.max(changed);
        }
        files.push((path.clone(), standing));
    }

    let reached = manifest.phases.iter().map(|work| work.phase).rfind(|phase| {
        // Statements leave nothing to be seen here.
        manifest.entries().any(|(of, _)| of == *phase)
            && files.iter().all(|(path, standing)| {
                // What the path should be once this phase is done.
                let due =
                    expected[path].iter().rev().find_map(|(of, _)| of.filter(|of| of <= phase));
                match (due, standing) {
                    (None, _) => true,
                    (Some(due), FileStanding::As(is)) => *is >= due,
                    _ => false,
                }
            })
    });
    let loaded = match last_change {
        None => None,
        Some(change) => {
            let loaded = load_time(client).await?;
            let certain = loaded < change || loaded >= change + Duration::from_secs(1);
            certain.then_some(loaded >= change)
        }
    };
    let refused = match hba_errors(client).await {
        Ok(errors) => errors.into_iter().map(|error| (error.line, error.message)).collect(),
        // The file itself cannot be read: line 0.
        Err(error @ Error::Sql(_)) if !client.is_closed() => vec![(0, error.to_string())],
        Err(error) => return Err(error),
    };
    Ok(Standing { reached, loaded, refused, files })
}

/// What a path should be.
enum Is {
    Nothing,
    /// A folder, or nothing: whatever it was before.
    Anything,
    Folder,
    File(String),
}

impl Is {
    fn met_by(&self, there: &There) -> bool {
        match (self, there) {
            (Self::Nothing, There::Nothing)
            | (Self::Folder, There::Folder)
            | (Self::Anything, There::Nothing | There::Folder) => true,
            (Self::File(sha256), There::File(is)) => sha256 == is,
            _ => false,
        }
    }
}

fn before_and_after(entry: &Entry) -> (Is, Is) {
    let was = |before: &Before| match before {
        Before::Absent => Is::Nothing,
        Before::Sha256(sha256) => Is::File(sha256.clone()),
    };
    match entry {
        Entry::Folder { .. } => (Is::Nothing, Is::Folder),
        Entry::File { sha256, before, .. } => (was(before), Is::File(sha256.clone())),
        Entry::RemoveFile { before, .. } => (was(before), Is::Nothing),
        Entry::RemoveFolder { .. } => (Is::Folder, Is::Anything),
    }
}

/// What is at a path, and when it last changed: the time that no archive sets.
async fn look(client: &Client, path: &str) -> Result<(There, Option<SystemTime>), Error> {
    const QUERY: &str = "SELECT s.isdir, s.change, CASE WHEN NOT s.isdir THEN \
             pg_catalog.encode(pg_catalog.sha256(pg_catalog.pg_read_binary_file($1)), 'hex') END \
         FROM pg_catalog.pg_stat_file($1, true) s";
    match client.query_one(QUERY, &[&path]).await {
        Ok(row) => Ok((
            match row.get(0) {
                None => There::Nothing,
                Some(true) => There::Folder,
                Some(false) => There::File(row.get(2)),
            },
            row.get(1),
        )),
        Err(error) if error.code() == Some(&SqlState::WRONG_OBJECT_TYPE) => {
            Ok((There::Nothing, None))
        }
        Err(error) if error.code().is_some() => {
            Ok((There::Unreadable(Error::from(error).to_string()), None))
        }
        Err(error) => Err(error.into()),
    }
}
