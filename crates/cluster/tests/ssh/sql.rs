//! SQL and TCP through a node's ssh, to real servers.

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use cluster::{
    conninfo::ConnInfo,
    transport::{NodeFiles as _, SshError, SshNode, Transport},
};
use pg_version::PgVersion;
use pgtest::Shutdown;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpSocket,
};
use tokio_postgres::NoTls;

use crate::sshd::{Setup, Sshd, processes_with};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

fn server() -> Outcome<pgtest::Server> {
    // Only its socket is for everybody: what comes by TCP tells by its password that it is TCP.
    let hba = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
    Ok(pgtest::Server::builder(&pgtest::find(PgVersion::V16)?).hba(hba).start()?)
}

/// Asks by a connection string whether the server sees a socket or TCP, and of which database.
async fn ask(conninfo: &ConnInfo) -> Outcome<(bool, String)> {
    let (client, connection) = tokio_postgres::connect(&conninfo.to_text(), NoTls).await?;
    tokio::spawn(connection);
    let row = client
        .query_one("SELECT inet_client_addr() IS NULL, current_database()::text", &[])
        .await?;
    Ok((row.get(0), row.get(1)))
}

fn by_socket(server: &pgtest::Server) -> Outcome<ConnInfo> {
    let (folder, port) = (server.socket_dir(), server.port());
    Ok(format!("host={} port={port} user=postgres dbname=template1", folder.display()).parse()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_goes_through_a_socket_that_only_we_can_reach() -> Outcome {
    let sshd = Sshd::start();
    let mut server = server()?;
    let spec = sshd.spec();
    let known_hosts = spec.known_hosts.clone().ok_or("no known hosts")?;
    let node = SshNode::new(spec)?;
    let transport = Transport::Ssh(node.clone());

    let there = by_socket(&server)?;
    let here = transport.sql(&there).await?;
    assert_ne!(here.get("host"), there.get("host"));
    assert_eq!(ask(&here).await?, (true, "template1".to_owned()));
    let folder = PathBuf::from(here.get("host").ok_or("no host")?);
    assert_eq!(std::fs::metadata(&folder)?.mode() & 0o7777, 0o700);

    // TCP as seen from there; by a socket here.
    server.query("ALTER ROLE postgres PASSWORD 'over there'")?;
    let port = server.port();
    let tcp: ConnInfo = format!(
        "host=localhost hostaddr=127.0.0.1 port={port} user=postgres password='over there'"
    )
    .parse()?;
    let tcp_here = transport.sql(&tcp).await?;
    assert_eq!(tcp_here.get("hostaddr"), None);
    assert_eq!(ask(&tcp_here).await?, (false, "postgres".to_owned()));

    // Again, it is the same way; also after the server has started anew.
    assert!(transport.sql(&there).await? == here);
    server.stop(Shutdown::Fast)?;
    assert!(ask(&here).await.is_err());
    server.start()?;
    assert_eq!(ask(&here).await?, (true, "template1".to_owned()));

    // And when ssh was killed, the next call opens it anew.
    for pid in processes_with(&known_hosts) {
        kill_process(Pid::from_raw(pid).ok_or("no pid")?, Signal::KILL)?;
    }
    while !processes_with(&known_hosts).is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Both calls may come before anybody has noticed; files and SQL share what is made.
    let config = server.data_dir().join("postgresql.conf");
    let files = node.clone();
    let found = tokio::task::spawn_blocking(move || {
        loop {
            if let Ok(found) = files.find(&config) {
                return found;
            }
        }
    });
    assert!(found.await?.is_some());
    assert!(transport.sql(&there).await? == here);
    assert_eq!(ask(&here).await?, (true, "template1".to_owned()));
    assert_eq!(processes_with(&known_hosts).len(), 1);

    drop((node, transport));
    while folder.exists() || folder.parent().is_some_and(Path::exists) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_listens_is_told() -> Outcome {
    let sshd = Sshd::start();
    let node = SshNode::new(sshd.spec())?;
    let nowhere: ConnInfo = "host=/nonexistent user=postgres".parse()?;
    let error = node.sql(&nowhere).await.map(drop).unwrap_err();
    assert!(
        matches!(&error, SshError::NotForwarded { target, said, .. }
            if target == "/nonexistent/.s.PGSQL.5432" && said.contains("open failed")),
        "{error}"
    );
    let nameless: ConnInfo = "user=postgres password=hunter2".parse()?;
    let error = node.sql(&nameless).await.map(drop).unwrap_err();
    assert!(matches!(error, SshError::ConnInfo { .. }) && !error.to_string().contains("hunter2"));

    // An sshd that forwards nothing still gives files.
    let sshd = Sshd::with(&Setup {
        config: "AllowTcpForwarding no\nAllowStreamLocalForwarding no".to_owned(),
        ..Setup::default()
    });
    let server = server()?;
    let node = SshNode::new(sshd.spec())?;
    let error = node.sql(&by_socket(&server)?).await.map(drop).unwrap_err();
    assert!(matches!(error, SshError::NotForwarded { .. }), "{error}");
    let data = server.data_dir();
    let access = tokio::task::spawn_blocking(move || node.access(&data)).await??;
    assert_eq!(access.map(|access| access.uid), Some(server.account().uid()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tcp_is_opened_from_the_nodes_own_machine() -> Outcome {
    let sshd = Sshd::start();
    let server = server()?;
    let there = SocketAddr::new(server.addr(), server.port());
    let node = SshNode::new(sshd.spec())?;
    let mut stream = node.open_tcp(there).await?;
    // SSLRequest; this server has no TLS.
    stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).await?;
    assert_eq!(stream.read_u8().await?, b'N');
    // The end of one direction is not the end of the other: the server hears it and closes.
    stream.shutdown().await?;
    assert_eq!(stream.read(&mut [0; 10]).await?, 0);

    // Nobody listens, and nobody else gets the port.
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let closed = socket.local_addr()?;
    for write_first in [false, true] {
        let mut stream = node.open_tcp(closed).await?;
        let refused = if write_first {
            loop {
                if let Err(error) = stream.write_all(b"hello").await {
                    break error;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        } else {
            stream.read(&mut [0; 10]).await.unwrap_err()
        };
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{refused}");
        assert!(refused.to_string().contains("refused"), "{refused}");
    }

    // One that is made and closed without a word is no error.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut stream = node.open_tcp(listener.local_addr()?).await?;
    drop(listener.accept()?);
    assert_eq!(stream.read(&mut [0; 10]).await?, 0);
    Ok(())
}
