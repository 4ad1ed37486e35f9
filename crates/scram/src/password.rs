//! A password, as the bytes that will be hashed.

use std::fmt;

use pg_version::PgVersion;
use zeroize::Zeroizing;

use crate::saslprep::{PasswordTooLong, saslprep, saslprep_as};

/// A password, prepared for hashing. Erased when dropped, never printed.
///
/// ```
/// use scram::Password;
///
/// let password = Password::new("I\u{ad}X");
/// assert_eq!(password.as_bytes(), b"IX");
/// assert_eq!(format!("{password:?}"), "Password(..)");
/// ```
#[derive(Clone)]
pub struct Password(Zeroizing<Vec<u8>>);

impl Password {
    /// Prepares a password with PostgreSQL's [SASLprep](crate::saslprep), as server and libpq do.
    #[must_use]
    pub fn new(password: impl AsRef<[u8]>) -> Self {
        Self(Zeroizing::new(saslprep(password.as_ref()).into_owned()))
    }

    /// [`Password::new`], with the limit on length that PostgreSQL 12 and 13 have.
    ///
    /// # Errors
    /// [`PasswordTooLong`], for more than 1024 bytes on these two.
    pub fn new_as(password: impl AsRef<[u8]>, version: PgVersion) -> Result<Self, PasswordTooLong> {
        Ok(Self(Zeroizing::new(saslprep_as(password.as_ref(), version)?.into_owned())))
    }

    /// Takes bytes that are to be hashed as they are, without SASLprep.
    #[must_use]
    pub fn from_raw(bytes: impl AsRef<[u8]>) -> Self {
        Self(Zeroizing::new(bytes.as_ref().to_vec()))
    }

    /// The bytes that are hashed.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<&str> for Password {
    fn from(password: &str) -> Self {
        Self::new(password)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}
