//! Waiting for a state, never for a time.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long anything may take unless it was told otherwise: far more than a machine needs that is
/// busy with other things. It only keeps what hangs from hanging for ever.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);

/// Asks `state` until it answers or the deadline passes; the last question is asked after the
/// deadline, so that a slow machine is not blamed for a slow clock. `None` if it never answered.
///
/// ```
/// use std::time::Duration;
///
/// let mut asked = 0;
/// let answer = pgtest::until(Duration::from_secs(10), || {
///     asked += 1;
///     Ok::<_, pgtest::Error>((asked == 3).then_some("there"))
/// })?;
/// assert_eq!(answer, Some("there"));
/// # Ok::<(), pgtest::Error>(())
/// ```
///
/// # Errors
/// That of `state`.
pub fn until<T, E>(
    limit: Duration,
    mut state: impl FnMut() -> Result<Option<T>, E>,
) -> Result<Option<T>, E> {
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    loop {
        let late = Instant::now() >= deadline;
        match state()? {
            None if late => return Ok(None),
            None => {}
            some => return Ok(some),
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}
