//! What is issued and predicted here, on real servers and through real libpqs.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

#[path = "../support/der.rs"]
mod der;
mod keys;
mod odd;
mod odd_keys;
mod profiles;
mod refusals;
mod revocation;
mod rotation;
mod support;
mod tls;
