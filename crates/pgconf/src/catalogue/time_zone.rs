//! Time zones: `check_timezone` and `check_log_timezone` of `variable.c`, `pg_tzset` of `pgtz.c`,
//! `tzparse` of `localtime.c`; the sets of abbreviations of `tzparser.c`.

use super::number::strtod;

/// The names in the time zone database that PostgreSQL comes with (tzdata), made by
/// `cargo xtask catalogue`: a folder, `.` for none, and what is in it, on each line.
const ZONES: &str = include_str!("time_zones.txt");

/// The longest name (`TZ_STRLEN_MAX`).
const MAX_LEN: usize = 255;

/// Why the server does not take a time zone.
#[derive(Debug, PartialEq)]
pub(super) enum Refusal {
    /// The database has no such name. Another one may.
    Unknown,
    /// Not what an interval looks like.
    Interval,
    /// An offset of more than a week.
    OutOfRange,
    /// An offset with seconds: the server takes them for leap seconds.
    Seconds,
}

/// The zone as the server shows it. `TimeZone` takes hours and an interval too, `log_timezone` does
/// not.
pub(super) fn canonical(text: &[u8], takes_offsets: bool) -> Result<Vec<u8>, Refusal> {
    if takes_offsets {
        if text.get(..8).is_some_and(|start| start.eq_ignore_ascii_case(b"interval")) {
            return interval(&text[8..], text);
        }
        let hours = strtod(text);
        if hours.end > 0 && hours.end == text.len() {
            return from_seconds(hours.value * 3600.0);
        }
    }
    let text = &text[..memchr::memchr(0, text).unwrap_or(text.len())];
    if text.len() > MAX_LEN {
        return Err(Refusal::Unknown);
    }
    // A colon says that what follows is a name and no rule.
    if let Some(name) = zone(text.strip_prefix(b":").unwrap_or(text)) {
        return Ok(name);
    }
    if text.first() == Some(&b':') {
        return Err(Refusal::Unknown);
    }
    let rule = text.to_ascii_uppercase();
    match Rule::parse(&rule) {
        None => Err(Refusal::Unknown),
        Some(Rule { has_seconds: true }) => Err(Refusal::Seconds),
        Some(_) => Ok(rule),
    }
}

/// Whether a set of abbreviations of that name is there: a file of letters only.
pub(super) fn has_abbreviations(name: &[u8]) -> bool {
    matches!(name, b"Default" | b"Australia" | b"India")
}

/// Whether a database may have a zone of that name.
pub(super) fn may_be_name(text: &[u8]) -> bool {
    let good =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'+' | b'-' | b'/');
    text.first().is_some_and(u8::is_ascii_alphabetic) && text.iter().all(good)
}

/// A name of the database, in any case, as the database spells it.
fn zone(text: &[u8]) -> Option<Vec<u8>> {
    let (folder, name) = match memchr::memrchr(b'/', text) {
        Some(slash) => (Some(&text[..slash]), &text[slash + 1..]),
        None => (None, text),
    };
    ZONES.lines().find_map(|line| {
        let mut words = line.split(' ');
        let here = words.next().filter(|here| *here != ".");
        let is_here = match (here, folder) {
            (Some(here), Some(folder)) => here.as_bytes().eq_ignore_ascii_case(folder),
            (here, folder) => here.is_none() && folder.is_none(),
        };
        let found = words.find(|word| is_here && word.as_bytes().eq_ignore_ascii_case(name))?;
        Some(here.map_or_else(|| found.to_owned(), |here| format!("{here}/{found}")).into_bytes())
    })
}

/// An offset east of Greenwich; the name that the server gives it (`pg_tzset_offset`).
fn from_seconds(seconds: f64) -> Result<Vec<u8>, Refusal> {
    const WEEK: f64 = 168.0 * 3600.0;
    if seconds.is_nan() || seconds.abs() >= WEEK {
        return Err(Refusal::OutOfRange);
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "cut, as the server does; less than a week"
    )]
    let seconds = seconds as i32;
    let size = seconds.unsigned_abs();
    let mut offset = format!("{:02}", size / 3600);
    if !size.is_multiple_of(3600) {
        offset += &format!(":{:02}", size / 60 % 60);
    }
    if !size.is_multiple_of(60) {
        offset += &format!(":{:02}", size % 60);
    }
    // POSIX counts to the west.
    let (sign, back) = if seconds < 0 { ('-', '+') } else { ('+', '-') };
    Ok(format!("<{sign}{offset}>{back}{offset}").into_bytes())
}

