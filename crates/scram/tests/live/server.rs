//! Our server refuses what real servers refuse, with the same SQLSTATE, and takes what they take.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use pgtest::Server as PgServer;
use scram::{
    Channel, Nonce, Password, SaltedPassword, Secret, Server, ServerError, ServerKey,
    message::MAX_CLIENT_MESSAGE,
};

use crate::{
    certificates::tls,
    wire::{Answer, Wire, connect},
};

/// A secret that anybody can make a proof for.
fn secret() -> Secret {
    Secret::new(&Password::new("pencil"), b"0123456789abcdef", 4096).unwrap()
}

/// The server's answer to a first message, in short.
fn answer(answer: &Answer) -> String {
    match answer {
        Answer::Continue(_) => "continue".to_owned(),
        Answer::Final(_) => "final".to_owned(),
        Answer::Error(sqlstate) => sqlstate.clone(),
        other => format!("{other:?}"),
    }
}

fn ours<T>(result: &Result<T, ServerError>, ok: &str) -> String {
    match result {
        Ok(_) => ok.to_owned(),
        Err(error) => error.sqlstate().to_owned(),
    }
}

const PLAIN: &str = "SCRAM-SHA-256";
const PLUS: &str = "SCRAM-SHA-256-PLUS";

fn firsts() -> Vec<(&'static str, String)> {
    let mut all: Vec<(&str, String)> = Vec::new();
    for mechanism in [PLAIN, PLUS, "SCRAM-SHA-1", "scram-sha-256", ""] {
        for header in ["n,,", "y,,", "p=tls-server-end-point,,", "p=tls-unique,,", "p=,,"] {
            all.push((mechanism, format!("{header}n=,r=CLIENT")));
        }
    }
    for message in [
        "n",
        "n,",
        "n,,",
        "nn,,n=,r=C",
        "n,a=bob,n=,r=C",
        "n,a,n=,r=C",
        "n,b,n=,r=C",
        "x,,n=,r=C",
        ",,n=,r=C",
        "n,,m=x,n=,r=C",
        "n,,mandatory",
        "n,,n,r=C",
        "n,,n=",
        "n,,n=,",
        "n,,n=,r",
        "n,,n=,r=",
        "n,,n=,r=,",
        "n,,r=C",
        "n,,n=user,r=C",
        "n,,n=us=er,r=C",
        "n,,n=,r=C,",
        "n,,n=,r=C,,",
        "n,,n=,r=C,x",
        "n,,n=,r=C,x=",
        "n,,n=,r=C,x=1,Y=2",
        "n,,n=,r=C,1=2",
        "n,,n=,r=C,é=2",
        "n,,n=,r=C C",
        "n,,n=,r=C\u{7f}",
        "n,,n=,r=é",
        "n,,n=,r=~!",
        "n,,n=,r=C\0",
        "n,,n=,r=C,x=\u{1}",
        "p",
        "p=",
        "p=x",
        "y",
        "y,a=x,n=,r=C",
        "y,,m=",
        "e=other-error",
    ] {
        all.push((PLAIN, message.to_owned()));
    }
    all
}

pub(crate) fn first_messages(server: &PgServer) {
    set_secret(server);
    for (mechanism, message) in firsts() {
        for with_tls in [false, true] {
            let (mut wire, channel) = connect_with(server, with_tls);
            wire.startup("a");
            let theirs = answer(&wire.sasl_initial(mechanism, message.as_bytes()));
            let server = Server::new(secret(), channel);
            let nonce = Nonce::from_text("SERVER").unwrap();
            let result = server.begin(mechanism.as_bytes(), message.as_bytes(), &nonce);
            assert_eq!(
                ours(&result, "continue"),
                theirs,
                "tls={with_tls} {mechanism} {message:?}: {result:?}"
            );
        }
    }
}

fn connect_with(server: &PgServer, with_tls: bool) -> (Wire, Channel) {
    if with_tls {
        let (stream, certificate) = tls(connect(server));
        (Wire::new(stream), Channel::tls(&certificate))
    } else {
        (Wire::new(connect(server)), Channel::Plain)
    }
}

fn set_secret(server: &PgServer) {
    let secret = secret().to_text();
    server.query(&format!("ALTER ROLE a PASSWORD '{}'", secret.as_str())).unwrap();
}

