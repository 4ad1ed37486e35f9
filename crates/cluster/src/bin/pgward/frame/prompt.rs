//! A question on the terminal, whose answer is not shown.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
};

use rustix::{
    process::{Signal, getpid, kill_process},
    termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr},
};
use zeroize::Zeroizing;

/// What Ctrl-C types where it makes no signal.
const CTRL_C: u8 = 3;

/// The process's terminal, whatever the streams are, while it does not show what is typed. It is as it
/// was when this is gone.
struct Hidden {
    terminal: File,
    before: Termios,
}

impl Hidden {
    fn new() -> io::Result<Self> {
        let terminal = File::options().read(true).write(true).open("/dev/tty")?;
        let before = tcgetattr(&terminal)?;
        let mut modes = before.clone();
        // A signal would end the process before the terminal is as it was: Ctrl-C only ends the line.
        modes.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ISIG);
        modes.local_modes.insert(LocalModes::ICANON);
        modes.special_codes[SpecialCodeIndex::VEOL] = CTRL_C;
        tcsetattr(&terminal, OptionalActions::Now, &modes)?;
        Ok(Self { terminal, before })
    }

    /// What is typed up to the end of the line, and what ended it; none if the input did.
    fn line(&mut self) -> io::Result<(Zeroizing<Vec<u8>>, Option<u8>)> {
        // The terminal's own limit for a line; growing would leave copies behind.
        let mut line = Zeroizing::new(Vec::with_capacity(4096));
        let mut byte = Zeroizing::new([0]);
        while self.terminal.read(&mut *byte)? == 1 {
            match byte[0] {
                end @ (b'\n' | b'\r' | CTRL_C) => return Ok((line, Some(end))),
                other => line.push(other),
            }
        }
        Ok((line, None))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = self.terminal.write_all(b"\n");
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}

/// Asks, and reads a line; `None` if nothing is typed and the input is at its end (Ctrl-D). Ctrl-C ends
/// the process as it does elsewhere, once the terminal shows again what is typed.
///
/// # Errors
/// There is no terminal.
pub(super) fn ask(question: &str) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut hidden = Hidden::new()?;
    hidden.terminal.write_all(question.as_bytes())?;
    let (line, end) = hidden.line()?;
    drop(hidden);
    if end == Some(CTRL_C) {
        kill_process(getpid(), Signal::INT)?;
        // Whoever started it may have it that this signal is ignored.
        return Ok(None);
    }
    Ok((end.is_some() || !line.is_empty()).then_some(line))
}
