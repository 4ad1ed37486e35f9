//! Our client logs in to real servers.

use std::sync::OnceLock;

use pg_version::PgVersion;
use pgtest::Server;
use rustls::pki_types::CertificateDer;
use scram::{
    Channel, Client, ClientError, Credentials, Keys, Mock, Nonce, Password, Policy, Profile,
    SaltedPassword, Secret, client::NoChannelBinding, server,
};

use crate::{
    certificates::{Pair, issued, self_signed, tls},
    wire::{Answer, Wire, connect},
};

/// Sets the password of the one user.
fn set_password(server: &Server, password: &str) {
    server.query(&format!("ALTER ROLE a PASSWORD '{password}'")).unwrap();
}

/// Puts a certificate where the server looks for it when it reloads.
pub(crate) fn install(server: &Server, pair: &Pair) {
    server.write_file("server.crt", &pair.certificate, 0o600).unwrap();
    server.write_file("server.key", &pair.key, 0o600).unwrap();
}

/// Logs in, and tells whether the exchange was bound to the channel.
fn log_in(mut wire: Wire, client: Client, user: &str) -> Result<bool, String> {
    let Answer::Sasl(offered) = wire.startup(user) else { panic!("no SASL") };
    let client = client.begin(offered, &Nonce::random().unwrap()).map_err(|e| e.to_string())?;
    let Answer::Continue(message) =
        wire.sasl_initial(client.mechanism().as_str(), client.message())
    else {
        panic!("no SASLContinue")
    };
    let client = client.receive(&message).map_err(|error| error.to_string())?;
    match wire.sasl(client.message()) {
        Answer::Final(message) => {
            let authenticated = client.receive(&message).map_err(|error| error.to_string())?;
            assert_eq!(wire.answer(), Answer::Ok);
            Ok(authenticated.is_channel_bound())
        }
        Answer::Error(sqlstate) => Err(sqlstate),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn without_tls(server: &Server) {
    let plain = || Wire::new(connect(server));
    let client = |password: &str| Client::new(Password::new(password));
    // with spaces and compatibility characters that SASLprep changes, and with those it leaves
    for password in ["a\u{a0}Ⅸ", "\u{1f511}\u{5d0}1", "\u{2135}a", "pencil"] {
        set_password(server, password);
        assert_eq!(log_in(plain(), client(password), "a"), Ok(false), "{password:?}");
        let wrong = log_in(plain(), client("another"), "a");
        assert_eq!(wrong, Err("28P01".to_owned()));
    }
    let unknown = log_in(plain(), client("pencil"), "nobody");
    assert_eq!(unknown, Err("28P01".to_owned()));

    // with keys instead of the password
    let text = server.query("SELECT rolpassword FROM pg_authid WHERE rolname = 'a'").unwrap();
    let secret = Secret::parse(text.value().unwrap().as_bytes(), server.version()).unwrap();
    let salted = SaltedPassword::derive(&Password::new("pencil"), &secret.salt(), 4096);
    let credentials = Credentials::Keys(Keys::new(&salted));
    assert_eq!(log_in(plain(), Client::new(credentials), "a"), Ok(false));
}

/// What a server of ours would send to an unknown user is what PostgreSQL sends, given the same
/// nonce.
pub(crate) fn mock_salts(server: &Server) {
    // Where pg_control keeps the nonce differs; the one place that gives the right salts is it.
    let hex = server.query("SELECT encode(pg_read_binary_file('global/pg_control'), 'hex')");
    let hex = hex.unwrap().value().unwrap().to_owned();
    let control: Vec<u8> = hex
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    let mut mocks: Vec<Mock> =
        control.windows(32).map(|nonce| Mock::new(nonce.try_into().unwrap())).collect();
    for user in ["nobody", "jürgen", "x"] {
        let mut wire = Wire::new(connect(server));
        assert!(matches!(wire.startup(user), Answer::Sasl(_)));
        let first = b"n,,n=,r=CLIENT";
        let Answer::Continue(theirs) = wire.sasl_initial("SCRAM-SHA-256", first) else {
            panic!("no SASLContinue")
        };
        let theirs = String::from_utf8(theirs).unwrap();
        let nonce = &theirs["r=CLIENT".len()..theirs.find(",s=").unwrap()];
        let nonce = Nonce::from_text(nonce).unwrap();
        mocks.retain(|mock| {
            server::Server::for_user(user, None, mock, Channel::Plain)
                .begin(b"SCRAM-SHA-256", first, &nonce)
                .is_ok_and(|ours| ours.message() == theirs.as_bytes())
        });
        assert_eq!(mocks.len(), 1, "{user}");
    }
}

/// Certificates with every type of signature, made once.
pub(crate) fn pairs() -> &'static [(&'static str, Pair)] {
    static PAIRS: OnceLock<Vec<(&str, Pair)>> = OnceLock::new();
    PAIRS.get_or_init(make_pairs)
}

