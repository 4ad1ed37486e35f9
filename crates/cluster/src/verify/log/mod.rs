//! What the server's log says of a session: by which method and by which line of `pg_hba.conf` it
//! was let in.
//!
//! From major 14 on, with `log_connections`, the server writes `connection authenticated:
//! identity="…" method=… (FILE:LINE)` (`auth.c`, `set_authn_id`; for `trust` only from 17 on). The
//! line is written before the identity is compared with the role, so it proves nothing alone: the
//! session must exist, or "connection authorized" follow.
//!
//! Whoever is let in can have the server log what he likes. So what counts is the beginning of a
//! session: from the first "connection received" after its start to "connection authorized", which
//! come before its first statement.
//!
//! The words are those of `lc_messages` in English; in another language nothing is found.

mod csv;
mod json;
mod read;
mod stderr;

use std::{borrow::Cow, collections::BTreeMap};

pub(crate) use self::read::{COLLECTOR, Told, tell};

/// How a session was let in, from the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authentication {
    /// Who the method says it is: a certificate's subject, a role.
    pub identity: Option<String>,
    /// `cert`, `scram-sha-256`, `trust` …
    pub method: String,
    /// The file with the deciding line.
    pub file: String,
    /// The line's number, from 1.
    pub line: u32,
}

/// The last authentication of process `pid` that a log in the format of `stderr` tells of. `prefix` is
/// the server's `log_line_prefix`; it must have `%p` in it.
///
/// ```
/// use cluster::verify::log;
///
/// let text = "2026-01-01 10:00:00 UTC [77] LOG:  connection authenticated: \
///             identity=\"CN=repl\" method=cert (/data/pg_hba.conf:3)\n";
/// let found = log::authentication_of(77, "%m [%p] ", text);
/// assert_eq!(found.map(|found| (found.method, found.line)), Some(("cert".to_owned(), 3)));
/// ```
#[must_use]
pub fn authentication_of(pid: i32, prefix: &str, log: &str) -> Option<Authentication> {
    Stories::of(stderr::messages(prefix, log)).last(pid)?.authentication.clone()
}

/// Whether a log in the format of `stderr` tells that process `pid` was let in without any
/// authentication, by `trust`: it has the whole beginning of the session, and between the arrival and
/// the authorization no word on an authentication. Only majors 14 to 16 say so by their silence: 12
/// and 13 never tell of an authentication, 17 and later tell of `trust`, too.
#[must_use]
pub fn let_in_without_authentication(pid: i32, prefix: &str, log: &str) -> bool {
    Stories::of(stderr::messages(prefix, log)).last(pid).is_some_and(Story::is_silent)
}

const RECEIVED: &str = "connection received: ";
const AUTHENTICATED: &str = "connection authenticated: ";
const AUTHORIZED: [&str; 2] = ["connection authorized: ", "replication connection authorized: "];

/// A line of a log: what a process said at the level `LOG`, or that it said something else.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Message<'l> {
    pid: i32,
    /// Its time, in `log_timezone`, without the zone.
    time: Option<&'l str>,
    /// The session's id: the second of its start and the process, in hexadecimal (`%c`).
    session: Option<&'l str>,
    text: Option<Cow<'l, str>>,
}

/// What a log tells of the beginning of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Story {
    /// As the first of its messages has them.
    time: Option<String>,
    session: Option<String>,
    received: bool,
    /// Whether there was a word on it, understood or not.
    authenticated: bool,
    authentication: Option<Authentication>,
    authorized: bool,
    /// The words on it.
    words: String,
}

impl Story {
    fn new(message: &Message<'_>, received: bool) -> Self {
        let (time, session) = (message.time, message.session);
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Self { time: owned(time), session: owned(session), received, ..Self::default() }
    }

    fn hear(&mut self, message: &str) {
        if self.authorized {
            return;
        }
        if message.starts_with(AUTHENTICATED) && !self.authenticated {
            self.authenticated = true;
            self.authentication = parse_authenticated(message);
            message.clone_into(&mut self.words);
        }
        self.authorized |= AUTHORIZED.iter().any(|start| message.starts_with(start));
    }

