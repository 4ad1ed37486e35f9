//! `require_auth`: by which methods a server may ask who the administrator is. Whatever else it asks for
//! gets no answer: the password stays here.
//!
//! Source: PostgreSQL 16, `fe-connect.c` (`require_auth`) and `fe-auth.c` (`check_expected_areq`).

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pki::tls::{PgTls, PgTlsConnect, TlsError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};

/// The methods that a server may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequireAuth {
    /// One bit for each of [`METHODS`].
    allowed: u8,
}

/// The methods by their names, each with what an authentication request says of it (protocol, "Message
/// Formats", `Authentication…`).
const METHODS: [(&str, &[u32]); 7] = [
    ("password", &[3]),
    ("md5", &[5]),
    ("gss", &[7]),
    ("sspi", &[9]),
    ("scram-sha-256", &[10]),
    // 10 too; which of both, its list of mechanisms tells.
    ("oauth", &[]),
    ("none", &[0]),
];
const SCRAM: usize = 4;
const OAUTH: usize = 5;

impl RequireAuth {
    /// Reads a list: methods that are allowed, or with `!` before each those that are not.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn parse(list: &str) -> Result<Self, String> {
        let (mut named, mut negated) = (0, None);
        for method in list.split(',').map(str::trim) {
            let (name, is_not) = match method.strip_prefix('!') {
                Some(name) => (name, true),
                None => (method, false),
            };
            if *negated.get_or_insert(is_not) != is_not {
                return Err("require_auth has methods with ! and without".to_owned());
            }
            let Some(place) = METHODS.iter().position(|(known, _)| *known == name) else {
                return Err(format!("require_auth: \"{}\" is no method", name.escape_debug()));
            };
            named |= 1 << place;
        }
        Ok(Self { allowed: if negated == Some(true) { !named } else { named } })
    }

    /// The refusal of what a server begins its answer with; `None` as long as that is not known.
    fn judge(self, begin: &[u8]) -> Option<Result<(), String>> {
        let (kind, length) = (*begin.first()?, begin.get(1..5)?);
        let length = u32::from_be_bytes(length.try_into().ok()?);
        match kind {
            // A notice, and what the server knows of the protocol, come before.
            b'N' | b'v' => {
                let next = usize::try_from(length).ok()?.checked_add(1)?;
                return self.judge(begin.get(next..)?);
            }
            b'R' => {}
            _ => return Some(Ok(())),
        }
        let code = u32::from_be_bytes(begin.get(5..9)?.try_into().ok()?);
        let place = match METHODS.iter().position(|(_, codes)| codes.contains(&code)) {
            Some(SCRAM) => {
                let end = usize::try_from(length).ok()?.checked_add(1)?;
                let is_scram = begin
                    .get(9..end)?
                    .split(|byte| *byte == 0)
                    .any(|name| name.starts_with(b"SCRAM-SHA-256"));
                Some(if is_scram { SCRAM } else { OAUTH })
            }
            other => other,
        };
        let is_allowed = place.is_some_and(|place| self.allowed & (1 << place) != 0);
        Some(if is_allowed {
            Ok(())
        } else {
            let asked = match place.map(|place| METHODS[place].0) {
                Some("none") => "does not ask who comes".to_owned(),
                Some("password") => "asks for the password in clear text".to_owned(),
                Some(method) => format!("asks by {method}"),
                None => format!("asks by what pgward does not know ({code})"),
            };
            Err(format!("the server {asked}, which require_auth does not allow: it got no answer"))
        })
    }
}

/// TLS whose server is heard only as far as it asks by what is allowed.
#[derive(Clone)]
pub(super) struct Guarded {
    pub(super) tls: PgTls,
    pub(super) require_auth: RequireAuth,
}

impl<S> MakeTlsConnect<S> for Guarded
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = GuardedStream<<PgTlsConnect as TlsConnect<S>>::Stream>;
    type TlsConnect = GuardedConnect;
    type Error = TlsError;

    fn make_tls_connect(&mut self, domain: &str) -> Result<GuardedConnect, TlsError> {
        let connect = MakeTlsConnect::<S>::make_tls_connect(&mut self.tls, domain)?;
        Ok(GuardedConnect { connect, require_auth: self.require_auth })
    }
}

/// Makes one such connection.
pub(super) struct GuardedConnect {
    connect: PgTlsConnect,
    require_auth: RequireAuth,
}

