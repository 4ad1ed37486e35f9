//! A connection that speaks PostgreSQL's simple query protocol: blocking, text results, a
//! time-out on every read. TLS is libpq's business (feature `libpq`).

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::{
    authentication::{
        md5_hash,
        sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256},
    },
    message::{
        backend::{ErrorFields, Message},
        frontend,
    },
};

use crate::{Error, SqlError, poll::PATIENCE};

/// Whom to connect to, and as whom.
#[derive(Clone)]
pub struct Connect {
    target: Target,
    user: String,
    database: String,
    password: Option<String>,
    parameters: Vec<(String, String)>,
    limit: Duration,
}

#[derive(Clone, Debug)]
enum Target {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

impl std::fmt::Debug for Connect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connect")
            .field("target", &self.target)
            .field("user", &self.user)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

impl Connect {
    fn new(target: Target) -> Self {
        Self {
            target,
            user: "postgres".to_owned(),
            database: "postgres".to_owned(),
            password: None,
            parameters: Vec::new(),
            limit: PATIENCE,
        }
    }

    /// Over the Unix socket of a port in a folder.
    #[must_use]
    pub fn unix(socket_dir: impl AsRef<Path>, port: u16) -> Self {
        Self::new(Target::Unix(socket_dir.as_ref().join(format!(".s.PGSQL.{port}"))))
    }

    /// Over TCP, in plain text.
    #[must_use]
    pub fn tcp(addr: SocketAddr) -> Self {
        Self::new(Target::Tcp(addr))
    }

    /// The role; `postgres` unless set.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = user.into();
        self
    }

    /// The database; `postgres` unless set.
    #[must_use]
    pub fn database(mut self, database: impl Into<String>) -> Self {
        self.database = database.into();
        self
    }

    /// The password, for servers that ask for one (clear text, MD5 or SCRAM-SHA-256).
    #[must_use]
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// A further parameter of the startup message: a setting, `options`, or `replication`
    /// (`true` or `database`).
    #[must_use]
    pub fn parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.parameters.push((name.into(), value.into()));
        self
    }

    /// How long connecting, and each wait for an answer, may take; ten minutes unless set.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Logs in.
    ///
    /// # Errors
    /// [`Error::Sql`] where the server refuses, with its SQLSTATE; [`Error::Io`] where it cannot
    /// be reached or does not answer in time; [`Error::Protocol`] where it asks for a method that
    /// this client does not know, or for a password and none was set.
    pub fn open(&self) -> Result<Session, Error> {
        let mut session = Session {
            stream: self.dial()?,
            input: BytesMut::new(),
            parameters: BTreeMap::new(),
            backend_pid: 0,
            notices: Vec::new(),
        };
        session.log_in(self)?;
        Ok(session)
    }

    pub(crate) fn dial(&self) -> Result<Stream, Error> {
        let failed =
            |error| Error::Io { what: format!("connecting to {}", self.target), source: error };
        let stream = match &self.target {
            Target::Unix(path) => Stream::Unix(UnixStream::connect(path).map_err(failed)?),
            Target::Tcp(addr) => {
                Stream::Tcp(TcpStream::connect_timeout(addr, self.limit).map_err(failed)?)
            }
        };
        stream.limit(self.limit).map_err(failed)?;
        Ok(stream)
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => path.display().fmt(f),
            Self::Tcp(addr) => addr.fmt(f),
        }
    }
}

#[derive(Debug)]
pub(crate) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Stream {
    fn limit(&self, limit: Duration) -> io::Result<()> {
        let limit = Some(limit.max(Duration::from_millis(1)));
        match self {
            Self::Unix(stream) => {
                stream.set_read_timeout(limit)?;
                stream.set_write_timeout(limit)
            }
            Self::Tcp(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(limit)?;
                stream.set_write_timeout(limit)
            }
        }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        match self {
            Self::Unix(stream) => stream.write_all(bytes),
            Self::Tcp(stream) => stream.write_all(bytes),
        }
        .map_err(Error::io("sending to the server"))
    }

    /// Reads what there is, at least one byte.
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let count = match self {
            Self::Unix(stream) => read(stream, buffer),
            Self::Tcp(stream) => read(stream, buffer),
        }
        .map_err(Error::io("waiting for the server's answer"))?;
        if count == 0 {
            let source = io::ErrorKind::UnexpectedEof.into();
            return Err(Error::Io { what: "the server closed the connection".into(), source });
        }
        Ok(count)
    }
}

