//! The crate against recorded verdicts, properties, and hostile input.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod channel;
mod client;
mod common;
mod fake_server;
mod recompute;
mod saslprep;
mod secrets;
mod server;
mod transcripts;
