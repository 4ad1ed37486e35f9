//! PostgreSQL's protocol up to the login, with postgres-protocol's framing.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
};

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::message::{
    backend::{ErrorResponseBody, Message},
    frontend,
};

use crate::SOON;

/// A byte stream: TCP or TLS.
pub(crate) trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// A connection that is not logged in.
pub(crate) struct Wire {
    stream: Box<dyn Stream>,
    received: BytesMut,
}

/// How the server answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// AuthenticationSASL, with the mechanisms
    Sasl(Vec<String>),
    /// AuthenticationSASLContinue
    Continue(Vec<u8>),
    /// AuthenticationSASLFinal
    Final(Vec<u8>),
    /// AuthenticationOk
    Ok,
    /// ErrorResponse, with its SQLSTATE
    Error(String),
    /// The server closed the connection.
    Closed,
}

/// A TCP connection that does not wait for ever.
pub(crate) fn connect(server: &pgtest::Server) -> TcpStream {
    let stream = TcpStream::connect((server.addr(), server.port())).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

impl Wire {
    pub(crate) fn new(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), received: BytesMut::new() }
    }

    pub(crate) fn startup(&mut self, user: &str) -> Answer {
        let parameters = [("user", user), ("database", "postgres")];
        self.send(|buffer| frontend::startup_message(parameters, buffer).unwrap());
        self.answer()
    }

    pub(crate) fn sasl_initial(&mut self, mechanism: &str, message: &[u8]) -> Answer {
        self.send(|buffer| {
            frontend::sasl_initial_response(mechanism, message, buffer).unwrap();
        });
        self.answer()
    }

    /// SASLInitialResponse without a message, which is not an empty one.
    pub(crate) fn sasl_initial_without_message(&mut self, mechanism: &str) -> Answer {
        self.send(|buffer| {
            buffer.extend_from_slice(b"p");
            let len = u32::try_from(mechanism.len() + 9).unwrap();
            buffer.extend_from_slice(&len.to_be_bytes());
            buffer.extend_from_slice(mechanism.as_bytes());
            buffer.extend_from_slice(b"\0\xff\xff\xff\xff");
        });
        self.answer()
    }

    pub(crate) fn sasl(&mut self, message: &[u8]) -> Answer {
        self.send(|buffer| frontend::sasl_response(message, buffer).unwrap());
        self.answer()
    }

    pub(crate) fn answer(&mut self) -> Answer {
        loop {
            match Message::parse(&mut self.received).unwrap() {
                None => {
                    let mut buffer = [0; 4096];
                    match self.stream.read(&mut buffer) {
                        // A socket with a time limit is not read again by itself after a signal.
                        Err(error) if error.kind() == ErrorKind::Interrupted => {}
                        Ok(0) | Err(_) => return Answer::Closed,
                        Ok(len) => self.received.extend_from_slice(&buffer[..len]),
                    }
                }
                Some(Message::AuthenticationSasl(body)) => {
                    let names = body.mechanisms().map(|name| Ok(name.to_owned()));
                    return Answer::Sasl(names.collect().unwrap());
                }
                Some(Message::AuthenticationSaslContinue(body)) => {
                    return Answer::Continue(body.data().to_vec());
                }
                Some(Message::AuthenticationSaslFinal(body)) => {
                    return Answer::Final(body.data().to_vec());
                }
                Some(Message::AuthenticationOk) => return Answer::Ok,
                Some(Message::ErrorResponse(body)) => return Answer::Error(sqlstate(&body)),
                Some(_) => panic!("a message that has no place in a login"),
            }
        }
    }

    fn send(&mut self, write: impl FnOnce(&mut BytesMut)) {
        let mut buffer = BytesMut::new();
        write(&mut buffer);
        self.stream.write_all(&buffer).unwrap();
        self.stream.flush().unwrap();
    }
}

fn sqlstate(body: &ErrorResponseBody) -> String {
    let state = body.fields().find(|field| Ok(field.type_() == b'C')).unwrap().unwrap();
    String::from_utf8_lossy(state.value_bytes()).into_owned()
}
