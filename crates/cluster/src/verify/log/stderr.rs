//! The log in the format of `stderr`: lines that begin with `log_line_prefix`.

use super::Message;

/// What processes logged; nothing if the lines do not tell whose they are.
pub(super) fn messages<'l>(prefix: &str, log: &'l str) -> impl Iterator<Item = Message<'l>> {
    let reading = Reading::new(prefix);
    log.lines().filter_map(move |line| reading.as_ref()?.message(line))
}

/// Whether the lines of this prefix tell whose they are, and when they were written.
pub(super) fn tells(prefix: &str) -> bool {
    Reading::new(prefix).is_some_and(|reading| reading.time > 0)
}

/// How lines are taken apart.
struct Reading {
    /// The text around the process number, up to the neighbouring escapes.
    before: String,
    after: String,
    /// How many octets of time a line begins with.
    time: usize,
}

impl Reading {
    fn new(prefix: &str) -> Option<Self> {
        let (before, after) = prefix.split_once("%p")?;
        // Who connects chooses these, and could write another process' number there.
        if ["%a", "%u", "%d", "%i"].iter().any(|chosen| before.contains(chosen)) {
            return None;
        }
        let text =
            before.rfind('%').map_or(before, |escape| before.get(escape + 2..).unwrap_or(""));
        Some(Self {
            before: text.to_owned(),
            after: after.find('%').map_or(after, |escape| &after[..escape]).to_owned(),
            time: match before.get(..2) {
                Some("%m") => "2026-01-01 10:00:00.000".len(),
                Some("%t") => "2026-01-01 10:00:00".len(),
                _ => 0,
            },
        })
    }

    fn message<'l>(&self, line: &'l str) -> Option<Message<'l>> {
        // The server puts a tab before each further line of a message (elog.c,
        // `append_with_tabs`): what stands there is anybody's words.
        let (pid, rest) = self.process_of(line).filter(|_| !line.starts_with('\t'))?;
        // Nothing but the prefix comes before the level: a statement that is quoted does not count.
        let (level, text) = rest.split_once(":  ")?;
        let time = line.get(..self.time).filter(|time| !time.is_empty());
        let text = level.ends_with("LOG").then(|| text.into());
        Some(Message { pid, time, session: None, text })
    }

    /// The process number at the start of a line, and what comes after it: the first digits between
    /// the two texts. What follows later in the line may be anybody's words.
    fn process_of<'l>(&self, line: &'l str) -> Option<(i32, &'l str)> {
        let mut rest = line;
        loop {
            let start = rest.find(&self.before)? + self.before.len();
            let candidate = &rest[start..];
            let digits = candidate.find(|c: char| !c.is_ascii_digit()).unwrap_or(candidate.len());
            if digits > 0 && candidate[digits..].starts_with(&self.after) {
                let (number, rest) = candidate.split_at(digits);
                return Some((number.parse().ok()?, &rest[self.after.len()..]));
            }
            // Without a text in front the number can only be the first thing of the line.
            if self.before.is_empty() {
                return None;
            }
            rest = candidate;
        }
    }
}