/// `INTERVAL '-08:00'`; `rest` follows the word. An interval in other words than hours, minutes and
/// seconds is left as it is.
fn interval(rest: &[u8], text: &[u8]) -> Result<Vec<u8>, Refusal> {
    let rest = &rest[rest.iter().take_while(|byte| super::number::is_space(**byte)).count()..];
    let inner = rest.strip_prefix(b"'").ok_or(Refusal::Interval)?;
    let end = memchr::memchr(b'\'', inner).filter(|end| end + 1 == inner.len());
    let inner = &inner[..end.ok_or(Refusal::Interval)?];
    let (negative, digits) = match inner {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let parts: Vec<&[u8]> = digits.split(|byte| *byte == b':').collect();
    let number = |part: &&[u8]| {
        let plain = (1..=3).contains(&part.len()) && part.iter().all(u8::is_ascii_digit);
        plain.then(|| str::from_utf8(part).ok()?.parse::<u32>().ok()).flatten()
    };
    let numbers: Option<Vec<u32>> = parts.iter().map(number).collect();
    let (hours, minutes, seconds) = match numbers.as_deref() {
        Some([hours, minutes]) if *minutes < 60 => (*hours, *minutes, 0),
        Some([hours, minutes, seconds]) if *minutes < 60 && *seconds < 60 => {
            (*hours, *minutes, *seconds)
        }
        _ => return Ok(text.to_vec()),
    };
    let seconds = f64::from(hours * 3600 + minutes * 60 + seconds);
    from_seconds(if negative { -seconds } else { seconds })
}

/// A time zone in the notation of POSIX: `EST5EDT,M3.2.0,M11.1.0`. An abbreviation may be anything,
/// even nothing, up to what begins an offset.
struct Rule {
    has_seconds: bool,
}

impl Rule {
    /// Reads `rule`, in upper case.
    fn parse(rule: &[u8]) -> Option<Self> {
        let mut reader = Reader(rule);
        reader.abbreviation()?;
        let has_seconds = reader.offset()? % 60 != 0;
        if !reader.0.is_empty() {
            if reader.abbreviation()? == 0 {
                return None;
            }
            if !matches!(reader.0, [] | [b',' | b';', ..]) {
                reader.offset()?;
            }
            if !reader.0.is_empty() {
                reader.take(|byte| matches!(byte, b',' | b';'))?;
                reader.change()?;
                reader.take(|byte| byte == b',')?;
                reader.change()?;
            }
        }
        reader.0.is_empty().then_some(Self { has_seconds })
    }
}

/// What is left of a rule.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take(&mut self, is: impl Fn(u8) -> bool) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        is(*first).then(|| self.0 = rest)?;
        Some(*first)
    }

    /// The length of an abbreviation, between angle brackets or up to a digit, a sign, a comma.
    fn abbreviation(&mut self) -> Option<usize> {
        if self.take(|byte| byte == b'<').is_some() {
            let len = memchr::memchr(b'>', self.0)?;
            self.0 = &self.0[len + 1..];
            return Some(len);
        }
        let is_end = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b',' | b'-' | b'+');
        let len = self.0.iter().position(is_end).unwrap_or(self.0.len());
        self.0 = &self.0[len..];
        Some(len)
    }

    /// `[sign]hours[:minutes[:seconds]]`, in seconds.
    fn offset(&mut self) -> Option<i64> {
        let sign = self.take(|byte| matches!(byte, b'+' | b'-'));
        let mut seconds = self.number(0, 167)? * 3600;
        if self.take(|byte| byte == b':').is_some() {
            seconds += self.number(0, 59)? * 60;
            if self.take(|byte| byte == b':').is_some() {
                seconds += self.number(0, 60)?;
            }
        }
        Some(if sign == Some(b'-') { -seconds } else { seconds })
    }

    /// When the time changes: `M3.2.0/2`, `J60`, `59`.
    fn change(&mut self) -> Option<()> {
        if self.take(|byte| byte == b'J').is_some() {
            self.number(1, 365)?;
        } else if self.take(|byte| byte == b'M').is_some() {
            self.number(1, 12)?;
            self.take(|byte| byte == b'.')?;
            self.number(1, 5)?;
            self.take(|byte| byte == b'.')?;
            self.number(0, 6)?;
        } else {
            self.number(0, 365)?;
        }
        if self.take(|byte| byte == b'/').is_some() {
            self.offset()?;
        }
        Some(())
    }

    fn number(&mut self, min: i64, max: i64) -> Option<i64> {
        let mut number = None;
        while let Some(digit) = self.take(|byte| byte.is_ascii_digit()) {
            let value = number.unwrap_or(0) * 10 + i64::from(digit - b'0');
            number = Some(value).filter(|value| *value <= max);
            number?;
        }
        number.filter(|number| *number >= min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_found_in_any_case() {
        for (text, zone) in [
            ("utc", Some("UTC")),
            ("EUROPE/berlin", Some("Europe/Berlin")),
            ("america/argentina/buenos_aires", Some("America/Argentina/Buenos_Aires")),
            ("america/argentina", None),
            ("Europe/", None),
            ("/utc", None),
            ("./utc", None),
            ("Mars/Olympus", None),
            ("", None),
        ] {
            assert_eq!(super::zone(text.as_bytes()), zone.map(Into::into), "{text}");
        }
        assert!(ZONES.lines().flat_map(|line| line.split(' ').skip(1)).count() > 590);
    }

    #[test]
    fn offsets_get_a_name() {
        for (text, name) in [
            ("5.5", "<+05:30>-05:30"),
            ("-0x10", "<-16>+16"),
            (" 3.0005", "<+03:00:01>-03:00:01"),
            ("-0", "<+00>-00"),
            ("interval'-5:30'", "<-05:30>+05:30"),
            ("Interval '0:00:07'", "<+00:00:07>-00:00:07"),
            ("interval '3 hours'", "interval '3 hours'"),
            ("5 ", "5 "),
        ] {
            let shown = canonical(text.as_bytes(), true).map(String::from_utf8);
            assert_eq!(shown, Ok(Ok(name.to_owned())), "{text}");
        }
        for (text, refusal) in [
            ("168", Refusal::OutOfRange),
            ("nan", Refusal::OutOfRange),
            ("interval '200:00'", Refusal::OutOfRange),
            ("interval '3", Refusal::Interval),
            ("interval 3", Refusal::Interval),
            ("ABC1:00:01", Refusal::Seconds),
        ] {
            assert_eq!(canonical(text.as_bytes(), true), Err(refusal), "{text}");
        }
        assert_eq!(canonical(b"3", false), Ok(b"3".to_vec()));
    }
}