    /// Let in without a word on any authentication.
    fn is_silent(&self) -> bool {
        self.received && self.authorized && !self.authenticated
    }
}

/// What a log tells of the beginnings of sessions, in its order.
#[derive(Debug, Default)]
struct Stories {
    /// The time of the first message.
    since: Option<String>,
    /// The time of the last one.
    until: Option<String>,
    of: BTreeMap<i32, Vec<Story>>,
}

impl Stories {
    fn of<'l>(messages: impl Iterator<Item = Message<'l>>) -> Self {
        let mut stories = Self::default();
        for message in messages {
            if let Some(time) = message.time {
                stories.since.get_or_insert_with(|| time.to_owned());
                stories.until = Some(time.to_owned());
            }
            let Some(text) = &message.text else { continue };
            let received = text.starts_with(RECEIVED);
            let of_process = stories.of.entry(message.pid).or_default();
            // Where arrivals are not logged, each word on an authentication begins a session.
            let begins = received
                || (text.starts_with(AUTHENTICATED)
                    && of_process.last().is_none_or(|story| !story.received));
            if begins {
                of_process.push(Story::new(&message, received));
            }
            if let Some(story) = of_process.last_mut() {
                story.hear(text);
            }
        }
        stories
    }

    fn of_process(&self, pid: i32) -> &[Story] {
        self.of.get(&pid).map_or(&[], Vec::as_slice)
    }

    fn last(&self, pid: i32) -> Option<&Story> {
        self.of_process(pid).last()
    }
}

