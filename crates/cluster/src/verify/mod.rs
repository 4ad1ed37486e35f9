//! Proof that the links are what they should be.

pub mod log;
