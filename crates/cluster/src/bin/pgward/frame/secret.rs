//! Where secrets come from: a prompt without echo, a file, or a file descriptor. Never an argument,
//! which every user of the machine can read.

use std::{
    fs::File,
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use super::{console::Console, failure::Failure, input::standard_input, prompt, text::plain};

/// Where a password comes from.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PasswordArguments {
    /// Read the password from this file (its first line; - is standard input) instead of asking
    #[arg(long, value_name = "FILE", conflicts_with = "password_fd")]
    password_file: Option<PathBuf>,
    /// Read the password from this open file descriptor (its first line) instead of asking
    #[arg(long, value_name = "NUMBER")]
    password_fd: Option<u32>,
}

/// Whether a prompt asks twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// For a password that is there already.
    Once,
    /// For a new one, in which nobody sees a typing error.
    Twice,
}

impl PasswordArguments {
    /// The password, as bytes.
    pub(crate) fn read(
        &self,
        console: &Console,
        what: &str,
        ask: Ask,
    ) -> Result<Zeroizing<Vec<u8>>, Failure> {
        match (&self.password_file, self.password_fd) {
            (Some(path), _) => from_file(console, path),
            (None, Some(number)) => {
                let path = PathBuf::from(format!("/dev/fd/{number}"));
                let file = File::open(&path).map_err(|error| {
                    Failure::io("read", &format!("file descriptor {number}"), &error)
                        .fix(format!("open it for pgward, as in \"pgward … {number}< FILE\""))
                })?;
                first_line(file, &format!("file descriptor {number}"))
            }
            (None, None) => ask_for(what, ask, "give --password-file FILE or --password-fd NUMBER"),
        }
    }
}

/// A pass phrase's or a secret's file; `-` is standard input.
pub(crate) fn from_file(console: &Console, path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let name = path.display().to_string();
    if path == Path::new("-") {
        return first_line(standard_input()?, "standard input");
    }
    let file = File::open(path).map_err(|error| Failure::io("open", &name, &error))?;
    if let Ok(metadata) = file.metadata()
        && metadata.is_file()
        && metadata.mode() & 0o077 != 0
    {
        console.warn(&format!(
            "{name} can be read by others (mode {:04o}): chmod 600 {name}",
            metadata.mode() & 0o7777
        ));
    }
    first_line(file, &name)
}

/// The longest secret that is read: SCRAM and libpq know no limit, but a file of gigabytes is none.
const LONGEST: u64 = 1 << 20;

fn first_line(source: impl std::io::Read, name: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    // With room for all, so that growing leaves no copy behind.
    let mut bytes = Zeroizing::new(vec![0; 4096]);
    let mut filled = 0;
    let mut source = source.take(LONGEST + 1);
    loop {
        if filled == bytes.len() {
            let mut grown = Zeroizing::new(vec![0; filled * 2]);
            grown[..filled].copy_from_slice(&bytes);
            bytes = grown;
        }
        match source.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Failure::io("read", name, &error)),
        }
    }
    if filled as u64 > LONGEST {
        return Err(Failure::user(format!("{name} is larger than 1 MiB: that is no password")));
    }
    bytes.truncate(filled);
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    bytes.truncate(end);
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    Ok(bytes)
}

/// Asks for a pass phrase on the terminal, without echo.
pub(crate) fn ask(what: &str, ask: Ask) -> Result<Zeroizing<Vec<u8>>, Failure> {
    ask_for(what, ask, "give --pass-phrase-file FILE")
}

/// Asks on the terminal, without echo; `instead` is what to do where there is none.
fn ask_for(what: &str, ask: Ask, instead: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let what = plain(what);
    let once = |question: String| match prompt::ask(&question) {
        Ok(Some(answer)) => Ok(answer),
        Ok(None) => Err(Failure::user(format!("no {what} was given")).fix(instead)),
        Err(_) => {
            let message = format!("there is no terminal to ask for the {what} at");
            Err(Failure::user(message).fix(instead))
        }
    };
    let password = once(format!("{what}: "))?;
    if ask == Ask::Twice && *once(format!("{what} once more: "))? != *password {
        return Err(Failure::user("the two are not the same").fix("try again"));
    }
    Ok(password)
}
