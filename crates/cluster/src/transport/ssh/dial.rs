//! TCP from the node's own machine.

use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    process::Stdio,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf},
    process::{Child, ChildStdin, ChildStdout},
};

use super::{SshError, SshNode, command};

/// A TCP connection made by the node's machine and carried by `ssh`. It ends when this is dropped.
///
/// The protocol has no sign for "connected": a connection that the node's machine could not make
/// fails at the first read, with [`io::ErrorKind::ConnectionRefused`] and what the machine says. One
/// that was made and closed without a byte reads as its end.
pub struct SshStream {
    /// None once it was shut down.
    input: Option<ChildStdin>,
    output: ChildStdout,
    /// Whether a byte has come: then it was connected.
    connected: bool,
    /// Comes back with why there was no connection, or with nothing.
    verdict: Pin<Box<dyn Future<Output = io::Result<()>> + Send>>,
}

impl SshNode {
    /// Opens a TCP connection from the node's machine, as its peers would.
    ///
    /// # Errors
    /// Why the node is not reached; for what lies behind it see [`SshStream`].
    pub async fn open_tcp(&self, address: SocketAddr) -> Result<SshStream, SshError> {
        let link = self.0.link().await?;
        let start = link.said();
        let spec = &self.0.spec;
        let mut child = command::over(spec, &link.control, &["-W", &address.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| SshError::NoProgram {
                program: spec.program.clone(),
                reason: error.to_string(),
            })?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(SshError::Cancelled);
        };
        let verdict = async move {
            let Some(said) = refusal(child).await? else { return Ok(()) };
            let more = link.said_since(start).await;
            let error = SshError::NotForwarded {
                place: link.place.clone(),
                target: address.to_string(),
                said: format!("{said}; {more}"),
            };
            Err(error.into())
        };
        Ok(SshStream { input: Some(input), output, connected: false, verdict: Box::pin(verdict) })
    }
}

/// What `ssh` says of a connection that could not be made; `None` if it could.
async fn refusal(mut child: Child) -> io::Result<Option<String>> {
    let mut said = Vec::new();
    if let Some(errors) = child.stderr.take() {
        errors.take(4096).read_to_end(&mut said).await?;
    }
    let status = child.wait().await?;
    Ok((!status.success()).then(|| command::gist(&String::from_utf8_lossy(&said))))
}

impl SshStream {
    /// At the end of a connection of which nothing came: whether it ever was one.
    fn poll_verdict(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.connected {
            return Poll::Ready(Ok(()));
        }
        let verdict = ready!(self.verdict.as_mut().poll(cx));
        // Not to be asked again; from here on the end is the end.
        self.connected = true;
        Poll::Ready(verdict)
    }

    /// The way there, or the error of one that is closed.
    fn input(&mut self) -> io::Result<Pin<&mut ChildStdin>> {
        self.input.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

impl AsyncRead for SshStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.output).poll_read(cx, buffer))?;
        if buffer.filled().len() > before || buffer.remaining() == 0 {
            self.connected = true;
            return Poll::Ready(Ok(()));
        }
        self.poll_verdict(cx)
    }
}

impl AsyncWrite for SshStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match ready!(self.input()?.poll_write(cx, bytes)) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                // Why there was no connection says more than that it broke.
                ready!(self.poll_verdict(cx))?;
                // As over TCP, whoever writes to an end that has gone finds out by reading: it may have
                // said why before it went.
                Poll::Ready(Ok(bytes.len()))
            }
            written => Poll::Ready(written),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.input()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(input) = &mut self.input {
            ready!(Pin::new(input).poll_flush(cx))?;
            // Only closing it tells the other end.
            self.input = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for SshStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SshStream").field("connected", &self.connected).finish_non_exhaustive()
    }
}
