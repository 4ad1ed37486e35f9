//! Waiting on a thread for what the asynchronous runtime does.

use std::{
    sync::mpsc::{self, RecvTimeoutError},
    time::Duration,
};

use tokio::runtime::Handle;

/// Why there is no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoOutcome {
    /// Not within the limit.
    TimedOut,
    /// The runtime is going down.
    Cancelled,
}

/// Runs `work` on the runtime and waits for it, no longer than `limit`.
///
/// Unlike `Handle::block_on` it cannot panic: called by mistake on the only thread of a runtime, it
/// ends with the limit.
pub(super) fn wait_for<T: Send + 'static>(
    runtime: &Handle,
    limit: Duration,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, NoOutcome> {
    let (send, receive) = mpsc::sync_channel(1);
    let task = runtime.spawn(async move {
        // Nobody waits any more: there is nobody to tell.
        let _ = send.send(work.await);
    });
    receive.recv_timeout(limit).map_err(|error| match error {
        RecvTimeoutError::Timeout => {
            task.abort();
            NoOutcome::TimedOut
        }
        RecvTimeoutError::Disconnected => NoOutcome::Cancelled,
    })
}
