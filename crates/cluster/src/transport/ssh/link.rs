//! One connection: a running `ssh` and the SFTP that it carries.

use std::{
    path::PathBuf,
    process::Stdio,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use russh_sftp::client::{Config, RawSftpSession};
use tokio::{
    io::AsyncReadExt as _,
    process::{Child, ChildStderr},
    sync::{Notify, oneshot, watch},
};

use super::{SshError, command};
use crate::transport::SshSpec;

/// A connection. It ends when this is dropped.
pub(super) struct Link {
    /// Tells one connection to the node from the next.
    pub(super) number: u64,
    /// Who and where, for people.
    pub(super) place: String,
    /// Where `ssh` takes what else shall go over the connection.
    pub(super) control: PathBuf,
    pub(super) sftp: RawSftpSession,
    pub(super) offers: Offers,
    talk: Talk,
    ended: watch::Receiver<bool>,
    /// Dropped, it has `ssh` ended.
    _stop: oneshot::Sender<()>,
}

/// Extensions of the protocol that the server has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offers {
    /// `posix-rename@openssh.com`: rename that replaces.
    pub(super) posix_rename: bool,
    /// `fsync@openssh.com`
    pub(super) fsync: bool,
    /// `lsetstat@openssh.com`: owner and mode of a name, not of what a link leads to.
    pub(super) lsetstat: bool,
    /// `statvfs@openssh.com`: how much room there is.
    pub(super) statvfs: bool,
}

impl Link {
    /// Logs in and begins SFTP.
    pub(super) async fn connect(
        spec: &SshSpec,
        number: u64,
        control: PathBuf,
    ) -> Result<Self, SshError> {
        let place = spec.place();
        let (stop, stopped) = oneshot::channel();
        let mut child = command::connect(spec, &control)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| SshError::NoProgram {
                program: spec.program.clone(),
                reason: error.to_string(),
            })?;
        let (Some(input), Some(output), Some(errors)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(SshError::Cancelled);
        };
        let talk = Talk::default();
        let (end, ended) = watch::channel(false);
        tokio::spawn(look_after(child, errors, talk.clone(), stopped, end, control.clone()));

        // Its patience is not ours: who asks has a limit of their own.
        let config = Config { request_timeout_secs: 3600, ..Config::default() };
        let sftp = RawSftpSession::new_with_config(tokio::io::join(output, input), config);
        let mut waiting = ended.clone();
        let version = tokio::select! {
            version = sftp.init() => version,
            // It ended, for a reason that it has told.
            _ = waiting.wait_for(|ended| *ended) => {
                return Err(command::reason(&place, &talk.text()));
            }
        };
        let version = match version {
            Ok(version) => version,
            Err(error) => {
                // What ended the protocol may be the end of `ssh`, which is about to tell why.
                let ending = waiting.wait_for(|ended| *ended);
                let ended = tokio::time::timeout(Duration::from_secs(1), ending).await.is_ok();
                return Err(match ended {
                    true => command::reason(&place, &talk.text()),
                    false => SshError::NoSftp { place, said: error.to_string() },
                });
            }
        };
        let has = |extension: &str| version.extensions.contains_key(extension);
        let offers = Offers {
            posix_rename: has("posix-rename@openssh.com"),
            fsync: has("fsync@openssh.com"),
            lsetstat: has("lsetstat@openssh.com"),
            statvfs: has("statvfs@openssh.com"),
        };
        Ok(Self { number, place, control, sftp, offers, talk, ended, _stop: stop })
    }

    /// Whether it is still there.
    pub(super) fn is_up(&self) -> bool {
        !*self.ended.borrow()
    }

    /// Comes back when it is not there any more.
    pub(super) async fn end(&self) {
        // An error means that nobody looks after it any more: that is an end, too.
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
    }

    /// It is not there any more.
    pub(super) fn loss(&self) -> SshError {
        SshError::Lost { place: self.place.clone(), said: command::gist(&self.talk.text()) }
    }

    /// What came from there makes no sense: the connection is of no use any more.
    pub(super) fn loss_by(&self, what: &str) -> SshError {
        let said = format!("{what}; {}", command::gist(&self.talk.text()));
        SshError::Lost { place: self.place.clone(), said }
    }

    /// What `ssh` has said since `start`, of a failure that it is about to tell: its words come by
    /// another way than the failure.
    pub(super) async fn said_since(&self, start: usize) -> String {
        let _ = tokio::time::timeout(Duration::from_secs(1), self.talk.more_than(start)).await;
        command::gist(&self.talk.since(start))
    }

    /// How much `ssh` has said.
    pub(super) fn said(&self) -> usize {
        self.talk.lock().total
    }
}

/// Keeps what `ssh` says, ends it when it is told to, and says when it has ended.
async fn look_after(
    mut child: Child,
    errors: ChildStderr,
    talk: Talk,
    stopped: oneshot::Receiver<()>,
    end: watch::Sender<bool>,
    control: PathBuf,
) {
    let listening = tokio::spawn(talk.clone().listen(errors));
    tokio::select! {
        status = child.wait() => {
            // All has been said, unless somebody else holds its standard error: a proxy of the user's.
            let _ = tokio::time::timeout(Duration::from_secs(2), listening).await;
            if let Ok(status) = status {
                talk.hear(format!("ssh has ended: {status}\n").as_bytes());
            }
        }
        _ = stopped => {
            // Without this it would wait for whoever still uses a forwarding.
            let _ = child.kill().await;
        }
    }
    let _ = std::fs::remove_file(control);
    end.send_replace(true);
}

/// The last of what `ssh` said.
#[derive(Clone, Default)]
struct Talk(Arc<(Mutex<Said>, Notify)>);

#[derive(Default)]
struct Said {
    kept: Vec<u8>,
    /// How much it was in all.
    total: usize,
}

impl Talk {
    /// More than this is not kept: a host can send a banner of any length.
    const KEPT: usize = 8192;

    fn lock(&self) -> MutexGuard<'_, Said> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn text(&self) -> String {
        self.since(0)
    }

    fn since(&self, start: usize) -> String {
        let said = self.lock();
        let dropped = said.total - said.kept.len();
        let start = start.saturating_sub(dropped).min(said.kept.len());
        String::from_utf8_lossy(&said.kept[start..]).into_owned()
    }

    async fn listen(self, mut errors: ChildStderr) {
        let mut buffer = [0; 1024];
        while let Ok(read @ 1..) = errors.read(&mut buffer).await {
            self.hear(&buffer[..read]);
        }
    }

    fn hear(&self, words: &[u8]) {
        let mut said = self.lock();
        said.kept.extend_from_slice(words);
        said.total += words.len();
        let too_much = said.kept.len().saturating_sub(Self::KEPT);
        said.kept.drain(..too_much);
        self.0.1.notify_waiters();
    }

    async fn more_than(&self, start: usize) {
        loop {
            let more = self.0.1.notified();
            if self.lock().total > start {
                return;
            }
            more.await;
        }
    }
}
