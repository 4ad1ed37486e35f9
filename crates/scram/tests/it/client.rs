//! The client against servers that are hostile or sloppy: what libpq 12 to 18 did, and what the
//! strict profile does instead.

use crate::common::recorded;
use scram::{
    Channel, Client, ClientError, EndPoint, EndPointError, Limits, Nonce, Password, Policy,
    Profile, Secret, Server,
    client::{BadSalt, FinalSent, NoChannelBinding},
};

use crate::fake_server::{NONCE, play};

fn client(profile: Profile) -> Client {
    Client::new(Password::new("pencil")).profile(profile)
}

fn nonce() -> Nonce {
    Nonce::from_bytes(&[1; 18])
}

#[test]
fn libpq_profile_does_as_libpq() {
    let cases = recorded("fake-server");
    assert_eq!(cases.len(), 25);
    for case in &cases {
        let name = case["name"].as_str().unwrap();
        let require_auth = name.contains("[require_auth=");
        let played = play(&case["server"], Profile::Libpq, require_auth).unwrap();
        for (major, verdict) in case["libpq"].as_object().unwrap() {
            let ok = verdict[0] == "OK";
            assert_eq!(played.result.is_ok(), ok, "{name} {major}: {played:?}");
            let sent_proof = verdict[1] == "client-final sent";
            assert_eq!(played.sent_proof, sent_proof, "{name} {major}: {played:?}");
        }
    }
}

#[test]
fn strict_profile_refuses_whatever_is_not_normal() {
    for case in recorded("fake-server") {
        let name = case["name"].as_str().unwrap();
        let played = play(&case["server"], Profile::Strict, false).unwrap();
        assert_eq!(played.result.is_ok(), name == "normal", "{name}: {played:?}");
    }
}

/// What libpq 12 to 18 take, and the strict profile does not.
#[test]
fn what_a_server_adds_to_the_nonce() {
    for added in ["", "\u{e9}", " ", "x\u{7f}"] {
        let server = serde_json::json!({ "snonce": added });
        let lenient = play(&server, Profile::Libpq, false).unwrap();
        assert_eq!((lenient.sent_proof, lenient.result), (true, Ok(())), "{added:?}");
        let strict = play(&server, Profile::Strict, false).unwrap();
        assert_eq!(strict.result, Err(ClientError::ServerNonce), "{added:?}");
        assert!(!strict.sent_proof);
    }
}

/// The client's last state against the server's first message.
fn receive(profile: Profile, limits: Limits, message: &str) -> Result<FinalSent, ClientError> {
    let client = client(profile).limits(limits);
    client.begin(["SCRAM-SHA-256"], &nonce()).unwrap().receive(message.as_bytes())
}

#[test]
fn hostile_counts_are_refused_before_hashing() {
    // Any of these, if hashed, would take longer than the whole test may.
    for count in ["0", "-1", "2147483647", "4294967297", "100000000000000000000", "100001", "4095"]
    {
        let message = format!("r={NONCE}xyz,s=MDEyMzQ1Njc4OWFiY2RlZg==,i={count}");
        let refused = receive(Profile::Strict, Limits::default(), &message).unwrap_err();
        match count {
            "100001" | "4095" | "2147483647" => {
                assert!(matches!(refused, ClientError::Iterations(_)), "{count} {refused}");
            }
            _ => assert_eq!(refused, ClientError::IterationCount, "{count}"),
        }
        // libpq's own reading, within limits
        let refused = receive(Profile::Libpq, Limits::new(10..=20), &message).unwrap_err();
        let read = matches!(count, "2147483647" | "4294967297" | "100001" | "4095");
        assert_eq!(matches!(refused, ClientError::Iterations(_)), read, "{count} {refused}");
    }
}

