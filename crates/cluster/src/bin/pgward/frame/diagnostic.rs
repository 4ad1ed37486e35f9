//! Problems as people read them: the line, what is wrong with it, why, and what to do.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet, Title};
use serde::{Serialize, Serializer, ser::SerializeMap as _};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Severity {
    /// Worth knowing
    Notice,
    /// Likely not what was meant
    Warning,
    /// Wrong
    Error,
}

/// Something that is wrong, and where.
#[derive(Clone, Debug)]
pub(crate) struct Diagnostic {
    pub(crate) severity: Severity,
    /// What `pgward explain` knows it by.
    pub(crate) code: Option<String>,
    /// What.
    pub(crate) message: String,
    pub(crate) place: Option<Place>,
    /// Why, or what follows from it.
    pub(crate) why: Vec<String>,
    /// What to do.
    pub(crate) fix: Option<String>,
    /// Another place that it has to do with, and what is there.
    pub(crate) related: Option<(Place, String)>,
}

impl Diagnostic {
    pub(crate) fn new(severity: Severity, message: impl Into<String>) -> Self {
        Self {
            severity,
            code: None,
            message: message.into(),
            place: None,
            why: Vec::new(),
            fix: None,
            related: None,
        }
    }

    pub(crate) fn error(message: impl Into<String>) -> Self {
        Self::new(Severity::Error, message)
    }

    pub(crate) fn warning(message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, message)
    }

    pub(crate) fn code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    pub(crate) fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    pub(crate) fn why(mut self, why: impl Into<String>) -> Self {
        self.why.push(why.into());
        self
    }

    pub(crate) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    pub(crate) fn related(mut self, place: Place, what: impl Into<String>) -> Self {
        self.related = Some((place, what.into()));
        self
    }

    /// With the source line and a caret, in styles that the console takes away where nobody sees
    /// them; ends with a line feed.
    pub(crate) fn render(&self) -> String {
        if self.place.is_none() {
            return self.headline() + &self.advice();
        }
        let message = super::text::plain_lines(&self.message);
        let mut group = Group::with_title(self.title(&message));
        if let Some(place) = &self.place {
            let beside = self.related.as_ref().filter(|(other, _)| other.is_beside(place));
            group = place.add_to(group, AnnotationKind::Primary, None, beside);
            if let Some((other, what)) = self.related.as_ref().filter(|_| beside.is_none()) {
                group = other.add_to(group, AnnotationKind::Context, Some(what), None);
            }
        }
        for why in &self.why {
            group = group.element(Level::NOTE.message(super::text::plain_lines(why)));
        }
        if let Some(fix) = &self.fix {
            group = group.element(Level::HELP.message(super::text::plain_lines(fix)));
        }
        let mut text = Renderer::styled().render(&[group]);
        text.push('\n');
        text
    }

    /// What it says, without why and what to do; further lines are set in below the first.
    fn headline(&self) -> String {
        let message = super::text::plain_lines(self.message.trim_end());
        let (first, more) = message.split_once('\n').unwrap_or((&message, ""));
        let mut text = Renderer::styled().render(&[Group::with_title(self.title(first))]);
        text.push('\n');
        for line in more.lines() {
            text.push_str(format!("    {line}").trim_end());
            text.push('\n');
        }
        text
    }

    fn title<'a>(&'a self, message: &'a str) -> Title<'a> {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
            Severity::Notice => Level::NOTE.with_name("notice"),
        };
        let title = level.primary_title(message);
        match &self.code {
            Some(code) => title.id(code.as_str()),
            None => title,
        }
    }

    /// Why, and what to do. Where there is no line to show, there is no margin for its number either.
    fn advice(&self) -> String {
        let mut text = String::new();
        let whys = self.why.iter().map(|why| ("note", why));
        for (what, more) in whys.chain(self.fix.iter().map(|fix| ("help", fix))) {
            let what = super::text::styled(super::text::STRONG, what);
            let more = super::text::plain_lines(more).replace('\n', "\n    ");
            text.push_str(&format!("  = {what}: {more}\n"));
        }
        text
    }

    /// Whether one advice does for both.
    fn shares_advice(&self, other: &Self) -> bool {
        let place = self.place.is_some() || other.place.is_some();
        !place && self.code.is_some() && self.code == other.code && self.advice() == other.advice()
    }
}

/// Several, with an empty line between them. What the same is to be done about stands together, and
/// why and what is said once.
pub(crate) fn render_all(all: &[Diagnostic]) -> String {
    let mut text = String::new();
    for (index, one) in all.iter().enumerate() {
        let next = all.get(index + 1);
        if next.is_some_and(|next| one.shares_advice(next)) {
            text.push_str(&one.headline());
            continue;
        }
        text.push_str(&one.render());
        if next.is_some() {
            text.push('\n');
        }
    }
    text
}

