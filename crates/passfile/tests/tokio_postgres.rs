//! Passwords for tokio-postgres, and logins with them.
#![cfg(feature = "tokio-postgres")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::time::Duration;

use passfile::{
    Libpq, NewEntry, PassFile,
    tokio_postgres::{ConfigError, Filled},
};
use tokio_postgres::{Config, NoTls, error::SqlState};

fn file(text: &str) -> PassFile {
    PassFile::parse(text).unwrap()
}

fn config(text: &str) -> Config {
    text.parse().unwrap()
}

#[test]
fn fills_what_libpq_would_find() {
    for (text, lines, filled, password) in [
        ("user=bob host=a", "a:*:*:*:1\n", Ok(Filled::FromLine(1)), Some("1")),
        ("user=bob host=a port=1", "a:2:*:*:x\na:1:bob:bob:y", Ok(Filled::FromLine(2)), Some("y")),
        ("user=bob host=a password=z", "*:*:*:*:x\n", Ok(Filled::Given), Some("z")),
        ("user=bob host=a", "b:*:*:*:x\n", Ok(Filled::NoPassword), None),
        ("user=bob host=a", "*:*:*:*:\na:*:*:*:x\n", Ok(Filled::NoPassword), None),
        ("host=a", "*:*:*:*:x\n", Err(ConfigError::NoUser), None),
        ("user=bob", "localhost:5432:*:*:x\n", Ok(Filled::FromLine(1)), Some("x")),
        ("user=bob host=/tmp", "localhost:*:*:*:x\n", Ok(Filled::FromLine(1)), Some("x")),
        ("user=bob host=/s", "/s:*:*:*:x\n", Ok(Filled::FromLine(1)), Some("x")),
        ("user=bob hostaddr=::1", "::1:*:*:*:x\n", Ok(Filled::FromLine(1)), Some("x")),
        ("user=bob host=a hostaddr=::1", "::1:*:*:*:x\n", Ok(Filled::NoPassword), None),
        ("user=bob host=a,b", "a:*:*:*:x\nb:*:*:*:x\n", Ok(Filled::FromLine(1)), Some("x")),
        (
            "user=bob host=a,b,c",
            "a:*:*:*:x\nb:*:*:*:x\nc:*:*:*:y\n",
            Err(ConfigError::PasswordsDiffer { host: 3 }),
            None,
        ),
        // b's password is not for a.
        ("user=bob host=a,b", "b:*:*:*:x\n", Err(ConfigError::PasswordsDiffer { host: 2 }), None),
        (
            "user=bob host=a,b,c port=1,2",
            "",
            Err(ConfigError::Counts { hosts: 3, addresses: 0, ports: 2 }),
            None,
        ),
    ] {
        let mut config = config(text);
        let before = config.clone();
        assert_eq!(file(lines).fill(&mut config, &Libpq::default()), filled, "{text}");
        assert_eq!(config.get_password(), password.map(str::as_bytes), "{text}");
        if !matches!(filled, Ok(Filled::FromLine(_))) {
            assert!(config == before, "{text}");
        }
    }
}

#[test]
fn one_config_for_each_host() {
    let file = file("a:1:*:*:one\nb:2:*:*:two\n");
    let both = config("user=bob host=a,b,c port=1,2,3 connect_timeout=7");
    let each = file.for_each_host(&both, &Libpq::default()).unwrap();
    let expected = [
        config("user=bob host=a port=1 connect_timeout=7 password=one"),
        config("user=bob host=b port=2 connect_timeout=7 password=two"),
        config("user=bob host=c port=3 connect_timeout=7"),
    ];
    assert!(each == expected);
}

/// Every option of tokio-postgres that a connection string can set survives.
#[test]
fn a_hosts_config_keeps_all_options() {
    let mut all = config(
        "user=bob password=pw dbname=d options='-c geqo=off' application_name=app sslmode=require \
         host=/socket hostaddr=127.0.0.1 port=5433 connect_timeout=3 tcp_user_timeout=4 \
         keepalives=0 keepalives_idle=5 keepalives_interval=6 keepalives_retries=7 \
         target_session_attrs=read-write channel_binding=require load_balance_hosts=random",
    );
    all.ssl_negotiation(tokio_postgres::config::SslNegotiation::Direct);
    let each = PassFile::new().for_each_host(&all, &Libpq::default()).unwrap();
    assert!(each == [all]);
}

/// Two real servers that ask for a password, one role with a password of its own on each.
#[test]
fn logs_in() {
    let installation = pgtest::find_each_major().unwrap().pop().unwrap();
    let start = |password: &str| {
        let server = pgtest::Server::builder(&installation)
            .hba("local all postgres trust\nhost all all all scram-sha-256\n")
            .setting("password_encryption", "scram-sha-256")
            .start()
            .unwrap();
        server.query(&format!("CREATE ROLE \"b:ob\" LOGIN PASSWORD '{password}'")).unwrap();
        server
    };
    let passwords = [r"on:e\ #1", "two"];
    let servers = passwords.map(start);
    let mut file = PassFile::new();
    for (server, password) in servers.iter().zip(passwords) {
        let host = server.addr().to_string();
        let entry = NewEntry::new(password).host(host).port(server.port()).user("b:ob");
        file.set(&entry).unwrap();
    }
    let mut both = Config::new();
    both.user("b:ob").dbname("postgres").connect_timeout(Duration::from_secs(300));
    let mut single = [both.clone(), both.clone()];
    for (server, single) in servers.iter().zip(&mut single) {
        for config in [&mut both, single] {
            config.host(server.addr().to_string()).port(server.port());
        }
    }

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let port = |config: Config| {
        runtime.block_on(async move {
            let (client, connection) = config.connect(NoTls).await?;
            let connection = tokio::spawn(connection);
            let row = client.query_one("SELECT inet_server_port()", &[]).await?;
            drop(client);
            connection.await.unwrap()?;
            Ok::<i32, tokio_postgres::Error>(row.get(0))
        })
    };
    let libpq = Libpq::default();
    for (mut config, server) in single.into_iter().zip(&servers) {
        assert!(matches!(file.fill(&mut config, &libpq), Ok(Filled::FromLine(_))));
        assert_eq!(port(config).unwrap(), i32::from(server.port()));
    }
    let differ = file.fill(&mut both, &libpq);
    assert_eq!(differ, Err(ConfigError::PasswordsDiffer { host: 2 }));
    let each = file.for_each_host(&both, &libpq).unwrap();
    for (config, server) in each.into_iter().zip(&servers) {
        assert_eq!(port(config).unwrap(), i32::from(server.port()));
    }
    // It was the file's password that let it in.
    both.password("wrong");
    assert_eq!(port(both).unwrap_err().code(), Some(&SqlState::INVALID_PASSWORD));
}
