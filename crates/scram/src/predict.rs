//! What a server does with a text given as `PASSWORD`.
//!
//! A server does not say that it could not read a secret: it takes the text for a password in the
//! clear, hashes it, and nobody can log in. And whatever it takes for a password in the clear, it
//! may log. Ask first.

use pg_version::PgVersion;

use crate::{
    limits::Limits,
    password::Password,
    saslprep::{PasswordTooLong, check_length},
    secret::{NotASecret, Secret},
};

/// The longest stored password of PostgreSQL 18 in bytes (`MAX_ENCRYPTED_PASSWORD_LEN`, `crypt.h`).
pub const MAX_ENCRYPTED_PASSWORD_LEN: usize = 512;

/// What becomes of a text given to `CREATE ROLE` or `ALTER ROLE ... PASSWORD`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// Stored as it is: a SCRAM secret
    Scram(Secret),
    /// Stored as it is: an MD5 hash. (If it is the hash of an empty password with the role's name,
    /// the password is cleared instead.)
    Md5,
    /// Taken for a password in the clear and hashed, with the reason why it is no SCRAM secret
    ClearText(NotASecret),
    /// The password is cleared: the text is empty, or the secret of an empty password. The
    /// server only sends a notice.
    Cleared,
    /// Refused by PostgreSQL 18: `encrypted password is too long`
    TooLong {
        /// Length of the text in bytes; [`MAX_ENCRYPTED_PASSWORD_LEN`] are accepted
        len: usize,
    },
    /// Taken for a password in the clear and refused by PostgreSQL 12 and 13: `password too long`.
    /// (Unless `password_encryption` is `md5`, which hashes any length.)
    PasswordTooLong(PasswordTooLong),
}

/// Predicts what a server of this major does with a text given as `PASSWORD` (`get_password_type()`
/// and `encrypt_password()` in `crypt.c`, `CreateRole()` in `user.c`).
///
/// To find out whether a secret is that of an empty password it has to be tried, one PBKDF2, which
/// the server does too. With an iteration count above the limits it is not tried, and taken for one
/// that is stored. (A server does try, whatever the count: 2,147,483,647 iterations keep a
/// PostgreSQL up to 15 busy for minutes, deaf to `statement_timeout`.) A count below the limits
/// costs little, and is tried.
///
/// ```
/// use pg_version::PgVersion;
/// use scram::{Limits, Outcome, predict};
///
/// // a typing error in the scheme: this would become the password itself
/// let text = b"SCRAM-SHA-265$4096:c2FsdA==$a2V5:a2V5";
/// assert!(matches!(
///     predict(text, PgVersion::V16, &Limits::default()),
///     Outcome::ClearText(_)
/// ));
/// ```
#[must_use]
pub fn predict(text: &[u8], version: PgVersion, limits: &Limits) -> Outcome {
    if text.is_empty() {
        return Outcome::Cleared;
    }
    if is_md5(text) {
        return Outcome::Md5;
    }
    let secret = match Secret::parse(text, version) {
        Ok(secret) => secret,
        Err(reason) => {
            return match check_length(text, version) {
                Ok(()) => Outcome::ClearText(reason),
                Err(refusal) => Outcome::PasswordTooLong(refusal),
            };
        }
    };
    let affordable = Limits::new(1..=*limits.iterations().end());
    if secret.verify(&Password::from_raw(b""), &affordable) == Ok(true) {
        return Outcome::Cleared;
    }
    if version >= PgVersion::V18 && text.len() > MAX_ENCRYPTED_PASSWORD_LEN {
        return Outcome::TooLong { len: text.len() };
    }
    Outcome::Scram(secret)
}

/// `md5` and 32 hexadecimal digits, small letters only.
fn is_md5(text: &[u8]) -> bool {
    text.len() == 35
        && text.strip_prefix(b"md5").is_some_and(|digits| {
            digits.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        })
}
