//! Secures the connections between PostgreSQL nodes and proves it; the library behind the program
//! `pgward`.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use cluster::{
//!     inspect, prepare, run::Runner, spec::ClusterSpec, transport::LocalFiles, verify,
//! };
//!
//! # async fn secure(spec: ClusterSpec) -> Result<(), cluster::Error> {
//! let now = time::OffsetDateTime::now_utc();
//! let node = |spec: &cluster::spec::NodeSpec| inspect::Node {
//!     spec: spec.clone(),
//!     files: Arc::new(LocalFiles),
//! };
//! let nodes: Vec<_> = spec.nodes.iter().map(node).collect();
//!
//! // What is there, and what shall be done about it: nothing is touched yet.
//! let states = inspect::inspect_all(&spec, &nodes).await?;
//! let prepared = prepare::prepare(&spec, &states, now)?;
//! for stage in &prepared.plan.stages {
//!     for step in &stage.steps {
//!         println!("{}: {}", step.node, step.action);
//!     }
//! }
//! // Do it, and prove it.
//! let runner = Runner::new(&spec, &nodes).observer(Arc::new(|event| println!("{event:?}")));
//! runner.apply(prepared).await?;
//! assert!(verify::verify(&spec, &nodes, now).await?.proved());
//! # Ok(())
//! # }
//! ```
//!
//! - [`spec`]: the description of a cluster; [`conninfo`]: libpq's connection strings.
//! - [`inspect`]: what a node is like now; [`topology`]: which links there are; [`transport`]: a
//!   node's files.
//! - [`prepare`]: a [`plan`] with its secrets in a [`vault`]; [`authority`]: the cluster's CA.
//! - [`run`]: doing it, with a journal on disk first; going on with it, taking it back. [`apply`]: who
//!   watches that, and its limits.
//! - [`status`]: a quick look at nodes and links.
//! - [`verify`]: proof, from what the servers say and from trying what must not get in. [`report`]: the
//!   same as a page of HTML.
//!
//! # Features
//! `cli` (default): the program `pgward`. `report`, part of it: [`report`]. `demo`: `pgward demo`, and the module `demo` with its
//! throw-away servers.

pub mod apply;
pub mod authority;
mod bounded;
mod conf;
pub mod conninfo;
mod credentials;
mod deadline;
pub mod demand;
#[cfg(feature = "demo")]
pub mod demo;
mod error;
mod hba;
pub mod inspect;
mod masked;
mod parallel;
pub mod plan;
pub mod prepare;
pub mod reach;
#[cfg(feature = "report")]
pub mod report;
mod rfc3339;
pub mod rotate;
pub mod run;
mod sessions;
pub mod spec;
mod sql;
pub mod status;
mod text;
mod tls;
pub mod topology;
pub mod transport;
pub mod vault;
pub mod verify;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use error::Error;
pub use text::Text;
