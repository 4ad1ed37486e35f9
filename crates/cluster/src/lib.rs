//! Secures the connections between PostgreSQL nodes and proves it; the library behind the program
//! `pgward`.

pub mod conninfo;
mod error;
pub mod inspect;
pub mod plan;
pub mod spec;
mod sql;
pub mod topology;
pub mod transport;
pub mod vault;
pub mod verify;

pub use error::Error;
