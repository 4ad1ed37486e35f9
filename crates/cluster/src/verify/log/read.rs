//! Reading the log through the server: in the format that it is written in, as far back as the
//! sessions began, over rotated files if need be.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, SystemTime},
};

use pg_version::PgVersion;
use tokio_postgres::Client;

use super::{Stories, Story, csv, json, stderr};
use crate::{deadline::Deadline, error::Error, inspect::NodeState, sql::told};

/// What a log tells of how a session was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// By which method.
    pub(crate) method: String,
    /// By which line of which file; `None` where the log does not say.
    pub(crate) place: Option<(String, u32)>,
    /// The log's file and its words.
    pub(crate) evidence: String,
}

/// So much of a log is read to find its time there.
const GLANCE: i64 = 64 << 10;
/// So much of a log is read from where a session began: its beginning is a matter of milliseconds.
const WINDOW: i64 = 1 << 20;
/// So much is read at most: of a file that can only be read from its beginning, or of one moment.
const MOST: i64 = 32 << 20;
/// How long the collector may take to write what the server has said.
pub(crate) const COLLECTOR: Duration = Duration::from_secs(2);
/// A session that began so recently may not be in the log yet.
const YOUNG: Duration = Duration::from_secs(5);

/// What the log tells of the sessions, by their processes; each is given with its start. Nothing where
/// the server may not show its log, or writes it somewhere else.
pub(crate) async fn tell(
    client: &Client,
    state: &NodeState,
    sessions: &[(i32, SystemTime)],
) -> Result<BTreeMap<i32, Told>, Error> {
    // 12 and 13 never tell.
    if sessions.is_empty()
        || state.version < PgVersion::V14
        || matches!(state.setting("log_connections"), "off" | "")
    {
        return Ok(BTreeMap::new());
    }
    let mut sessions = sessions.to_vec();
    sessions.sort_by_key(|(_, start)| *start);
    let deadline = Deadline::new("the server's log", COLLECTOR);
    loop {
        let Some(log) = Log::find(client, state).await? else { return Ok(BTreeMap::new()) };
        let told = log.tell(client, state.version, &sessions).await?;
        let young = |(pid, start): &(i32, SystemTime)| {
            !told.contains_key(pid) && log.now.duration_since(*start).unwrap_or_default() < YOUNG
        };
        if !sessions.iter().any(young) || deadline.pause().await.is_err() {
            return Ok(told);
        }
    }
}

/// How a log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Stderr,
    Csv,
    Json,
}

impl Format {
    /// As `log_destination` has it.
    const fn name(self) -> &'static str {
        match self {
            Self::Stderr => "stderr",
            Self::Csv => "csvlog",
            Self::Json => "jsonlog",
        }
    }
}

/// A file of the log.
#[derive(Clone, Debug)]
struct File {
    path: String,
    size: i64,
    modified: SystemTime,
}

/// A server's log.
#[derive(Debug)]
struct Log {
    format: Format,
    prefix: String,
    /// The one that is written to, then older ones.
    files: Vec<File>,
    /// The server's time.
    now: SystemTime,
}

impl Log {
    async fn find(client: &Client, state: &NodeState) -> Result<Option<Self>, Error> {
        const CURRENT: &str = "SELECT f, s.size, s.modification, pg_catalog.clock_timestamp() \
             FROM pg_catalog.pg_current_logfile($1) f, pg_catalog.pg_stat_file(f, true) s \
             WHERE s.size IS NOT NULL";
        const OTHERS: &str = "SELECT name, size, modification FROM pg_catalog.pg_ls_logdir() \
                              ORDER BY modification DESC";
        let prefix = state.setting("log_line_prefix");
        for format in [Format::Stderr, Format::Csv, Format::Json] {
            let usable = match format {
                Format::Stderr => stderr::tells(prefix),
                Format::Csv => true,
                Format::Json => state.version >= PgVersion::V15,
            };
            if !usable {
                continue;
            }
            let current = client.query_opt(CURRENT, &[&format.name()]).await;
            let Some(row) = told(current)?.flatten() else { continue };
            let path: String = row.get(0);
            let (folder, own) = path.rsplit_once('/').unwrap_or((".", &path));
            let mut files =
                vec![File { path: path.clone(), size: row.get(1), modified: row.get(2) }];
            for other in told(client.query(OTHERS, &[]).await)?.unwrap_or_default() {
                let name: String = other.get(0);
                if name != own && kind(&name) == kind(own) {
                    files.push(File {
                        path: format!("{folder}/{name}"),
                        size: other.get(1),
                        modified: other.get(2),
                    });
                }
            }
            return Ok(Some(Self { format, prefix: prefix.to_owned(), files, now: row.get(3) }));
        }
        Ok(None)
    }

