//! Stand-ins for clusters that cannot be had here: EDB Postgres Distributed is closed, TimescaleDB's
//! multi-node servers are not packaged. What they show and how they connect is done in SQL, on real
//! PostgreSQL servers; the connections are libpq's own.
//!
//! - [`PgdMesh`]: a group of PGD nodes, as far as the schema `bdr` and the links go.
//! - [`TimescaleCluster`]: an access node and its data nodes.
//! - [`Site`]: where the nodes are: on the loopback network, or each in a network namespace of its own.
//! - [`Ca`]: certificates, made by openssl. [`Rogue`]: who has one of them and a node's place.
//! - [`page`]: EDB's page followed to the letter. [`secured`]: a stand-in described and secured by
//!   pgward.
//! - [`Writer`]: writes on while something is done to a mesh, and tells what it was like.
//!
//! ```no_run
//! use pg_version::PgVersion;
//! use standin::{By, PgdMesh};
//!
//! # async fn shown() -> standin::Result {
//! let mesh = PgdMesh::open(PgVersion::V17, 3, By::Name).await?;
//! let first = &mesh.nodes()[0];
//! println!("{}", first.admin_conninfo());
//! let rows = mesh.write_and_see().await?;
//! assert!(rows.iter().all(|row| row.missing_on.is_empty()));
//! # Ok(())
//! # }
//! ```
//!
//! Both come up as people have them before anything is secured: whoever is on the network is trusted.
#![expect(
    clippy::missing_errors_doc,
    reason = "every one is an `Error`, which says all there is to say"
)]

mod node;
mod openssl;
pub mod page;
mod pgd;
mod rogue;
pub mod secured;
mod site;
mod timescale;
mod writer;

use std::{collections::BTreeSet, time::Duration};

pub use node::{Login, Node};
pub use openssl::{Ca, Certificate};
pub use pgd::{By, Link, PgdMesh};
pub use rogue::{Ask, Rogue, Visit};
pub use site::{Place, Site};
pub use timescale::{Arrival, TimescaleCluster};
pub use writer::{Continuity, Writer};

/// How long a state that must come may take.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Why a stand-in does not stand.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A server does not start or answer, or the system gives no namespaces.
    #[error(transparent)]
    Server(#[from] pgtest::Error),
    /// A file cannot be read or written.
    #[error("{0}: {1}")]
    File(String, std::io::Error),
    /// What was waited for did not come.
    #[error("{0}")]
    Late(String),
    /// A thread ended before its work did.
    #[error("a thread ended before its work did")]
    Thread(#[from] tokio::task::JoinError),
}

/// The outcome of asking a stand-in.
pub type Result<T = ()> = std::result::Result<T, Error>;

/// A row, and where it was seen.
#[derive(Clone, Debug)]
pub struct RowSeen {
    /// The node that it was written on.
    pub written_on: String,
    /// Those of the other nodes that had it in time.
    pub seen_on: BTreeSet<String>,
    /// Those that had not.
    pub missing_on: BTreeSet<String>,
}
