//! A node's files as its server tells of them: `pg_read_binary_file`, `pg_stat_file`, `pg_ls_dir`.
//!
//! A superuser may call them; so may a member of `pg_read_server_files` to whom EXECUTE on them was
//! granted. What is read comes over the SQL connection as it is. None tells owner or mode.

use std::{future::Future, path::Path, pin::Pin, sync::Arc};

use textfile::{FileError, FileErrorKind, FileKind};
use tokio_postgres::{Client, error::SqlState};
use zeroize::Zeroizing;

use super::manifest::{Owner, ToldBy};
use crate::{Error, transport::BundleSpec};

/// How to connect to the node's server as its administrator.
pub type Connector =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<Client, Error>> + Send>> + Send + Sync>;

/// The files that the server can read, over one connection that is made anew when it breaks.
pub(super) struct Source {
    connect: Connector,
    client: tokio::sync::Mutex<Option<Arc<Client>>>,
}

/// What is at a path.
#[derive(Clone)]
pub(super) enum Item {
    Nothing,
    Folder,
    File(Zeroizing<Vec<u8>>),
}

/// Why the server did not tell.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It has a reason that formats tell apart.
    File(FileErrorKind, String),
    /// It could not be asked.
    Server(Error),
}

impl Refusal {
    fn of(error: tokio_postgres::Error) -> Self {
        let kind = match error.code() {
            Some(&SqlState::UNDEFINED_FILE) => FileErrorKind::NotFound,
            Some(&SqlState::INSUFFICIENT_PRIVILEGE) => FileErrorKind::PermissionDenied,
            Some(&SqlState::WRONG_OBJECT_TYPE) => FileErrorKind::NotADirectory,
            Some(_) => FileErrorKind::Other,
            None => return Self::Server(error.into()),
        };
        Self::File(kind, Error::from(error).to_string())
    }
}

impl From<Refusal> for FileError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::File(FileErrorKind::Other, message) => {
                Self { kind: FileErrorKind::Other, message }
            }
            Refusal::File(kind, _) => Self::new(kind),
            Refusal::Server(error) => {
                Self { kind: FileErrorKind::Other, message: error.to_string() }
            }
        }
    }
}

impl From<Refusal> for std::io::Error {
    fn from(refusal: Refusal) -> Self {
        use std::io::ErrorKind;

        match refusal {
            Refusal::File(kind, message) => {
                let kind = match kind {
                    FileErrorKind::NotFound => ErrorKind::NotFound,
                    FileErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
                    FileErrorKind::NotADirectory => ErrorKind::NotADirectory,
                    _ => ErrorKind::Other,
                };
                Self::new(kind, message)
            }
            Refusal::Server(error) => Self::other(error),
        }
    }
}

impl Source {
    pub(super) fn new(connect: Connector) -> Self {
        Self { connect, client: tokio::sync::Mutex::default() }
    }

    pub(super) async fn client(&self) -> Result<Arc<Client>, Error> {
        let mut kept = self.client.lock().await;
        if let Some(client) = kept.as_ref().filter(|client| !client.is_closed()) {
            return Ok(client.clone());
        }
        let client = Arc::new((self.connect)().await?);
        *kept = Some(client.clone());
        Ok(client)
    }

    /// What is at a path, links followed.
    pub(super) async fn find(&self, path: &str) -> Result<Item, Refusal> {
        const QUERY: &str = "SELECT s.isdir, CASE WHEN NOT s.isdir \
                 THEN pg_catalog.pg_read_binary_file($1) END \
             FROM pg_catalog.pg_stat_file($1, true) s";
        let client = self.client().await.map_err(Refusal::Server)?;
        let row = match client.query_one(QUERY, &[&path]).await.map_err(Refusal::of) {
            Ok(row) => row,
            // A file on the way there is no folder: nothing is there.
            Err(Refusal::File(FileErrorKind::NotADirectory, _)) => return Ok(Item::Nothing),
            Err(refusal) => return Err(refusal),
        };
        Ok(match row.get(0) {
            None => Item::Nothing,
            Some(true) => Item::Folder,
            Some(false) => Item::File(Zeroizing::new(row.get(1))),
        })
    }

