//! Every libpq, and psql, log in to our server; and hash passwords as we do.

use std::{
    net::{TcpListener, TcpStream},
    path::PathBuf,
    thread,
};

use pg_version::PgVersion;
use pgtest::libpq::Libpq;
use rustls::{ServerConnection, StreamOwned};
use scram::{Channel, Keys, Limits, Password, SaltedPassword, Secret};

use crate::{
    SOON,
    certificates::{Pair, issued, self_signed},
};

#[path = "../../examples/login_server.rs"]
#[expect(dead_code, reason = "the example's main is not run")]
mod login_server;

const USER: &str = "alice";

pub(crate) fn libpqs() -> Vec<(PgVersion, Libpq)> {
    let all = pgtest::find_each_major().unwrap();
    all.iter().map(|one| (one.version(), Libpq::load(one).unwrap())).collect()
}

/// Serves one connection with the example's code, over TLS if there is a certificate, and tells
/// whether it was bound to the channel.
fn serve_one(
    listener: &TcpListener,
    pair: Option<&Pair>,
    channel: Channel,
    password: &str,
) -> std::io::Result<bool> {
    let secret_of = |user: &str| {
        (user == USER).then(|| Secret::generate(&Password::new(password), 4096).unwrap())
    };
    let (mut stream, _) = listener.accept()?;
    stream.set_read_timeout(Some(SOON))?;
    let Some(pair) = pair else {
        return login_server::serve(&mut stream, channel, secret_of);
    };
    accept_tls(&mut stream)?;
    let connection = ServerConnection::new(pair.server_config()).unwrap();
    login_server::serve(&mut StreamOwned::new(connection, stream), channel, secret_of)
}

/// Answers the client's SSLRequest with yes; a GSSENCRequest before it with no.
fn accept_tls(stream: &mut TcpStream) -> std::io::Result<()> {
    use std::io::{Read as _, Write as _};
    loop {
        let mut request = [0; 8];
        stream.read_exact(&mut request)?;
        if request[4..] == 80_877_103u32.to_be_bytes() {
            return stream.write_all(b"S");
        }
        stream.write_all(b"N")?;
    }
}

/// Runs a client against our server; `Ok` tells whether the login was bound to the channel.
fn run(
    pair: Option<&Pair>,
    channel: Channel,
    client: impl FnOnce(u16) -> Result<(), String>,
) -> Result<bool, String> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::scope(|scope| {
        let served = scope.spawn(|| serve_one(&listener, pair, channel, "pencil\u{a0}Ⅸ"));
        let connected = client(port);
        let served = served.join().unwrap();
        connected?;
        served.map_err(|error| error.to_string())
    })
}

fn connect(libpq: &Libpq, parameters: &[(&str, &str)]) -> impl FnOnce(u16) -> Result<(), String> {
    let parameters: Vec<(String, String)> = parameters
        .iter()
        .chain(&[("host", "127.0.0.1"), ("dbname", "x"), ("gssencmode", "disable")])
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    move |port| {
        let mut parameters = parameters;
        parameters.push(("port".to_owned(), port.to_string()));
        let mut connection = libpq.connect(&parameters, SOON).map_err(|error| error.to_string())?;
        connection.query("hello", SOON).map_err(|error| error.to_string())?;
        Ok(())
    }
}

const RIGHT: (&str, &str) = ("password", "pencil\u{a0}Ⅸ");

#[test]
fn log_in_without_tls() {
    for (version, libpq) in libpqs() {
        let user = ("user", USER);
        let ok = run(None, Channel::Plain, connect(&libpq, &[user, RIGHT]));
        assert_eq!(ok, Ok(false), "{version}");
        let wrong = run(None, Channel::Plain, connect(&libpq, &[user, ("password", "x")]));
        assert!(wrong.unwrap_err().contains("password authentication failed"), "{version}");
        let unknown = run(None, Channel::Plain, connect(&libpq, &[("user", "eve"), RIGHT]));
        assert!(unknown.unwrap_err().contains("password authentication failed"), "{version}");
    }
}

#[test]
fn log_in_with_tls() {
    let ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
    let pairs = [
        self_signed(&[&ec[..], &["-sha384"]].concat()),
        self_signed(&["-newkey", "rsa:2048", "-sha512"]),
        self_signed(&["-newkey", "rsa:2048", "-sha256", "-sigopt", "rsa_padding_mode:pss"]),
    ];
    for (version, libpq) in libpqs() {
        let user = ("user", USER);
        for pair in &pairs {
            let tls = || Channel::tls(&pair.der());
            let tls_mode = ("sslmode", "require");
            let ok = run(Some(pair), tls(), connect(&libpq, &[user, RIGHT, tls_mode]));
            assert_eq!(ok, Ok(true), "{version}");
            if version < PgVersion::V13 {
                continue;
            }
            for (policy, bound) in [("disable", false), ("prefer", true), ("require", true)] {
                let policy = ("channel_binding", policy);
                let ok = run(Some(pair), tls(), connect(&libpq, &[user, RIGHT, tls_mode, policy]));
                assert_eq!(ok, Ok(bound), "{version} {policy:?}");
            }
        }
        // A server that presents another certificate than it binds to is caught.
        let channel = Channel::tls(&pairs[1].der());
        let tls_mode = ("sslmode", "require");
        let refused = run(Some(&pairs[0]), channel, connect(&libpq, &[user, RIGHT, tls_mode]));
        assert!(refused.unwrap_err().contains("channel binding check failed"), "{version}");
    }
}

