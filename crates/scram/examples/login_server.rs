//! A server that psql can log in to: `cargo run --example login_server`, then
//! `PGPASSWORD=pencil psql -h localhost -p 5499 -U alice -c hello postgres`.
use std::io::{Error, Read, Result, Write};
use std::net::TcpListener;

use scram::{Channel, Mock, Nonce, Password, Secret, Server};

/// Reads a message's body: after its type byte, or a startup packet.
fn read(stream: &mut impl Read) -> Result<Vec<u8>> {
    let mut len = [0; 4];
    stream.read_exact(&mut len)?;
    let len = u32::from_be_bytes(len).checked_sub(4).filter(|len| *len < 10_000);
    let mut body = vec![0; len.ok_or_else(|| Error::other("bad length"))? as usize];
    stream.read_exact(&mut body)?;
    Ok(body)
}

/// Sends a message: its type, and its body in parts.
fn send(stream: &mut impl Write, kind: u8, parts: &[&[u8]]) -> Result<()> {
    let body = parts.concat();
    let len = u32::try_from(body.len() + 4).map_err(Error::other)?;
    stream.write_all(&[&[kind], &len.to_be_bytes()[..], &body].concat())?;
    stream.flush()
}

/// Serves one connection; without a secret the user does not exist.
pub(crate) fn serve(
    stream: &mut (impl Read + Write),
    channel: Channel,
    secret_of: impl Fn(&str) -> Option<Secret>,
) -> Result<bool> {
    let mut startup = read(stream)?;
    while startup.len() == 4 {
        stream.write_all(b"N")?; // to SSLRequest and GSSENCRequest
        startup = read(stream)?;
    }
    let words: Vec<_> = startup.get(4..).unwrap_or_default().split(|byte| *byte == 0).collect();
    let user = words.chunks(2).find(|pair| pair[0] == b"user").and_then(|pair| pair.get(1));
    let user = String::from_utf8_lossy(user.unwrap_or(&&b""[..]));

    let server = Server::for_user(&user, secret_of(&user), &Mock::new([7; 32]), channel);
    let names: Vec<u8> =
        server.mechanisms().iter().flat_map(|name| [name.name(), b"\0"].concat()).collect();
    send(stream, b'R', &[&10u32.to_be_bytes(), &names, b"\0"])?; // AuthenticationSASL
    stream.read_exact(&mut [0])?;
    let first = read(stream)?; // SASLInitialResponse: mechanism, zero, length, message
    let end = first.iter().position(|byte| *byte == 0).unwrap_or_default();
    let (mechanism, message) = (&first[..end], first.get(end + 5..).unwrap_or_default());
    let exchange = || -> Result<bool> {
        let nonce = Nonce::random().map_err(Error::other)?;
        let server = server.begin(mechanism, message, &nonce).map_err(Error::other)?;
        send(stream, b'R', &[&11u32.to_be_bytes(), server.message()])?; // ...Continue
        stream.read_exact(&mut [0])?;
        let accepted = server.finish(&read(stream)?).map_err(Error::other)?;
        send(stream, b'R', &[&12u32.to_be_bytes(), accepted.message()])?; // ...Final
        Ok(accepted.is_channel_bound())
    };
    let bound = exchange();
    if let Err(error) = &bound {
        send(stream, b'E', &[b"SFATAL\0C28P01\0M", error.to_string().as_bytes(), b"\0\0"])?;
        return bound;
    }
    send(stream, b'R', &[&0u32.to_be_bytes()])?; // AuthenticationOk
    send(stream, b'Z', &[b"I"])?; // ReadyForQuery
    let mut kind = [0];
    while stream.read_exact(&mut kind).is_ok() && kind != *b"X" {
        read(stream)?;
        send(stream, b'C', &[b"HELLO\0"])?; // CommandComplete
        send(stream, b'Z', &[b"I"])?;
    }
    bound
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let secret = Secret::generate(&Password::new("pencil"), scram::DEFAULT_ITERATIONS)?;
    for stream in TcpListener::bind("localhost:5499")?.incoming() {
        // A client that fails is no reason to stop.
        let _ =
            serve(&mut stream?, Channel::Plain, |user| (user == "alice").then(|| secret.clone()));
    }
    Ok(())
}
