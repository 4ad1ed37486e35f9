//! The folders of runs on disk.

use std::{
    fs::{self, DirBuilder, File},
    io::{ErrorKind, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};
use textfile::fs::FsError;
use time::OffsetDateTime;

use super::{
    applied::{APPLIED, Applied},
    digest::DigestKey,
    journal::{self, Journal, Told},
    vault,
};
use crate::{
    error::Error,
    plan::{Plan, hex},
    spec::ClusterSpec,
    vault::Vault,
};

/// The folder of all runs, in the folder for secrets.
const RUNS: &str = "runs";
const HEADER: &str = "run.json";
const PLAN: &str = "plan.json";
const VAULT: &str = "vault.json";
const JOURNAL: &str = "journal.jsonl";
/// What had been applied before the run.
const BEFORE: &str = "applied-before.json";

/// The version of what is on disk. A program reads its own and older ones.
const VERSION: u32 = 1;

/// What a run is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Header {
    /// The version of the folder's format.
    version: u32,
    /// The program that began it.
    pub(super) pgward: String,
    /// When it was begun.
    #[serde(with = "crate::rfc3339")]
    pub(super) begun: OffsetDateTime,
    /// SHA-256 of the description.
    pub(super) description: String,
    /// What tells the run from one of another machine with the same number and time.
    #[serde(default)]
    pub(super) token: String,
}

/// The folder of one run.
#[derive(Clone, Debug)]
pub(super) struct RunFolder {
    pub(super) path: PathBuf,
    /// `0001-20261122T101500Z`: its number, and when it was begun.
    pub(super) id: String,
}

impl RunFolder {
    /// The folders of all runs, the oldest first.
    pub(super) fn all(secrets: &Path) -> Result<Vec<Self>, Error> {
        let runs = secrets.join(RUNS);
        let io = |source| FsError::Io { action: "list", path: runs.clone(), source };
        let entries = match fs::read_dir(&runs) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(io(error).into()),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(io)?;
            let id = entry.file_name().to_string_lossy().into_owned();
            // What begins with a dot is not complete, or not any more.
            if let Some(number) = number_of(&id) {
                found.push((number, Self { path: entry.path(), id }));
            }
        }
        found.sort_by_key(|(number, _)| *number);
        Ok(found.into_iter().map(|(_, folder)| folder).collect())
    }

    /// Makes the folder of a new run, with everything that doing and taking it back needs. It is
    /// there as a whole or not at all.
    pub(super) fn create(
        spec: &ClusterSpec,
        plan: &Plan,
        secrets: &Vault,
        now: OffsetDateTime,
    ) -> Result<Self, Error> {
        let runs = spec.secrets.join(RUNS);
        make_folder(&runs)?;
        tidy(&runs)?;
        let last = Self::all(&spec.secrets)?.last().and_then(|run| number_of(&run.id));
        let (date, time) = (now.date(), now.time());
        let id = format!(
            "{:04}-{:04}{:02}{:02}T{:02}{:02}{:02}Z",
            last.unwrap_or_default() + 1,
            date.year(),
            u8::from(date.month()),
            date.day(),
            time.hour(),
            time.minute(),
            time.second()
        );
        let new = Self { path: runs.join(format!(".new-{id}")), id: id.clone() };
        make_folder(&new.path)?;
        let header = Header {
            version: VERSION,
            pgward: env!("CARGO_PKG_VERSION").to_owned(),
            begun: now,
            description: digest(spec)?,
            token: random()?,
        };
        write_json(&new.path.join(HEADER), &header)?;
        write_json(&new.path.join(PLAN), plan)?;
        vault::write(&new.path.join(VAULT), secrets, &plan.secrets())?;
        Journal::create(&new.path.join(JOURNAL))?;
        match fs::read(spec.secrets.join(APPLIED)) {
            Ok(applied) => write_new(&new.path.join(BEFORE), &applied)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(source) => {
                let path = spec.secrets.join(APPLIED);
                return Err(FsError::Io { action: "read", path, source }.into());
            }
        }
        sync(&new.path)?;
        let path = runs.join(&id);
        rename(&new.path, &path)?;
        Ok(Self { path, id })
    }

    pub(super) fn header(&self) -> Result<Header, Error> {
        let header: Header = read_json(&self.path.join(HEADER))?;
        if header.version > VERSION {
            return Err(Error::run(format!(
                "run {} was begun by pgward {}, which is newer: go on with that one",
                self.id, header.pgward
            )));
        }
        Ok(header)
    }

    pub(super) fn plan(&self) -> Result<Plan, Error> {
        read_json(&self.path.join(PLAN))
    }

    pub(super) fn vault(&self) -> Result<Vault, Error> {
        vault::read(&self.path.join(VAULT))
    }

    pub(super) fn journal(&self) -> Result<Journal, Error> {
        Journal::open(&self.path.join(JOURNAL))
    }

    /// What the journal tells, for reading only.
    pub(super) fn told(&self) -> Result<Told, Error> {
        Ok(journal::read(&self.path.join(JOURNAL))?.0)
    }

    /// The file that tells what had been applied before, if anything had.
    pub(super) fn applied_before(&self) -> PathBuf {
        self.path.join(BEFORE)
    }

    /// What will have been left on the nodes when this run was applied.
    pub(super) fn left_behind(
        &self,
        plan: &Plan,
        vault: &Vault,
        key: &DigestKey,
    ) -> Result<Applied, Error> {
        let path = self.applied_before();
        let before = if path.exists() { Some(read_json(&path)?) } else { None };
        Applied::with(before, &self.id, OffsetDateTime::now_utc(), plan, vault, key)
    }

    /// Removes the secrets: there is nothing left to do or to take back.
    pub(super) fn forget_secrets(&self) -> Result<(), Error> {
        let path = self.path.join(VAULT);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                Err(FsError::Io { action: "remove", path, source }.into())
            }
            _ => sync(&self.path),
        }
    }

    /// Removes the run.
    pub(super) fn remove(&self) -> Result<(), Error> {
        let Some(runs) = self.path.parent() else { return Ok(()) };
        // First it stops being one, so that nobody finds a half of it.
        rename(&self.path, &runs.join(format!(".old-{}", self.id)))?;
        tidy(runs)
    }
}

