//! What a file or a stored password was, told without what it is.

use std::{fmt, io::ErrorKind, path::Path};

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use textfile::fs::{FsError, Snapshot, create};
use zeroize::Zeroizing;

use crate::{error::Error, plan::hex};

/// The file in the folder for secrets.
pub(super) const KEY: &str = "applied.key";

/// The digest of bytes that are not to be told. It tells whether they are still the same.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Digest {
    /// HMAC-SHA-256 with the key of the folder for secrets, in hexadecimal: who has this alone cannot
    /// try guesses.
    Keyed(String),
    /// SHA-256 in hexadecimal, as older records have it.
    Plain(String),
}

const KEYED: &str = "hmac-sha256:";

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keyed(digest) => write!(f, "{KEYED}{digest}"),
            Self::Plain(digest) => f.write_str(digest),
        }
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(match text.strip_prefix(KEYED) {
            Some(digest) => Self::Keyed(digest.to_owned()),
            None => Self::Plain(text),
        })
    }
}

/// What digests are made with.
#[derive(Clone)]
pub(crate) struct DigestKey(Zeroizing<[u8; 32]>);

impl DigestKey {
    /// The key of a folder for secrets; `None` where it has none.
    ///
    /// # Errors
    /// [`Error::Files`] or [`Error::Run`] if it cannot be read.
    pub(crate) fn find(secrets: &Path) -> Result<Option<Self>, Error> {
        let path = secrets.join(KEY);
        let file = match Snapshot::read(&path) {
            Ok(file) => file,
            Err(FsError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        let key = file.bytes().try_into().map_err(|_| {
            Error::run(format!("{} is not as it was written: it has no 32 octets", path.display()))
        })?;
        Ok(Some(Self(Zeroizing::new(key))))
    }

    /// The key of a folder for secrets, which gets one if it has none.
    pub(crate) fn of(secrets: &Path) -> Result<Self, Error> {
        if let Some(there) = Self::find(secrets)? {
            return Ok(there);
        }
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(key.as_mut())
            .map_err(|error| Error::run(format!("the system has no random bytes: {error}")))?;
        create(&secrets.join(KEY), key.as_ref(), None)?;
        Ok(Self(key))
    }

    /// The digest of these bytes.
    pub(crate) fn digest(&self, bytes: &[u8]) -> Digest {
        let mut mac = match Hmac::<Sha256>::new_from_slice(self.0.as_ref()) {
            Ok(mac) => mac,
            // HMAC takes a key of any length.
            Err(_) => return Digest::Keyed(String::new()),
        };
        mac.update(bytes);
        Digest::Keyed(hex(&mac.finalize().into_bytes()))
    }
}

impl Digest {
    /// Whether these are the bytes; `None` where that cannot be told without the key.
    pub(crate) fn is_of(&self, bytes: &[u8], key: Option<&DigestKey>) -> Option<bool> {
        match self {
            Self::Keyed(_) => key.map(|key| key.digest(bytes) == *self),
            Self::Plain(digest) => Some(hex(&Sha256::digest(bytes)) == *digest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_worth_nothing_without_the_key() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        assert!(DigestKey::find(folder.path())?.is_none());
        let key = DigestKey::of(folder.path())?;
        let digest = key.digest(b"hunter2");
        let again = DigestKey::of(folder.path())?;
        assert_eq!(digest.is_of(b"hunter2", Some(&again)), Some(true));
        assert_eq!(digest.is_of(b"hunter3", Some(&again)), Some(false));
        assert_eq!(digest.is_of(b"hunter2", None), None);

        let other = tempfile::tempdir()?;
        assert_ne!(DigestKey::of(other.path())?.digest(b"hunter2"), digest);
        let read: Digest = serde_json::from_str(&serde_json::to_string(&digest)?)?;
        assert_eq!(read, digest);
        // As it was written before.
        let plain: Digest = serde_json::from_str(&format!("\"{}\"", hex(&Sha256::digest(b"a"))))?;
        assert_eq!(plain.is_of(b"a", None), Some(true));

        std::fs::write(folder.path().join(KEY), "short")?;
        assert!(DigestKey::find(folder.path()).is_err());
        Ok(())
    }
}
