//! Servers that have addresses of their own: each in a network namespace, as on machines of their
//! own that one switch joins.
//!
//! On the loopback network every connection to 127.0.0.0/8 comes from 127.0.0.1, so a rule for a
//! peer's address cannot be proved there. Here it can:
//!
//! ```no_run
//! use pg_version::PgVersion;
//! use pgtest::{Network, Server};
//!
//! let network = Network::create()?;
//! let (one, other) = (network.namespace()?, network.namespace()?);
//! let server = Server::builder(&pgtest::find(PgVersion::V18)?).namespace(&one).start()?;
//! // As seen from another machine:
//! let refused = other.within(|| server.connect_tcp().open().map(drop))?.unwrap_err();
//! assert!(refused.to_string().contains(&other.addr().to_string()));
//! # Ok::<(), pgtest::Error>(())
//! ```
//!
//! Needs Linux, the program `ip` (Debian's package iproute2) and root's rights; where they are
//! missing [`Network::create`] says which command was refused. Unix sockets that are files, as
//! PostgreSQL's are, know no namespaces: they are reached from everywhere.

use std::{
    fs::{self, File},
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    thread,
};

use crate::{Error, Run};

/// The last number of this machine's own address in each network.
const OURS: u8 = 254;
const HOSTS: &str = "127.0.0.1 localhost\n::1 localhost\n";

/// Removes what belongs to the network `$1` when the pipe from us ends, however we end. A
/// namespace lives on while a process is in it, but nothing leads to it any more.
const SCRIPT: &str = r#"
trap '' HUP INT QUIT TERM
while read -r word; do
    [ "$word" != release ] || exit 0
done
ip link del "$1"
for namespace in /run/netns/"$1"-* /run/netns/"$1"; do
    [ ! -e "$namespace" ] || ip netns del "${namespace##*/}"
done
rm -rf -- /etc/netns/"$1"-*
"#;

/// A switch that namespaces are plugged into, this machine as well.
///
/// Each network has addresses of its own: `198.18.N.0/24`, from the range that RFC 2544 keeps for
/// tests, and `fd70:6774:N::/64` where this machine has IPv6. No two networks that exist at the
/// same time have the same N, whichever processes made them. It goes with the last of its
/// namespaces and servers, after a panic and after `kill -9` too.
#[derive(Clone, Debug)]
pub struct Network(Arc<Switch>);

#[derive(Debug)]
struct Switch {
    /// The name of the switch's namespace, and of this machine's end of the cable to it.
    name: String,
    number: u8,
    ipv6: bool,
    namespaces: AtomicU8,
    guard: Child,
}

/// A network namespace with a cable to its [`Network`].
#[derive(Clone, Debug)]
pub struct Namespace {
    switch: Arc<Switch>,
    number: u8,
    stranger: bool,
}

impl Network {
    /// Makes a network without any namespace.
    ///
    /// # Errors
    /// [`Error::NoNamespaces`] where the system refuses, for want of rights or of kernel features;
    /// [`Error::Io`] where `ip` is missing or 256 networks exist.
    pub fn create() -> Result<Self, Error> {
        // Processes start at different places, so that they seldom meet.
        let [start, ..] = std::process::id().wrapping_mul(97).to_le_bytes();
        for offset in 0..=u8::MAX {
            if let Some(switch) = Switch::create(start.wrapping_add(offset))? {
                return Ok(Self(Arc::new(switch)));
            }
        }
        let what = "finding a network of 198.18.0.0/16 that is not taken (see `ip netns list`)";
        Err(Error::io(what)(io::ErrorKind::AddrInUse.into()))
    }

    /// Makes a namespace with the next address: `198.18.N.1`, `198.18.N.2`, ...
    ///
    /// # Errors
    /// [`Error::Command`] where `ip` fails.
    pub fn namespace(&self) -> Result<Namespace, Error> {
        Namespace::create(&self.0, false)
    }

    /// Makes a namespace whose address is not in the network of the others, but which reaches the
    /// other namespaces and is reached from them: `198.19.N.1`, `198.19.N.2`, ...
    ///
    /// # Errors
    /// [`Error::Command`] where `ip` fails.
    pub fn stranger(&self) -> Result<Namespace, Error> {
        Namespace::create(&self.0, true)
    }

    /// The network of the namespaces and of [`addr`](Self::addr), as `pg_hba.conf` has it:
    /// `198.18.N.0/24`.
    #[must_use]
    pub fn cidr(&self) -> String {
        format!("198.18.{}.0/24", self.0.number)
    }

