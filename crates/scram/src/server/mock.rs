//! Exchanges for users that have no secret.

use std::fmt;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::{
    limits::{DEFAULT_ITERATIONS, DEFAULT_SALT_LEN},
    secret::Secret,
};

/// What a server needs to pretend that a user exists: PostgreSQL's mock authentication
/// (`mock_scram_secret()` and `scram_mock_salt()` in `auth-scram.c`).
///
/// A user that has no secret is sent a salt all the same, always the same one, which nobody can
/// tell from a stored one without the nonce: the first bytes of `SHA-256(user, nonce)`.
///
/// The iteration count and the length of the salt must be those that the real users have.
/// PostgreSQL has one count for all unknown users (4096 up to 15, setting `scram_iterations` from
/// 16 on), so that real users with another stand out. Where secrets of several kinds are in use,
/// name each with [`Mock::or_shape`]: every unknown user is given one of them, for good.
///
/// ```
/// use scram::server::Mock;
///
/// let mock = Mock::new([7; 32]).shape(4096, 16).or_shape(10_000, 16);
/// ```
#[derive(Clone)]
pub struct Mock {
    nonce: Zeroizing<[u8; 32]>,
    /// Never empty
    first: Shape,
    others: Vec<Shape>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    iterations: i32,
    salt_len: usize,
}

impl Mock {
    /// With a nonce that stays secret and the same for as long as the server's users exist. (In
    /// PostgreSQL: `mock_authentication_nonce` of `pg_control`, made by `initdb`.)
    #[must_use]
    pub fn new(nonce: [u8; 32]) -> Self {
        Self {
            nonce: Zeroizing::new(nonce),
            first: Shape::new(DEFAULT_ITERATIONS, DEFAULT_SALT_LEN),
            others: Vec::new(),
        }
    }

    /// Iteration count (clipped to what a secret can hold) and length of the salt in bytes of the
    /// real users' secrets. Replaces all that were named before; 4096 and 16 if none is.
    #[must_use]
    pub fn shape(mut self, iterations: u32, salt_len: usize) -> Self {
        self.first = Shape::new(iterations, salt_len);
        self.others.clear();
        self
    }

    /// One more kind of secrets that real users have.
    #[must_use]
    pub fn or_shape(mut self, iterations: u32, salt_len: usize) -> Self {
        self.others.push(Shape::new(iterations, salt_len));
        self
    }

    /// The secret of a user that has none.
    pub(super) fn secret(&self, user: &str) -> Secret {
        let digest = |suffix: &[u8]| {
            let mut hash = Sha256::new();
            hash.update(user);
            hash.update(*self.nonce);
            hash.update(suffix);
            hash.finalize()
        };
        let first = digest(b"");
        // Another hash decides on the kind, so that the salt does not give it away.
        let pick = digest(b"shape");
        let kinds = self.others.len() + 1;
        let pick = pick.iter().fold(0, |rest, byte| (rest * 256 + usize::from(*byte)) % kinds);
        let shape = pick.checked_sub(1).and_then(|i| self.others.get(i)).unwrap_or(&self.first);
        let mut salt = first.to_vec();
        let mut block = 0u32;
        while salt.len() < shape.salt_len {
            block += 1;
            salt.extend_from_slice(&digest(&block.to_be_bytes()));
        }
        salt.truncate(shape.salt_len);
        Secret::of_nobody(&salt, shape.iterations)
    }
}

impl Shape {
    fn new(iterations: u32, salt_len: usize) -> Self {
        Self { iterations: i32::try_from(iterations.max(1)).unwrap_or(i32::MAX), salt_len }
    }
}

impl fmt::Debug for Mock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mock")
            .field("first", &self.first)
            .field("others", &self.others)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_users_keep_their_salt() {
        let mock = Mock::new([1; 32]);
        let [a, again, b] = ["alice", "alice", "bob"].map(|user| mock.secret(user));
        assert_eq!(a, again);
        assert_ne!(a.salt(), b.salt());
        assert_ne!(a.salt(), Mock::new([2; 32]).secret("alice").salt());
        assert_eq!((a.iterations(), a.salt().len()), (4096, 16));
        // SHA-256(user, nonce), as PostgreSQL computes it
        let digest = Sha256::new().chain_update("alice").chain_update([1; 32]).finalize();
        assert_eq!(a.salt(), digest[..16]);
    }

    #[test]
    fn shapes_are_shared_out() {
        let mock = Mock::new([1; 32]).shape(4096, 16).or_shape(10_000, 16).or_shape(9000, 100);
        let mut seen = [0; 3];
        for i in 0..300 {
            let secret = mock.secret(&format!("user{i}"));
            let kind = match (secret.iterations(), secret.salt().len()) {
                (4096, 16) => 0,
                (10_000, 16) => 1,
                (9000, 100) => 2,
                other => panic!("{other:?}"),
            };
            seen[kind] += 1;
        }
        assert!(seen.iter().all(|&count| count > 50), "{seen:?}");
    }
}
