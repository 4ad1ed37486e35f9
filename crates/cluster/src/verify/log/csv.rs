//! The log in the format of `csvlog`. A message may go over several lines, and nothing but the quotes
//! tells where it ends: such a file can only be read from its beginning.

use std::str::from_utf8;

use super::{Message, json::without_zone};

/// The columns that matter here; the same in majors 12 to 18 (PostgreSQL documentation, "Using
/// CSV-Format Log Output").
const TIME: usize = 0;
const PROCESS: usize = 3;
const SESSION: usize = 5;
const MESSAGE: usize = 13;

/// The records of files that are read from their beginnings.
pub(super) fn records(files: &[u8]) -> Vec<::csv::ByteRecord> {
    let mut reader =
        ::csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(files);
    reader.byte_records().map_while(Result::ok).collect()
}

/// What processes logged.
pub(super) fn messages(records: &[::csv::ByteRecord]) -> impl Iterator<Item = Message<'_>> {
    records.iter().filter_map(|record| {
        let text = |column| from_utf8(record.get(column)?).ok();
        Some(Message {
            pid: text(PROCESS)?.parse().ok()?,
            time: without_zone(text(TIME)?),
            session: text(SESSION),
            text: Some(String::from_utf8_lossy(record.get(MESSAGE)?)),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_may_hold_what_looks_like_a_record() {
        let record = |pid: i32, message: &str| {
            format!(
                "2026-01-01 10:00:00.000 UTC,\"r\",\"app\",{pid},\"h:1\",65f.{pid:x},1,\"\",t,,0,LOG,\
                 00000,\"{message}\",,,,,,,,,\"\",\"client backend\",,0\n"
            )
        };
        let log = record(9, &format!("statement: \"\"\n{}", record(7, "x").replace('"', "\"\"")))
            + &record(7, "connection received: host=h port=1");
        let records = records(log.as_bytes());
        let found: Vec<_> = messages(&records).collect();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].pid, 9);
        let expected = Message {
            pid: 7,
            time: Some("2026-01-01 10:00:00.000"),
            session: Some("65f.7"),
            text: Some("connection received: host=h port=1".into()),
        };
        assert_eq!(found[1], expected);
    }
}