/// Whole exchanges with a client that says what it likes: `{c}` is the right channel binding
/// attribute, `{n}` the whole nonce, `{p}` the right proof for just this message.
fn lasts() -> Vec<String> {
    let mut all: Vec<String> = [
        "c={c},r={n},p={p}",
        "",
        "c={c},r={n}",
        "c={c},r={n},",
        "c={c},r={n},p",
        "c={c},r={n},p:{p}",
        "c={c},r={n},q={p}",
        "c={c},r={n},P={p}",
        "c={c},p={p},r={n}",
        "r={n},c={c},p={p}",
        "r={n},p={p}",
        "C={c},R={n},p={p}",
        "p={p},c={c},r={n}",
        "m=x,c={c},r={n},p={p}",
        "c={c},m=x,r={n},p={p}",
        "c={c},,r={n},p={p}",
        " c={c},r={n},p={p}",
        "c={c}, r={n},p={p}",
        // extensions, which are ignored
        "c={c},r={n},x=1,p={p}",
        "c={c},r={n},m=1,p={p}",
        "c={c},r={n},x=,Y==,p={p}",
        "c={c},r={n},c={c},r={n},p={p}",
        "c={c},r={n},e=other-error,p={p}",
        "c={c},r={n},x=\u{e9}\u{1},p={p}",
        // and those that are none
        "c={c},r={n},x,p={p}",
        "c={c},r={n},,p={p}",
        "c={c},r={n},1=1,p={p}",
        "c={c},r={n}, x=1,p={p}",
        "c={c},r={n},xy=1,p={p}",
        "c={c},r={n},\u{e9}=1,p={p}",
        // channel binding
        "c=,r={n},p={p}",
        "c=biws,r={n},p={p}",
        "c=eSws,r={n},p={p}",
        "c=biw,r={n},p={p}",
        "c=biws=,r={n},p={p}",
        "c=biwt,r={n},p={p}",
        "c={c}=,r={n},p={p}",
        "c= {c},r={n},p={p}",
        "c={c} ,r={n},p={p}",
        "c=cD10bHMtc2VydmVyLWVuZC1wb2ludCws,r={n},p={p}",
        // nonces
        "c={c},r=,p={p}",
        "c={c},r={n}x,p={p}",
        "c={c},r=x{n},p={p}",
        "c={c},r={n} ,p={p}",
        "c={c},r={n}=,p={p}",
        "c={c},r=CLIENT,p={p}",
        // proofs
        "c={c},r={n},p=",
        "c={c},r={n},p=AAAA",
        "c={c},r={n},p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "c={c},r={n},p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "c={c},r={n},p=!AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "c={c},r={n},p= {p}",
        "c={c},r={n},p={p} ",
        "c={c},r={n},p={p}=",
        "c={c},r={n},p={p}====",
        "c={c},r={n},p={p}AAAA",
        "c={c},r={n},p={p}\n",
        // something behind it
        "c={c},r={n},p={p},",
        "c={c},r={n},p={p},,",
        "c={c},r={n},p={p},x=1",
        "c={c},r={n},p={p},p={p}",
        "c={c},r={n},p=AAAA,p={p}",
        // several faults: which is found first?
        "c=AAAA,p={p}",
        "c=AAAA",
        "c=AAAA,r={n}",
        "c=AAAA,r=x,p={p}",
        "c=AAAA,r={n},p=!",
        "c=AAAA,r={n},p={p},x",
        "c=AAAA,r={n},1",
        "c={c},r=x,p=!",
        "c={c},r=x,p=AAAA,x",
        "c={c},r=x,1=1,p={p}",
        // NUL
        "c={c}\0,r={n},p={p}",
        "c={c},r={n},p={p}\0",
        "\0",
    ]
    .map(ToOwned::to_owned)
    .to_vec();
    // around the longest message that a server reads
    for len in [1019, 1020, 1021, 1022] {
        all.push(format!("{{{len}}}"));
    }
    all
}

/// A last message filled in, with its proof.
fn fill(template: &str, cbind: &str, bare: &str, challenge: &str) -> String {
    let nonce = challenge.strip_prefix("r=").unwrap().split(',').next().unwrap();
    let padded = template.trim_matches(['{', '}']).parse::<usize>().ok().map(|len| {
        let fixed = "c=,r=,x=,p=".len() + cbind.len() + nonce.len() + 44;
        format!("c={{c}},r={{n}},x={},p={{p}}", "x".repeat(len - fixed))
    });
    let template = padded.as_deref().unwrap_or(template);
    let message = template.replace("{c}", cbind).replace("{n}", nonce);
    let without_proof = message.split(",p=").next().unwrap();
    let salted = SaltedPassword::derive(&Password::new("pencil"), b"0123456789abcdef", 4096);
    let client_key = salted.client_key();
    // HMAC under the stored key: what a server's key is used for otherwise
    let hmac = ServerKey::from_bytes(client_key.stored_key().as_bytes());
    let auth_message = format!("{bare},{challenge},{without_proof}");
    let signature = hmac.signature(&[auth_message.as_bytes()]);
    let proof: Vec<u8> =
        signature.iter().zip(client_key.as_bytes()).map(|(left, right)| left ^ right).collect();
    message.replace("{p}", &STANDARD.encode(proof))
}

