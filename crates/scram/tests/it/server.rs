//! The server against clients that are hostile or sloppy: `auth-scram.c`'s checks, one by one.

use std::fmt::Write as _;

use proptest::prelude::*;
use scram::{
    Channel, Client, EndPoint, Nonce, Password, Policy, Secret, Server, ServerError,
    server::FirstSent,
};

const PLAIN: &str = "SCRAM-SHA-256";
const PLUS: &str = "SCRAM-SHA-256-PLUS";

fn tls(byte: u8) -> Channel {
    Channel::tls_with(EndPoint::from_hash([byte; 32]))
}

fn server(channel: Channel) -> Server {
    let secret = Secret::new(&Password::new("pencil"), b"0123456789abcdef", 4096).unwrap();
    Server::new(secret, channel)
}

fn nonce() -> Nonce {
    Nonce::from_text("SERVER").unwrap()
}

fn begin(channel: Channel, mechanism: &str, message: &str) -> Result<FirstSent, ServerError> {
    server(channel).begin(mechanism.as_bytes(), message.as_bytes(), &nonce())
}

#[test]
fn first_messages_that_postgresql_takes() {
    for message in [
        "n,,n=,r=CLIENT",
        "y,,n=,r=CLIENT",
        "n,,n=user,r=CLIENT",
        // extensions are ignored, an empty nonce is one
        "n,,n=,r=CLIENT,x=1,Y=",
        "n,,n=,r=",
        "n,,n=,r=CLIENT,",
    ] {
        let reply = begin(Channel::Plain, PLAIN, message).unwrap();
        let client = if message.ends_with("r=") { "" } else { "CLIENT" };
        let expected = format!("r={client}SERVER,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=4096");
        assert_eq!(reply.message(), expected.as_bytes());
    }
    assert!(begin(tls(1), PLAIN, "n,,n=,r=CLIENT").is_ok());
    assert!(begin(tls(1), PLUS, "p=tls-server-end-point,,n=,r=CLIENT").is_ok());
}

#[test]
fn first_messages_that_postgresql_refuses() {
    let mut report = String::new();
    for (channel, mechanism, message) in [
        (Channel::Plain, "SCRAM-SHA-1", "n,,n=,r=CLIENT"),
        (Channel::Plain, PLUS, "p=tls-server-end-point,,n=,r=CLIENT"),
        (Channel::Plain, PLAIN, "p=tls-server-end-point,,n=,r=CLIENT"),
        (tls(1), PLAIN, "p=tls-server-end-point,,n=,r=CLIENT"),
        (tls(1), PLUS, "p=tls-unique,,n=,r=CLIENT"),
        (tls(1), PLUS, "n,,n=,r=CLIENT"),
        (tls(1), PLUS, "y,,n=,r=CLIENT"),
        (tls(1), PLAIN, "y,,n=,r=CLIENT"),
        (Channel::Plain, PLAIN, ""),
        (Channel::Plain, PLAIN, "x,,n=,r=CLIENT"),
        (Channel::Plain, PLAIN, "n"),
        (Channel::Plain, PLAIN, "nn,,n=,r=CLIENT"),
        (Channel::Plain, PLAIN, "n,a=bob,n=,r=CLIENT"),
        (Channel::Plain, PLAIN, "n,b,n=,r=CLIENT"),
        (Channel::Plain, PLAIN, "n,,m=x,n=,r=CLIENT"),
        (Channel::Plain, PLAIN, "n,,r=CLIENT,n="),
        (Channel::Plain, PLAIN, "n,,n=,s=CLIENT"),
        (Channel::Plain, PLAIN, "n,,n=,r"),
        (Channel::Plain, PLAIN, "n,,n=,r=CLI\u{7f}ENT"),
        (Channel::Plain, PLAIN, "n,,n=,r=CLIENTé"),
        (Channel::Plain, PLAIN, "n,,n=,r=CLIENT,1=x"),
        (Channel::Plain, PLAIN, "n,,n=,r=CLIENT,x"),
        (Channel::Plain, PLAIN, "n,,n=,r=CLI\0ENT"),
    ] {
        let error = begin(channel, mechanism, message).unwrap_err();
        writeln!(report, "{mechanism} {message:?}\n    {} {error}", error.sqlstate()).unwrap();
    }
    insta::assert_snapshot!(report);
    let long = format!("n,,n=,r={}", "x".repeat(1020));
    assert!(matches!(begin(Channel::Plain, PLAIN, &long), Err(ServerError::Malformed(_))));
}

