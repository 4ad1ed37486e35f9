//! A node reached by the system's `ssh`.
//!
//! `ssh` itself is started, not a library that speaks its protocol: keys, agents, jump hosts, known
//! hosts and what a site has in its configuration work as they do by hand. One process for each node
//! logs in once; the SFTP that it carries is spoken by `russh-sftp`, and everything else goes over the
//! same connection, which `ssh` calls multiplexing: SQL by forwarded sockets, TCP by `ssh -W`. No
//! command is run on the node, so no path ever meets a shell.
//!
//! The process is started with what [`SshSpec`] promises: it asks nothing (`BatchMode`), takes known
//! hosts only (`StrictHostKeyChecking=yes`), forwards neither agent nor anything of the user's
//! configuration. It ends with the last clone of the [`SshNode`], and with this process, however that
//! ends: its standard input does. A connection that breaks is made again by the next call that needs
//! it.
//!
//! What is written passes through the buffers of the library for SFTP and of `ssh`, which nobody wipes
//! but the system when the process is gone.
//!
//! # The libraries
//! `russh-sftp` 3.0 (2026; the SFTP of russh, and so of Warpgate and Tabby) has a raw session whose
//! `open` takes the mode that a file is made with. `openssh-sftp-client` 0.15 has not: it makes files
//! with 0666, and whoever opens one before the mode is set reads the key that is written to it later.
//! `openssh` 0.11 leaves its master process behind when we are killed.

mod command;
mod dial;
mod error;
mod forward;
mod link;
mod sftp;
mod write;

use std::{
    fmt,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tempfile::TempDir;
use textfile::{
    FileError, FileErrorKind, FileKind, Files,
    fs::{Access, FsError, path_of},
};
use tokio::runtime::Handle;
use zeroize::Zeroizing;

pub use self::{dial::SshStream, error::SshError};
use self::{
    forward::Forwards,
    link::Link,
    sftp::Kind,
    write::{Progress, Wanted},
};
use super::{
    NodeFile, NodeFiles, SshSpec,
    blocking::{NoOutcome, wait_for},
};
use crate::plan::Expected;

/// A node reached by `ssh`. Cheap to clone; the clones share one connection, which is made when it is
/// first needed.
///
/// ```no_run
/// use std::path::Path;
///
/// use cluster::{
///     conninfo::ConnInfo,
///     transport::{NodeFiles as _, SshNode},
/// };
///
/// # async fn look() -> Result<(), Box<dyn std::error::Error>> {
/// let node = SshNode::new("root@db1".parse()?)?;
/// node.connect().await?;
/// // Calls that concern files block: they are for a thread of their own.
/// let files = node.clone();
/// let hba = Path::new("/etc/postgresql/16/main/pg_hba.conf");
/// let hba = tokio::task::spawn_blocking(move || files.find(hba)).await??;
/// println!("{:?}", hba.map(|file| file.access));
/// // SQL through the server's own socket.
/// let as_seen_there: ConnInfo = "host=/var/run/postgresql user=postgres".parse()?;
/// println!("{}", node.sql(&as_seen_there).await?.to_masked_text());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SshNode(Arc<Inner>);

struct Inner {
    spec: SshSpec,
    /// For the sockets; only we can enter it.
    folder: TempDir,
    runtime: Handle,
    connection: tokio::sync::Mutex<Connection>,
    forwards: tokio::sync::Mutex<Forwards>,
}

/// The connection that is used, and how many there have been.
#[derive(Default)]
struct Connection {
    link: Option<Arc<Link>>,
    made: u64,
}

/// Where the sockets are: the name of a socket has room for 100 bytes or so, which the folders that
/// `TMPDIR` may name can use up.
const SOCKETS: &str = "/tmp";

impl SshNode {
    /// A node to reach. Must be called in a Tokio runtime, which the connection then depends on;
    /// there is none until it is needed.
    ///
    /// # Errors
    /// [`SshError::Spec`] for what [`SshSpec::check`] refuses, [`SshError::Cancelled`] without a
    /// runtime, [`SshError::NoFolder`] if there is no room for sockets.
    pub fn new(spec: SshSpec) -> Result<Self, SshError> {
        spec.check()?;
        let runtime = Handle::try_current().map_err(|_| SshError::Cancelled)?;
        let folder = tempfile::Builder::new()
            .prefix("pgward-")
            .permissions(std::fs::Permissions::from_mode(0o700))
            .tempdir_in(SOCKETS)
            .map_err(|error| SshError::NoFolder {
                place: SOCKETS.into(),
                reason: error.to_string(),
            })?;
        Ok(Self(Arc::new(Inner {
            spec,
            folder,
            runtime,
            connection: tokio::sync::Mutex::default(),
            forwards: tokio::sync::Mutex::default(),
        })))
    }

    /// How it is reached.
    #[must_use]
    pub fn spec(&self) -> &SshSpec {
        &self.0.spec
    }

    /// Makes the connection, if there is none.
    ///
    /// # Errors
    /// Why there is none, after `connect-timeout` at the latest.
    pub async fn connect(&self) -> Result<(), SshError> {
        self.0.link().await.map(drop)
    }

    /// Waits on this thread for work with a file.
    fn wait<T: Send + 'static>(
        &self,
        action: &'static str,
        path: &Path,
        work: impl Future<Output = Result<T, FsError>> + Send + 'static,
    ) -> Result<T, FsError> {
        let limit = self.0.longest();
        wait_for(&self.0.runtime, limit, work).unwrap_or_else(|none| {
            let error = match none {
                NoOutcome::Cancelled => SshError::Cancelled,
                NoOutcome::TimedOut => self.0.timed_out("work with a file to end", limit),
            };
            Err(error.with(action, path))
        })
    }

    /// Does something with a file, over a connection that is made if need be.
    fn with_link<T, F>(
        &self,
        action: &'static str,
        path: &Path,
        work: impl FnOnce(Arc<Link>, PathBuf) -> F + Send + 'static,
    ) -> Result<T, FsError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, FsError>> + Send,
    {
        let (inner, owned) = (self.0.clone(), path.to_owned());
        self.wait(action, path, async move { inner.run(action, &owned, work).await })
    }
}

