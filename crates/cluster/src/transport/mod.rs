//! How a node is reached: its files, the way to its SQL, and TCP as seen from its machine.
//!
//! | | files | SQL | TCP |
//! |---|---|---|---|
//! | [`local`](LocalFiles) | this machine's | as the description says | from this machine |
//! | [`ssh`](SshNode) | SFTP by the system's `ssh` | through the node's `ssh` | from the node |
//! | [`bundle`](BundleNode) | read over SQL; what shall be written is packed for somebody to carry there | as the description says | from this machine |
//!
//! The calls of [`NodeFiles`] block; the library makes them on threads of their own. Each writes
//! atomically and only over what the plan saw: see [`NodeFiles::write`].

mod blocking;
pub mod bundle;
mod local;
mod spec;
pub mod ssh;

use std::{fmt, io, net::SocketAddr, path::Path, sync::Arc};

use textfile::{
    Files,
    fs::{Access, FsError},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use zeroize::Zeroizing;

pub use self::{
    bundle::BundleNode,
    local::LocalFiles,
    spec::{BundleSpec, FilesSpec, FilesSpecError, SshSpec},
    ssh::{SshError, SshNode},
};
use crate::{conninfo::ConnInfo, plan::Expected};

/// The files of one node. As [`Files`] they are what parsers read included files from.
pub trait NodeFiles: Files + Send + Sync + fmt::Debug {
    /// The file at `path` with its owner and mode; `None` if there is none.
    ///
    /// # Errors
    /// [`FsError`] if it cannot be read.
    fn find(&self, path: &Path) -> Result<Option<NodeFile>, FsError>;

    /// Owner and mode of whatever is at `path`, a folder too; `None` if there is nothing.
    ///
    /// # Errors
    /// [`FsError`] if that cannot be told.
    fn access(&self, path: &Path) -> Result<Option<Access>, FsError>;

    /// Writes a file atomically with that owner and mode, if what is there now is `expected`. One that
    /// is already so is left alone.
    ///
    /// # Errors
    /// [`FsError::Changed`] or [`FsError::Exists`] where it is not; else what went wrong. Nothing is
    /// written then.
    fn write(
        &self,
        path: &Path,
        bytes: &[u8],
        access: Access,
        expected: Expected,
    ) -> Result<(), FsError>;

    /// Makes a folder with that owner and mode; one that is there stays as it is.
    ///
    /// # Errors
    /// [`FsError`] if it cannot be made.
    fn make_folder(&self, path: &Path, access: Access) -> Result<(), FsError>;

    /// Removes a file; one that is not there is no error.
    ///
    /// # Errors
    /// [`FsError`] if it cannot be removed.
    fn remove_file(&self, path: &Path) -> Result<(), FsError>;

    /// Removes a folder if it is empty; one that is not empty stays.
    ///
    /// # Errors
    /// [`FsError`] if it cannot be removed.
    fn remove_folder(&self, path: &Path) -> Result<(), FsError>;

    /// The machine that the files are on, if connections can be made from there and it is not this
    /// one.
    fn machine(&self) -> Option<&SshNode> {
        None
    }
}

/// A file's bytes with its owner and mode. The bytes are wiped on drop: it may be a key.
#[derive(Clone)]
pub struct NodeFile {
    /// What it holds.
    pub bytes: Zeroizing<Vec<u8>>,
    /// Its owner and mode.
    pub access: Access,
}

/// Sizes only.
impl fmt::Debug for NodeFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeFile")
            .field("bytes", &self.bytes.len())
            .field("access", &self.access)
            .finish()
    }
}

/// A connection to somewhere, whatever carries it.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A [`Stream`] of any kind.
pub type BoxedStream = Box<dyn Stream>;

/// Opens a TCP connection: from a machine that `ssh` leads to, as [`SshNode::open_tcp`], else from this
/// one.
///
/// # Errors
/// What the system says; from another machine it may say so at the first read only.
pub(crate) async fn open_tcp(
    from: Option<&SshNode>,
    address: SocketAddr,
) -> io::Result<BoxedStream> {
    match from {
        Some(machine) => Ok(Box::new(machine.open_tcp(address).await.map_err(io::Error::from)?)),
        None => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream))
        }
    }
}

/// The way to a node. Cheap to clone; the clones share one connection.
#[derive(Clone, Debug)]
pub enum Transport {
    /// The node is this machine.
    Local,
    /// The node is another machine, reached by `ssh`.
    Ssh(SshNode),
    /// The node's files are out of reach.
    Bundle(BundleNode),
}

impl Transport {
    /// The way to the files of the node of this name; with `ssh` there is no connection until it is
    /// needed. `connect` is how its server is asked, which a bundle is begun with. Must be called in a
    /// Tokio runtime.
    ///
    /// # Errors
    /// Those of [`SshNode::new`] and [`BundleNode::open`].
    pub async fn open(
        files: &FilesSpec,
        node: &str,
        connect: bundle::Connector,
    ) -> Result<Self, TransportError> {
        Ok(match files {
            FilesSpec::Local => Self::Local,
            FilesSpec::Ssh(spec) => Self::Ssh(SshNode::new(spec.clone())?),
            FilesSpec::Bundle(spec) => {
                Self::Bundle(BundleNode::open(spec.clone(), node, connect).await?)
            }
        })
    }

    /// The node's files.
    #[must_use]
    pub fn files(&self) -> Arc<dyn NodeFiles> {
        match self {
            Self::Local => Arc::new(LocalFiles),
            Self::Ssh(node) => Arc::new(node.clone()),
            Self::Bundle(node) => Arc::new(node.clone()),
        }
    }

    /// The connection string by which SQL on the node is reached from here, for one that holds as
    /// seen from the node: the same, but for [`SshNode::sql`].
    ///
    /// # Errors
    /// Those of [`SshNode::sql`].
    pub async fn sql(&self, conninfo: &ConnInfo) -> Result<ConnInfo, SshError> {
        match self {
            Self::Local | Self::Bundle(_) => Ok(conninfo.clone()),
            Self::Ssh(node) => node.sql(conninfo).await,
        }
    }
}

/// Why a node is not reached, or no bundle was made for it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// By `ssh`.
    #[error(transparent)]
    Ssh(#[from] SshError),
    /// By a bundle.
    #[error(transparent)]
    Bundle(#[from] bundle::BundleError),
}
