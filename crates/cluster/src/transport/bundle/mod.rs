//! A node whose files are out of reach: read over SQL, and what shall be written packed into a folder
//! that somebody carries there.
//!
//! Reads come from the server itself, as its administrator. Writes are kept in memory, where reads see
//! them, until [`BundleNode::finish`] puts all into a folder for the node: the files by their paths,
//! archives of them with owner and mode, the statements, a manifest, and a README that tells the
//! administrator what to do in which order, and how to go back. The folder is there whole or not at all.
//!
//! The work is cut into [phases](Phase), each of them to be done on every node before the next begins
//! on any: a link then finds both its ways in open while it is switched over. Afterwards
//! [`verify`](fn@verify) tells over SQL how far a node has come.
//!
//! A bundle holds private keys, since it must: its files are ours alone (0600). Of passwords it holds
//! what servers store of them (`SCRAM-SHA-256$…`) and what a passfile needs, and no statement with one
//! in clear.

mod error;
mod manifest;
mod pack;
mod readme;
mod record;
mod source;
mod verify;

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sha2::{Digest as _, Sha256};
use textfile::{
    FileError, FileErrorKind, FileKind, Files,
    fs::{Access, FsError, path_of},
};
use time::OffsetDateTime;
use tokio::runtime::Handle;
use zeroize::Zeroizing;

use self::source::{Item, Refusal, Source};
pub use self::{
    error::BundleError,
    manifest::{Before, Entry, Manifest, Owner, Part, Phase, PhaseWork, Placed, SqlBack, ToldBy},
    source::Connector,
    verify::{FileStanding, Standing, verify},
};
use super::{
    BundleSpec, NodeFile, NodeFiles,
    blocking::{NoOutcome, wait_for},
};
use crate::{
    plan::{Expected, Plan, hex},
    vault::Vault,
};

/// A node whose files are out of reach. Cheap to clone; the clones share one bundle.
#[derive(Clone)]
pub struct BundleNode(Arc<Inner>);

struct Inner {
    spec: BundleSpec,
    node: String,
    owner: Owner,
    /// What a file is assumed to have, and what a folder.
    modes: Modes,
    source: Source,
    runtime: Handle,
    work: Mutex<Work>,
}

#[derive(Clone, Copy)]
struct Modes {
    file: u32,
    folder: u32,
}

/// What has been recorded so far.
#[derive(Default)]
struct Work {
    /// What will be at each path that was written to.
    pending: BTreeMap<PathBuf, Pending>,
    done: Vec<Recorded>,
    back: Vec<StatementBack>,
    now: Option<(Phase, String)>,
}

#[derive(Clone)]
enum Pending {
    File(NodeFile),
    Folder(Access),
    Nothing,
}

/// One thing to be done, and what for.
struct Recorded {
    phase: Phase,
    stage: String,
    deed: Deed,
}

/// A statement that takes one of a phase back; without text where no bundle may hold it.
struct StatementBack {
    phase: Phase,
    database: Option<String>,
    shown: String,
    text: Option<Zeroizing<String>>,
}

enum Deed {
    MakeFolder { path: PathBuf, access: Access },
    WriteFile { path: PathBuf, file: NodeFile, before: Before },
    RemoveFile { path: PathBuf, before: Before },
    RemoveFolder { path: PathBuf },
    Execute { database: Option<String>, shown: String, text: Zeroizing<String> },
    Reload,
}

/// Stands for an owner whose number is not known: nobody. In a bundle the owner's name decides.
const UNKNOWN: u32 = 65534;

/// How long the server may take to tell of a file: a connection and a statement each have 20 s.
const PATIENCE: Duration = Duration::from_secs(60);