#[test]
fn strict_profile_says_why() {
    let salt = "MDEyMzQ1Njc4OWFiY2RlZg==";
    for (message, error) in [
        (format!("r={NONCE},s={salt},i=4096"), ClientError::ServerNonce),
        (format!("r={NONCE}é,s={salt},i=4096"), ClientError::ServerNonce),
        (format!("r={NONCE}x,s=,i=4096"), ClientError::Salt(BadSalt::TooShort { len: 0 })),
        (
            format!("r={NONCE}x,s=QUJDREVGRw==,i=4096"),
            ClientError::Salt(BadSalt::TooShort { len: 7 }),
        ),
        (
            format!("r={NONCE}x,s=MDEyMzQ1Njc4OWFiY2RlZh==,i=4096"),
            ClientError::Salt(BadSalt::NotCanonical),
        ),
        (format!("r={NONCE}x,s={salt},i=04096"), ClientError::IterationCount),
        (format!("r={NONCE}x,s={salt},i=+4096"), ClientError::IterationCount),
        (format!("r={NONCE}x,s={salt},i=4096,"), ClientError::TrailingData),
        (format!("r={NONCE}x,s={salt},i=4096,x=1"), ClientError::TrailingData),
    ] {
        assert_eq!(receive(Profile::Strict, Limits::default(), &message).unwrap_err(), error);
        assert!(receive(Profile::Libpq, Limits::NONE, &message).is_ok(), "{message}");
    }
    let message = format!("r={NONCE}x,s={salt},i=4096");
    assert!(receive(Profile::Strict, Limits::default(), &message).is_ok());
}

#[test]
fn truncated_and_oversized_messages() {
    let whole = format!("r={NONCE}xyz,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=4096");
    for profile in [Profile::Strict, Profile::Libpq] {
        for len in 0..whole.len() {
            let read = receive(profile, Limits::default(), &whole[..len]);
            // A count cut short is still a count, but too small a one.
            assert!(read.is_err(), "{len}");
        }
        let long = format!("r={NONCE}{},s=MDEyMzQ1Njc4OWFiY2RlZg==,i=4096", "x".repeat(4000));
        assert!(matches!(
            receive(profile, Limits::default(), &long),
            Err(ClientError::Malformed(_))
        ));
        let nul = whole.replace("xyz", "x\0z");
        assert!(matches!(
            receive(profile, Limits::default(), &nul),
            Err(ClientError::Malformed(_))
        ));
    }
}

#[test]
fn malformed_messages_say_where() {
    let errors: Vec<_> = [
        "",
        "s=MDEy,r=x,i=1",
        "r",
        "r:x",
        &format!("r={NONCE}x"),
        &format!("r={NONCE}x,s"),
        &format!("r={NONCE}x,s=MDEy,i:4"),
        &format!("r={NONCE}x,s=MDEy,i=4096"),
        &format!("r={NONCE}x,s=MDE,i=4096"),
        "r=another,s=MDEy,i=4096",
    ]
    .iter()
    .map(|message| receive(Profile::Strict, Limits::default(), message).unwrap_err().to_string())
    .collect();
    insta::assert_snapshot!(errors.join("\n"));
}

fn tls() -> Channel {
    Channel::tls_with(EndPoint::from_hash([7; 32]))
}

const BOTH: [&str; 2] = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"];

