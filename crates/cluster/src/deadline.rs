//! Waiting, and not for ever.

use std::time::Duration;

use crate::error::Error;

/// A state that can be asked for is waited for.
pub(crate) struct Deadline {
    what: &'static str,
    patience: Duration,
    end: tokio::time::Instant,
}

impl Deadline {
    pub(crate) fn new(what: &'static str, patience: Duration) -> Self {
        Self { what, patience, end: tokio::time::Instant::now() + patience }
    }

    /// A moment before the next look, or the end of all patience.
    pub(crate) async fn pause(&self) -> Result<(), Error> {
        if tokio::time::Instant::now() > self.end {
            return Err(timed_out(self.what, self.patience));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        Ok(())
    }
}

/// Something that may hang is not waited for longer than this.
pub(crate) async fn within<T>(
    patience: Duration,
    what: &str,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(patience, work).await {
        Ok(ended) => ended,
        Err(_) => Err(timed_out(what, patience)),
    }
}

fn timed_out(what: &str, patience: Duration) -> Error {
    Error::TimedOut { what: what.to_owned(), seconds: patience.as_secs() }
}