impl Serialize for Diagnostic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("severity", &self.severity)?;
        map.serialize_entry("code", &self.code)?;
        map.serialize_entry("message", &self.message)?;
        map.serialize_entry("place", &self.place)?;
        map.serialize_entry("why", &self.why)?;
        map.serialize_entry("fix", &self.fix)?;
        if let Some((place, what)) = &self.related {
            map.serialize_entry("related", &serde_json::json!({ "place": place, "what": what }))?;
        }
        map.end()
    }
}

/// A place in a file, with the lines to show.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Place {
    /// The file as the user named it.
    pub(crate) file: String,
    /// The line, from 1.
    pub(crate) line: usize,
    /// The first column in characters, from 1; none where the whole line is meant, or where the line
    /// must not be shown.
    pub(crate) column: Option<usize>,
    #[serde(skip)]
    excerpt: Option<Excerpt>,
}

/// Lines of a file, as they may be shown.
#[derive(Clone, Debug)]
struct Excerpt {
    /// The first line's number, from 1.
    first: usize,
    text: String,
    /// The bytes of `text` that are meant.
    span: Range<usize>,
}

/// Bytes of a file that must not be shown.
pub(crate) type Secrets = Vec<Range<usize>>;

/// What stands in place of each secret, whatever its length is.
const STARS: &str = "********";

/// A file's bytes with stars in the place of secrets.
pub(crate) fn masked(bytes: &[u8], secrets: &Secrets) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    for secret in secrets {
        out.extend_from_slice(&bytes[at..secret.start]);
        out.extend_from_slice(STARS.as_bytes());
        at = secret.end;
    }
    out.extend_from_slice(&bytes[at..]);
    out
}

/// The longest line that is shown, in bytes: nobody finds anything in a longer one, and to lay it out
/// once for each of its many problems takes minutes.
const LONGEST_SHOWN: usize = 1 << 16;

impl Place {
    /// A line that must not be shown: it may hold a secret anywhere.
    pub(crate) fn hidden(file: impl Into<String>, line: usize) -> Self {
        Self { file: file.into(), line, column: None, excerpt: None }
    }

    /// A span of a file's bytes, with the lines that it is in. `secrets` are shown as stars.
    pub(crate) fn of(
        file: impl Into<String>,
        bytes: &[u8],
        span: Range<usize>,
        secrets: &Secrets,
    ) -> Self {
        let before = &bytes[..span.start.min(bytes.len())];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        Self::numbered(file, bytes, span, line, secrets)
    }

    /// The same for a span that is known to begin in this line: nothing before that line is looked at.
    pub(crate) fn numbered(
        file: impl Into<String>,
        bytes: &[u8],
        span: Range<usize>,
        line: usize,
        secrets: &Secrets,
    ) -> Self {
        let start = span.start.min(bytes.len());
        let end = span.end.clamp(start, bytes.len());
        let line_start =
            bytes[..start].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        // A span that ends with its line's end is that line's.
        let last = if end > start && bytes[end - 1] == b'\n' { end - 1 } else { end };
        let line_end = bytes[last..]
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(bytes.len(), |at| last + at);
        if line_end - line_start > LONGEST_SHOWN {
            let column = String::from_utf8_lossy(&bytes[line_start..start]).chars().count() + 1;
            return Self { file: file.into(), line, column: Some(column), excerpt: None };
        }
        let mut text = String::new();
        push_masked(&mut text, bytes, line_start..start, secrets);
        let from = text.len();
        let column = text.chars().count() + 1;
        push_masked(&mut text, bytes, start..last, secrets);
        let to = from + text[from..].trim_end().len();
        push_masked(&mut text, bytes, last..line_end, secrets);
        text.truncate(text.trim_end_matches(['\r', '\n']).len());
        let span = from.min(text.len())..to.min(text.len());
        let excerpt = (text.len() <= LONGEST_SHOWN).then_some(Excerpt { first: line, text, span });
        Self { file: file.into(), line, column: Some(column), excerpt }
    }

    /// A line of a file, by its number.
    pub(crate) fn line(
        file: impl Into<String>,
        bytes: &[u8],
        line: usize,
        secrets: &Secrets,
    ) -> Self {
        let mut start = 0;
        for (index, text) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
            if index + 1 == line {
                let blank = text.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
                let blank = if blank == text.len() { 0 } else { blank };
                let mut place = Self::of(file, bytes, start + blank..start + text.len(), secrets);
                place.column = None;
                return place;
            }
            start += text.len();
        }
        Self::hidden(file, line)
    }

    /// Whether both are shown in one piece.
    fn is_beside(&self, other: &Self) -> bool {
        self.file == other.file
            && self.excerpt.is_some()
            && other.excerpt.is_some()
            && self.line == other.line
    }

    fn add_to<'a>(
        &'a self,
        group: Group<'a>,
        kind: AnnotationKind,
        label: Option<&'a String>,
        beside: Option<&'a (Place, String)>,
    ) -> Group<'a> {
        let file = super::text::plain(&self.file);
        let Some(excerpt) = &self.excerpt else {
            let origin = Origin::path(file).line(self.line);
            return group.element(match self.column {
                Some(column) => origin.char_column(column),
                None => origin,
            });
        };
        let mut annotation = kind.span(excerpt.span.clone());
        if let Some(label) = label {
            annotation = annotation.label(super::text::plain(label));
        }
        let mut snippet = Snippet::source(excerpt.text.as_str())
            .line_start(excerpt.first)
            .path(file)
            .annotation(annotation);
        if let Some((other, what)) = beside
            && let Some(other) = &other.excerpt
        {
            let label = super::text::plain(what);
            snippet =
                snippet.annotation(AnnotationKind::Context.span(other.span.clone()).label(label));
        }
        group.element(snippet)
    }
}