    /// What is told of the sessions, the oldest of which comes first.
    async fn tell(
        &self,
        client: &Client,
        version: PgVersion,
        sessions: &[(i32, SystemTime)],
    ) -> Result<BTreeMap<i32, Told>, Error> {
        let mut told = BTreeMap::new();
        let mut rest = sessions;
        while let Some(((_, start), others)) = rest.split_first() {
            let Some(window) = self.window(client, *start).await? else {
                rest = others;
                continue;
            };
            // Those that began soon after are in the same window, most of the time.
            let times = Times::of(client, &window, rest).await?;
            for (index, (pid, start)) in rest.iter().enumerate() {
                match times.story_of(window.of_process(*pid), *pid, *start) {
                    Some(story) if story.authenticated || story.authorized => {
                        told.extend(self.told_by(story, version).map(|found| (*pid, found)));
                        rest = &rest[1..];
                    }
                    // What the first has not, it has nowhere.
                    _ if index == 0 => rest = &rest[1..],
                    _ => break,
                }
            }
        }
        Ok(told)
    }

    /// What was logged from when a session began, or a little before; `None` where that is not there.
    /// Without its beginning a session's words in the log could be its own.
    async fn window(&self, client: &Client, start: SystemTime) -> Result<Option<Stories>, Error> {
        // The oldest file that was written to after the session began. The server tells the time of
        // files to the second.
        let written_after = |file: &&File| file.modified + SECOND >= start;
        let Some(index) = self.files.iter().take_while(written_after).count().checked_sub(1) else {
            return Ok(None);
        };
        let (mut text, mut whole) = (Vec::new(), false);
        // What began in one file may go on in the next; and which file it began in, times in seconds
        // do not tell for sure.
        for (nth, file) in self.files[..=index].iter().rev().enumerate() {
            let (begin, length) = match self.format {
                // Where a record begins, only the file's own beginning tells.
                Format::Csv if file.size > MOST => return Ok(None),
                Format::Csv => (0, file.size),
                _ => (self.place_of(client, file, start).await?, WINDOW),
            };
            let (mut part, mut end) = (Vec::new(), begin);
            let (mut is_log, mut past) = (false, false);
            // More than one window where very much was logged in the moment that it began.
            while end < file.size && end - begin < MOST && !past {
                let Some(more) = read(client, &file.path, end, length).await? else {
                    return Ok(None);
                };
                let until = self.stories(&more, end > 0).until;
                is_log |= until.is_some();
                part.extend(more);
                end += length;
                let until = time(client, until.as_deref()).await?;
                past = until.is_some_and(|until| until > start + SLACK);
            }
            if !part.is_empty() && !is_log {
                // Another program's file, or one that somebody has compressed: what was before says
                // nothing of what comes after.
                (text, whole) = (Vec::new(), false);
                continue;
            }
            if nth == 0 {
                whole = begin == 0;
            }
            text.extend_from_slice(if begin > 0 { behind_first_line(&part) } else { &part });
            // The next files are of later.
            if past {
                break;
            }
        }
        let stories = self.stories(&text, false);
        // An older file ended before the session began.
        let covered = whole && index + 1 < self.files.len();
        let since = time(client, stories.since.as_deref()).await?;
        let covered = covered || since.is_some_and(|since| since <= start + SECOND);
        Ok(covered.then_some(stories))
    }

    /// A place in a file shortly before a time. (Where lines do not tell their time, one behind them.)
    async fn place_of(&self, client: &Client, file: &File, time: SystemTime) -> Result<i64, Error> {
        let (mut begin, mut end) = (0, file.size);
        while end - begin > 2 * GLANCE {
            let middle = i64::midpoint(begin, end);
            let Some(text) = read(client, &file.path, middle, GLANCE).await? else { break };
            let found = self.stories(&text, true).since;
            let there = self::time(client, found.as_deref()).await?;
            if there.is_some_and(|there| there + SLACK >= time) {
                end = middle;
            } else {
                begin = middle;
            }
        }
        Ok(begin)
    }

    fn stories(&self, text: &[u8], cut: bool) -> Stories {
        let text = if cut { behind_first_line(text) } else { text };
        match self.format {
            Format::Csv => Stories::of(csv::messages(&csv::records(text))),
            Format::Stderr => {
                let text = String::from_utf8_lossy(text);
                Stories::of(stderr::messages(&self.prefix, &text))
            }
            Format::Json => Stories::of(json::messages(&String::from_utf8_lossy(text))),
        }
    }

