//! wip
pub mod conninfo;
mod error;
pub mod inspect;
pub mod spec;
mod sql;
pub mod transport;

pub use error::Error;
