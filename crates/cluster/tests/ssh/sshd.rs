//! An sshd for a test: Debian's, with keys and a port of its own.
//!
//! The test itself listens and starts `sshd -i` for each connection, as inetd would. So the port is
//! free for certain, and no daemon is left behind however the test ends: with the connection goes its
//! sshd.
#![allow(clippy::unwrap_used, reason = "what a test needs is there, or it fails")]

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::{
        fd::OwnedFd,
        unix::fs::{PermissionsExt as _, chown},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

use cluster::transport::SshSpec;
use tempfile::TempDir;

/// Where Debian has it; the gate installs it.
const SSHD: &str = "/usr/sbin/sshd";

/// Keys, a configuration, and a listener that serves connections until it is dropped.
pub(crate) struct Sshd {
    folder: TempDir,
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    serving: Arc<Mutex<Vec<Child>>>,
    listener: Option<JoinHandle<()>>,
}

/// What is out of the ordinary.
#[derive(Clone, Default)]
pub(crate) struct Setup {
    /// Lines of `sshd_config`, before the others: the first counts.
    pub(crate) config: String,
    /// The subsystem sftp, if another than sshd's own.
    pub(crate) sftp: Option<String>,
    /// A program with arguments that gets the sshd's command line after its own.
    pub(crate) within: Vec<String>,
}

impl Sshd {
    pub(crate) fn start() -> Self {
        Self::with(&Setup::default())
    }

    pub(crate) fn with(setup: &Setup) -> Self {
        assert!(Path::new(SSHD).exists(), "there is no {SSHD}: apt-get install openssh-server");
        // Where it is started as root it changes there before anybody is known.
        if rustix::process::geteuid().is_root() {
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        // Whoever logs in reads their authorized keys themselves.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for key in ["host", "client"] {
            new_key(&folder.path().join(key));
        }
        fs::copy(folder.path().join("client.pub"), folder.path().join("authorized")).unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let config = format!(
            "{}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             PermitRootLogin prohibit-password\nLogLevel VERBOSE\n\
             Subsystem sftp {}\n",
            setup.config,
            at("host"),
            at("authorized"),
            setup.sftp.as_deref().unwrap_or("internal-sftp"),
        );
        fs::write(folder.path().join("sshd_config"), config).unwrap();

        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let serving = Arc::new(Mutex::new(Vec::new()));
        let mut words = setup.within.clone();
        words.extend([SSHD, "-i", "-e", "-f"].map(str::to_owned));
        words.push(at("sshd_config"));
        let log = folder.path().join("sshd.log");
        let listener = {
            let (stop, serving) = (stop.clone(), serving.clone());
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let Ok(stream) = stream else { continue };
                    let log = fs::File::options().create(true).append(true).open(&log).unwrap();
                    let output: OwnedFd = stream.try_clone().unwrap().into();
                    let sshd = Command::new(&words[0])
                        .args(&words[1..])
                        .stdin(Stdio::from(OwnedFd::from(stream)))
                        .stdout(Stdio::from(output))
                        .stderr(log)
                        .spawn()
                        .unwrap();
                    serving.lock().unwrap_or_else(PoisonError::into_inner).push(sshd);
                }
            })
        };
        let sshd = Self { folder, address, stop, serving, listener: Some(listener) };
        sshd.know_host(&sshd.path("known_hosts"), sshd.address);
        sshd
    }

    /// The way in as whoever runs the test.
    pub(crate) fn spec(&self) -> SshSpec {
        self.spec_at(self.address)
    }

    /// The same by another address, which leads here.
    pub(crate) fn spec_at(&self, address: SocketAddr) -> SshSpec {
        let known_hosts = self.path(&format!("known_hosts.{}", address.port()));
        self.know_host(&known_hosts, address);
        let mut spec = SshSpec::new(address.ip().to_string());
        spec.port = Some(address.port());
        spec.identity_file = Some(self.path("client"));
        spec.known_hosts = Some(known_hosts);
        spec.config = Some("none".into());
        // No test waits for these but those that say so; a machine may be slow.
        (spec.connect_timeout, spec.timeout) = (120, 120);
        spec
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A file beside the keys.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What the sshds have logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("sshd.log")).unwrap_or_default()
    }

    fn know_host(&self, known_hosts: &Path, address: SocketAddr) {
        let key = fs::read_to_string(self.path("host.pub")).unwrap();
        fs::write(known_hosts, format!("[{}]:{} {key}", address.ip(), address.port())).unwrap();
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
        for sshd in self.serving.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            let _ = sshd.kill();
            let _ = sshd.wait();
        }
    }
}

/// Makes a key pair without passphrase at `path` and `path`.pub.
pub(crate) fn new_key(path: &Path) {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"])
        .arg(path)
        .status()
        .unwrap();
    assert!(made.success());
}

/// Makes a folder that belongs to somebody.
pub(crate) fn folder_of(path: &Path, uid: u32, gid: u32, mode: u32) {
    fs::create_dir(path).unwrap();
    chown(path, Some(uid), Some(gid)).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A way to an sshd that breaks, or falls silent, when so many bytes have gone to it; connections
/// after the first are left alone.
pub(crate) struct Relay {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    to_server: Arc<AtomicU64>,
    listener: Option<JoinHandle<()>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection is closed.
    Cut,
    /// Nothing comes through any more, and nobody is told.
    Silence,
}

impl Relay {
    pub(crate) fn start(to: SocketAddr, fault: Fault, after: u64) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let to_server = Arc::new(AtomicU64::new(0));
        let (stopped, count) = (stop.clone(), to_server.clone());
        let listener = std::thread::spawn(move || {
            let mut left = Some(after);
            for client in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(client) = client else { continue };
                let Ok(server) = TcpStream::connect(to) else { continue };
                relay(client, server, left.take(), fault, count.clone());
            }
        });
        Self { address, stop, to_server, listener: Some(listener) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many bytes have gone to the server.
    pub(crate) fn sent(&self) -> u64 {
        self.to_server.load(Ordering::SeqCst)
    }
}

/// Both ways, each on a thread of its own.
fn relay(
    client: TcpStream,
    server: TcpStream,
    limit: Option<u64>,
    fault: Fault,
    count: Arc<AtomicU64>,
) {
    let (mut back_from, mut back_to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut back_from, &mut back_to);
        let _ = back_to.shutdown(std::net::Shutdown::Both);
    });
    std::thread::spawn(move || {
        let (mut client, mut server) = (client, server);
        let mut left = limit;
        let mut buffer = [0; 512];
        while let Ok(read @ 1..) = client.read(&mut buffer) {
            let allowed = left.map_or(read, |left| read.min(usize::try_from(left).unwrap()));
            count.fetch_add(allowed as u64, Ordering::SeqCst);
            if server.write_all(&buffer[..allowed]).is_err() {
                break;
            }
            left = left.map(|left| left - allowed as u64);
            if left == Some(0) {
                match fault {
                    Fault::Cut => break,
                    // Takes what comes, and that is all.
                    Fault::Silence => while let Ok(1..) = client.read(&mut buffer) {},
                }
            }
        }
        let _ = server.shutdown(std::net::Shutdown::Both);
        let _ = client.shutdown(std::net::Shutdown::Both);
    });
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

/// The processes whose command line has this word in it, by their numbers.
pub(crate) fn processes_with(word: &Path) -> Vec<i32> {
    let word = word.display().to_string();
    let own = i32::try_from(std::process::id()).unwrap();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if pid != own && String::from_utf8_lossy(&line).contains(&word) {
            found.push(pid);
        }
    }
    found
}
