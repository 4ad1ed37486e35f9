//! Whole logins, recorded between libpq and servers 12 to 18: every message is made again from the
//! nonces and compared byte by byte, on both sides.

use pg_version::PgVersion;
use scram::{
    Channel, Client, ClientError, Nonce, Password, Secret, Server, ServerError,
    message::ServerFirst, server::Mock,
};

use crate::{
    common::recorded,
    recompute::{Made, recompute},
};

#[test]
fn every_message_recomputed() {
    let cases = recorded("transcripts");
    assert_eq!(cases.len(), 35);
    let mut compared = 0;
    for case in &cases {
        for Made { what, recorded, made } in recompute(case).unwrap() {
            assert_eq!(made, recorded, "{what} of {} on {}", case["kind"], case["server_major"]);
            compared += 1;
        }
    }
    // two for users without a secret, six for a login, five for a wrong password
    assert_eq!(compared, 7 * (3 * 2 + 6 + 5));
}

#[test]
fn unknown_users_get_what_known_users_get() {
    let mock = Mock::new([5; 32]);
    let client_nonce = Nonce::from_bytes(&[1; 18]);
    let server_nonce = Nonce::from_bytes(&[2; 18]);
    let password = Password::new("pencil");
    let run = |secret: Option<Secret>| {
        let server = Server::for_user("alice", secret, &mock, Channel::Plain);
        let client =
            Client::new(password.clone()).begin(server.mechanisms(), &client_nonce).unwrap();
        let server = server.begin(b"SCRAM-SHA-256", client.message(), &server_nonce).unwrap();
        let shape: String = String::from_utf8(server.message().to_vec()).unwrap();
        let proof = client.receive(server.message()).unwrap();
        (shape, server.finish(proof.message()).map(|accepted| accepted.message().to_vec()))
    };
    let secret = Secret::new(&password, b"0123456789abcdef", 4096).unwrap();
    let (known, accepted) = run(Some(secret));
    assert!(accepted.is_ok());
    let (unknown, refused) = run(None);
    assert_eq!(refused, Err(ServerError::AuthenticationFailed));
    assert_eq!(known.len(), unknown.len());
    assert_eq!(run(None).0, unknown, "the same salt every time");

    let nothing = Password::new("");
    for known in [None, Some(&password), Some(&nothing)] {
        let server = Server::for_password("bob", known, &mock, Channel::Plain);
        let client =
            Client::new(nothing.clone()).begin(server.mechanisms(), &client_nonce).unwrap();
        let server = server.begin(b"SCRAM-SHA-256", client.message(), &server_nonce).unwrap();
        let proof = client.receive(server.message()).unwrap();
        // The empty password is what unknown users' keys are derived from, and it lets nobody in.
        let accepted = server.finish(proof.message());
        assert_eq!(accepted.is_ok(), known.is_some_and(|known| known.as_bytes().is_empty()));
    }
}

#[test]
fn what_is_stored_decides() {
    let mock = Mock::new([5; 32]);
    let password = Password::new("pencil");
    let secret = Secret::new(&password, b"0123456789abcdef", 4096).unwrap().to_text();
    let nonces = [1, 2].map(|byte| Nonce::from_bytes(&[byte; 18]));
    let log_in = |stored: Option<&[u8]>, version| {
        let server = Server::for_rolpassword("alice", stored, version, &mock, Channel::Plain);
        let client = Client::new(password.clone()).begin(server.mechanisms(), &nonces[0]).unwrap();
        let server = server.begin(b"SCRAM-SHA-256", client.message(), &nonces[1]).unwrap();
        let client = client.receive(server.message()).unwrap();
        server.finish(client.message()).map(|_| ())
    };
    let sloppy = format!("${}", *secret);
    for version in PgVersion::ALL {
        assert_eq!(log_in(Some(secret.as_bytes()), version), Ok(()));
        for stored in [None, Some(&b"md5"[..]), Some(b""), Some(b"pencil")] {
            assert_eq!(log_in(stored, version), Err(ServerError::AuthenticationFailed));
        }
        let read = log_in(Some(sloppy.as_bytes()), version).is_ok();
        assert_eq!(read, version < PgVersion::V18);
    }
}

