//! Waiting for a state that can be asked for, and not for ever.

use std::time::Duration;

use crate::{error::Error, sql};

/// Something is waited for, and not for ever.
pub(crate) struct Deadline {
    what: &'static str,
    patience: Duration,
    end: tokio::time::Instant,
}

impl Deadline {
    pub(crate) fn new(what: &'static str) -> Self {
        Self::within(what, sql::PATIENCE)
    }

    pub(crate) fn within(what: &'static str, patience: Duration) -> Self {
        Self { what, patience, end: tokio::time::Instant::now() + patience }
    }

    /// A moment before the next look, or the end of all patience.
    pub(crate) async fn pause(&self) -> Result<(), Error> {
        if tokio::time::Instant::now() > self.end {
            let seconds = self.patience.as_secs();
            return Err(Error::TimedOut { what: self.what.to_owned(), seconds });
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        Ok(())
    }
}