/// Reads once. A process that was stopped and goes on finds its waiting on a socket with a time-out
/// interrupted (signal(7)).
fn read(stream: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// The result of one statement, as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rows {
    /// The columns' names.
    pub columns: Vec<String>,
    /// The rows; `None` is NULL.
    pub rows: Vec<Vec<Option<String>>>,
    /// The command tag: `SELECT 1`, `CREATE ROLE`.
    pub tag: String,
}

impl Rows {
    /// The first row's first column, where there is one and it is not NULL.
    #[must_use]
    pub fn value(&self) -> Option<&str> {
        self.rows.first()?.first()?.as_deref()
    }

    /// The first column of every row; NULL is the empty text.
    #[must_use]
    pub fn column(&self) -> Vec<&str> {
        self.rows
            .iter()
            .map(|row| row.first().and_then(Option::as_deref).unwrap_or_default())
            .collect()
    }
}

/// A connection that is logged in. Closes when dropped.
#[derive(Debug)]
pub struct Session {
    stream: Stream,
    input: BytesMut,
    parameters: BTreeMap<String, String>,
    backend_pid: i32,
    notices: Vec<SqlError>,
}

impl Session {
    /// Runs one or more statements and gives the last one's result.
    ///
    /// # Errors
    /// As [`query_all`](Self::query_all).
    pub fn query(&mut self, sql: &str) -> Result<Rows, Error> {
        Ok(self.query_all(sql)?.pop().unwrap_or_default())
    }

    /// Runs one or more statements in one message (one transaction, unless they say otherwise)
    /// and gives each one's result.
    ///
    /// # Errors
    /// [`Error::Sql`] where the server refuses one: what follows was not run, and the session can
    /// be used on. [`Error::Io`] where it does not answer in time.
    pub fn query_all(&mut self, sql: &str) -> Result<Vec<Rows>, Error> {
        self.send(|buffer| frontend::query(sql, buffer))?;
        let mut done = Vec::new();
        let mut rows = Rows::default();
        let mut failure = None;
        loop {
            match self.message()? {
                Message::RowDescription(body) => {
                    rows.columns = body
                        .fields()
                        .map(|field| Ok(field.name().to_owned()))
                        .collect()
                        .map_err(malformed)?;
                }
                Message::DataRow(body) => {
                    let buffer = body.buffer();
                    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
                    let row = body
                        .ranges()
                        .map(|range| Ok(range.and_then(|range| buffer.get(range)).map(text)))
                        .collect()
                        .map_err(malformed)?;
                    rows.rows.push(row);
                }
                Message::CommandComplete(body) => {
                    rows.tag = body.tag().map_err(malformed)?.to_owned();
                    done.push(std::mem::take(&mut rows));
                }
                Message::EmptyQueryResponse => done.push(std::mem::take(&mut rows)),
                Message::CopyInResponse(_) => self.send(|buffer| {
                    frontend::copy_fail("COPY FROM STDIN is not offered here", buffer)
                })?,
                Message::ErrorResponse(body) => failure = Some(fields(body.fields())?),
                Message::ReadyForQuery(_) => break,
                _ => {}
            }
        }
        match failure {
            Some(error) => Err(error.into()),
            None => Ok(done),
        }
    }

    /// What the server reported when the session began, or changed since: `server_version`,
    /// `in_hot_standby`, ...
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    /// The number of the server's process.
    #[must_use]
    pub fn backend_pid(&self) -> i32 {
        self.backend_pid
    }

    /// The notices and warnings since they were last taken.
    pub fn take_notices(&mut self) -> Vec<SqlError> {
        std::mem::take(&mut self.notices)
    }

    fn send(&mut self, message: impl FnOnce(&mut BytesMut) -> io::Result<()>) -> Result<(), Error> {
        let mut buffer = BytesMut::new();
        message(&mut buffer).map_err(malformed)?;
        self.stream.send(&buffer)
    }

    /// The next message that is not about the session itself.
    fn message(&mut self) -> Result<Message, Error> {
        loop {
            match self.any_message()? {
                Message::NoticeResponse(body) => self.notices.push(fields(body.fields())?),
                Message::ParameterStatus(body) => {
                    let name = body.name().map_err(malformed)?.to_owned();
                    let value = body.value().map_err(malformed)?.to_owned();
                    self.parameters.insert(name, value);
                }
                other => return Ok(other),
            }
        }
    }

