//! A server never outlives the test that started it, however the test ends.
//!
//! `Drop` covers returns and panics. For the rest (`kill -9`, `abort`, Ctrl-C in a program that
//! handles no signals) a shell waits on a pipe that only we hold open: when we are gone it reads
//! the end of it, stops the server and removes the folder. Linux's parent-death signal would not
//! do: it fires when the *thread* that started the server ends, and a test's thread ends long
//! before the process, with the servers that tests share.

use std::{
    io::Write,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::Error;

/// `$1` is the folder. Between `starting` and `server N` the number is read from the file that
/// the server itself writes. A stopped server that nobody reaps still has its number: hence the
/// bounded wait, which the server's own file ends early.
const SCRIPT: &str = r#"
trap '' HUP INT QUIT TERM
pid=
while read -r word value; do
    case $word in
        starting) pid=? ;;
        server) pid=$value ;;
        stopped) pid= ;;
        release) exit 0 ;;
    esac
done
file=$1/data/postmaster.pid
if [ "$pid" = '?' ]; then
    pid=
    n=0
    while [ "$n" -lt 20 ] && ! read -r pid 2>/dev/null <"$file"; do
        sleep 0.1
        n=$((n + 1))
    done
fi
if [ -n "$pid" ]; then
    kill -QUIT "$pid" 2>/dev/null
    n=0
    while [ "$n" -lt 100 ] && [ -e "$file" ] && kill -0 "$pid" 2>/dev/null; do
        sleep 0.05
        n=$((n + 1))
    done
    kill -KILL "$pid" 2>/dev/null
fi
rm -rf -- "$1"
[ ! -e "$1" ] || { sleep 1; rm -rf -- "$1"; }
"#;

/// A folder, and perhaps a server in it, that go when the process goes.
#[derive(Debug)]
pub(crate) struct Watchdog {
    shell: Child,
    folder: PathBuf,
}

impl Watchdog {
    pub(crate) fn over(folder: &Path) -> Result<Self, Error> {
        let shell = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "pgtest-watchdog"])
            .arg(folder)
            .current_dir("/")
            .env_remove("ENV")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Out of the terminal's reach: Ctrl-C ends us, and then it is needed.
            .process_group(0)
            .spawn()
            .map_err(Error::io("starting /bin/sh"))?;
        Ok(Self { shell, folder: folder.to_owned() })
    }

    /// A server is about to be started in the folder's `data`.
    pub(crate) fn starting(&mut self) -> Result<(), Error> {
        self.say("starting")
    }

    /// The process to stop.
    pub(crate) fn server(&mut self, pid: u32) -> Result<(), Error> {
        self.say(&format!("server {pid}"))
    }

    /// No process is left to stop.
    pub(crate) fn stopped(&mut self) -> Result<(), Error> {
        self.say("stopped")
    }

    /// Leaves folder and server alone.
    pub(crate) fn release(mut self) {
        // Where the shell is gone already there is nothing to release.
        let _ = self.say("release");
        self.end();
    }

    /// Removes the folder now.
    pub(crate) fn remove(mut self) -> Result<(), Error> {
        let removed = std::fs::remove_dir_all(&self.folder)
            .map_err(Error::io(format!("removing {}", self.folder.display())));
        if removed.is_ok() {
            let _ = self.say("release");
        }
        // Otherwise the shell tries, and we wait for it.
        self.end();
        if self.folder.exists() { removed } else { Ok(()) }
    }

    fn say(&mut self, line: &str) -> Result<(), Error> {
        match &mut self.shell.stdin {
            Some(pipe) => writeln!(pipe, "{line}").map_err(Error::io("writing to the watchdog")),
            None => Ok(()),
        }
    }

    fn end(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}