    /// Whether there is a folder at a path; `None` for nothing at all.
    pub(super) async fn is_folder(&self, path: &str) -> Result<Option<bool>, Refusal> {
        const QUERY: &str = "SELECT (pg_catalog.pg_stat_file($1, true)).isdir";
        let client = self.client().await.map_err(Refusal::Server)?;
        match client.query_one(QUERY, &[&path]).await.map_err(Refusal::of) {
            Ok(row) => Ok(row.get(0)),
            Err(Refusal::File(FileErrorKind::NotADirectory, _)) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// The names in a folder, and what each is, links followed.
    pub(super) async fn list(&self, path: &str) -> Result<Vec<(String, FileKind)>, Refusal> {
        const QUERY: &str = "SELECT n, (pg_catalog.pg_stat_file($1 || '/' || n, true)).isdir \
             FROM pg_catalog.pg_ls_dir($1, false, false) n";
        let client = self.client().await.map_err(Refusal::Server)?;
        let rows = client.query(QUERY, &[&path]).await.map_err(Refusal::of)?;
        Ok(rows
            .iter()
            .map(|row| {
                let kind = match row.get(1) {
                    None => FileKind::Dangling,
                    Some(true) => FileKind::Directory,
                    Some(false) => FileKind::File,
                };
                (row.get(0), kind)
            })
            .collect())
    }

    /// The account that the server runs as. On Linux its process tells; else the description must.
    pub(super) async fn owner(&self, spec: &BundleSpec) -> Result<Owner, Error> {
        let described = Owner {
            user: spec.user.clone(),
            group: spec.group.clone(),
            uid: spec.uid,
            gid: spec.gid,
            told_by: ToldBy::Description,
        };
        let Some(status) = self.small_file("/proc/self/status").await? else {
            return Ok(described);
        };
        let id = |line: &str| {
            // Real, effective, saved, of the file system: files are made with the last.
            let line = status.lines().find_map(|text| text.strip_prefix(line))?;
            line.split_ascii_whitespace().nth(3)?.parse::<u32>().ok()
        };
        let Some((uid, gid)) = id("Uid:").zip(id("Gid:")) else { return Ok(described) };
        let users = self.small_file("/etc/passwd").await?.unwrap_or_default();
        let groups = self.small_file("/etc/group").await?.unwrap_or_default();
        let named = |list: &str, id: u32| {
            let mut entries = list.lines().map(|line| line.split(':'));
            entries.find_map(|mut entry| {
                let name = entry.next()?;
                (entry.nth(1)?.parse() == Ok(id)).then(|| name.to_owned())
            })
        };
        Ok(Owner {
            // An account that another service knows has no line there.
            user: named(&users, uid).unwrap_or(described.user),
            group: named(&groups, gid).unwrap_or(described.group),
            uid: Some(uid),
            gid: Some(gid),
            told_by: ToldBy::Server,
        })
    }

    /// The mode of the data directory, which says whether its group may read (initdb -g).
    pub(super) async fn data_directory_mode(&self) -> Result<u32, Error> {
        let client = self.client().await?;
        let row = client.query_one("SHOW data_directory_mode", &[]).await?;
        Ok(u32::from_str_radix(row.get(0), 8).unwrap_or(0o700))
    }

    /// A file of the system as text, if the server may read it. With a length: those of `/proc` have
    /// none.
    async fn small_file(&self, path: &str) -> Result<Option<String>, Error> {
        const QUERY: &str = "SELECT pg_catalog.pg_read_binary_file($1, 0, 1048576, true)";
        let client = self.client().await?;
        match client.query_one(QUERY, &[&path]).await {
            Ok(row) => Ok(row
                .get::<_, Option<Vec<u8>>>(0)
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())),
            Err(error) if error.code().is_some() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// The path as SQL takes it.
pub(super) fn text(path: &Path) -> Result<&str, Refusal> {
    path.to_str().filter(|text| !text.contains('\0')).ok_or_else(|| {
        let message = format!("{} is no UTF-8, which SQL cannot ask for", path.display());
        Refusal::File(FileErrorKind::Other, message)
    })
}