#[test]
fn channel_binding_policies() {
    let begin = |policy, channel, offered: &[&str]| {
        client(Profile::Strict)
            .channel_binding(policy)
            .channel(channel)
            .begin(offered, &nonce())
            .map(|first| String::from_utf8(first.message()[..2].to_vec()).unwrap())
    };
    let plain_only = &BOTH[1..];
    assert_eq!(begin(Policy::Prefer, Channel::Plain, plain_only), Ok("n,".into()));
    assert_eq!(begin(Policy::Prefer, tls(), &BOTH), Ok("p=".into()));
    assert_eq!(
        begin(Policy::Prefer, tls(), &["SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"]),
        Ok("p=".into())
    );
    assert_eq!(begin(Policy::Prefer, tls(), plain_only), Ok("y,".into()));
    assert_eq!(begin(Policy::Disable, tls(), &BOTH), Ok("n,".into()));
    assert_eq!(begin(Policy::Disable, tls(), plain_only), Ok("n,".into()));
    assert_eq!(begin(Policy::Require, tls(), &BOTH), Ok("p=".into()));
    let no = |reason| Err(ClientError::ChannelBinding(reason));
    assert_eq!(begin(Policy::Require, tls(), plain_only), no(NoChannelBinding::NotOffered));
    assert_eq!(begin(Policy::Require, Channel::Plain, plain_only), no(NoChannelBinding::NoTls));
    assert_eq!(begin(Policy::Disable, Channel::Plain, &BOTH), Err(ClientError::PlusWithoutTls));
    assert_eq!(begin(Policy::Disable, tls(), &BOTH[..1]), Err(ClientError::NoMechanism));
    assert_eq!(
        begin(Policy::Prefer, tls(), &["SCRAM-SHA-512", "scram-sha-256"]),
        Err(ClientError::NoMechanism)
    );

    let error = EndPointError::NoDigest { algorithm: "Ed25519" };
    let unbound = || Channel::Tls(Err(error.clone()));
    for policy in [Policy::Prefer, Policy::Require] {
        assert_eq!(begin(policy, unbound(), &BOTH), no(NoChannelBinding::EndPoint(error.clone())));
    }
    assert_eq!(begin(Policy::Disable, unbound(), &BOTH), Ok("n,".into()));
    // A server that does not offer it lets everybody in.
    assert_eq!(begin(Policy::Prefer, unbound(), plain_only), Ok("y,".into()));
}

#[test]
fn whole_exchange_bound_to_the_channel() {
    let password = Password::new("pencil");
    let secret = Secret::new(&password, b"0123456789abcdef", 4096).unwrap();
    let server = Server::new(secret, tls());
    let client = Client::new(password).channel(tls()).channel_binding(Policy::Require);
    let client = client.begin(server.mechanisms(), &nonce()).unwrap();
    let server = server
        .begin(client.mechanism().name(), client.message(), &Nonce::from_bytes(&[2; 18]))
        .unwrap();
    let client = client.receive(server.message()).unwrap();
    let accepted = server.finish(client.message()).unwrap();
    assert!(accepted.is_channel_bound());
    assert!(client.receive(accepted.message()).unwrap().is_channel_bound());
}

#[test]
fn authentication_ok_without_proof() {
    let first = |client: Client| client.begin(["SCRAM-SHA-256"], &nonce()).unwrap();
    let message = format!("r={NONCE}xyz,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=4096");
    for (make, ok) in [
        ((|| client(Profile::Strict)) as fn() -> Client, false),
        (|| client(Profile::Libpq), true),
        (|| client(Profile::Libpq).require_auth(true), false),
    ] {
        assert_eq!(make().authentication_ok().is_ok(), ok);
        let skipped = first(make()).receive(message.as_bytes()).unwrap().authentication_ok();
        assert_eq!(skipped.is_ok(), ok);
    }
    let require = client(Profile::Libpq).channel(tls()).channel_binding(Policy::Require);
    assert_eq!(require.authentication_ok(), Err(ClientError::NoExchange));
}

#[test]
fn user_names_are_escaped() {
    let client = client(Profile::Strict).user_name("a,b=c");
    let first = client.begin(["SCRAM-SHA-256"], &nonce()).unwrap();
    assert_eq!(first.message(), format!("n,,n=a=2Cb=3Dc,r={NONCE}").as_bytes());
}

#[test]
fn what_the_server_says_is_escaped() {
    let message = format!("r={NONCE}xyz,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=4096");
    let client = receive(Profile::Strict, Limits::default(), &message).unwrap();
    let error = client.receive("e=\u{1b}[31mother-error".as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "the server refuses: \\u{1b}[31mother-error");
}
