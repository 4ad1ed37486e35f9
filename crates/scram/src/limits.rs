//! Bounds on what the other side may choose.

use std::{fmt, ops::RangeInclusive};

/// PostgreSQL's default iteration count (`SCRAM_SHA_256_DEFAULT_ITERATIONS`; setting
/// `scram_iterations` from 16 on).
pub const DEFAULT_ITERATIONS: u32 = 4096;

/// Length of a salt that PostgreSQL makes, in bytes (`SCRAM_DEFAULT_SALT_LEN`).
pub const DEFAULT_SALT_LEN: usize = 16;

/// Iteration counts that are accepted from the other side, checked before anything is hashed.
///
/// Too few let whoever poses as the server guess passwords cheaply from one login; too many let
/// it keep the client busy: 2,147,483,647 iterations are minutes of processor time.
///
/// ```
/// use scram::Limits;
///
/// assert!(Limits::default().check(4096).is_ok());
/// assert!(Limits::default().check(1).is_err());
/// // servers that run with a lower `scram_iterations`, as some do to save time
/// assert!(Limits::new(1024..=100_000).check(2048).is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    iterations: RangeInclusive<u32>,
}

impl Limits {
    /// Every count that PostgreSQL can store and libpq accepts: 1 to 2,147,483,647.
    pub const NONE: Self = Self { iterations: 1..=i32::MAX.unsigned_abs() };

    /// Accepts the counts of this range.
    #[must_use]
    pub const fn new(iterations: RangeInclusive<u32>) -> Self {
        Self { iterations }
    }

    /// The counts that are accepted.
    #[must_use]
    pub const fn iterations(&self) -> &RangeInclusive<u32> {
        &self.iterations
    }

    /// Checks a count.
    ///
    /// # Errors
    /// [`OutOfBounds`], with the count and the bounds.
    pub fn check(&self, iterations: i32) -> Result<u32, OutOfBounds> {
        u32::try_from(iterations).ok().filter(|count| self.iterations.contains(count)).ok_or_else(
            || OutOfBounds {
                iterations,
                min: *self.iterations.start(),
                max: *self.iterations.end(),
            },
        )
    }
}

impl Default for Limits {
    /// 4,096 to 100,000.
    fn default() -> Self {
        Self::new(DEFAULT_ITERATIONS..=100_000)
    }
}

/// An iteration count outside the [`Limits`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutOfBounds {
    /// The count that was refused
    pub iterations: i32,
    /// The lowest count accepted
    pub min: u32,
    /// The highest count accepted
    pub max: u32,
}

impl fmt::Display for OutOfBounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { iterations, min, max } = self;
        write!(f, "{iterations} SCRAM iterations, but only {min} to {max} are accepted")
    }
}

impl std::error::Error for OutOfBounds {}