/// PostgreSQL offers SCRAM-SHA-256-PLUS with such a certificate too, and no libpq gets in. Our
/// server does not offer it, and all do.
#[test]
fn log_in_through_a_certificate_signed_with_ed25519() {
    let pair =
        issued(&["-newkey", "ed25519"], &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    for (version, libpq) in libpqs() {
        let parameters = [("user", USER), RIGHT, ("sslmode", "require")];
        let ok = run(Some(&pair), Channel::tls(&pair.der()), connect(&libpq, &parameters));
        assert_eq!(ok, Ok(false), "{version}");
    }
}

#[test]
fn psql_logs_in() {
    // Not every build brings psql.
    let all = pgtest::find_all();
    let psqls = all.iter().map(|one| one.program("psql")).filter(|path| path.exists());
    let psqls: Vec<PathBuf> = psqls.collect();
    assert!(!psqls.is_empty(), "no PostgreSQL with psql here");
    for psql in psqls {
        let psql = &psql;
        let client = |mode: &'static str| {
            move |port: u16| {
                let conninfo =
                    format!("host=127.0.0.1 port={port} user={USER} dbname=x sslmode={mode}");
                let output = pgtest::Run::new(psql)
                    .args(["-X", "-c", "hello", &conninfo])
                    .env("PGPASSWORD", RIGHT.1)
                    .output()
                    .map_err(|error| error.to_string())?;
                if output.status.success() {
                    Ok(())
                } else {
                    Err(String::from_utf8_lossy(&output.stderr).into_owned())
                }
            }
        };
        assert_eq!(run(None, Channel::Plain, client("disable")), Ok(false));
        let pair = self_signed(&["-newkey", "rsa:2048"]);
        let bound = run(Some(&pair), Channel::tls(&pair.der()), client("require"));
        assert_eq!(bound, Ok(true));
    }
}

/// libpq 18 takes our keys in place of the password, as postgres_fdw passes them through.
#[test]
fn libpq_18_logs_in_with_our_keys() {
    let installation = pgtest::find(PgVersion::V18).unwrap();
    let libpq = Libpq::load(&installation).unwrap();
    let server = pgtest::Server::builder(&installation)
        .hba("local all postgres trust\nhost all all all scram-sha-256\n")
        .start()
        .unwrap();
    let salted = SaltedPassword::derive(&Password::new("pencil"), b"0123456789abcdef", 4096);
    let secret = Secret::new(&Password::new("pencil"), b"0123456789abcdef", 4096).unwrap();
    server.query(&format!("CREATE ROLE a LOGIN PASSWORD '{}'", *secret.to_text())).unwrap();
    let (addr, port) = (server.addr().to_string(), server.port().to_string());
    let log_in = |keys: &Keys| {
        let (client, server) = (keys.client.to_base64(), keys.server.to_base64());
        let place = [("host", &*addr), ("port", &*port), ("user", "a"), ("dbname", "postgres")];
        let keys = [("scram_client_key", &**client), ("scram_server_key", &**server)];
        libpq.connect(&[&place[..], &keys].concat(), SOON).map(drop)
    };
    log_in(&Keys::new(&salted)).unwrap();
    let another = SaltedPassword::derive(&Password::new("pencil"), b"another salt 123", 4096);
    let refused = log_in(&Keys::new(&another)).unwrap_err().to_string();
    assert!(refused.contains("password authentication failed"), "{refused}");
    let false_server = Keys { server: another.server_key(), ..Keys::new(&salted) };
    let refused = log_in(&false_server).unwrap_err().to_string();
    assert!(refused.contains("incorrect server signature"), "{refused}");
}

/// Every libpq hashes the bytes that our SASLprep gives.
#[test]
fn passwords_hashed_by_libpq() {
    let mut passwords: Vec<String> =
        ["pencil", " ", "\u{7f}", "a\u{ad}", "\u{ad}", "\u{200b}x"].map(ToOwned::to_owned).to_vec();
    // a character of each kind, alone and in company, in steps that visit every block
    for code in (0x80..0x1_1000).step_by(977).chain((0x1_1000..0x11_0000).step_by(70_001)) {
        if let Some(c) = char::from_u32(code) {
            passwords.extend([
                format!("{c}"),
                format!("{c}\u{301}a"),
                format!("\u{5d0}{c}\u{5d0}"),
            ]);
        }
    }
    for (version, libpq) in libpqs() {
        for password in &passwords {
            let text = libpq.encrypt_password(password, USER, "scram-sha-256").unwrap();
            let secret = Secret::parse(text.as_bytes(), version).unwrap();
            let same = secret.verify(&Password::new(password), &Limits::default());
            assert_eq!(same, Ok(true), "{version} {password:?}");
        }
        let long = vec![b'a'; 1025];
        let refused = libpq.encrypt_password(&long, USER, "scram-sha-256").is_err();
        assert_eq!(refused, Password::new_as(&long, version).is_err(), "{version}");
    }
}