    /// The same for IPv6, where this machine has it: `fd70:6774:N::/64`.
    #[must_use]
    pub fn cidr6(&self) -> Option<String> {
        self.0.ipv6.then(|| format!("{}/64", self.0.addr6(false, 0)))
    }

    /// Where this machine's own connections to the namespaces come from: `198.18.N.254`.
    #[must_use]
    pub fn addr(&self) -> IpAddr {
        self.0.addr(false, OURS).into()
    }

    /// The same for IPv6, where this machine has it.
    #[must_use]
    pub fn addr6(&self) -> Option<IpAddr> {
        self.0.ipv6.then(|| self.0.addr6(false, OURS).into())
    }
}

impl Switch {
    /// `None` where a network of that number exists.
    fn create(number: u8) -> Result<Option<Self>, Error> {
        let name = format!("pgt{number}");
        if file_of(&name).exists() {
            return Ok(None);
        }
        let mut switch = Self {
            guard: guard(&name)?,
            name: name.clone(),
            number,
            ipv6: false,
            namespaces: AtomicU8::new(0),
        };
        match ip(&format!("netns add {name}")) {
            Ok(()) => {}
            Err(Error::Command { output, .. }) if output.contains("File exists") => {
                switch.release();
                return Ok(None);
            }
            Err(error) => {
                switch.release();
                return Err(refused(error));
            }
        }
        // From here on the guard cleans up. The bridge is in a namespace of its own, where no
        // firewall of this machine looks at what passes.
        let steps = [
            format!("-n {name} link add name br0 type bridge"),
            format!("-n {name} link set dev br0 up"),
            format!("link add name {name} type veth peer name up netns {name}"),
            format!("-n {name} link set dev up master br0 up"),
            format!("addr add {}/24 dev {name}", switch.addr(false, OURS)),
            format!("link set dev {name} up"),
        ];
        for step in steps {
            ip(&step).map_err(refused)?;
        }
        let six = format!("addr add {}/64 dev {name} nodad", switch.addr6(false, OURS));
        switch.ipv6 = ip(&six).is_ok();
        Ok(Some(switch))
    }

    fn addr(&self, stranger: bool, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(198, if stranger { 19 } else { 18 }, self.number, last)
    }

    fn addr6(&self, stranger: bool, last: u8) -> Ipv6Addr {
        let net = if stranger { 0x100 } else { 0 } + u16::from(self.number);
        Ipv6Addr::new(0xfd70, 0x6774, net, 0, 0, 0, 0, last.into())
    }