fn parse_authenticated(message: &str) -> Option<Authentication> {
    let rest = message.strip_prefix(AUTHENTICATED)?;
    let (identity, rest) = match rest.strip_prefix("identity=\"") {
        // An identity may hold anything: the last of these marks is the server's.
        Some(rest) => {
            let end = rest.rfind("\" method=")?;
            (Some(rest[..end].to_owned()), &rest[end + 2..])
        }
        // `trust` from 17 on: user="…" method=trust
        None => (None, &rest[rest.rfind("method=")?..]),
    };
    let (method, place) = rest.strip_prefix("method=")?.split_once(" (")?;
    let (file, line) = place.strip_suffix(')')?.rsplit_once(':')?;
    Some(Authentication {
        identity,
        method: method.to_owned(),
        file: file.to_owned(),
        line: line.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
2026-11-22 01:00:00.000 UTC [12] LOG:  connection received: host=127.0.0.1 port=4711\n\
2026-11-22 01:00:00.001 UTC [12] LOG:  connection authenticated: identity=\"repl\" method=scram-sha-256 (/d/pg_hba.conf:4)\n\
2026-11-22 01:00:00.002 UTC [112] LOG:  connection authenticated: identity=\"CN=\\\" method=x (a:1)\" method=cert (/d d/pg_hba.conf:7)\n\
2026-11-22 01:00:00.003 UTC [13] LOG:  connection authenticated: user=\"repl\" method=trust (/d/pg_hba.conf:9)\n\
2026-11-22 01:00:00.003 UTC [14] LOG:  connection authorized: user=repl database=app\n";

    #[test]
    fn finds_the_line_of_the_process() {
        let of = |pid| authentication_of(pid, "%m [%p] ", LOG);
        assert_eq!(of(12).map(|a| (a.method, a.line)), Some(("scram-sha-256".into(), 4)));
        let tricky = of(112);
        assert_eq!(tricky.as_ref().map(|a| a.method.as_str()), Some("cert"));
        assert_eq!(tricky.map(|a| (a.file, a.line)), Some(("/d d/pg_hba.conf".into(), 7)));
        assert_eq!(of(13).map(|a| (a.identity, a.method)), Some((None, "trust".into())));
        assert_eq!(of(14), None);
        assert_eq!(of(2), None);
        let first = |pid| {
            authentication_of(
                pid,
                "%p ",
                "112 LOG:  connection authenticated: \
            identity=\"a\" method=cert (f:1)",
            )
        };
        assert_eq!(first(112).map(|a| a.line), Some(1));
        assert_eq!(first(12), None);
    }

    #[test]
    fn another_sessions_words_are_no_evidence() {
        let forged = "2026-11-22 01:00:00.000 UTC [99] ERROR:  syntax error at \" [12] LOG:  \
            connection authenticated: identity=\"CN=repl\" method=cert (/d/pg_hba.conf:1)\n";
        assert_eq!(authentication_of(12, "%m [%p] ", forged), None);
        assert_eq!(authentication_of(12, "%a [%p] ", LOG), None);
        // A statement of several lines, logged by another session.
        let forged = "2026-11-22 01:00:00.000 UTC [99] LOG:  statement: SELECT '\n\
            \t2026-11-22 01:00:00.000 UTC [12] LOG:  connection authenticated: \
            identity=\"CN=repl\" method=cert (/d/pg_hba.conf:1)\n";
        assert_eq!(authentication_of(12, "%m [%p] ", forged), None);
        // What the session itself says later, even in the server's own words.
        let told = "t [12] LOG:  connection received: host=127.0.0.1 port=1\n\
            t [12] LOG:  connection authenticated: user=\"r\" method=trust (/d/pg_hba.conf:9)\n\
            t [12] LOG:  connection authorized: user=r database=app\n\
            t [12] LOG:  connection authenticated: identity=\"CN=r\" method=cert (/d/pg_hba.conf:1)\n";
        let found = authentication_of(12, "%m [%p] ", told);
        assert_eq!(found.map(|found| found.method).as_deref(), Some("trust"));
        let forged = "2026-11-22 01:00:00.000 UTC [12] STATEMENT:  START_REPLICATION \"x LOG:  \
            connection authenticated: identity=\"CN=repl\" method=cert (/d/pg_hba.conf:1)\n";
        assert_eq!(authentication_of(12, "%m [%p] ", forged), None);
    }

    #[test]
    fn silence_between_arrival_and_authorization_is_trust() {
        let before = "t [12] LOG:  connection received: host=127.0.0.1 port=1\n\
            t [12] LOG:  connection authenticated: identity=\"CN=r\" method=cert (/d/pg_hba.conf:1)\n\
            t [12] LOG:  replication connection authorized: user=r\n";
        assert!(!let_in_without_authentication(12, "%m [%p] ", before));
        assert!(authentication_of(12, "%m [%p] ", before).is_some());
        // The number comes back; that the earlier process had a certificate says nothing.
        let log = [
            before,
            "t [12] LOG:  connection received: host=127.0.0.1 port=2\n\
            t [12] LOG:  replication connection authorized: user=r\n",
        ]
        .concat();
        assert!(let_in_without_authentication(12, "%m [%p] ", &log));
        assert_eq!(authentication_of(12, "%m [%p] ", &log), None);
        // The beginning is not there: nothing is claimed.
        let cut = "t [12] LOG:  replication connection authorized: user=r\n";
        assert!(!let_in_without_authentication(12, "%m [%p] ", cut));
    }

    #[test]
    fn another_language_tells_nothing() {
        let log = "t [12] LOG:  Verbindung empfangen: Host=127.0.0.1 Port=1\n\
            t [12] LOG:  Verbindung authentifiziert: identity=\"CN=r\" method=cert (/d/pg_hba.conf:1)\n\
            t [12] LOG:  Replikationsverbindung autorisiert: Benutzer=r\n";
        assert_eq!(authentication_of(12, "%m [%p] ", log), None);
        assert!(!let_in_without_authentication(12, "%m [%p] ", log));
    }

    #[test]
    fn without_a_process_number_nothing_is_claimed() {
        assert_eq!(authentication_of(12, "%m ", LOG), None);
        assert_eq!(authentication_of(12, "", LOG), None);
    }
}
