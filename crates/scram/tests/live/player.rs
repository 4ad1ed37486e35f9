//! Plays servers against libpq and against our client.

use std::{
    fmt,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use pgtest::libpq::Libpq;
use rustls::{ServerConnection, StreamOwned};
use scram::{
    Client, Nonce, Password, SaltedPassword,
    client::{FinalSent, FirstSent},
};

use crate::{SOON, certificates::Pair};

pub(crate) const PASSWORD: &str = "pencil";

/// What a server says next.
#[derive(Clone)]
pub(crate) enum Say {
    /// AuthenticationSASL
    Sasl(Vec<&'static str>),
    /// AuthenticationSASLContinue
    Continue(Vec<u8>),
    /// AuthenticationSASLFinal
    Final(Vec<u8>),
    /// AuthenticationOk
    Ok,
}

/// A server: what it says, and what it signs with. In messages `{c}` is the client's nonce and `{v}`
/// the right signature; `{sloppy}` is one that most decoders take for the same.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) says: Vec<Say>,
    pub(crate) salt: Vec<u8>,
    pub(crate) iterations: u32,
}

impl fmt::Debug for Say {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sasl(names) => write!(f, "SASL {names:?}"),
            Self::Continue(message) => write!(f, "SASLContinue {}", message.escape_ascii()),
            Self::Final(message) => write!(f, "SASLFinal {}", message.escape_ascii()),
            Self::Ok => f.write_str("Ok"),
        }
    }
}

/// How far a client came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Its first message up to the nonce, if it sent one
    pub(crate) header: Option<String>,
    pub(crate) sent_proof: bool,
    pub(crate) logged_in: bool,
}

fn replace(message: &[u8], what: &[u8], by: &[u8]) -> Vec<u8> {
    match message.windows(what.len()).position(|window| window == what) {
        Some(at) => [&message[..at], by, &message[at + what.len()..]].concat(),
        None => message.to_vec(),
    }
}

/// What the server has seen of the client.
#[derive(Default)]
struct Seen {
    header: Option<String>,
    nonce: Vec<u8>,
    bare: Vec<u8>,
    challenge: Vec<u8>,
    proof: Option<Vec<u8>>,
}

impl Seen {
    fn client_first(&mut self, message: &[u8]) {
        let at = message.windows(2).position(|window| window == b"r=").unwrap() + 2;
        self.nonce = message[at..].to_vec();
        self.header = Some(String::from_utf8_lossy(&message[..at]).into_owned());
        let bare = message.windows(2).position(|window| window == b"n=").unwrap();
        self.bare = message[bare..].to_vec();
    }

    /// The message with everything filled in.
    fn fill(&self, message: &[u8], script: &Script) -> Vec<u8> {
        let message = replace(message, b"{c}", &self.nonce);
        let Some(proof) = &self.proof else { return message };
        let end = proof.windows(3).position(|window| window == b",p=").unwrap();
        let salted =
            SaltedPassword::derive(&Password::new(PASSWORD), &script.salt, script.iterations);
        let signature = salted.server_key().signature(&[
            &self.bare,
            b",",
            &self.challenge,
            b",",
            &proof[..end],
        ]);
        let right = STANDARD.encode(*signature);
        // The last digit has two bits that belong to nothing, and are zero.
        let (digits, padding) = right.split_at(right.len() - 1);
        let (digits, last) = digits.split_at(digits.len() - 1);
        let stray = char::from(last.as_bytes()[0] + 1);
        let sloppy = format!("{digits}{stray}{padding}");
        let message = replace(&message, b"{v}", right.as_bytes());
        replace(&message, b"{sloppy}", sloppy.as_bytes())
    }
}

/// Plays the server over a connection, and tells what it saw. An error is a client that hung up.
fn serve(
    stream: &mut (impl Read + Write),
    script: &Script,
    seen: &mut Seen,
) -> std::io::Result<()> {
    read_body(stream)?;
    for say in &script.says {
        let (kind, body) = match say {
            Say::Sasl(names) => {
                let names: String = names.iter().map(|name| format!("{name}\0")).collect();
                (10u32, format!("{names}\0").into_bytes())
            }
            Say::Continue(message) => (11, seen.fill(message, script)),
            Say::Final(message) => (12, seen.fill(message, script)),
            Say::Ok => (0, Vec::new()),
        };
        let len = u32::try_from(body.len() + 8).unwrap();
        stream.write_all(&[b"R", &len.to_be_bytes()[..], &kind.to_be_bytes(), &body].concat())?;
        if matches!(say, Say::Ok) {
            stream.write_all(&[b'Z', 0, 0, 0, 5, b'I'])?;
        }
        stream.flush()?;
        if seen.header.is_none() && matches!(say, Say::Sasl(_)) {
            let Some(message) = read_message(stream)? else { break };
            let end = message.iter().position(|byte| *byte == 0).unwrap();
            seen.client_first(&message[end + 5..]);
        } else if seen.proof.is_none() && matches!(say, Say::Continue(_) | Say::Final(_)) {
            seen.challenge = body;
            seen.proof = read_message(stream)?;
            if seen.proof.is_none() {
                break;
            }
        }
    }
    Ok(())
}