impl BundleNode {
    /// Begins a bundle for a node, and asks its server whose the files are. Must be called in a Tokio
    /// runtime, which the connection then depends on.
    ///
    /// # Errors
    /// [`BundleError`] if the server cannot be asked, or the node's name is no folder's.
    pub async fn open(
        spec: BundleSpec,
        node: impl Into<String>,
        connect: Connector,
    ) -> Result<Self, BundleError> {
        let node = node.into();
        let mut parts = Path::new(&node).components();
        if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
            return Err(BundleError::Name { node });
        }
        let source = Source::new(connect);
        let owner = source.owner(&spec).await?;
        let folder = source.data_directory_mode().await?;
        // What the server gives the files that it makes itself.
        let modes = Modes { folder, file: if folder & 0o040 == 0 { 0o600 } else { 0o640 } };
        let (runtime, work) = (Handle::current(), Mutex::default());
        Ok(Self(Arc::new(Inner { spec, node, owner, modes, source, runtime, work })))
    }

    /// The account that the server runs as.
    #[must_use]
    pub fn owner(&self) -> &Owner {
        &self.0.owner
    }

    /// What is recorded from now on belongs to this phase; `stage` says what for.
    ///
    /// # Errors
    /// [`BundleError::Order`] if a later phase has begun.
    pub fn begin(&self, phase: Phase, stage: impl Into<String>) -> Result<(), BundleError> {
        let mut work = self.0.work();
        if let Some((later, _)) = work.now.as_ref().filter(|(now, _)| *now > phase) {
            return Err(BundleError::Order { phase, later: *later });
        }
        work.now = Some((phase, stage.into()));
        Ok(())
    }

    /// Records everything that a plan has for this node.
    ///
    /// # Errors
    /// [`BundleError::ClearSecret`] for a statement that no bundle may hold; [`BundleError::Files`]
    /// where a file is not as the plan expects it; [`BundleError::Server`] for a secret that is not in
    /// the vault. The call blocks: it is for a thread of its own.
    pub fn record(&self, plan: &Plan, vault: &Vault) -> Result<(), BundleError> {
        record::record(self, plan, vault)
    }

    /// Where the bundle will be, if it can be there.
    ///
    /// # Errors
    /// [`BundleError::Exists`] where there is one.
    pub fn target(&self) -> Result<PathBuf, BundleError> {
        pack::target(&self.0)
    }

    /// Puts everything recorded into a folder for the node, and gives its path; `None` where nothing
    /// was recorded. `now` is for the reader.
    ///
    /// # Errors
    /// [`BundleError::Exists`] where there is one; [`BundleError::Files`] if it cannot be written:
    /// there is none then.
    pub fn finish(&self, now: OffsetDateTime) -> Result<Option<PathBuf>, BundleError> {
        let work = self.0.work();
        pack::pack(&self.0, &work.done, &work.back, now)
    }

    fn statement(&self, database: Option<&str>, shown: String, text: Zeroizing<String>) {
        self.0.work().add(Deed::Execute { database: database.map(str::to_owned), shown, text });
    }

    fn statement_back(
        &self,
        database: Option<&str>,
        shown: String,
        text: Option<Zeroizing<String>>,
    ) {
        let mut work = self.0.work();
        let phase = work.phase();
        let database = database.map(str::to_owned);
        work.back.push(StatementBack { phase, database, shown, text });
    }

    fn reload(&self) {
        self.0.work().add(Deed::Reload);
    }

    /// What is at a path: what was recorded, else what the server tells.
    fn look(&self, path: &Path) -> Result<Item, Refusal> {
        if let Some(pending) = self.0.work().pending.get(path) {
            return Ok(match pending {
                Pending::File(file) => Item::File(file.bytes.clone()),
                Pending::Folder(_) => Item::Folder,
                Pending::Nothing => Item::Nothing,
            });
        }
        let name = source::text(path)?.to_owned();
        self.ask(|inner| async move { inner.source.find(&name).await })
    }

    fn ask<T: Send + 'static, F>(
        &self,
        question: impl FnOnce(Arc<Inner>) -> F,
    ) -> Result<T, Refusal>
    where
        F: Future<Output = Result<T, Refusal>> + Send + 'static,
    {
        let asked = wait_for(&self.0.runtime, PATIENCE, question(self.0.clone()));
        asked.unwrap_or_else(|none| {
            Err(Refusal::Server(match none {
                NoOutcome::Cancelled => crate::Error::Cancelled,
                NoOutcome::TimedOut => crate::Error::TimedOut {
                    what: "the server to tell of its files".to_owned(),
                    seconds: PATIENCE.as_secs(),
                },
            }))
        })
    }

    /// What something that is there has: nobody tells, but of what was recorded.
    fn assumed(&self, path: &Path, item: &Item) -> Option<Access> {
        let Modes { file, folder } = self.0.modes;
        let mode = match item {
            Item::Nothing => return None,
            Item::Folder => folder,
            // As they are placed here, and nearly everywhere.
            Item::File(bytes) if is_public(bytes) => 0o644,
            Item::File(_) => file,
        };
        let Owner { uid, gid, .. } = &self.0.owner;
        Some(match self.0.work().pending.get(path) {
            Some(Pending::File(file)) => file.access,
            Some(Pending::Folder(access)) => *access,
            _ => Access { mode, uid: uid.unwrap_or(UNKNOWN), gid: gid.unwrap_or(UNKNOWN) },
        })
    }
}

