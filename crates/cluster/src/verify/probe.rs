//! A client that speaks the start-up protocol and no further: what does a server ask of this user,
//! from here, with and without TLS? It never runs a statement.
//!
//! Source: PostgreSQL documentation, "Message Flow", section "Start-up"; the same in majors 12 to 18
//! for what is used here.

use std::{
    error::Error as StdError,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use bytes::BytesMut;
use fallible_iterator::FallibleIterator as _;
use pki::tls::TlsClient;
use postgres_protocol::message::{
    backend::{ErrorResponseBody, Message},
    frontend,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::UdpSocket,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    error::Error,
    inspect::Node,
    spec::NodeSpec,
    sql::PATIENCE,
    transport::{BoxedStream, SshNode, open_tcp},
};

/// A login to try.
pub(crate) struct Attempt<'a> {
    /// The machine that it comes from, if not this one.
    pub(crate) from: Option<&'a SshNode>,
    pub(crate) node: &'a NodeSpec,
    pub(crate) user: &'a str,
    pub(crate) database: &'a str,
    /// The value of the start-up parameter `replication`.
    pub(crate) replication: Option<&'a str>,
    /// How TLS is spoken; plain text if not.
    pub(crate) tls: Option<&'a TlsClient>,
    /// What is answered when the server asks for a password.
    pub(crate) password: Option<&'a scram::Password>,
    /// Whether being let in is not enough, and the session must have begun: the server looks whether
    /// the role may log in at all only after it has authenticated it.
    pub(crate) to_the_end: bool,
}

/// How a login went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The server let the user in, after asking for this.
    LetIn { asked: Option<Asked> },
    /// The server asked for this, and the attempt had nothing to answer.
    Asked(Asked),
    /// The server refused the login.
    Refused { asked: Option<Asked>, code: String, message: String },
    /// The TLS handshake failed, or the server ended it for the client's certificate.
    TlsRefused {
        reason: String,
        /// Whether it was the server, and for the client's certificate.
        for_certificate: bool,
    },
    /// The server speaks no TLS.
    NoTls,
}

/// What a server asks a client for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    ClearTextPassword,
    Md5Password,
    /// SASL with these mechanisms.
    Sasl(Vec<String>),
    /// GSSAPI, SSPI, or what is newer than this client.
    Other,
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClearTextPassword => f.write_str("a clear-text password"),
            Self::Md5Password => f.write_str("an md5 password"),
            Self::Sasl(mechanisms) => f.write_str(&mechanisms.join(" or ")),
            Self::Other => f.write_str("GSSAPI, SSPI or something newer"),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LetIn { asked: None } => f.write_str("let in without being asked for anything"),
            Self::LetIn { asked: Some(asked) } => write!(f, "let in with {asked}"),
            Self::Asked(asked) => write!(f, "asked for {asked}"),
            Self::Refused { code, message, .. } => write!(f, "{message} ({code})"),
            Self::TlsRefused { reason, .. } => write!(f, "TLS: {reason}"),
            Self::NoTls => f.write_str("the server speaks no TLS"),
        }
    }
}

/// The address that a node sees connections of this machine come from, if nothing on the way changes
/// it.
pub(crate) async fn own_address(node: &NodeSpec) -> Result<IpAddr, Error> {
    let any: IpAddr = match node.address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let place = SocketAddr::new(node.address, node.port);
    let route = async {
        // Nothing is sent: the system only chooses a way.
        let socket = UdpSocket::bind((any, 0)).await?;
        socket.connect(place).await?;
        Ok::<_, std::io::Error>(socket.local_addr()?.ip())
    };
    let failed = |error: std::io::Error| Error::Connect {
        place: place.to_string(),
        reason: error.to_string(),
    };
    route.await.map_err(failed)
}

/// Tries a login.
///
/// # Errors
/// [`Error::Connect`] if there is no answer to judge: then nothing is proved.
pub(crate) async fn attempt(attempt: &Attempt<'_>) -> Result<Outcome, Error> {
    let place = SocketAddr::new(attempt.node.address, attempt.node.port);
    let failed = |reason: String| Error::Connect { place: place.to_string(), reason };
    match tokio::time::timeout(PATIENCE, log_in(attempt, place)).await {
        Ok(Ok(outcome)) => Ok(outcome),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed(format!("no answer within {} s", PATIENCE.as_secs()))),
    }
}