impl<S> TlsConnect<S> for GuardedConnect
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = GuardedStream<<PgTlsConnect as TlsConnect<S>>::Stream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Stream>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        let Self { connect, require_auth } = self;
        Box::pin(async move {
            let stream = connect.connect(stream).await?;
            Ok(GuardedStream {
                stream,
                require_auth: Some(require_auth),
                held: Vec::new(),
                told: 0,
            })
        })
    }
}

/// Holds back what the server says until it is known how it asks.
pub(super) struct GuardedStream<S> {
    stream: S,
    /// `None` when that is known.
    require_auth: Option<RequireAuth>,
    held: Vec<u8>,
    /// So much of it has been given on.
    told: usize,
}

/// More than any server says before it asks.
const LIMIT: usize = 1 << 16;

impl<S: AsyncRead + Unpin> AsyncRead for GuardedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while let Some(require_auth) = this.require_auth {
            match require_auth.judge(&this.held) {
                Some(Ok(())) => this.require_auth = None,
                Some(Err(refusal)) => return Poll::Ready(Err(io::Error::other(refusal))),
                None if this.held.len() > LIMIT => {
                    return Poll::Ready(Err(io::Error::other("the server asks nothing")));
                }
                None => {
                    let mut octets = [0; 1024];
                    let mut more = ReadBuf::new(&mut octets);
                    ready!(Pin::new(&mut this.stream).poll_read(context, &mut more))?;
                    if more.filled().is_empty() {
                        // It has hung up: that is for its reader to hear.
                        this.require_auth = None;
                    }
                    this.held.extend_from_slice(more.filled());
                }
            }
        }
        let rest = &this.held[this.told..];
        if rest.is_empty() {
            return Pin::new(&mut this.stream).poll_read(context, buffer);
        }
        let count = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..count]);
        this.told += count;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for GuardedStream<S> {
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

impl<S: TlsStream + Unpin> TlsStream for GuardedStream<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.stream.channel_binding()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap_or_default();
        [&[kind], &length.to_be_bytes()[..], body].concat()
    }

    fn asks(code: u32, rest: &[u8]) -> Vec<u8> {
        message(b'R', &[&code.to_be_bytes()[..], rest].concat())
    }

    #[test]
    fn a_list_is_read_as_libpq_reads_it() {
        for (list, method, is_allowed) in [
            ("scram-sha-256", asks(10, b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"), true),
            ("scram-sha-256", asks(10, b"OAUTHBEARER\0\0"), false),
            ("scram-sha-256", asks(3, b""), false),
            ("scram-sha-256,md5", asks(5, b"salt"), true),
            ("scram-sha-256", asks(0, b""), false),
            ("scram-sha-256, none", asks(0, b""), true),
            ("!password,!md5", asks(3, b""), false),
            ("!password,!md5", asks(0, b""), true),
            // What nobody knows is not allowed by naming something else.
            ("!none", asks(99, b""), false),
            ("password", asks(99, b""), false),
            // A refusal is no question.
            ("scram-sha-256", message(b'E', b"\0"), true),
        ] {
            let judged = RequireAuth::parse(list).map(|it| it.judge(&method));
            assert_eq!(judged.map(|it| it.map(|it| it.is_ok())), Ok(Some(is_allowed)), "{list}");
        }
        for wrong in ["", "scram", "md5,!none", "md5,,none"] {
            assert!(RequireAuth::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn nothing_is_heard_before_it_is_known_how_the_server_asks() -> io::Result<()> {
        let asked = asks(10, b"SCRAM-SHA-256\0\0");
        let notice = message(b'N', b"\0");
        let whole = [&notice[..], &asked, b"rest"].concat();
        let require_auth = RequireAuth::parse("scram-sha-256").map_err(io::Error::other)?;
        let (mut server, client) = tokio::io::duplex(4096);
        let guarded = |stream, require_auth| GuardedStream {
            stream,
            require_auth: Some(require_auth),
            held: Vec::new(),
            told: 0,
        };
        let mut client = guarded(client, require_auth);
        let told = whole.clone();
        let writing = tokio::spawn(async move {
            for byte in told {
                server.write_all(&[byte]).await?;
                tokio::task::yield_now().await;
            }
            Ok::<_, io::Error>(server)
        });
        let mut heard = vec![0; whole.len()];
        client.read_exact(&mut heard).await?;
        assert_eq!(heard, whole);
        drop(writing.await);

        let (mut server, client) = tokio::io::duplex(4096);
        server.write_all(&asks(3, b"")).await?;
        let refused = guarded(client, require_auth).read_u8().await;
        let refused = refused.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(refused.contains("asks for the password in clear text"), "{refused}");
        Ok(())
    }
}
