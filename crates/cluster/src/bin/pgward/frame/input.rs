//! Files that commands read, and standard input in place of one.

use std::{
    fs::File,
    io::Read as _,
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use textfile::fs::Snapshot;
use zeroize::Zeroizing;

use super::failure::Failure;

/// What standard input is called in messages.
const STANDARD_INPUT: &str = "standard input";

/// Standard input, for the one who asks first: what it holds is gone for everybody else.
pub(crate) fn standard_input() -> Result<std::io::StdinLock<'static>, Failure> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Err(Failure::user("standard input can be read once, and is asked for twice")
            .fix("name a file for one of them"));
    }
    Ok(std::io::stdin().lock())
}

/// A file as it was read, or standard input.
#[derive(Debug)]
pub(crate) struct Input {
    /// As the user named it.
    pub(crate) name: String,
    bytes: Vec<u8>,
    /// `None` for standard input, and for what can be read once only.
    snapshot: Option<Snapshot>,
}

impl Input {
    /// Reads a file; `-` is standard input.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        if path == Path::new("-") {
            let mut bytes = Vec::new();
            standard_input()?
                .read_to_end(&mut bytes)
                .map_err(|error| Failure::io("read", STANDARD_INPUT, &error))?;
            return Ok(Self { name: STANDARD_INPUT.to_owned(), bytes, snapshot: None });
        }
        if is_stream(path) {
            let name = path.display().to_string();
            let bytes = read_stream(path).map_err(|error| Failure::io("read", &name, &error))?;
            return Ok(Self { name, bytes, snapshot: None });
        }
        let snapshot = Snapshot::read(path)?;
        Ok(Self {
            name: path.display().to_string(),
            bytes: snapshot.bytes().to_vec(),
            snapshot: Some(snapshot),
        })
    }

    /// Reads a file whose lines are shown in what is said about it; `-` is standard input. A private key,
    /// named by mistake, is refused.
    pub(crate) fn read_shown(path: &Path) -> Result<Self, Failure> {
        let input = Self::read(path)?;
        refuse_private_key(&input.name, &input.bytes)?;
        Ok(input)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The file to be replaced; `None` for standard input.
    pub(crate) fn snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref()
    }

    /// The whole path, from which includes are found: standard input is in the working folder.
    pub(crate) fn path(&self) -> PathBuf {
        let path = self.snapshot.as_ref().map_or(Path::new("-"), Snapshot::path);
        std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
    }

    /// What a file beside this one is called: as the user named this one, from the working folder or
    /// from the root.
    pub(crate) fn name_of(&self, path: &Path) -> String {
        if path == self.path() {
            return self.name.clone();
        }
        let named_from_root =
            self.snapshot.as_ref().is_some_and(|snapshot| snapshot.path().is_absolute());
        let here = std::env::current_dir().ok().filter(|_| !named_from_root);
        let short = here.and_then(|here| path.strip_prefix(here).ok());
        short.unwrap_or(path).display().to_string()
    }
}

/// Refuses what a private key is in, by the file's name and without a word of what it holds: a message
/// about a line shows it, and messages are kept in logs and sent to others.
pub(crate) fn refuse_private_key(name: &str, bytes: &[u8]) -> Result<(), Failure> {
    let begins = |line: &[u8]| {
        let line = line.trim_ascii();
        line.starts_with(b"-----BEGIN ") && line.ends_with(b"PRIVATE KEY-----")
    };
    if bytes.split(|byte| matches!(byte, b'\n' | b'\r')).any(begins) {
        return Err(Failure::user(format!("{name}: there is a private key in it"))
            .fix("name another file: nothing of this one is shown, and nothing is changed"));
    }
    Ok(())
}

/// Whether it is a pipe, such as the one of a shell's `<(…)`, or a device such as `/dev/null`: it is read
/// from its beginning to its end, as standard input is.
fn is_stream(path: &Path) -> bool {
    let kind = std::fs::metadata(path).map(|metadata| metadata.file_type());
    kind.is_ok_and(|kind| kind.is_fifo() || kind.is_char_device())
}

/// No file of a server is as long, and some devices have no end.
const LONGEST: u64 = 1 << 30;

fn read_stream(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LONGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST {
        return Err(std::io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

/// What was read may hold secrets.
impl Drop for Input {
    fn drop(&mut self) {
        drop(Zeroizing::new(std::mem::take(&mut self.bytes)));
    }
}