async fn log_in(attempt: &Attempt<'_>, place: SocketAddr) -> std::io::Result<Outcome> {
    let tcp = open_tcp(attempt.from, place).await?;
    let Some(client) = attempt.tls else {
        return converse(attempt, tcp, None).await;
    };
    match handshake(tcp, client, attempt.node.host()).await? {
        Handshake::Done(tls) => {
            let certificate = leaf(&tls).map(<[u8]>::to_vec);
            match converse(attempt, *tls, certificate).await {
                // With TLS 1.3 the server's word on the client's certificate comes after the
                // client's handshake has ended.
                Err(error)
                    if error.get_ref().is_some_and(
                        <dyn StdError + Send + Sync>::is::<tokio_rustls::rustls::Error>,
                    ) =>
                {
                    Ok(Outcome::TlsRefused {
                        for_certificate: is_for_certificate(&error),
                        reason: words(&error),
                    })
                }
                other => other,
            }
        }
        Handshake::Failed(error) => Ok(Outcome::TlsRefused {
            for_certificate: is_for_certificate(&error),
            reason: words(&error),
        }),
        Handshake::NoTls => Ok(Outcome::NoTls),
    }
}

enum Handshake {
    Done(Box<TlsStream<BoxedStream>>),
    Failed(std::io::Error),
    NoTls,
}

/// Whether the server ended the handshake because of the client's certificate (RFC 8446, 6.2).
fn is_for_certificate(error: &std::io::Error) -> bool {
    use tokio_rustls::rustls::{AlertDescription as Alert, Error as TlsError};

    let error = error.get_ref().and_then(|error| error.downcast_ref::<TlsError>());
    matches!(
        error,
        Some(TlsError::AlertReceived(
            Alert::BadCertificate
                | Alert::UnsupportedCertificate
                | Alert::CertificateRevoked
                | Alert::CertificateExpired
                | Alert::CertificateUnknown
                | Alert::UnknownCA
                | Alert::AccessDenied
                | Alert::DecryptError
        ))
    )
}

/// Why a handshake failed: where it was for the server's certificate, in our verifier's own words.
fn words(error: &std::io::Error) -> String {
    use tokio_rustls::rustls::{CertificateError, Error as TlsError};

    match error.get_ref().and_then(|error| error.downcast_ref::<TlsError>()) {
        Some(TlsError::InvalidCertificate(CertificateError::Other(own))) => own.0.to_string(),
        _ => error.to_string(),
    }
}

/// The certificate that the server showed, in DER.
fn leaf(tls: &TlsStream<BoxedStream>) -> Option<&[u8]> {
    tls.get_ref().1.peer_certificates()?.first().map(AsRef::as_ref)
}

async fn handshake(
    mut tcp: BoxedStream,
    client: &TlsClient,
    host: &str,
) -> std::io::Result<Handshake> {
    let session = client.session(Some(host)).map_err(std::io::Error::other)?;
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    tcp.write_all(&request).await?;
    if tcp.read_u8().await? != b'S' {
        return Ok(Handshake::NoTls);
    }
    Ok(match TlsConnector::from(session.config()).connect(session.server_name(), tcp).await {
        Ok(tls) => Handshake::Done(Box::new(tls)),
        Err(error) => Handshake::Failed(error),
    })
}

/// From the start-up packet to the first word on the login.
async fn converse(
    attempt: &Attempt<'_>,
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    certificate: Option<Vec<u8>>,
) -> std::io::Result<Outcome> {
    let mut parameters = vec![("user", attempt.user), ("database", attempt.database)];
    parameters.extend(attempt.replication.map(|value| ("replication", value)));
    parameters.push(("application_name", "pgward probe"));
    let mut out = BytesMut::new();
    frontend::startup_message(parameters, &mut out)?;
    stream.write_all(&out).await?;

    let mut input = BytesMut::new();
    let mut asked = None;
    loop {
        let message = next_message(&mut stream, &mut input).await?;
        let wants = match message {
            Message::AuthenticationOk if attempt.to_the_end => continue,
            Message::AuthenticationOk | Message::ReadyForQuery(_) => {
                return Ok(Outcome::LetIn { asked });
            }
            Message::ParameterStatus(_) | Message::BackendKeyData(_) => continue,
            Message::ErrorResponse(body) => {
                let (code, message) = code_and_message(&body)?;
                return Ok(Outcome::Refused { asked, code, message });
            }
            Message::AuthenticationCleartextPassword => Asked::ClearTextPassword,
            Message::AuthenticationMd5Password(_) => Asked::Md5Password,
            Message::AuthenticationSasl(body) => {
                Asked::Sasl(body.mechanisms().map(|name| Ok(name.to_owned())).collect()?)
            }
            Message::NoticeResponse(_) => continue,
            _ => Asked::Other,
        };
        // A clear-text or md5 password would give the secret away to whoever asks.
        let (Asked::Sasl(mechanisms), Some(password)) = (&wants, attempt.password) else {
            return Ok(Outcome::Asked(wants));
        };
        if let Some(refused) =
            sasl(&mut stream, &mut input, mechanisms, password, certificate.as_deref()).await?
        {
            let (code, message) = code_and_message(&refused)?;
            return Ok(Outcome::Refused { asked: Some(wants), code, message });
        }
        asked = Some(wants);
    }
}