/// Whether a file holds certificates or revocation lists, and no key: anybody may read it.
fn is_public(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let mut labels =
        text.lines().filter_map(|line| line.trim_end().strip_prefix("-----BEGIN ")).peekable();
    labels.peek().is_some()
        && labels.all(|label| matches!(label, "CERTIFICATE-----" | "X509 CRL-----"))
}

impl Inner {
    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work {
    fn add(&mut self, deed: Deed) {
        let stage = self.now.as_ref().map(|(_, stage)| stage.clone()).unwrap_or_default();
        self.done.push(Recorded { phase: self.phase(), stage, deed });
    }

    fn phase(&self) -> Phase {
        self.now.as_ref().map_or(Phase(1), |(phase, _)| *phase)
    }
}

impl Before {
    fn of(bytes: Option<&[u8]>) -> Self {
        bytes.map_or(Self::Absent, |bytes| Self::Sha256(hex(&Sha256::digest(bytes))))
    }
}

/// Whether a path can be put into a bundle: below a folder, and out of it on the node, it must name
/// the same place.
fn placeable(path: &Path) -> Result<(), FsError> {
    let plain =
        path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if path.is_absolute() && plain && path.to_str().is_some() && path.file_name().is_some() {
        return Ok(());
    }
    let error = BundleError::Path { path: path.to_owned() };
    let source = io::Error::new(io::ErrorKind::InvalidInput, error);
    Err(FsError::Io { action: "write", path: path.to_owned(), source })
}

fn with(action: &'static str, path: &Path) -> impl Fn(Refusal) -> FsError {
    move |refusal| FsError::Io { action, path: path.to_owned(), source: refusal.into() }
}

impl Files for BundleNode {
    fn read(&self, path: &[u8]) -> Result<Vec<u8>, FileError> {
        match self.look(path_of(path))? {
            Item::File(bytes) => Ok(bytes.to_vec()),
            Item::Folder => Err(FileError::new(FileErrorKind::IsADirectory)),
            Item::Nothing => Err(FileError::new(FileErrorKind::NotFound)),
        }
    }

    fn list(&self, path: &[u8]) -> Result<Vec<(Vec<u8>, FileKind)>, FileError> {
        let path = path_of(path);
        let mut names = BTreeMap::new();
        let pending = self.0.work().pending.get(path).cloned();
        match pending {
            Some(Pending::File(_)) => return Err(FileError::new(FileErrorKind::NotADirectory)),
            Some(Pending::Nothing) => return Err(FileError::new(FileErrorKind::NotFound)),
            // Not there yet: all that is in it was recorded.
            Some(Pending::Folder(_)) => {}
            None => {
                let name = source::text(path)?.to_owned();
                names.extend(self.ask(|inner| async move { inner.source.list(&name).await })?);
            }
        }
        for (below, pending) in &self.0.work().pending {
            let Some(name) = below.file_name().and_then(|name| name.to_str()) else { continue };
            if below.parent() != Some(path) {
                continue;
            }
            match pending {
                Pending::File(_) => names.insert(name.to_owned(), FileKind::File),
                Pending::Folder(_) => names.insert(name.to_owned(), FileKind::Directory),
                Pending::Nothing => names.remove(name),
            };
        }
        Ok(names.into_iter().map(|(name, kind)| (name.into_bytes(), kind)).collect())
    }
}

impl NodeFiles for BundleNode {
    fn find(&self, path: &Path) -> Result<Option<NodeFile>, FsError> {
        let item = self.look(path).map_err(with("read", path))?;
        let access = self.assumed(path, &item);
        match item {
            Item::File(bytes) => Ok(access.map(|access| NodeFile { bytes, access })),
            Item::Folder => Err(FsError::NotAFile { path: path.to_owned() }),
            Item::Nothing => Ok(None),
        }
    }

    fn access(&self, path: &Path) -> Result<Option<Access>, FsError> {
        let item = self.look(path).map_err(with("examine", path))?;
        Ok(self.assumed(path, &item))
    }

