//! The sets `pgconf` and `pgconf-values`. The judge is the one of the crate's own tests.

#[path = "../../../crates/pgconf/tests/recorded/judge.rs"]
mod judge;

pub(super) use judge::{files, values};
