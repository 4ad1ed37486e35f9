//! Stored secrets: what a server keeps in `pg_authid.rolpassword`.
//!
//! `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`, with salt and keys in base64
//! (`parse_scram_secret()` and `scram_build_secret()` in `auth-scram.c` and `scram-common.c`).

use std::fmt;

use pg_version::PgVersion;
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

#[cfg(feature = "getrandom")]
use crate::random::{self, RandomError};
use crate::{
    base64,
    keys::{SaltedPassword, ServerKey, StoredKey},
    limits::{Limits, OutOfBounds},
    password::Password,
    strtol::{strtol, to_int},
};

const SCHEME: &[u8] = b"SCRAM-SHA-256";

/// A stored secret. With it a server can check a login, and can prove itself to the client.
///
/// It does not contain the password, but is worth an attacker's while: passwords can be guessed
/// against it, and its [`ServerKey`] lets anybody pose as the server. It is erased when dropped
/// and printed only by [`Secret::to_text`].
///
/// ```
/// use pg_version::PgVersion;
/// use scram::{Limits, Password, Secret};
///
/// let secret = Secret::new(&Password::new("pencil"), b"0123456789abcdef", 4096)?;
/// let text = secret.to_text();
/// assert!(text.starts_with("SCRAM-SHA-256$4096:MDEyMzQ1Njc4OWFiY2RlZg==$"));
///
/// let again = Secret::parse(text.as_bytes(), PgVersion::V16)?;
/// assert_eq!(again, secret);
/// assert!(again.verify(&Password::new("pencil"), &Limits::default())?);
/// assert!(!again.verify(&Password::new("pen"), &Limits::default())?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Secret {
    iterations: i32,
    /// base64 as it was stored: the server sends it to clients letter by letter
    salt: String,
    stored_key: StoredKey,
    server_key: ServerKey,
}

impl Secret {
    /// Makes the secret of a password, as `scram_build_secret()` does.
    ///
    /// `iterations` and `salt` are up to the caller: PostgreSQL's own are 4096 and 16 random
    /// bytes. Costs two SHA-256 compressions an iteration.
    ///
    /// # Errors
    /// [`BadParameters`] for no iterations or more than an `int` of C can hold, and for an empty
    /// salt: servers up to 17 take such a secret for a clear-text password.
    pub fn new(password: &Password, salt: &[u8], iterations: u32) -> Result<Self, BadParameters> {
        let count = match i32::try_from(iterations) {
            Ok(count @ 1..) => count,
            _ => return Err(BadParameters::Iterations(iterations)),
        };
        if salt.is_empty() {
            return Err(BadParameters::EmptySalt);
        }
        Ok(Self::from_salted(&SaltedPassword::derive(password, salt, iterations), salt, count))
    }

    /// Makes the secret of a password with a fresh salt of 16 bytes.
    ///
    /// # Errors
    /// As [`Secret::new`], and if the operating system has no random bytes.
    #[cfg(feature = "getrandom")]
    #[cfg_attr(docsrs, doc(cfg(feature = "getrandom")))]
    pub fn generate(password: &Password, iterations: u32) -> Result<Self, GenerateError> {
        let salt: [u8; crate::DEFAULT_SALT_LEN] = random::bytes().map_err(GenerateError::Random)?;
        Self::new(password, &salt, iterations).map_err(GenerateError::Parameters)
    }

    /// Makes the secrets of many passwords, several at once where the processor can.
    ///
    /// # Errors
    /// As [`Secret::new`], for the first that is wrong.
    pub fn new_batch(
        passwords: &[(&Password, &[u8])],
        iterations: u32,
    ) -> Result<Vec<Self>, BadParameters> {
        let count = match i32::try_from(iterations) {
            Ok(count @ 1..) => count,
            _ => return Err(BadParameters::Iterations(iterations)),
        };
        if passwords.iter().any(|(_, salt)| salt.is_empty()) {
            return Err(BadParameters::EmptySalt);
        }
        let salted = SaltedPassword::derive_batch(passwords, iterations);
        Ok(salted
            .iter()
            .zip(passwords)
            .map(|(salted, (_, salt))| Self::from_salted(salted, salt, count))
            .collect())
    }