    fn write(
        &self,
        path: &Path,
        bytes: &[u8],
        access: Access,
        expected: Expected,
    ) -> Result<(), FsError> {
        placeable(path)?;
        let item = self.look(path).map_err(with("read", path))?;
        let there = match &item {
            Item::Folder if expected == Expected::Absent => {
                return Err(FsError::Exists { path: path.to_owned() });
            }
            Item::Folder => return Err(FsError::NotAFile { path: path.to_owned() }),
            Item::File(there) => Some(there.as_slice()),
            Item::Nothing => None,
        };
        if there == Some(bytes) && self.assumed(path, &item) == Some(access) {
            return Ok(());
        }
        match (expected, there) {
            (Expected::Absent, Some(_)) => return Err(FsError::Exists { path: path.to_owned() }),
            (Expected::Bytes(_), _) if Expected::of(there) != expected => {
                return Err(FsError::Changed { path: path.to_owned() });
            }
            (Expected::Anything, None) => {
                let source = io::ErrorKind::NotFound.into();
                return Err(FsError::Io { action: "find", path: path.to_owned(), source });
            }
            _ => {}
        }
        if there.is_none() {
            self.needs_folder_of("create", path)?;
        }
        let before = Before::of(there);
        let file = NodeFile { bytes: Zeroizing::new(bytes.to_vec()), access };
        let mut work = self.0.work();
        work.pending.insert(path.to_owned(), Pending::File(file.clone()));
        work.add(Deed::WriteFile { path: path.to_owned(), file, before });
        Ok(())
    }

    fn make_folder(&self, path: &Path, access: Access) -> Result<(), FsError> {
        placeable(path)?;
        match self.is_folder(path)? {
            Some(true) => return Ok(()),
            Some(false) => return Err(FsError::Exists { path: path.to_owned() }),
            None => self.needs_folder_of("create the folder", path)?,
        }
        let mut work = self.0.work();
        work.pending.insert(path.to_owned(), Pending::Folder(access));
        work.add(Deed::MakeFolder { path: path.to_owned(), access });
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> Result<(), FsError> {
        placeable(path)?;
        let there = match self.look(path).map_err(with("read", path))? {
            Item::Nothing => return Ok(()),
            Item::Folder => return Err(FsError::NotAFile { path: path.to_owned() }),
            Item::File(there) => there,
        };
        let mut work = self.0.work();
        work.pending.insert(path.to_owned(), Pending::Nothing);
        work.add(Deed::RemoveFile { path: path.to_owned(), before: Before::of(Some(&there)) });
        Ok(())
    }

    fn remove_folder(&self, path: &Path) -> Result<(), FsError> {
        placeable(path)?;
        match self.is_folder(path)? {
            None => return Ok(()),
            Some(false) => {
                let source = io::ErrorKind::NotADirectory.into();
                return Err(FsError::Io { action: "remove", path: path.to_owned(), source });
            }
            Some(true) => {}
        }
        let names = self.list(path.as_os_str().as_encoded_bytes()).map_err(|error| {
            FsError::Io { action: "list", path: path.to_owned(), source: io::Error::other(error) }
        })?;
        if names.is_empty() {
            let mut work = self.0.work();
            work.pending.insert(path.to_owned(), Pending::Nothing);
            work.add(Deed::RemoveFolder { path: path.to_owned() });
        }
        Ok(())
    }
}

impl BundleNode {
    /// Nothing can be made where there is no folder.
    fn needs_folder_of(&self, action: &'static str, path: &Path) -> Result<(), FsError> {
        let folder = path.parent().unwrap_or(path);
        let source = match self.is_folder(folder)? {
            Some(true) => return Ok(()),
            Some(false) => io::ErrorKind::NotADirectory.into(),
            None => io::ErrorKind::NotFound.into(),
        };
        Err(FsError::Io { action, path: path.to_owned(), source })
    }

    /// Whether there is a folder at a path; `None` for nothing at all.
    fn is_folder(&self, path: &Path) -> Result<Option<bool>, FsError> {
        if let Some(pending) = self.0.work().pending.get(path) {
            return Ok(match pending {
                Pending::Folder(_) => Some(true),
                Pending::File(_) => Some(false),
                Pending::Nothing => None,
            });
        }
        let asked = source::text(path)
            .map(str::to_owned)
            .and_then(|name| self.ask(|inner| async move { inner.source.is_folder(&name).await }));
        asked.map_err(with("examine", path))
    }
}

/// What it is for, and how much there is.
impl fmt::Debug for BundleNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BundleNode")
            .field("node", &self.0.node)
            .field("folder", &self.0.spec.folder)
            .field("recorded", &self.0.work().done.len())
            .finish()
    }
}