    fn told_by(&self, story: &Story, version: PgVersion) -> Option<Told> {
        let log = format!("the server's log ({})", self.format.name());
        if let Some(found) = &story.authentication {
            return Some(Told {
                method: found.method.clone(),
                place: Some((found.file.clone(), found.line)),
                evidence: format!("{log}: {}", story.words),
            });
        }
        // 17 and newer tell of trust, too.
        (story.is_silent() && version <= PgVersion::V16).then(|| Told {
            method: "trust".to_owned(),
            place: None,
            evidence: format!("{log}: connection received, then authorized, not authenticated"),
        })
    }
}

const SECOND: Duration = Duration::from_secs(1);
/// Processes write their lines in another order than they took their times, on a busy machine; and a
/// log's times may be whole seconds.
const SLACK: Duration = Duration::from_secs(2);

/// A line that is cut off at its beginning could be read as something else.
fn behind_first_line(text: &[u8]) -> &[u8] {
    let first = text.iter().position(|byte| *byte == b'\n').map_or(text.len(), |end| end + 1);
    &text[first..]
}

/// When what a log tells of happened, by its words for it.
struct Times(HashMap<String, SystemTime>);

impl Times {
    /// The times of what is told of these processes: all in one question, for each takes its time.
    async fn of(
        client: &Client,
        window: &Stories,
        sessions: &[(i32, SystemTime)],
    ) -> Result<Self, Error> {
        let words = |pid| -> BTreeSet<&str> {
            // Where sessions are told by their ids, no time is needed.
            let stories = window.of_process(pid).iter().filter(|story| story.session.is_none());
            stories.filter_map(|story| story.time.as_deref()).collect()
        };
        let all: BTreeSet<&str> = sessions.iter().flat_map(|(pid, _)| words(*pid)).collect();
        let mut times = Self(HashMap::new());
        // One that the server does not understand spoils only what is told of its process.
        if !times.ask(client, &all).await? {
            for (pid, _) in sessions {
                times.ask(client, &words(*pid)).await?;
            }
        }
        Ok(times)
    }

    /// Whether the server understands all of them.
    async fn ask(&mut self, client: &Client, words: &BTreeSet<&str>) -> Result<bool, Error> {
        if words.is_empty() {
            return Ok(true);
        }
        let found = times(client, words.iter().map(|word| (*word).to_owned()).collect()).await?;
        let found = words.iter().zip(&found);
        self.0
            .extend(found.clone().filter_map(|(word, time)| Some(((*word).to_owned(), (*time)?))));
        Ok(found.len() == words.len())
    }

    /// What the log tells of this very session, among what it tells of processes of its number.
    fn story_of<'s>(&self, stories: &'s [Story], pid: i32, start: SystemTime) -> Option<&'s Story> {
        let seconds = start.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let id = format!("{seconds:x}.{pid:x}");
        if stories.iter().any(|story| story.session.is_some()) {
            return stories.iter().find(|story| story.session.as_ref() == Some(&id));
        }
        // The prefix may have no more than seconds.
        let is_it = |time: &SystemTime| *time + SECOND > start;
        stories.iter().find(|story| {
            let time = story.time.as_ref().and_then(|time| self.0.get(time));
            time.is_some_and(is_it)
        })
    }
}

/// A log's time as the server understands it.
async fn time(client: &Client, text: Option<&str>) -> Result<Option<SystemTime>, Error> {
    let Some(text) = text else { return Ok(None) };
    Ok(times(client, vec![text.to_owned()]).await?.pop().flatten())
}

/// A log's times as the server understands them; none where it does not.
async fn times(client: &Client, texts: Vec<String>) -> Result<Vec<Option<SystemTime>>, Error> {
    const QUERY: &str = "SELECT t::timestamp AT TIME ZONE pg_catalog.current_setting('log_timezone') \
         FROM pg_catalog.unnest($1::text[]) WITH ORDINALITY u (t, n) ORDER BY n";
    let rows = told(client.query(QUERY, &[&texts]).await)?.unwrap_or_default();
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn read(
    client: &Client,
    path: &str,
    begin: i64,
    length: i64,
) -> Result<Option<Vec<u8>>, Error> {
    const QUERY: &str = "SELECT pg_catalog.pg_read_binary_file($1, $2, $3, true)";
    let row = told(client.query_one(QUERY, &[&path, &begin, &length]).await)?;
    Ok(row.and_then(|row| row.get(0)))
}

/// What tells the log's formats from one another (`syslogger.c`, `logfile_getname`).
fn kind(name: &str) -> Option<&str> {
    name.rsplit_once('.').map(|(_, kind)| kind).filter(|kind| ["csv", "json"].contains(kind))
}
