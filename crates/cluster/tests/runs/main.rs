//! Runs on real servers: killed at every moment, disturbed in every way, taken back; what was there
//! before is there again, and the administrator's way in is open all the while.
#![cfg(feature = "demo")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod alone;
mod by_hand;
mod continuity;
mod crash;
mod faults;
mod files;
#[path = "../held/mod.rs"]
mod held;
#[path = "../killed/process.rs"]
mod killed;
mod pause;
mod rotation;
mod sessions;
mod support;
mod unfinished;