/// Bytes of a range as text, with stars in place of each secret.
fn push_masked(out: &mut String, bytes: &[u8], range: Range<usize>, secrets: &Secrets) {
    let mut at = range.start;
    for secret in secrets {
        let (start, end) = (secret.start.max(range.start), secret.end.min(range.end));
        if start >= end || start < at {
            continue;
        }
        push_lossy(out, &bytes[at..start]);
        // A secret that the range only begins in the middle of has its stars already.
        if start == secret.start {
            out.push_str(STARS);
        }
        at = end;
    }
    push_lossy(out, &bytes[at.min(range.end)..range.end]);
}

/// Control characters are the renderer's business; but what is no character has no width.
fn push_lossy(out: &mut String, bytes: &[u8]) {
    for character in String::from_utf8_lossy(bytes).chars() {
        match character {
            '\t' | '\n' | '\r' => out.push(character),
            control if control.is_control() => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(diagnostic: &Diagnostic) -> String {
        anstream::adapter::strip_str(&diagnostic.render()).to_string()
    }

    #[test]
    fn a_line_with_its_caret() {
        let place =
            Place::of("pg_hba.conf", b"# one\nlocal all all nothing\n", 20..27, &Vec::new());
        assert_eq!((place.line, place.column), (2, Some(15)));
        let diagnostic = Diagnostic::error("invalid authentication method \"nothing\"")
            .code("invalid-method")
            .at(place)
            .fix("write a method of this major, in small letters");
        assert_eq!(
            shown(&diagnostic),
            "error[invalid-method]: invalid authentication method \"nothing\"
 --> pg_hba.conf:2:15
  |
2 | local all all nothing
  |               ^^^^^^^
  |
  = help: write a method of this major, in small letters
"
        );
    }

    /// A file of one line of megabytes has hundreds of problems in it.
    #[test]
    fn a_line_that_nobody_could_read_is_named_and_not_shown() {
        let mut bytes = vec![b'x'; LONGEST_SHOWN + 1];
        bytes.splice(0..0, *b"# one\n");
        let text = shown(&Diagnostic::error("what").at(Place::of("f", &bytes, 16..20, &vec![])));
        assert_eq!(text, "error: what\n--> f:2:11\n");
    }

    #[test]
    fn what_the_same_is_to_be_done_about_stands_together() {
        let of = |message: &str, fix: &str| Diagnostic::warning(message).code("X1").fix(fix);
        let all = [of("one", "mend it"), of("two\n+a\n \n", "mend it"), of("three", "leave it")];
        assert_eq!(
            anstream::adapter::strip_str(&render_all(&all)).to_string(),
            "\
warning[X1]: one
warning[X1]: two
    +a
  = help: mend it

warning[X1]: three
  = help: leave it
"
        );
    }

    #[test]
    fn secrets_are_stars_of_one_length() {
        let bytes = b"host all all ::/0 ldap ldapbindpasswd=hunter2 ldaptls=1\n";
        let secret = 38..45;
        assert_eq!(&bytes[secret.clone()], b"hunter2");
        for span in [0..bytes.len(), 46..55, 40..42] {
            let place = Place::of("f", bytes, span, &vec![secret.clone()]);
            let text = shown(&Diagnostic::error("x").at(place));
            assert!(text.contains("ldapbindpasswd=******** ldaptls=1"), "{text}");
        }
    }

    #[test]
    fn any_bytes_have_a_place() {
        let bytes = b"\xff\r\n\x1b[31m\n";
        for start in 0..=bytes.len() + 1 {
            for end in start..=bytes.len() + 2 {
                let text = shown(&Diagnostic::error("x").at(Place::of(
                    "f",
                    bytes,
                    start..end,
                    &Vec::new(),
                )));
                assert!(!text.contains('\u{1b}'), "{start} {end}");
            }
        }
        for line in 0..5 {
            shown(&Diagnostic::error("x").at(Place::line("f", bytes, line, &Vec::new())));
        }
    }
}