/// A server that waits for the last message, and the right one.
fn halfway(channel: Channel) -> (FirstSent, String) {
    let server = server(channel.clone());
    let client = Client::new(Password::new("pencil")).channel(channel);
    let client = client.begin(server.mechanisms(), &Nonce::from_text("CLIENT").unwrap()).unwrap();
    let server = server.begin(client.mechanism().name(), client.message(), &nonce()).unwrap();
    let client = client.receive(server.message()).unwrap();
    (server, String::from_utf8(client.message().to_vec()).unwrap())
}

#[test]
fn last_messages_that_postgresql_refuses() {
    let (server, good) = halfway(Channel::Plain);
    assert!(server.finish(good.as_bytes()).is_ok());
    let proof = good.split(",p=").nth(1).unwrap().to_owned();
    let mut report = String::new();
    for message in [
        String::new(),
        good.replace("biws", "eSws"),
        good.replace("c=biws", "c="),
        good.replace("r=CLIENT", "r=ANOTHER"),
        good.replace("SERVER", "SERVEX"),
        good.replace("SERVER", "SERVER1"),
        good.replace(&proof, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        good.replace(&proof, "AAAA"),
        good.replace(&proof, "!"),
        good.replace(",p=", ",q="),
        format!("{good},x=1"),
        good.replace("c=biws,", ""),
        good.split(",p=").next().unwrap().to_owned(),
    ] {
        let error = halfway(Channel::Plain).0.finish(message.as_bytes()).unwrap_err();
        writeln!(report, "{message:?}\n    {} {error}", error.sqlstate()).unwrap();
    }
    insta::assert_snapshot!(report);
    // The same proof after an extension is one for another message.
    let extended = good.replace(",p=", ",x=1,p=");
    let error = halfway(Channel::Plain).0.finish(extended.as_bytes()).unwrap_err();
    assert_eq!(error, ServerError::AuthenticationFailed);
}

#[test]
fn another_certificate_is_noticed() {
    let server = server(tls(1));
    let client = Client::new(Password::new("pencil"))
        .channel(tls(2))
        .channel_binding(Policy::Require)
        .begin(server.mechanisms(), &nonce())
        .unwrap();
    let server = server.begin(client.mechanism().name(), client.message(), &nonce()).unwrap();
    let client = client.receive(server.message()).unwrap();
    let error = server.finish(client.message()).unwrap_err();
    assert_eq!((error, error.sqlstate()), (ServerError::ChannelBinding, "28000"));
}

#[test]
fn a_certificate_without_binding_lets_everybody_in() {
    let unbound = || Channel::Tls(Err(scram::EndPointError::NoDigest { algorithm: "Ed25519" }));
    let server = server(unbound());
    assert_eq!(server.mechanisms(), [scram::Mechanism::ScramSha256]);
    let (server, message) = halfway(unbound());
    assert!(message.starts_with("c=eSws,"), "the client could have bound the channel");
    assert!(server.finish(message.as_bytes()).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_first_message(message in "[nyp],[a=]{0,2},?[mn]?=?[a-z,=]{0,12}r=[ -~]{0,20}") {
        for (channel, mechanism) in [(Channel::Plain, PLAIN), (tls(1), PLAIN), (tls(1), PLUS)] {
            if let Ok(reply) = begin(channel, mechanism, &message) {
                prop_assert!(reply.message().starts_with(b"r="));
            }
        }
    }

    #[test]
    fn any_bytes(message in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = server(tls(1)).begin(PLUS.as_bytes(), &message, &nonce());
        prop_assert!(halfway(Channel::Plain).0.finish(&message).is_err());
    }

    /// One changed byte anywhere in the last message is never accepted.
    #[test]
    fn any_changed_byte(at in any::<prop::sample::Index>(), byte in 1u8..) {
        let (server, good) = halfway(Channel::Plain);
        let mut message = good.clone().into_bytes();
        let at = at.index(message.len());
        message[at] ^= byte;
        // The last digit of the proof's base64 holds two bits that are not looked at.
        prop_assume!(at != message.len() - 2);
        prop_assert!(server.finish(&message).is_err());
    }
}