    pub(crate) fn from_salted(salted: &SaltedPassword, salt: &[u8], iterations: i32) -> Self {
        Self {
            iterations,
            salt: base64::encode(salt),
            stored_key: salted.client_key().stored_key(),
            server_key: salted.server_key(),
        }
    }

    /// A secret that nobody has the password of.
    pub(crate) fn of_nobody(salt: &[u8], iterations: i32) -> Self {
        Self {
            iterations,
            salt: base64::encode(salt),
            stored_key: StoredKey::from_bytes(&[0; 32]),
            server_key: ServerKey::from_bytes(&[0; 32]),
        }
    }

    /// Reads a secret with the rules of a server of this major, senseless ones and all.
    ///
    /// Every major accepts an iteration count of 0, -1, ` +4096` or 2^32+1 (which is one
    /// iteration: the count is a `long` squeezed into an `int`), a salt of one byte, and base64
    /// whose last bits are not zero. Up to 17 the parts are split by `strtok()`, which
    /// skips repeated and leading separators; from 18 on by `strsep()`, which does not and lets
    /// the count and the salt be empty.
    ///
    /// # Errors
    /// [`NotASecret`], with the part that is wrong. A server does not report it: it takes the text
    /// for a clear-text password (see [`predict()`](crate::predict())).
    pub fn parse(text: &[u8], version: PgVersion) -> Result<Self, NotASecret> {
        let mut rest = Some(text);
        let mut part = |separator: u8| {
            if version >= PgVersion::V18 {
                strsep(&mut rest, separator)
            } else {
                strtok(&mut rest, separator)
            }
        };
        if part(b'$').ok_or(NotASecret::Scheme)? != SCHEME {
            return Err(NotASecret::Scheme);
        }
        let iterations = part(b':').ok_or(NotASecret::Iterations)?;
        let salt = part(b'$').ok_or(NotASecret::Salt)?;
        let stored_key = part(b':').ok_or(NotASecret::StoredKey)?;
        let server_key = rest.ok_or(NotASecret::ServerKey)?;

        let number = strtol(iterations);
        if number.has_rest || number.overflow {
            return Err(NotASecret::Iterations);
        }
        base64::decode(salt).ok_or(NotASecret::Salt)?;
        Ok(Self {
            iterations: to_int(number.value),
            // ASCII, or it would not have been decoded
            salt: String::from_utf8_lossy(salt).into_owned(),
            stored_key: StoredKey::from_base64(stored_key).map_err(|_| NotASecret::StoredKey)?,
            server_key: ServerKey::from_base64(server_key).map_err(|_| NotASecret::ServerKey)?,
        })
    }

    /// The text to store, or to give to `ALTER ROLE ... PASSWORD`. Erased when dropped.
    ///
    /// Numbers and keys come out in their usual form, however sloppy the text was that
    /// they were read from; the salt's base64 as it was, since clients see it.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let iterations = self.iterations.to_string();
        let (stored_key, server_key) = (self.stored_key.to_base64(), self.server_key.to_base64());
        let parts =
            ["SCRAM-SHA-256$", &iterations, ":", &self.salt, "$", &stored_key, ":", &server_key];
        // Room for all, so that growing leaves no copy behind.
        let mut text =
            Zeroizing::new(String::with_capacity(parts.iter().map(|part| part.len()).sum()));
        parts.iter().for_each(|part| text.push_str(part));
        text
    }

    /// Is this the password's secret? Costs as much as making one.
    ///
    /// A count below 1 means one iteration, as in PostgreSQL.
    ///
    /// # Errors
    /// [`OutOfBounds`], before anything is hashed, if the iteration count is not within the
    /// limits. A count below 1 is taken for 1.
    pub fn verify(&self, password: &Password, limits: &Limits) -> Result<bool, OutOfBounds> {
        let iterations = limits.check(self.iterations.max(1))?;
        let salted = SaltedPassword::derive(password, &self.salt(), iterations);
        Ok(salted.server_key() == self.server_key)
    }

    /// The iteration count as a server holds it, which may make no sense.
    #[must_use]
    pub const fn iterations(&self) -> i32 {
        self.iterations
    }

    /// The salt's bytes.
    #[must_use]
    pub fn salt(&self) -> Vec<u8> {
        base64::decode(self.salt.as_bytes()).map(|salt| salt.to_vec()).unwrap_or_default()
    }

    /// The salt in base64, as it is stored and sent.
    #[must_use]
    pub fn salt_base64(&self) -> &str {
        &self.salt
    }

    /// The key that proofs are checked with.
    #[must_use]
    pub const fn stored_key(&self) -> &StoredKey {
        &self.stored_key
    }

    /// The key that the server proves itself with.
    #[must_use]
    pub const fn server_key(&self) -> &ServerKey {
        &self.server_key
    }
}