impl Inner {
    /// The connection, made anew if the last one broke.
    async fn link(&self) -> Result<Arc<Link>, SshError> {
        let mut connection = self.connection.lock().await;
        if let Some(link) = connection.link.as_ref().filter(|link| link.is_up()) {
            return Ok(link.clone());
        }
        connection.link = None;
        connection.made += 1;
        let number = connection.made;
        let control = self.folder.path().join(format!("c{number}"));
        let limit = self.spec.connect_limit();
        let link = tokio::time::timeout(limit, Link::connect(&self.spec, number, control)).await;
        let link = Arc::new(link.map_err(|_| self.timed_out("the login", limit))??);
        connection.link = Some(link.clone());
        Ok(link)
    }

    /// Ends a connection that is of no use any more, so that the next call makes another.
    async fn give_up(&self, link: &Arc<Link>) {
        let mut connection = self.connection.lock().await;
        connection.link.take_if(|current| Arc::ptr_eq(current, link));
    }

    /// Does something with a file: no longer than `timeout`, and no longer than the connection lasts.
    async fn run<T, F>(
        &self,
        action: &'static str,
        path: &Path,
        work: impl FnOnce(Arc<Link>, PathBuf) -> F,
    ) -> Result<T, FsError>
    where
        F: Future<Output = Result<T, FsError>>,
    {
        let link = self.link().await.map_err(|error| error.with(action, path))?;
        let limit = self.spec.limit();
        let outcome = tokio::select! {
            biased;
            outcome = work(link.clone(), path.to_owned()) => outcome,
            () = link.end() => Err(link.loss().with(action, path)),
            () = tokio::time::sleep(limit) => {
                Err(self.timed_out("an answer by SFTP", limit).with(action, path))
            }
        };
        if let Err(error) = &outcome
            && SshError::of(error).is_some_and(SshError::is_loss)
        {
            self.give_up(&link).await;
        }
        outcome
    }

    async fn write(self: Arc<Self>, wanted: Wanted) -> Result<(), FsError> {
        let (wanted, progress) = (Arc::new(wanted), Arc::new(Mutex::new(Progress::default())));
        let (shared, told) = (wanted.clone(), progress.clone());
        let written = self
            .run("write", &wanted.path, |link, _| async move { link.write(&shared, &told).await })
            .await;
        let Err(error) = written else { return Ok(()) };
        let progress =
            std::mem::take(&mut *progress.lock().unwrap_or_else(PoisonError::into_inner));
        let Some(temporary) = progress.temporary else { return Err(error) };

        // The connection broke in the midst of it: what became of it is looked at over another.
        let (shared, left) = (wanted.clone(), temporary.clone());
        let tidied = self
            .run("write", &wanted.path, |link, path| async move {
                let removed = link.remove(&left).await.map_err(|e| e.with("remove", &left))?;
                let there = match progress.renaming && !removed {
                    true => link.find(&path).await?,
                    false => None,
                };
                Ok(shared.is(there.as_ref()))
            })
            .await;
        match (tidied, SshError::of(&error)) {
            (Ok(true), _) => Ok(()),
            (Err(_), Some(cause)) => {
                let cause = Box::new(cause.clone());
                Err(SshError::LeftBehind { path: temporary, cause }.with("write", &wanted.path))
            }
            _ => Err(error),
        }
    }

