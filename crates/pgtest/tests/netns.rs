//! Servers in network namespaces of their own, where the system gives us any.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helper fails the test")]

use std::{
    io::{ErrorKind, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use pgtest::{Account, Connect, Error, Namespace, Network, Run, Server};

/// `None`, and said so, where the system refuses namespaces. Root with all rights never gets that.
fn network() -> Option<Network> {
    match Network::create() {
        Ok(network) => Some(network),
        Err(error @ Error::NoNamespaces { .. }) => {
            say(&format!("servers in namespaces: {error}"));
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Past the test harness, which shows only what failed tests print.
fn say(what: &str) {
    let line = format!("NOT PROVED on this machine: {what}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

fn eventually(what: &str, mut state: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(600);
    while !state() {
        assert!(Instant::now() < deadline, "{what}");
        thread::yield_now();
    }
}

/// A server that trusts everybody, on IPv4 and, where there is one, the IPv6 address.
fn server(namespace: &Namespace) -> Server {
    let addrs: Vec<String> = [Some(namespace.addr()), namespace.addr6()]
        .iter()
        .flatten()
        .map(ToString::to_string)
        .collect();
    Server::builder(&pgtest::find_each_major().unwrap().pop().unwrap())
        .namespace(namespace)
        .setting("listen_addresses", addrs.join(","))
        .hba("local all all trust\nhost all all all trust\n")
        .start()
        .unwrap()
}

/// Who the server thinks is there.
fn seen_as(connect: &Connect) -> String {
    let rows = connect.open().unwrap().query("SELECT host(inet_client_addr())").unwrap();
    rows.value().unwrap_or("a Unix socket").to_owned()
}

#[test]
fn everybody_is_seen_by_an_address_of_his_own() {
    let Some(network) = network() else { return };
    let (one, other, stranger) =
        (network.namespace().unwrap(), network.namespace().unwrap(), network.stranger().unwrap());
    let server = server(&one);
    assert_eq!((server.addr(), server.port()), (one.addr(), 5432));
    assert_eq!(server.namespace().unwrap().name(), one.name());

    let tcp = server.connect_tcp();
    assert_eq!(seen_as(&server.connect()), "a Unix socket");
    assert_eq!(seen_as(&tcp), network.addr().to_string());
    for namespace in [&one, &other, &stranger] {
        let seen = namespace.within(|| seen_as(&tcp)).unwrap();
        assert_eq!(seen, namespace.addr().to_string());
    }
    assert!(network.cidr().starts_with(one.addr().to_string().trim_end_matches('1')));
    assert_ne!(one.addr(), other.addr());

    let [Some(ours), Some(six), Some(strange)] = [network.addr6(), one.addr6(), stranger.addr6()]
    else {
        let why = std::fs::read_to_string("/proc/sys/net/ipv6/conf/all/disable_ipv6");
        assert!(!matches!(why.as_deref(), Ok("0\n")), "this machine has IPv6");
        say("addresses of IPv6, which the system does not have");
        return;
    };
    let tcp = Connect::tcp((six, server.port()).into());
    assert_eq!(seen_as(&tcp), ours.to_string());
    assert_eq!(stranger.within(|| seen_as(&tcp)).unwrap(), strange.to_string());
}

#[test]
fn a_cable_can_be_pulled_and_a_name_be_known() {
    let Some(network) = network() else { return };
    let (one, other) = (network.namespace().unwrap(), network.namespace().unwrap());
    let listener = one.within(|| TcpListener::bind((one.addr(), 7777))).unwrap().unwrap();
    // The socket is there, the thread that made it is gone.
    let addr = listener.local_addr().unwrap();
    let dial = |limit| other.within(|| TcpStream::connect_timeout(&addr, limit)).unwrap();
    dial(Duration::from_secs(10)).unwrap();
    one.unplug().unwrap();
    let error = dial(Duration::from_millis(50)).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::HostUnreachable), "{error}");
    one.plug().unwrap();
    dial(Duration::from_secs(10)).unwrap();

    other.hosts(&format!("{} one.pgtest.invalid one\n", one.addr())).unwrap();
    let account = Account::choose().unwrap();
    let run = Run::new("sh").args(["-c", "getent hosts one && id -u"]).account(&account);
    let output = run.namespace(&other).check().unwrap().text();
    assert!(output.starts_with(&one.addr().to_string()), "{output}");
    assert_eq!(output.lines().last(), Some(account.uid().to_string().as_str()));
}

#[test]
fn many_at_once_do_not_meet() {
    let Some(first) = network() else { return };
    let cidrs = thread::scope(|scope| {
        let make = |_| scope.spawn(|| network().unwrap());
        let threads: Vec<_> = (0..4).map(make).collect();
        let mut networks: Vec<_> = threads.into_iter().map(|one| one.join().unwrap()).collect();
        networks.push(first);
        networks.iter().map(Network::cidr).collect::<std::collections::BTreeSet<_>>()
    });
    assert_eq!(cidrs.len(), 5);
}

/// Everything that bears the network's name.
fn left_of(network: &str) -> Vec<String> {
    let mut left = Vec::new();
    for folder in ["/run/netns", "/etc/netns", "/sys/class/net"] {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        left.extend(names.filter(|name| name.split('-').next() == Some(network)));
    }
    left
}

fn network_of(namespace: &Namespace) -> String {
    namespace.name().split('-').next().unwrap().to_owned()
}

#[test]
fn a_panic_leaves_nothing() {
    let Some(network) = network() else { return };
    let mut seen = None;
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let network = network;
        let namespace = network.namespace().unwrap();
        let server = server(&namespace);
        seen = Some((network_of(&namespace), server.pid().unwrap()));
        assert_eq!(left_of(&network_of(&namespace)).len(), 4);
        panic!("a test fails");
    }));
    assert!(panicked.is_err());
    let (network, pid) = seen.unwrap();
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    assert_eq!(left_of(&network), [""; 0]);
}

/// Not a test of its own: what `a_killed_process_leaves_nothing` starts and kills.
#[test]
fn makes_a_namespace_and_waits_where_asked_to() {
    let Some(report) = std::env::var_os("PGTEST_TEST_REPORT") else { return };
    let network = Network::create().unwrap();
    let namespace = network.namespace().unwrap();
    let server = server(&namespace);
    let text = format!("{} {}\n", network_of(&namespace), server.pid().unwrap());
    std::fs::write(&report, text).unwrap();
    loop {
        thread::park();
    }
}

#[test]
fn a_killed_process_leaves_nothing() {
    if network().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report");
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "makes_a_namespace_and_waits_where_asked_to"])
        .env("PGTEST_TEST_REPORT", &report)
        .env("TMPDIR", "/tmp")
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let read = || std::fs::read_to_string(&report).unwrap_or_default();
    eventually("the namespace is made", || read().ends_with('\n'));
    let text = read();
    let (network, pid) = text.trim().split_once(' ').unwrap();
    assert!(!left_of(network).is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("the namespace goes", || left_of(network).is_empty());
    eventually("the server goes", || !Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn says_what_was_refused() {
    let Err(error) = Network::create() else {
        // With all rights nothing is refused; without them somebody else tells us.
        let account = Account::choose().unwrap();
        let run = Run::new("ip").args(["netns", "add", "pgtest-refused"]).account(&account);
        let refusal = run.check().unwrap_err().to_string();
        assert!(refusal.contains("Permission denied") || refusal.contains("not permitted"));
        return;
    };
    assert!(error.to_string().contains("ip netns add"), "{error}");
}