/// In constant time for the keys; count and salt are public, every client is told them.
impl ConstantTimeEq for Secret {
    fn ct_eq(&self, other: &Self) -> Choice {
        Choice::from(u8::from(self.iterations == other.iterations && self.salt == other.salt))
            & self.stored_key.ct_eq(&other.stored_key)
            & self.server_key.ct_eq(&other.server_key)
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.ct_eq(other).into()
    }
}

impl Eq for Secret {}

/// Shows count and salt, not the keys.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret")
            .field("iterations", &self.iterations)
            .field("salt", &self.salt)
            .finish_non_exhaustive()
    }
}

/// C's `strtok()`: skips separators, then takes what is before the next one; `None` if nothing is
/// left.
fn strtok<'a>(rest: &mut Option<&'a [u8]>, separator: u8) -> Option<&'a [u8]> {
    let text = rest.take()?;
    let start = text.iter().position(|&byte| byte != separator)?;
    let text = text.get(start..)?;
    let (token, after) = split(text, separator);
    // An empty remainder is none.
    *rest = after.filter(|after| !after.is_empty());
    Some(token)
}

/// C's `strsep()`: takes what is before the next separator, be it nothing.
fn strsep<'a>(rest: &mut Option<&'a [u8]>, separator: u8) -> Option<&'a [u8]> {
    let (token, after) = split((*rest)?, separator);
    *rest = after;
    Some(token)
}

fn split(text: &[u8], separator: u8) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|&byte| byte == separator) {
        Some(at) => (text.get(..at).unwrap_or_default(), text.get(at + 1..)),
        None => (text, None),
    }
}

/// A text that servers do not take for a SCRAM secret. Quotes nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotASecret {
    /// It does not begin with `SCRAM-SHA-256$`.
    Scheme,
    /// The iteration count is missing or not a number.
    Iterations,
    /// The salt is missing or not base64.
    Salt,
    /// The stored key is missing or not base64 of 32 bytes.
    StoredKey,
    /// The server key is missing or not base64 of 32 bytes.
    ServerKey,
}

impl fmt::Display for NotASecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a SCRAM secret: ")?;
        f.write_str(match self {
            Self::Scheme => "it does not begin with \"SCRAM-SHA-256$\"",
            Self::Iterations => "the iteration count is missing or not a number",
            Self::Salt => "the salt is missing or not base64",
            Self::StoredKey => "the stored key is missing or not base64 of 32 bytes",
            Self::ServerKey => "the server key is missing or not base64 of 32 bytes",
        })
    }
}

impl std::error::Error for NotASecret {}

/// Parameters that no secret should be made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadParameters {
    /// The iteration count is not within 1 and 2,147,483,647.
    Iterations(u32),
    /// The salt is empty.
    EmptySalt,
}

impl fmt::Display for BadParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Iterations(count) => {
                write!(f, "{count} SCRAM iterations: 1 to 2147483647 are possible, 4096 are usual")
            }
            Self::EmptySalt => f.write_str("an empty SCRAM salt: 16 random bytes are usual"),
        }
    }
}

impl std::error::Error for BadParameters {}

/// Why no secret could be made.
#[cfg(feature = "getrandom")]
#[cfg_attr(docsrs, doc(cfg(feature = "getrandom")))]
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GenerateError {
    /// No salt
    Random(RandomError),
    /// An impossible iteration count
    Parameters(BadParameters),
}

#[cfg(feature = "getrandom")]
impl fmt::Display for GenerateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Random(error) => error.fmt(f),
            Self::Parameters(error) => error.fmt(f),
        }
    }
}

#[cfg(feature = "getrandom")]
impl std::error::Error for GenerateError {}
