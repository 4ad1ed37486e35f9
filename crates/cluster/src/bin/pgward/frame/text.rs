//! Text from files, servers and users, made fit for a terminal.

use std::{borrow::Cow, fmt::Write as _};

use anstyle::{AnsiColor, Style};

/// Headings, and what else is to be found at a glance.
pub(crate) const STRONG: Style = Style::new().bold();
/// What is as it should be.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// What is not.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// What to look at.
pub(crate) const ODD: Style = AnsiColor::Yellow.on_default();
/// What stands in the background.
pub(crate) const FAINT: Style = Style::new().dimmed();

/// Text with a style around it. The console takes the style away where nobody sees it.
pub(crate) fn styled(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// One line of text without control characters: what a file or a server says must not move the
/// cursor, change colours, begin a line of its own or turn the order of what stands beside it.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_command) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if is_command(character) {
            let _ = write!(out, "{}", character.escape_default());
        } else {
            out.push(character);
        }
    }
    Cow::Owned(out)
}

/// Whether a terminal does something at this character instead of showing it: control characters, what
/// ends a line or a paragraph, and what changes the direction of writing (Unicode's annex 9, 2.1 to 2.6).
fn is_command(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
        )
}

/// The same for several lines: line feeds and tabs stay.
pub(crate) fn plain_lines(text: &str) -> String {
    let lines: Vec<String> = text
        .split('\n')
        .map(|line| line.split('\t').map(plain).collect::<Vec<_>>().join("\t"))
        .collect();
    lines.join("\n")
}

/// Bytes as text without control characters.
pub(crate) fn lossy(bytes: &[u8]) -> String {
    plain(&String::from_utf8_lossy(bytes)).into_owned()
}

/// A unified diff with its lines in colour.
pub(crate) fn diff(diff: &str) -> String {
    let mut out = String::new();
    for line in plain_lines(diff).lines() {
        let style = match line.as_bytes() {
            [b'+', b'+', b'+', ..] | [b'-', b'-', b'-', ..] => STRONG,
            [b'+', ..] => GOOD,
            [b'-', ..] => AnsiColor::Red.on_default(),
            [b'@', ..] => AnsiColor::Cyan.on_default(),
            _ => Style::new(),
        };
        let _ = writeln!(out, "{style}{line}{style:#}");
    }
    out
}

/// `1 line`, `2 lines`.
pub(crate) fn count(number: usize, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {many}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_escape_sequence_reaches_a_terminal() {
        assert_eq!(plain("a\u{1b}[31mb\nc"), "a\\u{1b}[31mb\\nc");
        assert_eq!(plain_lines("a\tb\u{7}\nc\u{9b}"), "a\tb\\u{7}\nc\\u{9b}");
        assert_eq!(lossy(b"\xff\x00"), "\u{fffd}\\u{0}");
        assert_eq!(plain("ä ✓"), "ä ✓");
    }

    /// Letters of any direction are shown; what turns others round is told.
    #[test]
    fn no_name_turns_the_line_round() {
        assert_eq!(plain("app\u{202e}tsurt"), "app\\u{202e}tsurt");
        assert_eq!(plain_lines("\u{2066}a\u{2069}\nb\u{2028}"), "\\u{2066}a\\u{2069}\nb\\u{2028}");
        assert_eq!(lossy("\u{200f}".as_bytes()), "\\u{200f}");
        assert_eq!(plain("שלום"), "שלום");
    }
}
