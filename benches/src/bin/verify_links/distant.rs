//! A server that is far away: whatever goes there or comes from there takes its time on the way.

use std::{
    io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::mpsc,
    task::JoinSet,
};

/// A way to a server that takes time, over TCP and over the Unix socket.
pub(crate) struct Distant {
    /// The port of the way over TCP, on [`Distant::ADDRESS`].
    pub(crate) port: u16,
    /// The folder of the Unix socket, which is named as PostgreSQL names one for that port.
    pub(crate) sockets: PathBuf,
    /// How long everything takes, one way, in microseconds.
    delay: Arc<AtomicU64>,
    _serving: JoinSet<io::Result<()>>,
}

impl Distant {
    pub(crate) const ADDRESS: Ipv4Addr = Ipv4Addr::LOCALHOST;

    /// The way to a server on this machine, which takes no time yet.
    pub(crate) async fn from(server: (Ipv4Addr, u16), sockets: &Path) -> io::Result<Self> {
        let tcp = TcpListener::bind((Self::ADDRESS, 0)).await?;
        let port = tcp.local_addr()?.port();
        let folder = std::env::temp_dir().join(format!("distant-{}-{port}", std::process::id()));
        std::fs::create_dir(&folder)?;
        let unix = UnixListener::bind(folder.join(format!(".s.PGSQL.{port}")))?;
        let socket = sockets.join(format!(".s.PGSQL.{}", server.1));
        let delay = Arc::new(AtomicU64::new(0));
        let mut serving = JoinSet::new();
        let over_tcp = delay.clone();
        serving.spawn(async move {
            loop {
                let (near, _) = tcp.accept().await?;
                let far = TcpStream::connect(server).await?;
                near.set_nodelay(true)?;
                far.set_nodelay(true)?;
                join(near.into_split(), far.into_split(), &over_tcp);
            }
        });
        let over_socket = delay.clone();
        serving.spawn(async move {
            loop {
                let (near, _) = unix.accept().await?;
                let far = UnixStream::connect(&socket).await?;
                join(near.into_split(), far.into_split(), &over_socket);
            }
        });
        Ok(Self { port, sockets: folder, delay, _serving: serving })
    }

    /// From now on everything takes this long, one way.
    pub(crate) fn takes(&self, delay: Duration) {
        let delay = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        self.delay.store(delay, Ordering::Relaxed);
    }
}

impl Drop for Distant {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.sockets);
    }
}

/// Lets both ends of a connection hear of one another, each a while later.
fn join<R, W>(near: (R, W), far: (R, W), delay: &Arc<AtomicU64>)
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    tokio::spawn(carry(near.0, far.1, delay.clone()));
    tokio::spawn(carry(far.0, near.1, delay.clone()));
}

/// Carries what is read to where it is written. What is on its way does not hold up what follows.
async fn carry<R, W>(mut from: R, mut to: W, delay: Arc<AtomicU64>) -> io::Result<()>
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let (sender, mut on_the_way) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let arrive = async move {
        while let Some((when, bytes)) = on_the_way.recv().await {
            tokio::time::sleep_until(when.into()).await;
            to.write_all(&bytes).await?;
        }
        to.shutdown().await
    };
    let depart = async move {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let length = from.read(&mut buffer).await?;
            if length == 0 {
                return Ok::<_, io::Error>(());
            }
            let when = Instant::now() + Duration::from_micros(delay.load(Ordering::Relaxed));
            if sender.send((when, buffer[..length].to_vec())).is_err() {
                return Ok(());
            }
        }
    };
    let (departed, arrived) = tokio::join!(depart, arrive);
    departed.and(arrived)
}