async fn next_message(
    stream: &mut (impl AsyncRead + Unpin),
    input: &mut BytesMut,
) -> std::io::Result<Message> {
    // No message of the start-up is long: a peer that sends more is no PostgreSQL.
    const LONGEST: usize = 64 * 1024;
    loop {
        if let Some(message) = Message::parse(input)? {
            return Ok(message);
        }
        if input.len() > LONGEST {
            return Err(std::io::Error::other("a start-up message of over 64 KiB"));
        }
        if stream.read_buf(input).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn code_and_message(body: &ErrorResponseBody) -> std::io::Result<(String, String)> {
    let (mut code, mut message) = (String::new(), String::new());
    let mut fields = body.fields();
    while let Some(field) = fields.next()? {
        let text = || String::from_utf8_lossy(field.value_bytes()).into_owned();
        match field.type_() {
            b'C' => code = text(),
            b'M' => message = text(),
            _ => {}
        }
    }
    Ok((code, message))
}

/// A SCRAM exchange; what the server refused it with, if it did. Bound to the channel where there is
/// TLS.
async fn sasl(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    input: &mut BytesMut,
    mechanisms: &[String],
    password: &scram::Password,
    certificate: Option<&[u8]>,
) -> std::io::Result<Option<ErrorResponseBody>> {
    use std::io::Error as IoError;

    let channel = certificate.map_or(scram::Channel::Plain, scram::Channel::tls);
    let nonce = scram::Nonce::random().map_err(IoError::other)?;
    let first = scram::Client::new(password.clone())
        .channel(channel)
        .begin(mechanisms, &nonce)
        .map_err(IoError::other)?;
    let mut out = BytesMut::new();
    frontend::sasl_initial_response(first.mechanism().as_str(), first.message(), &mut out)?;
    stream.write_all(&out).await?;
    let last = match next_message(stream, input).await? {
        Message::AuthenticationSaslContinue(body) => {
            first.receive(body.data()).map_err(IoError::other)?
        }
        Message::ErrorResponse(body) => return Ok(Some(body)),
        _ => return Err(IoError::other("an answer that is no part of SASL")),
    };
    out.clear();
    frontend::sasl_response(last.message(), &mut out)?;
    stream.write_all(&out).await?;
    match next_message(stream, input).await? {
        Message::AuthenticationSaslFinal(body) => {
            last.receive(body.data()).map_err(IoError::other)?;
            Ok(None)
        }
        Message::ErrorResponse(body) => Ok(Some(body)),
        _ => Err(IoError::other("an answer that is no part of SASL")),
    }
}

/// What a TLS handshake with a node came to.
pub(crate) enum Shown {
    /// The certificate that it showed, in DER; the client found nothing wrong with it.
    Certificate(Vec<u8>),
    /// The handshake failed.
    Failed(String),
    /// It speaks no TLS.
    NoTls,
}

/// Whether a place answers connections from a machine as a PostgreSQL server does.
pub(crate) async fn answers(from: &SshNode, place: SocketAddr) -> bool {
    let ask = async {
        let mut tcp = open_tcp(Some(from), place).await?;
        let mut request = BytesMut::new();
        frontend::ssl_request(&mut request);
        tcp.write_all(&request).await?;
        Ok::<_, std::io::Error>(matches!(tcp.read_u8().await?, b'S' | b'N'))
    };
    matches!(tokio::time::timeout(PATIENCE, ask).await, Ok(Ok(true)))
}

/// Asks a node for its certificate, as a client that calls it `host`, and goes away. Where `ssh` leads
/// to the node's machine it is asked from there: nobody but its peers may be able to reach it.
pub(crate) async fn certificate_shown(
    node: &Node,
    client: &TlsClient,
    host: &str,
) -> Result<Shown, Error> {
    if let Some(machine) = node.files.machine()
        && let Ok(shown) = certificate_shown_to(Some(machine), &node.spec, client, host).await
    {
        return Ok(shown);
    }
    // It may be that the machine forwards nothing.
    certificate_shown_to(None, &node.spec, client, host).await
}

async fn certificate_shown_to(
    from: Option<&SshNode>,
    node: &NodeSpec,
    client: &TlsClient,
    host: &str,
) -> Result<Shown, Error> {
    let place = SocketAddr::new(node.address, node.port);
    let ask = async { handshake(open_tcp(from, place).await?, client, host).await };
    let failed = |reason: String| Error::Connect { place: place.to_string(), reason };
    match tokio::time::timeout(PATIENCE, ask).await {
        Ok(Ok(Handshake::Done(tls))) => {
            Ok(leaf(&tls).map_or(Shown::NoTls, |leaf| Shown::Certificate(leaf.to_vec())))
        }
        Ok(Ok(Handshake::Failed(error))) => Ok(Shown::Failed(words(&error))),
        Ok(Ok(Handshake::NoTls)) => Ok(Shown::NoTls),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed(format!("no answer within {} s", PATIENCE.as_secs()))),
    }
}
