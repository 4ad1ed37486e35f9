//! SCRAM: both state machines, stored secrets, SASLprep, certificates.
#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "how a target tells what it found"
)]

use pg_version::PgVersion;
use scram::{
    Channel, Client, EndPoint, Limits, Nonce, Outcome, Password, Policy, Profile, Secret, Server,
    channel::tls_server_end_point,
    message::{ClientFinal, MAX_CLIENT_MESSAGE, ServerFirst},
    predict,
    saslprep::saslprep,
};

/// Between the messages of an input: no message of the protocol has this byte.
const SEPARATOR: u8 = 0xff;

fn channel(tls: bool) -> Channel {
    if tls { Channel::tls_with(EndPoint::from_hash([7; 32])) } else { Channel::Plain }
}

/// Whatever a server that does not know the password says, it is never believed; and the strict
/// profile takes nothing that libpq refuses.
///
/// The first byte chooses channel and policy; then the server's two messages.
pub fn client(data: &[u8]) {
    let Some((&options, messages)) = data.split_first() else { return };
    let mut messages = messages.splitn(2, |&byte| byte == SEPARATOR);
    let (first, last) = (messages.next().unwrap_or_default(), messages.next().unwrap_or_default());
    let run = |profile| {
        let tls = options & 1 != 0;
        let policy = if options & 2 != 0 { Policy::Disable } else { Policy::Prefer };
        let offered: &[&str] = match options & 12 {
            0 => &["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"],
            4 => &["SCRAM-SHA-256-PLUS"],
            _ => &["SCRAM-SHA-256"],
        };
        let client = Client::new(Password::from_raw(b"pencil"))
            .profile(profile)
            .channel(channel(tls))
            .channel_binding(policy)
            .limits(Limits::new(1..=16))
            .begin(offered, &Nonce::from_bytes(&[0; 18]))
            .ok()?;
        let client = client.receive(first).ok()?;
        let challenge = ServerFirst::parse(first).expect("a message that was taken");
        // A server may choose a nonce that makes the reply longer than PostgreSQL's reads.
        if client.message().len() <= MAX_CLIENT_MESSAGE {
            let reply = ClientFinal::parse(client.message()).expect("our own message");
            assert_eq!(reply.nonce, challenge.nonce);
        }
        assert!(client.receive(last).is_err(), "a forged signature");
        Some(())
    };
    let (strict, libpq) = (run(Profile::Strict), run(Profile::Libpq));
    assert!(strict.is_none() || libpq.is_some(), "strict takes what libpq refuses");
}

/// Whatever a client that does not know the password says, it is never let in.
///
/// The first byte chooses the channel; then mechanism, first and last message.
pub fn server(data: &[u8]) {
    let Some((&options, messages)) = data.split_first() else { return };
    let mut messages = messages.splitn(3, |&byte| byte == SEPARATOR);
    let mut next = || messages.next().unwrap_or_default();
    let (mechanism, first, last) = (next(), next(), next());
    let secret = Secret::new(&Password::from_raw(b"pencil"), b"0123456789abcdef", 1);
    let secret = secret.expect("sensible parameters");
    let server = Server::new(secret, channel(options & 1 != 0));
    let Ok(server) = server.begin(mechanism, first, &Nonce::from_bytes(&[0; 18])) else { return };
    let challenge = ServerFirst::parse(server.message()).expect("our own message");
    assert_eq!(challenge.salt, b"MDEyMzQ1Njc4OWFiY2RlZg==");
    assert!(server.finish(last).is_err(), "a forged proof");
}

/// What is understood as a secret is understood again when it is printed.
pub fn secret(data: &[u8]) {
    for version in PgVersion::ALL {
        let Outcome::Scram(secret) = predict(data, version, &Limits::new(1..=16)) else { continue };
        let text = secret.to_text();
        assert_eq!(Secret::parse(text.as_bytes(), version).as_ref(), Ok(&secret));
    }
}

/// SASLprep leaves alone what it must, and makes text of text.
pub fn prepare(data: &[u8]) {
    let prepared = saslprep(data);
    if data.is_ascii() || std::str::from_utf8(data).is_err() {
        assert_eq!(*prepared, *data);
    } else {
        assert!(std::str::from_utf8(&prepared).is_ok());
        assert!(!prepared.is_empty());
    }
}

/// Any bytes may be taken for a certificate.
pub fn certificate(data: &[u8]) {
    if let Ok(end_point) = tls_server_end_point(data) {
        assert!(matches!(end_point.as_bytes().len(), 28 | 32 | 48 | 64));
    }
}
