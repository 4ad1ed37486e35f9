//! What the server's log says of a session: by which method and by which line of `pg_hba.conf` it
//! was let in.
//!
//! From major 14 on, with `log_connections`, the server writes `connection authenticated:
//! identity="…" method=… (FILE:LINE)` (`auth.c`, `set_authn_id`; for `trust` only from 17 on). The
//! line is written before the identity is compared with the role, so it proves nothing alone: the
//! session must exist, or "connection authorized" follow.

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

/// The last authentication of process `pid` that the log tells of. `prefix` is the server's
/// `log_line_prefix`; it must have `%p` in it.
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
    messages_of(pid, prefix, log)?
        // What is older was said of an earlier process of that number.
        .take_while(|message| !message.starts_with(RECEIVED))
        .find_map(parse_authenticated)
}

/// Whether the log tells that process `pid` was let in without any authentication, by `trust`: it has
/// the whole beginning of the session, and between the arrival and the authorization no word on an
/// authentication. Only majors 14 to 16 say so by their silence: 12 and 13 never tell of an
/// authentication, 17 and later tell of `trust`, too.
#[must_use]
pub fn let_in_without_authentication(pid: i32, prefix: &str, log: &str) -> bool {
    let mut authorized = false;
    for message in messages_of(pid, prefix, log).into_iter().flatten() {
        if message.starts_with(AUTHENTICATED) {
            return false;
        }
        if message.starts_with(RECEIVED) {
            return authorized;
        }
        authorized |= message.starts_with("connection authorized: ")
            || message.starts_with("replication connection authorized: ");
    }
    false
}

const RECEIVED: &str = "connection received: ";
const AUTHENTICATED: &str = "connection authenticated: ";

/// What process `pid` logged at the level `LOG`, the last first; `None` if the lines do not tell whose
/// they are.
fn messages_of<'l>(
    pid: i32,
    prefix: &'l str,
    log: &'l str,
) -> Option<impl Iterator<Item = &'l str>> {
    let (before, after) = prefix.split_once("%p")?;
    // Who connects chooses these, and could write another process' number there.
    if ["%a", "%u", "%d", "%i"].iter().any(|chosen| before.contains(chosen)) {
        return None;
    }
    // The literal text around the number, up to the neighbouring escapes.
    let before = before.rfind('%').map_or(before, |escape| before.get(escape + 2..).unwrap_or(""));
    let after = after.find('%').map_or(after, |escape| &after[..escape]);
    let lines = log.lines().rev().filter_map(move |line| {
        // The server puts a tab before each further line of a message (elog.c,
        // `append_with_tabs`): what stands there is anybody's words.
        let (process, rest) =
            process_of(line, before, after).filter(|_| !line.starts_with('\t'))?;
        // Nothing but the prefix comes before the level: a statement that is quoted does not count.
        let (level, message) = rest.split_once(":  ")?;
        (process == pid && level.ends_with("LOG")).then_some(message)
    });
    Some(lines)
}

/// The process number at the start of a line, and what comes after it: the first digits between the
/// two texts. What follows later in the line may be anybody's words.
fn process_of<'l>(line: &'l str, before: &str, after: &str) -> Option<(i32, &'l str)> {
    let mut rest = line;
    loop {
        let start = rest.find(before)? + before.len();
        let candidate = &rest[start..];
        let digits = candidate.find(|c: char| !c.is_ascii_digit()).unwrap_or(candidate.len());
        if digits > 0 && candidate[digits..].starts_with(after) {
            let (number, rest) = candidate.split_at(digits);
            return Some((number.parse().ok()?, &rest[after.len()..]));
        }
        // Without a text in front the number can only be the first thing of the line.
        if before.is_empty() {
            return None;
        }
        rest = candidate;
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
        // What the session itself says later.
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
    fn without_a_process_number_nothing_is_claimed() {
        assert_eq!(authentication_of(12, "%m ", LOG), None);
        assert_eq!(authentication_of(12, "", LOG), None);
    }
}
