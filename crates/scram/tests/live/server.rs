//! Our server refuses what real servers refuse, with the same SQLSTATE, and takes what they take.

use pgtest::Server as PgServer;
use scram::{Channel, Nonce, Password, Secret, Server, ServerError};

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
            let (mut wire, channel) = if with_tls {
                let (stream, certificate) = tls(connect(server));
                (Wire::new(stream), Channel::tls(&certificate))
            } else {
                (Wire::new(connect(server)), Channel::Plain)
            };
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

fn set_secret(server: &PgServer) {
    let secret = secret().to_text();
    server.query(&format!("ALTER ROLE a PASSWORD '{}'", secret.as_str())).unwrap();
}

/// Changes to the right last message, by name of what is changed.
fn change(good: &str, how: usize) -> Option<String> {
    let (without_proof, proof) = good.split_once(",p=").unwrap();
    let nonce = without_proof.split_once("r=").unwrap().1;
    let changed = [
        good.to_owned(),
        String::new(),
        good.replace("c=biws", "c=eSws"),
        good.replace("c=biws", "c="),
        good.replace("c=biws", "c=biws=="),
        good.replace("c=biws,", ""),
        good.replace(nonce, &nonce[1..]),
        good.replace(nonce, &nonce[..nonce.len() - 1]),
        good.replace(nonce, &format!("{nonce}x")),
        good.replace(nonce, ""),
        good.replace(",p=", ",x=1,p="),
        good.replace(",p=", ",x,p="),
        good.replace(",p=", ",,p="),
        good.replace(",p=", ",1=1,p="),
        good.replace(",p=", ",p"),
        good.replace(",p=", ",q="),
        without_proof.to_owned(),
        format!("{without_proof},"),
        format!("{good},"),
        format!("{good},x=1"),
        format!("{without_proof},p="),
        format!("{without_proof},p=AAAA"),
        format!("{without_proof},p={}", "AAAA".repeat(11)),
        format!("{without_proof},p=!{}", &proof[1..]),
        format!("{without_proof},p= {proof}"),
        format!("{without_proof},p={}", proof.trim_end_matches('=')),
        format!("{without_proof},p={}", proof.to_lowercase()),
        format!("{without_proof}\0,p={proof}"),
        format!("r={nonce},c=biws,p={proof}"),
    ];
    changed.get(how).cloned()
}

pub(crate) fn last_messages(server: &PgServer) {
    set_secret(server);
    for how in 0.. {
        let mut wire = Wire::new(connect(server));
        wire.startup("a");
        let client = scram::Client::new(Password::new("pencil"));
        let client = client.begin([PLAIN], &Nonce::from_text("CLIENT").unwrap()).unwrap();
        let first = client.message().to_vec();
        let Answer::Continue(challenge) = wire.sasl_initial(PLAIN, &first) else {
            panic!("no SASLContinue")
        };
        let client = client.receive(&challenge).unwrap();
        let good = String::from_utf8(client.message().to_vec()).unwrap();
        let Some(message) = change(&good, how) else { break };
        let theirs = answer(&wire.sasl(message.as_bytes()));

        let challenge = String::from_utf8(challenge).unwrap();
        let nonce = &challenge["r=CLIENT".len()..challenge.find(",s=").unwrap()];
        let result = Server::new(secret(), Channel::Plain)
            .begin(PLAIN.as_bytes(), &first, &Nonce::from_text(nonce).unwrap())
            .unwrap()
            .finish(message.as_bytes());
        assert_eq!(ours(&result, "final"), theirs, "{message:?}: {result:?}");
    }
}