#[test]
fn rfc_7677_section_3() {
    let client = Client::new(Password::new("pencil")).user_name("user");
    let nonce = Nonce::from_text("rOprNGfwEbeRWgbNEkqO").unwrap();
    let client = client.begin(["SCRAM-SHA-256"], &nonce).unwrap();
    assert_eq!(client.message(), b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
    let server_first =
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    let proof = client.receive(server_first.as_bytes()).unwrap();
    let expected = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                    p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    assert_eq!(proof.message(), expected.as_bytes());
    proof.receive(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=").unwrap();

    let salt = scram::message::ServerFirst::parse(server_first.as_bytes()).unwrap().salt;
    assert_eq!(salt, b"W22ZaJ0SNY7soEsUEjb6gQ==");
    let salt = [
        0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e, 0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36, 0xfa,
        0x81,
    ];
    let secret = Secret::new(&Password::new("pencil"), &salt, 4096).unwrap();
    let server = Server::new(secret, Channel::Plain)
        .begin(
            b"SCRAM-SHA-256",
            b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
            &Nonce::from_text("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0").unwrap(),
        )
        .unwrap();
    assert_eq!(server.message(), server_first.as_bytes());
    let accepted = server.finish(expected.as_bytes()).unwrap();
    assert_eq!(accepted.message(), b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
}

/// RFC 5802's example is of SCRAM-SHA-1, whose hash PostgreSQL does not have: its messages are read
/// as the same protocol's.
#[test]
fn rfc_5802_section_5_messages() {
    use scram::message::{ClientFinal, ClientFirst, Gs2Flag, ServerFinal};
    let first = ClientFirst::parse(b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL").unwrap();
    assert_eq!(first.flag, Gs2Flag::NotSupported);
    assert_eq!(first.bare, b"n=user,r=fyko+d2lbbFgONRv9qkxdawL");
    assert_eq!((first.user_name, first.nonce), (&b"user"[..], &b"fyko+d2lbbFgONRv9qkxdawL"[..]));
    let server = ServerFirst::parse(
        b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
    )
    .unwrap();
    assert_eq!(server.nonce, b"fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j");
    assert_eq!((server.salt, server.iterations), (&b"QSXCR+Q6sek8bf92"[..], &b"4096"[..]));
    assert_eq!(server.rest, None);
    let last =
        b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=";
    let last = ClientFinal::parse(last).unwrap();
    assert_eq!(last.channel_binding, b"biws");
    assert_eq!(last.without_proof, b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j");
    assert_eq!(last.proof, b"v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=");
    assert_eq!(
        ServerFinal::parse(b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=").unwrap(),
        ServerFinal::Signature { signature: b"rmF9pqV8S7suAoZWja4dJRkFsKQ=", rest: None }
    );
}

#[test]
fn a_proxy_passes_a_login_through() {
    let password = Password::new("pencil");
    let secret = Secret::new(&password, b"0123456789abcdef", 4096).unwrap();
    let nonces = [1, 2, 3, 4].map(|byte| Nonce::from_bytes(&[byte; 18]));

    let front = Server::new(secret.clone(), Channel::Plain);
    let client = Client::new(password).begin(front.mechanisms(), &nonces[0]).unwrap();
    let front = front.begin(b"SCRAM-SHA-256", client.message(), &nonces[1]).unwrap();
    let client = client.receive(front.message()).unwrap();
    let accepted = front.finish(client.message()).unwrap();
    assert_eq!(accepted.client_key().stored_key(), *secret.stored_key());

    // The proxy never had the password, and logs in elsewhere all the same.
    let back = Server::new(secret, Channel::Plain);
    let proxy = Client::new(accepted.keys().clone());
    let proxy = proxy.begin(back.mechanisms(), &nonces[2]).unwrap();
    let back = back.begin(b"SCRAM-SHA-256", proxy.message(), &nonces[3]).unwrap();
    let proxy = proxy.receive(back.message()).unwrap();
    let back = back.finish(proxy.message()).unwrap();
    proxy.receive(back.message()).unwrap();

    // With another salt the keys are of no use, on either side.
    let other = Secret::new(&Password::new("pencil"), b"another salt 123", 4096).unwrap();
    let back = Server::new(other, Channel::Plain);
    let proxy = Client::new(accepted.keys().clone()).begin(back.mechanisms(), &nonces[2]).unwrap();
    let back = back.begin(b"SCRAM-SHA-256", proxy.message(), &nonces[3]).unwrap();
    let proxy = proxy.receive(back.message()).unwrap();
    let refused = back.finish(proxy.message()).unwrap_err();
    assert_eq!(refused, ServerError::AuthenticationFailed);
    let error = proxy.receive(accepted.message()).unwrap_err();
    assert_eq!(error, ClientError::ServerSignature);
}