    fn any_message(&mut self) -> Result<Message, Error> {
        let mut chunk = [0; 8192];
        loop {
            if let Some(message) = Message::parse(&mut self.input).map_err(malformed)? {
                return Ok(message);
            }
            let count = self.stream.receive(&mut chunk)?;
            self.input.extend_from_slice(chunk.get(..count).unwrap_or_default());
        }
    }

    fn log_in(&mut self, connect: &Connect) -> Result<(), Error> {
        let mut parameters = vec![
            ("user", connect.user.as_str()),
            ("database", connect.database.as_str()),
            ("client_encoding", "UTF8"),
        ];
        parameters.extend(connect.parameters.iter().map(|(name, value)| (&**name, &**value)));
        self.send(|buffer| frontend::startup_message(parameters, buffer))?;
        let password = || {
            let missing = || Error::Protocol("the server asks for a password; none was set".into());
            connect.password.as_deref().map(str::as_bytes).ok_or_else(missing)
        };
        let mut scram = None;
        loop {
            match self.message()? {
                Message::AuthenticationOk => {}
                Message::AuthenticationCleartextPassword => {
                    let password = password()?;
                    self.send(|buffer| frontend::password_message(password, buffer))?;
                }
                Message::AuthenticationMd5Password(body) => {
                    let hash = md5_hash(connect.user.as_bytes(), password()?, body.salt());
                    self.send(|buffer| frontend::password_message(hash.as_bytes(), buffer))?;
                }
                Message::AuthenticationSasl(_) => {
                    let state = ScramSha256::new(password()?, ChannelBinding::unsupported());
                    self.send(|buffer| {
                        frontend::sasl_initial_response(SCRAM_SHA_256, state.message(), buffer)
                    })?;
                    scram = Some(state);
                }
                Message::AuthenticationSaslContinue(body) => {
                    let state = scram.as_mut().ok_or_else(out_of_turn)?;
                    state.update(body.data()).map_err(malformed)?;
                    let answer = state.message().to_owned();
                    self.send(|buffer| frontend::sasl_response(&answer, buffer))?;
                }
                Message::AuthenticationSaslFinal(body) => {
                    scram
                        .as_mut()
                        .ok_or_else(out_of_turn)?
                        .finish(body.data())
                        .map_err(malformed)?;
                }
                Message::BackendKeyData(body) => self.backend_pid = body.process_id(),
                Message::ReadyForQuery(_) => return Ok(()),
                Message::ErrorResponse(body) => return Err(fields(body.fields())?.into()),
                _ => return Err(out_of_turn()),
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The server learns the same from the closed socket, with one line more in its log.
        let _ = self.send(|buffer| {
            frontend::terminate(buffer);
            Ok(())
        });
    }
}

fn malformed(error: io::Error) -> Error {
    Error::Protocol(error.to_string())
}

fn out_of_turn() -> Error {
    Error::Protocol("a message out of turn, or a login method that is not known here".to_owned())
}

fn fields(mut fields: ErrorFields<'_>) -> Result<SqlError, Error> {
    let mut error = SqlError::default();
    while let Some(field) = fields.next().map_err(malformed)? {
        let text = String::from_utf8_lossy(field.value_bytes()).into_owned();
        match field.type_() {
            b'V' => error.severity = text,
            b'C' => error.code = text,
            b'M' => error.message = text,
            b'D' => error.detail = Some(text),
            b'H' => error.hint = Some(text),
            _ => {}
        }
    }
    Ok(error)
}

/// Asks `SSLRequest` and waits for the one byte of the answer: after it the postmaster has
/// handled everything that came before.
pub(crate) fn ssl_request(connect: &Connect) -> Result<u8, Error> {
    let mut stream = connect.dial()?;
    let mut buffer = BytesMut::new();
    frontend::ssl_request(&mut buffer);
    stream.send(&buffer)?;
    let mut answer = [0];
    stream.receive(&mut answer)?;
    let [byte] = answer;
    Ok(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Interrupted once, then done.
    struct Stopped(bool);

    impl Read for Stopped {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if std::mem::take(&mut self.0) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            buffer.fill(b'x');
            Ok(buffer.len())
        }
    }

    #[test]
    fn an_interruption_is_no_end() {
        let mut buffer = [0; 4];
        assert_eq!(read(&mut Stopped(true), &mut buffer).unwrap(), 4);
        assert_eq!(&buffer, b"xxxx");
    }
}
