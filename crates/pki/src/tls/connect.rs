//! The adapter to tokio-postgres.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::client::TlsStream as RustlsStream;
use tokio_rustls::{Connect, TlsConnector};

use super::{Session, TlsClient, TlsError};
use crate::binding::tls_server_end_point;

/// Makes the channel binding data of a server's certificate (in DER), or `None` for none.
type BindingHook = fn(&[u8]) -> Option<Vec<u8>>;

/// TLS for tokio-postgres, with libpq's semantics and channel binding for every signature that has
/// a digest.
///
/// tokio-postgres has no modes `allow`, `verify-ca` and `verify-full` of its own. Set its
/// `ssl_mode` to `Require` for every attempt with TLS, pass [`tokio_postgres::NoTls`] for one
/// without, and let [`SslMode::attempts`](super::SslMode::attempts) say which to make.
#[derive(Clone, Debug)]
pub struct PgTls {
    client: TlsClient,
    host: Option<String>,
    binding: BindingHook,
}

impl PgTls {
    /// TLS as `client` has it. Every connection is verified against the host that tokio-postgres
    /// connects to.
    #[must_use]
    pub fn new(client: TlsClient) -> Self {
        Self { client, host: None, binding: tls_server_end_point }
    }

    /// Verifies against this host instead, for connections through an address or a tunnel.
    #[must_use]
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.host = Some(host.into());
        self
    }

    /// Makes the channel binding data with this function instead of [`tls_server_end_point`].
    #[must_use]
    pub fn binding(mut self, binding: BindingHook) -> Self {
        self.binding = binding;
        self
    }

    /// A connector for one host, whose [`PgTlsConnect::session`] can be asked afterwards.
    ///
    /// # Errors
    /// As [`TlsClient::session`].
    pub fn connector(&self, host: Option<&str>) -> Result<PgTlsConnect, TlsError> {
        let host = self.host.as_deref().or(host);
        Ok(PgTlsConnect { session: self.client.session(host)?, binding: self.binding })
    }
}

impl<S> MakeTlsConnect<S> for PgTls
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = PgTlsStream<S>;
    type TlsConnect = PgTlsConnect;
    type Error = TlsError;

    fn make_tls_connect(&mut self, domain: &str) -> Result<PgTlsConnect, TlsError> {
        self.connector(Some(domain).filter(|domain| !domain.is_empty()))
    }
}

/// Makes one TLS connection.
#[derive(Clone, Debug)]
pub struct PgTlsConnect {
    session: Session,
    binding: BindingHook,
}

impl PgTlsConnect {
    /// The session, to look at what the server presented.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }
}

impl<S> TlsConnect<S> for PgTlsConnect
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = PgTlsStream<S>;
    type Error = io::Error;
    type Future = PgTlsFuture<S>;

    fn connect(self, stream: S) -> PgTlsFuture<S> {
        let connector = TlsConnector::from(self.session.config());
        PgTlsFuture {
            connect: connector.connect(self.session.server_name(), stream),
            binding: self.binding,
        }
    }
}

/// A TLS handshake on its way.
pub struct PgTlsFuture<S> {
    connect: Connect<S>,
    binding: BindingHook,
}

impl<S> Future for PgTlsFuture<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    type Output = io::Result<PgTlsStream<S>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let binding = self.binding;
        Pin::new(&mut self.connect)
            .poll(context)
            .map_ok(|stream| PgTlsStream { stream: Box::new(stream), binding })
    }
}

impl<S> fmt::Debug for PgTlsFuture<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PgTlsFuture")
    }
}

/// A connection to a server, with TLS.
pub struct PgTlsStream<S> {
    stream: Box<RustlsStream<S>>,
    binding: BindingHook,
}

impl<S> PgTlsStream<S> {
    /// The connection as tokio-rustls has it.
    #[must_use]
    pub fn get_ref(&self) -> &RustlsStream<S> {
        &self.stream
    }
}

impl<S> fmt::Debug for PgTlsStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, connection) = self.stream.get_ref();
        f.debug_struct("PgTlsStream")
            .field("protocol", &connection.protocol_version())
            .finish_non_exhaustive()
    }
}

impl<S> TlsStream for PgTlsStream<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    fn channel_binding(&self) -> ChannelBinding {
        let (_, connection) = self.stream.get_ref();
        connection
            .peer_certificates()
            .and_then(|chain| chain.first())
            .and_then(|leaf| (self.binding)(leaf))
            .map_or_else(ChannelBinding::none, ChannelBinding::tls_server_end_point)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for PgTlsStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for PgTlsStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
