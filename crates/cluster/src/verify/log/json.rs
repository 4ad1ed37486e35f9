//! The log in the format of `jsonlog` (15 and newer): an object on each line.

use serde::Deserialize;

use super::Message;

/// The fields that matter here (`jsonlog.c`).
#[derive(Deserialize)]
struct Line<'l> {
    timestamp: &'l str,
    pid: i32,
    session_id: &'l str,
    #[serde(default)]
    message: String,
}

/// What processes logged. A line that is cut off at its beginning is none.
pub(super) fn messages(log: &str) -> impl Iterator<Item = Message<'_>> {
    log.lines().filter_map(|line| {
        let line: Line<'_> = serde_json::from_str(line).ok()?;
        Some(Message {
            pid: line.pid,
            time: without_zone(line.timestamp),
            session: Some(line.session_id),
            text: Some(line.message.into()),
        })
    })
}

/// `2026-01-01 10:00:00.000` of `2026-01-01 10:00:00.000 UTC`
pub(super) fn without_zone(time: &str) -> Option<&str> {
    time.rsplit_once(' ').map(|(time, _)| time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_an_object() {
        let log = "cut off\"}\n{\"timestamp\":\"2026-01-01 10:00:00.000 UTC\",\"pid\":7,\
            \"session_id\":\"65f.7\",\"message\":\"a \\\"b\\\"\\nc\"}\n";
        let expected = Message {
            pid: 7,
            time: Some("2026-01-01 10:00:00.000"),
            session: Some("65f.7"),
            text: Some("a \"b\"\nc".into()),
        };
        assert_eq!(messages(log).collect::<Vec<_>>(), [expected]);
    }
}