fn read_body(stream: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut len = [0; 4];
    stream.read_exact(&mut len)?;
    let mut body = vec![0; u32::from_be_bytes(len) as usize - 4];
    stream.read_exact(&mut body)?;
    Ok(body)
}

/// A message of type `p`, unless the client has gone.
fn read_message(stream: &mut impl Read) -> std::io::Result<Option<Vec<u8>>> {
    let mut kind = [0];
    match stream.read_exact(&mut kind) {
        Ok(()) if kind == *b"p" => read_body(stream).map(Some),
        _ => Ok(None),
    }
}

pub(crate) fn libpq_plays(
    libpq: &Libpq,
    script: &Script,
    pair: Option<&Pair>,
    parameters: &[(&str, &str)],
) -> (Outcome, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let mode = if pair.is_some() { "require" } else { "disable" };
    let all = [("host", "127.0.0.1"), ("port", &port), ("user", "a"), ("dbname", "x")];
    let more = [("password", PASSWORD), ("sslmode", mode), ("gssencmode", "disable")];
    let parameters: Vec<_> = all.iter().chain(&more).chain(parameters).copied().collect();
    thread::scope(|scope| {
        let served = scope.spawn(|| {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(SOON)).unwrap();
            let mut seen = Seen::default();
            // A client that hangs up is one that refuses, which it tells below.
            let _ = match pair {
                None => serve(&mut stream, script, &mut seen),
                Some(pair) => serve_tls(&mut stream, script, pair, &mut seen),
            };
            seen
        });
        let connected = libpq.connect(&parameters, SOON);
        let seen = served.join().unwrap();
        let outcome = Outcome {
            header: seen.header,
            sent_proof: seen.proof.is_some(),
            logged_in: connected.is_ok(),
        };
        (outcome, connected.map_or_else(|error| error.to_string(), |_| String::new()))
    })
}

fn serve_tls(
    stream: &mut TcpStream,
    script: &Script,
    pair: &Pair,
    seen: &mut Seen,
) -> std::io::Result<()> {
    let mut request = [0; 8];
    stream.read_exact(&mut request)?;
    assert_eq!(request[4..], 80_877_103u32.to_be_bytes(), "an SSLRequest");
    stream.write_all(b"S")?;
    let connection = ServerConnection::new(pair.server_config()).unwrap();
    serve(&mut StreamOwned::new(connection, stream), script, seen)
}

/// The states that our client goes through.
enum State {
    Start(Client),
    First(FirstSent),
    Last(FinalSent),
    Done,
}

pub(crate) fn we_play(script: &Script, client: Client) -> (Outcome, String) {
    let mut seen = Seen::default();
    let mut state = State::Start(client);
    let mut logged_in = Ok(());
    for say in &script.says {
        let next = match (say, state) {
            (Say::Sasl(names), State::Start(client)) => client
                .begin(names, &Nonce::from_bytes(&[1; 18]))
                .inspect(|sent| seen.client_first(sent.message()))
                .map(State::First),
            (Say::Continue(message), State::First(sent)) => {
                seen.challenge = seen.fill(message, script);
                sent.receive(&seen.challenge)
                    .inspect(|sent| seen.proof = Some(sent.message().to_vec()))
                    .map(State::Last)
            }
            // libpq does not mind which of the two the last message comes in.
            (Say::Continue(message) | Say::Final(message), State::Last(sent)) => {
                sent.receive(&seen.fill(message, script)).map(|_| State::Done)
            }
            (Say::Ok, State::Start(client)) => match client.authentication_ok() {
                Ok(()) => break,
                Err(error) => Err(error),
            },
            (Say::Ok, State::First(sent)) => match sent.authentication_ok() {
                Ok(()) => break,
                Err(error) => Err(error),
            },
            (Say::Ok, State::Last(sent)) => match sent.authentication_ok() {
                Ok(()) => break,
                Err(error) => Err(error),
            },
            (Say::Ok, State::Done) => break,
            // No state takes such a message: the caller has nothing to call.
            (say, _) => {
                logged_in = Err(format!("{say:?} has no place here"));
                break;
            }
        };
        match next {
            Ok(next) => state = next,
            Err(error) => {
                logged_in = Err(error.to_string());
                break;
            }
        }
    }
    let outcome = Outcome {
        header: seen.header,
        sent_proof: seen.proof.is_some(),
        logged_in: logged_in.is_ok(),
    };
    (outcome, logged_in.err().unwrap_or_default())
}