fn make_pairs() -> Vec<(&'static str, Pair)> {
    let ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
    let rsa = ["-newkey", "rsa:2048"];
    let pss = ["-sigopt", "rsa_padding_mode:pss"];
    let ed25519 = ["-newkey", "ed25519"];
    vec![
        // Bound to with SHA-256 instead. (No server minds how a certificate signed itself.)
        ("ecdsa-sha1", self_signed(&[&ec[..], &["-sha1"]].concat())),
        ("rsa-md5", self_signed(&[&rsa[..], &["-md5"]].concat())),
        ("rsa-sha1", self_signed(&[&rsa[..], &["-sha1"]].concat())),
        ("pss-sha1", self_signed(&[&rsa[..], &["-sha1"], &pss[..]].concat())),
        ("ecdsa-sha224", self_signed(&[&ec[..], &["-sha224"]].concat())),
        ("ecdsa-sha256", self_signed(&[&ec[..], &["-sha256"]].concat())),
        ("ecdsa-sha384", self_signed(&[&ec[..], &["-sha384"]].concat())),
        ("ecdsa-sha512", self_signed(&[&ec[..], &["-sha512"]].concat())),
        ("rsa-sha256", self_signed(&[&rsa[..], &["-sha256"]].concat())),
        ("rsa-sha384", self_signed(&[&rsa[..], &["-sha384"]].concat())),
        ("rsa-sha512", self_signed(&[&rsa[..], &["-sha512"]].concat())),
        ("pss-sha256", self_signed(&[&rsa[..], &["-sha256"], &pss[..]].concat())),
        ("pss-sha384", self_signed(&[&rsa[..], &["-sha384"], &pss[..]].concat())),
        ("pss-sha512", self_signed(&[&rsa[..], &["-sha512"], &pss[..]].concat())),
        ("pss-sha512-256", self_signed(&[&rsa[..], &["-sha512-256"], &pss[..]].concat())),
        ("rsa-sha3-256", self_signed(&[&rsa[..], &["-sha3-256"]].concat())),
        ("rsa-sha3-512", self_signed(&[&rsa[..], &["-sha3-512"]].concat())),
        ("ed25519-leaf-ecsig", issued(&ec, &ed25519)),
        ("ec-leaf-edsig", issued(&ed25519, &ec)),
        ("ed25519-all", self_signed(&ed25519)),
    ]
}

pub(crate) fn with_tls_and_every_signature(server: &Server, pairs: &[(&str, Pair)]) {
    set_password(server, "pencil");
    for (name, pair) in pairs {
        install(server, pair);
        server.reload().unwrap();
        let log_in = |policy, certificate: Option<CertificateDer<'_>>| {
            let (stream, presented) = tls(connect(server));
            assert_eq!(presented, pair.der(), "{name}");
            let certificate = certificate.unwrap_or(presented);
            let client = Client::new(Password::new("pencil"))
                .channel(Channel::tls(&certificate))
                .channel_binding(policy);
            log_in(Wire::new(stream), client, "a")
        };
        let works = !matches!(*name, "ec-leaf-edsig" | "ed25519-all");
        for policy in [Policy::Prefer, Policy::Require] {
            let logged_in = log_in(policy, None);
            if works {
                assert_eq!(logged_in, Ok(true), "{name}");
            } else {
                assert!(logged_in.unwrap_err().contains("signed with Ed25519"), "{name}");
            }
        }
        assert_eq!(log_in(Policy::Disable, None), Ok(false), "{name}");
        if works {
            // as if somebody in between had another certificate
            let another = pairs[usize::from(*name == pairs[0].0)].1.der();
            assert_eq!(log_in(Policy::Prefer, Some(another)), Err("28000".to_owned()), "{name}");
        }
    }
}

/// `trust` lets a client in without a word; only a lenient one takes that.
#[test]
fn a_server_that_asks_for_nothing() {
    let installation = pgtest::find(PgVersion::V18).unwrap();
    let server = Server::builder(&installation).start().unwrap();
    assert_eq!(Wire::new(connect(&server)).startup("postgres"), Answer::Ok);
    let client = || Client::new(Password::new("pencil"));
    assert_eq!(client().authentication_ok(), Err(ClientError::NoExchange));
    assert_eq!(client().profile(Profile::Libpq).authentication_ok(), Ok(()));

    let required = client().channel_binding(Policy::Require);
    let error = required.begin(["SCRAM-SHA-256"], &Nonce::random().unwrap()).unwrap_err();
    assert_eq!(error, ClientError::ChannelBinding(NoChannelBinding::NoTls));
}
