//! A rogue in a node's place: it listens where the node did, speaks TLS with a certificate of its own
//! choice, and asks whoever comes for what it wants.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use pgtest::Namespace;
use tokio_rustls::rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use super::{Certificate, Error, Node, PATIENCE, Result, node::poll};

/// What the rogue asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The password, in clear.
    Password,
    /// Nothing: whoever comes is told that he is in.
    Nothing,
}

/// What came to the rogue, one for each connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Visit {
    /// The client left during the TLS handshake, or would not speak TLS.
    NoTls,
    /// The client said who it is, over TLS, and left when it was asked (or was told that it is in).
    Left {
        /// The role.
        user: String,
    },
    /// The client gave its password.
    Password {
        /// The role.
        user: String,
        /// The password, in clear.
        password: String,
    },
    /// The client believed it was in, and said what it wants.
    Linked {
        /// The role.
        user: String,
    },
}

/// A listening rogue; it goes when dropped.
#[derive(Debug)]
pub struct Rogue {
    visits: Arc<Mutex<Vec<Visit>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Rogue {
    /// Takes the place of a node whose server is stopped: its address and port, in its namespace.
    pub fn in_place_of(node: &Node, certificate: &Certificate, ask: Ask) -> Result<Self> {
        Self::at((node.address(), node.port()), node.namespace(), certificate, ask)
    }

    /// Listens where a server was.
    pub fn at(
        address: (IpAddr, u16),
        namespace: Option<&Namespace>,
        certificate: &Certificate,
        ask: Ask,
    ) -> Result<Self> {
        let io = |error| Error::File(format!("a rogue at {address:?}"), error);
        let pem = |error| io(io::Error::other(error));
        let cert = CertificateDer::from_pem_slice(certificate.cert.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes());
        let config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .and_then(|builder| {
                let cert = cert.map_err(|error| error.to_string());
                let key = key.map_err(|error| error.to_string());
                let general = tokio_rustls::rustls::Error::General;
                builder
                    .with_no_client_auth()
                    .with_single_cert(vec![cert.map_err(general)?], key.map_err(general)?)
            })
            .map_err(|error| pem(error.to_string()))?;
        let listener = match namespace {
            Some(namespace) => namespace.within(|| TcpListener::bind(address))?,
            None => TcpListener::bind(address),
        }
        .map_err(io)?;
        listener.set_nonblocking(true).map_err(io)?;
        let (visits, stop) = (Arc::<Mutex<Vec<Visit>>>::default(), Arc::<AtomicBool>::default());
        let (to, stopped, config) = (visits.clone(), stop.clone(), Arc::new(config));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        let visit = receive(stream, &config, ask).unwrap_or(Visit::NoTls);
                        to.lock().unwrap_or_else(PoisonError::into_inner).push(visit);
                    }
                    Err(_) => std::thread::sleep(Duration::from_millis(2)),
                }
            }
        });
        Ok(Self { visits, stop, thread: Some(thread) })
    }

    /// Who came until now.
    pub fn visits(&self) -> Vec<Visit> {
        self.visits.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until `count` connections came and ended.
    pub fn wait(&self, count: usize) -> Result<Vec<Visit>> {
        poll(|| {
            let visits = self.visits();
            Ok((visits.len() < count).then(|| format!("the rogue has only seen {visits:?}")))
        })?;
        Ok(self.visits())
    }
}

impl Drop for Rogue {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // What it saw is of no interest any more.
            let _ = thread.join();
        }
    }
}

/// One connection, up to the first thing that tells what the client would do.
fn receive(mut stream: TcpStream, config: &Arc<ServerConfig>, ask: Ask) -> io::Result<Visit> {
    stream.set_nonblocking(false)?;
    // A client that is only slow must not look like one that left.
    stream.set_read_timeout(Some(PATIENCE))?;
    // SSLRequest: length 8, code 80877103.
    if startup(&mut stream)? != 80_877_103_u32.to_be_bytes() {
        return Ok(Visit::NoTls);
    }
    stream.write_all(b"S")?;
    let connection = ServerConnection::new(config.clone()).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, stream);
    // Protocol version, then names and values, each ended by a zero byte.
    let hello = startup(&mut stream)?;
    let words: Vec<_> = hello.get(4..).unwrap_or_default().split(|byte| *byte == 0).collect();
    let user = words.chunks(2).find_map(|pair| match pair {
        [b"user", user] => Some(String::from_utf8_lossy(user).into_owned()),
        _ => None,
    });
    let user = user.unwrap_or_default();
    // AuthenticationCleartextPassword, or AuthenticationOk and ReadyForQuery.
    let question: &[u8] = match ask {
        Ask::Password => &[b'R', 0, 0, 0, 8, 0, 0, 0, 3],
        Ask::Nothing => &[b'R', 0, 0, 0, 8, 0, 0, 0, 0, b'Z', 0, 0, 0, 5, b'I'],
    };
    stream.write_all(question)?;
    stream.flush()?;
    Ok(answer(&mut stream, ask, &user).unwrap_or(Visit::Left { user }))
}

fn answer(stream: &mut impl Read, ask: Ask, user: &str) -> io::Result<Visit> {
    let mut kind = [0];
    stream.read_exact(&mut kind)?;
    let body = startup(stream)?;
    let text = String::from_utf8_lossy(body.strip_suffix(b"\0").unwrap_or(&body)).into_owned();
    let user = user.to_owned();
    Ok(match (ask, kind) {
        (Ask::Password, [b'p']) => Visit::Password { user, password: text },
        (Ask::Nothing, [b'Q']) => Visit::Linked { user },
        // Terminate, or something out of turn.
        _ => Visit::Left { user },
    })
}

/// A message without its kind: a length that counts itself, then the rest.
fn startup(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).map_err(io::Error::other)?;
    let mut body = vec![0; length.saturating_sub(4).min(10_000)];
    stream.read_exact(&mut body)?;
    Ok(body)
}
