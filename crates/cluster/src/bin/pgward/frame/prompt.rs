//! A question on the terminal, whose answer is not shown.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    sync::{Arc, Mutex, PoisonError, mpsc},
};

use rustix::{
    process::{Signal, getpid, kill_process},
    termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr},
};
use tokio::signal::unix::{SignalKind, signal};
use zeroize::Zeroizing;

/// What Ctrl-C types where it makes no signal.
const CTRL_C: u8 = 3;

/// The process's terminal, whatever the streams are, while it does not show what is typed. It is as it
/// was when this is gone.
struct Hidden {
    terminal: File,
    before: Before,
}

/// What the terminal was like, for whoever puts it back first.
type Before = Arc<Mutex<Option<Termios>>>;

impl Hidden {
    fn new() -> io::Result<Self> {
        let terminal = File::options().read(true).write(true).open("/dev/tty")?;
        let modes = tcgetattr(&terminal)?;
        let before = Before::new(Mutex::new(Some(modes.clone())));
        put_back_when_ended(terminal.try_clone()?, before.clone())?;
        let mut modes = modes;
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
        put_back(&mut self.terminal, &self.before);
    }
}

fn put_back(terminal: &mut File, before: &Before) {
    if let Some(before) = before.lock().unwrap_or_else(PoisonError::into_inner).take() {
        let _ = terminal.write_all(b"\n");
        let _ = tcsetattr(&*terminal, OptionalActions::Now, &before);
    }
}

/// Has the signals that somebody else ends the process with (`kill`, a service that is stopped) put the
/// terminal back first. From then on they end it in this way, with or without a question.
fn put_back_when_ended(mut terminal: File, before: Before) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (listens, listening) = mpsc::channel();
    std::thread::Builder::new().spawn(move || {
        runtime.block_on(async {
            let signals = (signal(SignalKind::terminate()), signal(SignalKind::hangup()));
            let (mut terminate, mut hangup) = match signals {
                (Ok(terminate), Ok(hangup)) => (terminate, hangup),
                (Err(error), _) | (_, Err(error)) => return drop(listens.send(Err(error))),
            };
            let _ = listens.send(Ok(()));
            let number = tokio::select! {
                _ = terminate.recv() => 15,
                _ = hangup.recv() => 1,
            };
            put_back(&mut terminal, &before);
            std::process::exit(128 + number);
        });
    })?;
    listening.recv().unwrap_or_else(|gone| Err(io::Error::other(gone)))
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