    /// What bears our name is not ours.
    fn release(&mut self) {
        if let Some(pipe) = &mut self.guard.stdin {
            // A guard that is gone guards nothing.
            let _ = pipe.write_all(b"release\n");
        }
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

impl Namespace {
    fn create(switch: &Arc<Switch>, stranger: bool) -> Result<Self, Error> {
        let Some(number) = next_number(&switch.namespaces) else {
            let what =
                format!("finding an address that is not taken on the network {}", switch.name);
            return Err(Error::io(what)(io::ErrorKind::AddrInUse.into()));
        };
        let this = Self { switch: switch.clone(), number, stranger };
        let (switch, name, port) = (&switch.name, this.name(), this.port_name());
        this.hosts("")?;
        let mut steps = vec![
            format!("netns add {name}"),
            format!("link add name {port} netns {switch} type veth peer name eth0 netns {name}"),
            format!("-n {switch} link set dev {port} master br0 up"),
            format!("-n {name} link set dev lo up"),
            format!("-n {name} addr add {}/24 dev eth0", this.addr()),
            format!("-n {name} link set dev eth0 up"),
            // Strangers and the others are neighbours on the cable.
            format!("-n {name} route add 198.18.0.0/15 dev eth0"),
        ];
        if let Some(addr) = this.addr6() {
            steps.push(format!("-n {name} addr add {addr}/64 dev eth0 nodad"));
            steps.push(format!("-n {name} route add fd70:6774::/32 dev eth0"));
        }
        steps.iter().try_for_each(|step| ip(step))?;
        Ok(this)
    }

    /// The name, for `ip netns`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}-{}", self.switch.name, self.number)
    }

    /// The switch's end of the cable.
    fn port_name(&self) -> String {
        format!("port{}", self.number)
    }

    /// Its address, different from every other namespace's.
    #[must_use]
    pub fn addr(&self) -> IpAddr {
        self.switch.addr(self.stranger, self.number).into()
    }

    /// Its IPv6 address, where this machine has IPv6.
    #[must_use]
    pub fn addr6(&self) -> Option<IpAddr> {
        self.switch.ipv6.then(|| self.switch.addr6(self.stranger, self.number).into())
    }

    /// Makes these lines, after those for `localhost`, the `/etc/hosts` of the programs in the
    /// namespace, those that run already too.
    ///
    /// # Errors
    /// [`Error::Io`] where the file cannot be written.
    pub fn hosts(&self, lines: &str) -> Result<(), Error> {
        let folder = Path::new("/etc/netns").join(self.name());
        let path = folder.join("hosts");
        // Written in place: who runs in the namespace sees this very file.
        fs::create_dir_all(&folder)
            .and_then(|()| fs::write(&path, format!("{HOSTS}{lines}")))
            .map_err(Error::io(format!("writing {}", path.display())))
    }

    /// Pulls the cable: nothing gets in or out until [`plug`](Self::plug).
    ///
    /// # Errors
    /// [`Error::Command`] where `ip` fails.
    pub fn unplug(&self) -> Result<(), Error> {
        ip(&format!("-n {} link set dev {} down", self.switch.name, self.port_name()))
    }

    /// Plugs the cable in again.
    ///
    /// # Errors
    /// [`Error::Command`] where `ip` fails.
    pub fn plug(&self) -> Result<(), Error> {
        ip(&format!("-n {} link set dev {} up", self.switch.name, self.port_name()))
    }

    /// Does something on a thread that is in the namespace: its connections come from there, what
    /// it listens on is there, and stays so wherever the sockets go. (Of the namespace's
    /// `/etc/hosts` it knows nothing.)
    ///
    /// # Errors
    /// [`Error::Io`] where the thread cannot get there.
    ///
    /// # Panics
    /// Where `work` does.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
        let path = file_of(&self.name());
        let on_thread = || enter(&File::open(&path)?).map(|()| work());
        let done = thread::scope(|scope| scope.spawn(on_thread).join());
        match done {
            Ok(done) => done.map_err(Error::io(format!("entering {}", path.display()))),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// The words before a command that run it in the namespace.
    pub(crate) fn launcher(&self) -> [String; 4] {
        ["ip".into(), "netns".into(), "exec".into(), self.name()]
    }
}

/// The next namespace's number, below [`OURS`]. However often none is left, none comes round again.
fn next_number(last: &AtomicU8) -> Option<u8> {
    let next = |last: u8| last.checked_add(1).filter(|next| *next < OURS);
    last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok().and_then(next)
}

/// Takes the calling thread into a namespace.
#[cfg(target_os = "linux")]
fn enter(namespace: &File) -> io::Result<()> {
    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
    use std::os::fd::AsFd;

    Ok(move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?)
}

#[cfg(not(target_os = "linux"))]
fn enter(_: &File) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

fn file_of(namespace: &str) -> PathBuf {
    Path::new("/run/netns").join(namespace)
}

fn guard(name: &str) -> Result<Child, Error> {
    Command::new("/bin/sh")
        .args(["-c", SCRIPT, "pgtest-netns", name])
        .current_dir("/")
        .env_remove("ENV")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Out of the terminal's reach: Ctrl-C ends us, and then it is needed.
        .process_group(0)
        .spawn()
        .map_err(Error::io("starting /bin/sh"))
}

fn ip(words: &str) -> Result<(), Error> {
    Run::new("ip").args(words.split(' ')).check().map(drop).map_err(|error| match error {
        Error::Command { status, output, .. } => {
            Error::Command { program: format!("ip {words}"), status, output }
        }
        other => other,
    })
}

/// A refusal for want of rights or of the kernel's parts is told apart from what went wrong.
fn refused(error: Error) -> Error {
    const REFUSALS: [&str; 5] = [
        "Operation not permitted",
        "Permission denied",
        "Operation not supported",
        "Function not implemented",
        "Unknown device type",
    ];
    match error {
        Error::Command { program, output, .. }
            if REFUSALS.iter().any(|refusal| output.contains(refusal)) =>
        {
            Error::NoNamespaces { reason: format!("`{program}` answered: {output}") }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_is_given_twice() {
        let last = AtomicU8::new(0);
        let numbers: Vec<u8> = (0..600).filter_map(|_| next_number(&last)).collect();
        assert_eq!(numbers, (1..OURS).collect::<Vec<_>>());
    }
}