/// Eight characters that nobody else has.
pub(super) fn random() -> Result<String, Error> {
    let mut random = [0; 4];
    getrandom::fill(&mut random)
        .map_err(|error| Error::run(format!("the system has no random bytes: {error}")))?;
    Ok(hex(&random))
}

/// The number that a run's name begins with.
fn number_of(id: &str) -> Option<u64> {
    id.split_once('-')?.0.parse().ok()
}

/// SHA-256 of a description, but for where its secrets are kept: that folder may be moved.
pub(super) fn digest(spec: &ClusterSpec) -> Result<String, Error> {
    let spec = ClusterSpec { secrets: PathBuf::new(), ..spec.clone() };
    let text = serde_json::to_vec(&spec).map_err(|error| Error::run(error.to_string()))?;
    Ok(hex(&Sha256::digest(&text)))
}

/// Removes what runs that were never begun, or are no more, have left.
fn tidy(runs: &Path) -> Result<(), Error> {
    let io = |source| FsError::Io { action: "tidy", path: runs.to_owned(), source };
    for entry in fs::read_dir(runs).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(".new-") || name.starts_with(".old-") {
            fs::remove_dir_all(entry.path()).map_err(io)?;
        }
    }
    Ok(())
}

pub(super) fn make_folder(path: &Path) -> Result<(), FsError> {
    let io = |source| FsError::Io { action: "create", path: path.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io)
}

fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    let io = |source| FsError::Io { action: "rename", path: from.to_owned(), source };
    fs::rename(from, to).map_err(io)?;
    to.parent().map_or(Ok(()), sync)
}

fn sync(folder: &Path) -> Result<(), Error> {
    let io = |source| FsError::Io { action: "sync", path: folder.to_owned(), source };
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)?;
    Ok(())
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_vec_pretty(value);
    write_new(path, &text.map_err(|error| Error::run(format!("{}: {error}", path.display())))?)
}

/// A file in a folder that nobody sees yet.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let io = |source| FsError::Io { action: "write", path: path.to_owned(), source };
    let mut file =
        File::options().write(true).create_new(true).mode(0o600).open(path).map_err(io)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io)?;
    Ok(())
}

pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let io = |source| FsError::Io { action: "read", path: path.to_owned(), source };
    let bytes = fs::read(path).map_err(io)?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Error::run(format!("{} cannot be read: {error}", path.display())))
}
