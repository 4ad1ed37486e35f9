//! Nodes reached by ssh, each by an sshd of the test's own: their files, SQL through forwarded sockets,
//! a whole apply, and attempts from the peers' machines.

#[cfg(feature = "demo")]
mod apply;
mod files;
#[path = "../links/follow.rs"]
mod follow;
mod probes;
mod sql;
mod sshd;