    fn timed_out(&self, what: &'static str, limit: Duration) -> SshError {
        SshError::TimedOut { place: self.spec.place(), what, seconds: limit.as_secs() }
    }

    /// How long any call takes at most: writing, and putting in order what was lost.
    fn longest(&self) -> Duration {
        (self.spec.connect_limit() + self.spec.limit()) * 2 + Duration::from_secs(2)
    }
}

impl Files for SshNode {
    fn read(&self, path: &[u8]) -> Result<Vec<u8>, FileError> {
        let path = path_of(path);
        let read = self.with_link("read", path, |link, path| async move {
            let found = link.stat(&path).await.map_err(|error| error.with("examine", &path))?;
            if found.is_some_and(|found| found.kind == Kind::Folder) {
                return Ok(None);
            }
            let (bytes, _) = link.read(&path).await.map_err(|error| error.with("read", &path))?;
            Ok(Some(bytes))
        });
        match read {
            Ok(Some(bytes)) => Ok(bytes.to_vec()),
            Ok(None) => Err(FileError::new(FileErrorKind::IsADirectory)),
            Err(error) => Err(file_error(error)),
        }
    }

    fn list(&self, path: &[u8]) -> Result<Vec<(Vec<u8>, FileKind)>, FileError> {
        let path = path_of(path);
        let listed = self.with_link("list", path, |link, path| async move {
            let found = link.stat(&path).await.map_err(|error| error.with("examine", &path))?;
            if found.is_some_and(|found| found.kind != Kind::Folder) {
                return Ok(None);
            }
            link.list(&path).await.map(Some).map_err(|error| error.with("list", &path))
        });
        match listed {
            Ok(Some(names)) => {
                Ok(names.into_iter().map(|(name, kind)| (name.into_bytes(), kind)).collect())
            }
            Ok(None) => Err(FileError::new(FileErrorKind::NotADirectory)),
            Err(error) => Err(file_error(error)),
        }
    }
}

fn file_error(error: FsError) -> FileError {
    match SshError::of(&error) {
        Some(error) => error.clone().into(),
        None => FileError { kind: FileErrorKind::Other, message: error.to_string() },
    }
}

impl NodeFiles for SshNode {
    fn machine(&self) -> Option<&SshNode> {
        Some(self)
    }

    fn find(&self, path: &Path) -> Result<Option<NodeFile>, FsError> {
        self.with_link("read", path, |link, path| async move { link.find(&path).await })
    }

    fn access(&self, path: &Path) -> Result<Option<Access>, FsError> {
        self.with_link("examine", path, |link, path| async move {
            let found = link.stat(&path).await.map_err(|error| error.with("examine", &path))?;
            Ok(found.map(|found| found.access))
        })
    }

    fn write(
        &self,
        path: &Path,
        bytes: &[u8],
        access: Access,
        expected: Expected,
    ) -> Result<(), FsError> {
        let bytes = Zeroizing::new(bytes.to_vec());
        let wanted = Wanted { path: path.to_owned(), bytes, access, expected };
        self.wait("write", path, self.0.clone().write(wanted))
    }

    fn make_folder(&self, path: &Path, access: Access) -> Result<(), FsError> {
        self.with_link("create the folder", path, move |link, path| async move {
            link.make_folder_with(&path, access).await
        })
    }

    fn remove_file(&self, path: &Path) -> Result<(), FsError> {
        self.with_link("remove", path, |link, path| async move {
            link.remove(&path).await.map(drop).map_err(|error| error.with("remove", &path))
        })
    }

    fn remove_folder(&self, path: &Path) -> Result<(), FsError> {
        self.with_link("remove", path, |link, path| async move {
            link.remove_folder_if_empty(&path).await
        })
    }
}

/// Where it leads to.
impl fmt::Debug for SshNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SshNode").field(&self.0.spec.place()).finish()
    }
}
