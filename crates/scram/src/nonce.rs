//! Nonces: what makes each exchange unlike the last.

use std::fmt;

use crate::base64;
#[cfg(feature = "getrandom")]
use crate::random::{self, RandomError};

/// Random bytes in a nonce of PostgreSQL (`SCRAM_RAW_NONCE_LEN`).
pub const RAW_NONCE_LEN: usize = 18;

/// One side's part of the nonce: printable ASCII without a comma.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nonce(String);

impl Nonce {
    /// The nonce that PostgreSQL makes of 18 random bytes: their base64, 24 characters.
    ///
    /// The bytes must be unpredictable, and never used twice.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; RAW_NONCE_LEN]) -> Self {
        Self(base64::encode(bytes))
    }

    /// A nonce from the operating system's random bytes.
    ///
    /// # Errors
    /// [`RandomError`] if it has none.
    #[cfg(feature = "getrandom")]
    #[cfg_attr(docsrs, doc(cfg(feature = "getrandom")))]
    pub fn random() -> Result<Self, RandomError> {
        Ok(Self::from_bytes(&random::bytes()?))
    }

    /// A nonce that somebody else made, as in a recorded exchange.
    ///
    /// # Errors
    /// [`NotANonce`] if it is empty or has a byte that RFC 5802 does not allow in one.
    pub fn from_text(text: impl Into<String>) -> Result<Self, NotANonce> {
        let text = text.into();
        if text.is_empty() || !is_printable(text.as_bytes()) {
            return Err(NotANonce);
        }
        Ok(Self(text))
    }

    /// The nonce as it is sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `is_scram_printable()` in `auth-scram.c`. True of nothing at all.
pub(crate) fn is_printable(text: &[u8]) -> bool {
    text.iter().all(|&byte| byte.is_ascii_graphic() && byte != b',')
}

/// Not a nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotANonce;

impl fmt::Display for NotANonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a SCRAM nonce is printable ASCII without spaces and commas, and not empty")
    }
}

impl std::error::Error for NotANonce {}
