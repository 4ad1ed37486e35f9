//! The crate against recorded verdicts, properties, and hostile input.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod channel;
mod client;
mod common;
mod fake_server;
mod interop;
mod recompute;
mod recorded_binding;
mod saslprep;
mod secrets;
mod server;
mod transcripts;
