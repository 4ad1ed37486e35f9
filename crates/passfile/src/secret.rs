//! Passwords, and bytes that hold them.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize as _, Zeroizing};

/// A password from the file: lent by the file where its bytes stand there as they are, a copy that
/// is wiped on drop where they had to be de-escaped.
///
/// It cannot be printed: there is no `Display`, and `Debug` shows nothing of it. Comparison takes
/// the same time wherever the passwords differ; only their lengths can be told from it.
///
/// ```
/// # use passfile::{Key, Libpq, PassFile};
/// let file = PassFile::parse("*:*:*:bob:se\\:cret\n")?;
/// let found = file.lookup(&Key::new("bob"), &Libpq::default());
/// let password = found.as_ref().map(|found| found.password());
/// assert_eq!(password.map(|password| password.expose()), Some(&b"se:cret"[..]));
/// assert_eq!(format!("{password:?}"), "Some(Password(..))");
/// # Ok::<(), passfile::TooLarge>(())
/// ```
pub struct Password<'a>(Bytes<'a>);

enum Bytes<'a> {
    Lent(&'a [u8]),
    Own(Zeroizing<Vec<u8>>),
}

impl<'a> Password<'a> {
    pub(crate) const fn lent(bytes: &'a [u8]) -> Self {
        Self(Bytes::Lent(bytes))
    }

    pub(crate) const fn own(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(Bytes::Own(bytes))
    }

    /// The bytes, to be handed to whatever logs in with them. They need not be UTF-8.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        match &self.0 {
            Bytes::Lent(bytes) => bytes,
            Bytes::Own(bytes) => bytes,
        }
    }

    /// Whether there is nothing in it. libpq takes an empty password for none, and searches no
    /// further.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.expose().is_empty()
    }

    /// A password that outlives the file; its bytes are wiped on drop.
    #[must_use]
    pub fn into_owned(self) -> Password<'static> {
        Password(Bytes::Own(match self.0 {
            Bytes::Lent(bytes) => Zeroizing::new(bytes.to_vec()),
            Bytes::Own(bytes) => bytes,
        }))
    }
}

impl fmt::Debug for Password<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

impl ConstantTimeEq for Password<'_> {
    fn ct_eq(&self, other: &Self) -> subtle::Choice {
        self.expose().ct_eq(other.expose())
    }
}

impl PartialEq for Password<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.ct_eq(other).into()
    }
}

impl Eq for Password<'_> {}

impl PartialEq<[u8]> for Password<'_> {
    fn eq(&self, other: &[u8]) -> bool {
        self.expose().ct_eq(other).into()
    }
}

/// Bytes that grow without leaving a copy behind, wiped on drop.
#[derive(Default)]
pub(crate) struct SecretBuffer(Zeroizing<Vec<u8>>);

impl SecretBuffer {
    pub(crate) fn push(&mut self, more: &[u8]) {
        let needed = self.0.len() + more.len();
        if needed > self.0.capacity() {
            // Vec's own growth would leave the old allocation behind with its content.
            let mut grown = Vec::with_capacity(needed.saturating_mul(2));
            grown.extend_from_slice(&self.0);
            self.0.zeroize();
            *self.0 = grown;
        }
        self.0.extend_from_slice(more);
    }

    pub(crate) fn into_inner(self) -> Zeroizing<Vec<u8>> {
        self.0
    }
}

impl std::ops::Deref for SecretBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}
