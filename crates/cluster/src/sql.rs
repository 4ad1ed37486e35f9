//! SQL on a node, as its administrator.

mod access;
mod keywords;
mod require_auth;

use std::time::Duration;

use postgres_protocol::escape::escape_literal;
use tokio_postgres::Client;

use self::access::Access;
use crate::{
    conninfo::{ConnInfo, ConnInfoError},
    error::{Error, NodeContext as _},
    spec::NodeSpec,
};

/// How long a connection may take to come up, and a statement to end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// How a session is opened: what it is called on the server, and how long it may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Login<'a> {
    /// `application_name`, by which the server shows whose session it is.
    pub(crate) application: &'a str,
    /// How long the connection may take to come up, unless the description's `sql` has a
    /// `connect_timeout` of its own, and a statement to end on the server.
    pub(crate) patience: Duration,
}

impl Default for Login<'_> {
    fn default() -> Self {
        Self { application: "pgward", patience: PATIENCE }
    }
}

/// Connects to a node as the description says, to another database if one is given.
pub(crate) async fn connect(node: &NodeSpec, database: Option<&str>) -> Result<Client, Error> {
    connect_as(node, database, Login::default()).await
}

/// [`connect`] with another name or patience.
pub(crate) async fn connect_as(
    node: &NodeSpec,
    database: Option<&str>,
    login: Login<'_>,
) -> Result<Client, Error> {
    let connect = async {
        let mut conninfo: ConnInfo = node
            .sql
            .parse()
            .map_err(|source| Error::ConnInfo { what: "sql".to_owned(), source })?;
        if let Some(database) = database {
            conninfo.set("dbname", database);
        }
        connect_to(&conninfo, login).await
    };
    connect.await.on_node(&node.name)
}

/// Whether a connection string says what can be done, as far as it tells by itself.
///
/// # Errors
/// What is wrong with it, in words.
pub(crate) fn check(sql: &str) -> Result<(), String> {
    let conninfo: ConnInfo = sql.parse().map_err(|error: ConnInfoError| error.to_string())?;
    access::parse(&conninfo).map_err(|error| error.to_string())?;
    if conninfo.get("host").is_none() && conninfo.get("hostaddr").is_none() {
        return Err("it names no host: for the Unix socket, host=/var/run/postgresql".to_owned());
    }
    Ok(())
}

/// Whether one of the attempts by a connection string is with TLS.
pub(crate) fn takes_tls(sql: &str) -> bool {
    let access = sql.parse().ok().and_then(|conninfo: ConnInfo| Access::of(&conninfo).ok());
    access.is_some_and(|access| access.attempts().any(|tls| tls))
}

async fn connect_to(conninfo: &ConnInfo, login: Login<'_>) -> Result<Client, Error> {
    let patience = connect_patience(conninfo).unwrap_or(login.patience);
    let place = || conninfo.to_masked_text();
    let refused = |reason: String| Error::Connect { place: place(), reason: in_words(&reason) };
    let access = Access::of(conninfo).map_err(|error| refused(error.to_string()))?;
    let refused = |reason: String| match access.ignored_passfile() {
        Some(why) if reason == PASSWORD_MISSING => {
            let reason =
                format!("the server asks for a password, and the file for it is not used: {why}");
            Error::Connect { place: place(), reason }
        }
        _ => refused(reason),
    };
    let connect = async {
        let mut first = None;
        for tls in access.attempts() {
            let connected = access.connect(tls, login.application, patience).await;
            match connected {
                Ok(client) => {
                    let timeout = login.patience.as_millis();
                    client
                        .batch_execute(&format!(
                            "SET statement_timeout = {timeout}; SET lock_timeout = {timeout}"
                        ))
                        .await?;
                    return Ok(client);
                }
                // What the better attempt failed for is what the user must know.
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(first.unwrap_or_else(|| Error::plan("sslmode allows no attempt")))
    };
    match tokio::time::timeout(patience, connect).await {
        Ok(Ok(client)) => Ok(client),
        Ok(Err(error)) => Err(refused(error.to_string())),
        Err(_) => Err(refused(format!("no answer within {} s", patience.as_secs_f32()))),
    }
}

/// What tokio-postgres says where a server asks for a password and there is none.
const PASSWORD_MISSING: &str = "invalid configuration: password missing";

/// Why there is no connection, in the words of whoever refuses it.
fn in_words(reason: &str) -> String {
    match without_number(reason) {
        PASSWORD_MISSING => {
            "the server asks for a password, and neither \"sql\" nor a password file has one"
                .to_owned()
        }
        words => words.strip_prefix("error connecting to server: ").unwrap_or(words).to_owned(),
    }
}

/// What the system says, without the number that the standard library appends.
fn without_number(text: &str) -> &str {
    text.rfind(" (os error ").map_or(text, |end| &text[..end])
}

/// Some sites have it that sessions only read unless they say otherwise. A standby that a commit would
/// wait for may be one whose link is about to be switched.
pub(crate) const FOR_OUR_STATEMENTS: &str =
    "SET default_transaction_read_only = off;\nSET synchronous_commit = local;\n";

/// What a server stores of a password is no password, but nobody needs it in a log either.
pub(crate) const KEEP_OUT_OF_THE_LOG: &str = "SET log_statement = 'none';\n\
     SET log_min_duration_statement = -1;\nSET log_min_error_statement = 'panic';\n";

/// Text as a literal, without the blank that is put before one that has an escape.
pub(crate) fn literal(text: &str) -> String {
    escape_literal(text).trim_start().to_owned()
}

/// What the server does not let this user ask tells nothing.
pub(crate) fn told<T>(answer: Result<T, tokio_postgres::Error>) -> Result<Option<T>, Error> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.as_db_error().is_some() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The seconds of `connect_timeout`; 0, libpq's "for ever", is nothing that anybody wants here.
fn connect_patience(conninfo: &ConnInfo) -> Option<Duration> {
    let given = conninfo.get("connect_timeout")?.trim().parse().ok();
    given.filter(|seconds| *seconds > 0).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use std::{io, net::Ipv4Addr};

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    #[tokio::test]
    async fn that_there_is_no_password_is_said() -> Result<(), Box<dyn std::error::Error>> {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = server.local_addr()?.port();
        let ask = async {
            let (mut client, _) = server.accept().await?;
            let length = client.read_u32().await?;
            let mut startup = vec![0; usize::try_from(length).map_err(io::Error::other)? - 4];
            client.read_exact(&mut startup).await?;
            // AuthenticationCleartextPassword.
            client.write_all(b"R\0\0\0\x08\0\0\0\x03").await?;
            Ok::<_, io::Error>(client)
        };
        let conninfo = format!("host=127.0.0.1 port={port} user=u sslmode=disable").parse()?;
        let (asked, connected) = tokio::join!(ask, connect_to(&conninfo, Login::default()));
        asked?;
        let refused = connected.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(refused.contains("neither \"sql\" nor a password file has one"), "{refused}");

        drop(server);
        let refused = connect_to(&conninfo, Login::default()).await.err();
        let refused = refused.map(|error| error.to_string()).unwrap_or_default();
        assert!(refused.ends_with("Connection refused"), "{refused}");
        Ok(())
    }
}