pub(crate) fn last_messages(server: &PgServer) {
    set_secret(server);
    let lasts = lasts();
    for (with_tls, mechanism, header, bare) in [
        (false, PLAIN, "n,,", "n=,r=CLIENT"),
        (false, PLAIN, "y,,", "n=,r=CLIENT"),
        (true, PLAIN, "n,,", "n=,r=CLIENT"),
        (true, PLUS, "p=tls-server-end-point,,", "n=,r=CLIENT"),
        (false, PLAIN, "n,,", "n=a=2Cb,r=,x=1"),
        (true, PLUS, "p=tls-server-end-point,,", "n=,r=~!,Y=,z=\u{e9}"),
    ] {
        // All where the header is one that libpq sends, a few where it is not.
        let is_usual =
            bare == "n=,r=CLIENT" && with_tls == (mechanism == PLUS) && !header.starts_with('y');
        for template in lasts.iter().filter(|last| {
            is_usual || last.starts_with("c={c},r={n},p={p}") || last.starts_with("c=biws")
        }) {
            let (mut wire, channel) = connect_with(server, with_tls);
            wire.startup("a");
            let first = format!("{header}{bare}");
            let Answer::Continue(challenge) = wire.sasl_initial(mechanism, first.as_bytes()) else {
                panic!("no SASLContinue")
            };
            let challenge = String::from_utf8(challenge).unwrap();
            let data = match &channel {
                Channel::Tls(Ok(end_point)) if mechanism == PLUS => end_point.as_bytes(),
                _ => b"",
            };
            let cbind = STANDARD.encode([header.as_bytes(), data].concat());
            let message = fill(template, &cbind, bare, &challenge);
            let theirs = answer(&wire.sasl(message.as_bytes()));

            let client_nonce = bare.split("r=").nth(1).unwrap().split(',').next().unwrap();
            let nonce = &challenge["r=".len() + client_nonce.len()..challenge.find(",s=").unwrap()];
            let ours_first = Server::new(secret(), channel)
                .begin(mechanism.as_bytes(), first.as_bytes(), &Nonce::from_text(nonce).unwrap())
                .unwrap();
            assert_eq!(ours_first.message(), challenge.as_bytes());
            let result = ours_first.finish(message.as_bytes());
            assert_eq!(
                ours(&result, "final"),
                theirs,
                "{mechanism} {header} {template:?}: {result:?}"
            );
        }
    }
}

/// A client that chooses a mechanism and says nothing yet gets an empty challenge, and may speak
/// then. Messages that are too long end the connection, or are refused.
pub(crate) fn lengths_of_first_messages(server: &PgServer) {
    set_secret(server);
    for mechanism in [PLAIN, PLUS] {
        let header = if mechanism == PLUS { "p=tls-server-end-point,," } else { "n,," };
        let max = MAX_CLIENT_MESSAGE - mechanism.len() - 5;
        for len in [max - 1, max, max + 1, max + 2] {
            let mut message = format!("{header}n=,r=");
            message.push_str(&"x".repeat(len - message.len()));
            let (mut wire, channel) = connect_with(server, mechanism == PLUS);
            wire.startup("a");
            let theirs = answer(&wire.sasl_initial(mechanism, message.as_bytes()));
            let nonce = Nonce::from_text("SERVER").unwrap();
            let result = Server::new(secret(), channel).begin(
                mechanism.as_bytes(),
                message.as_bytes(),
                &nonce,
            );
            assert_eq!(ours(&result, "continue"), theirs, "{mechanism} {len}");
        }
    }
    let mut wire = Wire::new(connect(server));
    wire.startup("a");
    assert_eq!(wire.sasl_initial_without_message(PLAIN), Answer::Continue(Vec::new()));
    assert!(
        matches!(wire.sasl(b"n,,n=,r=CLIENT"), Answer::Continue(message) if !message.is_empty())
    );
}
