//! What a server's log says of a reload.

use tokio_postgres::Client;

use crate::{
    deadline::Deadline,
    error::Error,
    sql::{literal, told},
    verify::log::COLLECTOR,
};

/// A place in a server's log; none where the server may not show it: `logging_collector` is off, the
/// format is another than `stderr`, or this user may not read it.
#[derive(Debug)]
pub(super) struct LogPlace(Option<(String, i64)>);

impl LogPlace {
    /// Where the log ends now.
    pub(super) async fn now(client: &Client) -> Result<Self, Error> {
        const QUERY: &str = "SELECT f, s.size FROM pg_catalog.pg_current_logfile('stderr') f, \
                                    pg_catalog.pg_stat_file(f) s WHERE f IS NOT NULL";
        let end = told(client.query_opt(QUERY, &[]).await)?.flatten();
        Ok(Self(end.map(|row| (row.get(0), row.get(1)))))
    }

    /// What the server says it did not take, from this place on; nothing if it says no such thing, or
    /// its log cannot be read.
    ///
    /// `mark` is written to the log, so that its end can be told: the collector writes later than the
    /// server speaks. With `lc_messages` in another language than English nothing is found.
    pub(super) async fn refusals(
        &self,
        client: &Client,
        mark: &str,
    ) -> Result<Vec<Refusal>, Error> {
        let Some((file, size)) = &self.0 else { return Ok(Vec::new()) };
        let body = format!("BEGIN RAISE LOG '{mark}'; END");
        let speak = format!("DO LANGUAGE plpgsql {}", literal(&body));
        if told(client.batch_execute(&speak).await)?.is_none() {
            return Ok(Vec::new());
        }
        let deadline = Deadline::new("the server's log", COLLECTOR);
        loop {
            // A file that began meanwhile is read from its beginning.
            const QUERY: &str = "SELECT pg_catalog.pg_read_binary_file(f, \
                        CASE WHEN f = $1 THEN $2::bigint ELSE 0 END, 4194304), \
                        pg_catalog.current_setting('hba_file') \
                 FROM pg_catalog.pg_current_logfile('stderr') f WHERE f IS NOT NULL";
            let row = told(client.query_opt(QUERY, &[file, size]).await)?.flatten();
            let Some(row) = row else { return Ok(Vec::new()) };
            let text = String::from_utf8_lossy(row.get(0)).into_owned();
            if text.contains(mark) || deadline.pause().await.is_err() {
                let hba_file: &str = row.get(1);
                return Ok(refusals_in(&text, hba_file));
            }
        }
    }
}

/// What a server did not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Its rules or its settings, in its own words.
    Configuration(String),
    /// Its certificate, key, authority or another setting of TLS, in its own words.
    Certificates(String),
}

fn refusals_in(text: &str, hba_file: &str) -> Vec<Refusal> {
    let mut refusals: Vec<Refusal> = Vec::new();
    let mut reason = None;
    for line in text.lines() {
        reason = tls_reason_in(line).or(reason);
        let refusal = refusal_in(line, hba_file).map(|refusal| match (refusal, reason.take()) {
            (Refusal::Certificates(words), Some(reason)) => {
                Refusal::Certificates(format!("{reason}; {words}"))
            }
            (refusal, _) => refusal,
        });
        refusals.extend(refusal);
    }
    refusals
}

/// Why the server takes no certificates, which it says before it says that (`be-secure-openssl.c`,
/// `be-secure-common.c`). Only these: other lines, of other sessions, may hold statements with secrets.
fn tls_reason_in(line: &str) -> Option<&str> {
    const BEGINNINGS: [&str; 5] =
        ["could not ", "private key file ", "check of private key failed", "ECDH: ", "\"ssl_"];
    let message = own_message(line)?;
    BEGINNINGS.iter().any(|beginning| message.starts_with(beginning)).then_some(message)
}

/// What is quoted of somebody's statement is in a line of another beginning, or behind a tab.
fn own_message(line: &str) -> Option<&str> {
    line.split_once("LOG:  ").filter(|_| !line.starts_with('\t')).map(|(_, message)| message)
}

/// The server's words for it (`hba.c` and `postmaster.c`, `be-secure-openssl.c`, `guc-file.l`; from
/// 16 on with the path of `pg_hba.conf`), if they are what the line says.
fn refusal_in(line: &str, hba_file: &str) -> Option<Refusal> {
    let message = own_message(line)?;
    match message.strip_suffix(" was not reloaded") {
        Some("SSL configuration") => return Some(Refusal::Certificates(message.to_owned())),
        Some(file) if file == hba_file || file == "pg_hba.conf" => {}
        _ if message.starts_with("configuration file \"")
            && message.ends_with("\" contains errors; no changes were applied") => {}
        _ => return None,
    }
    Some(Refusal::Configuration(message.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_servers_own_words_count() {
        for (line, refused) in [
            ("2026-11-22 01:00:00 UTC [1] LOG:  pg_hba.conf was not reloaded", true),
            ("2026-11-22 01:00:00 UTC [1] LOG:  /d/pg_hba.conf was not reloaded", true),
            ("[1] LOG:  SSL configuration was not reloaded", true),
            (
                "[1] LOG:  configuration file \"/d/postgresql.conf\" contains errors; no changes \
                 were applied",
                true,
            ),
            // A setting that wants a restart.
            (
                "[1] LOG:  configuration file \"/d/postgresql.conf\" contains errors; unaffected \
                 changes were applied",
                false,
            ),
            ("[1] LOG:  pg_ident.conf was not reloaded", false),
            ("[9] LOG:  statement: SELECT 'LOG:  pg_hba.conf was not reloaded", false),
            ("\tLOG:  pg_hba.conf was not reloaded", false),
        ] {
            assert_eq!(refusal_in(line, "/d/pg_hba.conf").is_some(), refused, "{line}");
        }
    }

    #[test]
    fn the_server_says_why_it_takes_no_certificates() {
        let refusals = |text: &str| refusals_in(text, "/d/pg_hba.conf");
        let certificates = |words: &str| vec![Refusal::Certificates(words.to_owned())];
        assert_eq!(
            refusals(
                "[1] LOG:  could not set the cipher list (no valid ciphers available)\n\
                 [7] LOG:  statement: ALTER ROLE a PASSWORD 'geheim'\n\
                 [1] LOG:  SSL configuration was not reloaded\n"
            ),
            certificates(
                "could not set the cipher list (no valid ciphers available); SSL configuration was \
                 not reloaded"
            )
        );
        assert_eq!(
            refusals(
                "[7] LOG:  statement: ALTER ROLE a PASSWORD 'geheim'\n\
                 \tLOG:  could not be better\n\
                 [1] LOG:  SSL configuration was not reloaded\n"
            ),
            certificates("SSL configuration was not reloaded")
        );
    }
}
