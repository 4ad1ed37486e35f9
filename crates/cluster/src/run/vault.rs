//! A run's secrets on disk: the one file of a run that holds any.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
    path::Path,
};

use base64::{Engine as _, display::Base64Display, engine::general_purpose::STANDARD};
use serde::{Serialize, Serializer};
use textfile::fs::{Snapshot, create};
use zeroize::Zeroizing;

use crate::{error::Error, vault::Vault};

/// Writes the secrets of these names: mode 0600 from the first instant.
pub(super) fn write(path: &Path, vault: &Vault, names: &BTreeSet<&str>) -> Result<(), Error> {
    let secrets: BTreeMap<&str, Base64<'_>> = names
        .iter()
        .filter_map(|name| vault.get(name).map(|secret| (*name, Base64(secret))))
        .collect();
    let to_json = |error: serde_json::Error| Error::run(format!("{}: {error}", path.display()));
    // A buffer that grows leaves copies behind.
    let mut size = Counter(0);
    serde_json::to_writer(&mut size, &secrets).map_err(to_json)?;
    let mut text = Zeroizing::new(Vec::with_capacity(size.0 + 1));
    serde_json::to_writer(&mut *text, &secrets).map_err(to_json)?;
    text.push(b'\n');
    Ok(create(path, &text, None)?)
}

/// Reads the secrets.
pub(super) fn read(path: &Path) -> Result<Vault, Error> {
    let file = Snapshot::read(path)?;
    let broken = || Error::run(format!("{} is not as it was written", path.display()));
    // Base64 has nothing that JSON escapes: the texts are read where they stand.
    let secrets: BTreeMap<String, Borrowed<'_>> =
        serde_json::from_slice(file.bytes()).map_err(|_| broken())?;
    let mut vault = Vault::default();
    for (name, Borrowed(text)) in secrets {
        let mut secret = Zeroizing::new(vec![0; base64::decoded_len_estimate(text.len())]);
        let length = STANDARD.decode_slice(text.as_bytes(), &mut secret).map_err(|_| broken())?;
        secret.truncate(length);
        vault.insert(name, secret);
    }
    Ok(vault)
}

/// Bytes that are written as base64 without a text in between.
struct Base64<'s>(&'s [u8]);

impl Serialize for Base64<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Base64Display::new(self.0, &STANDARD))
    }
}

#[derive(serde::Deserialize)]
struct Borrowed<'t>(#[serde(borrow)] Cow<'t, str>);

struct Counter(usize);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn what_is_written_is_read_and_nobody_else_may() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vault.json");
        let mut vault = Vault::default();
        let secrets: [(&str, &[u8]); 4] =
            [("a key \"é\"", b"\x00\xff\n\""), ("empty", b""), ("b", b"bb"), ("other", b"hunter2")];
        for (name, secret) in secrets {
            vault.insert(name, Zeroizing::new(secret.to_vec()));
        }
        let names = ["a key \"é\"", "empty", "b", "unknown"].into();
        write(&path, &vault, &names).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);

        let read = read(&path).unwrap();
        for (name, secret) in secrets {
            let expected = (name != "other").then_some(secret);
            assert_eq!(read.get(name), expected, "{name}");
        }
        std::fs::write(&path, "{\"a\": \"***\"}").unwrap();
        let error = super::read(&path).unwrap_err().to_string();
        assert!(error.contains("vault.json") && !error.contains("***"), "{error}");
    }
}
