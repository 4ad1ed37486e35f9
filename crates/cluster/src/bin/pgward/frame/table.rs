//! Columns.

use anstyle::Style;

/// A cell: its text, and how it looks.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    pub(crate) fn styled(text: impl Into<String>, style: Style) -> Self {
        let text: String = text.into();
        Self { text: super::text::plain(&text).into_owned(), style }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::styled(text, Style::new())
    }
}

/// How wide a table may be where no terminal says it.
const WIDE: usize = 120;

/// Rows of cells in columns that are as wide as their widest cell; the first row is the heading. Where
/// that is wider than the terminal (without one, than 120 columns), cells go on below at a blank: a path
/// or a name stays whole.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(crate) fn new(heading: &[&str]) -> Self {
        let style = super::text::FAINT;
        Self { rows: vec![heading.iter().map(|name| Cell::styled(*name, style)).collect()] }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.len() < 2
    }

    /// What each column gets of so much room: all that it needs, or less for the widest, but never less
    /// than its longest word.
    fn widths(&self, room: usize) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widest = |column: usize, of: fn(&str) -> usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| of(&cell.text)).max().unwrap_or(0)
        };
        let least: Vec<usize> = (0..columns)
            .map(|column| widest(column, |text| text.split(' ').map(length).max().unwrap_or(0)))
            .collect();
        let mut widths: Vec<usize> = (0..columns).map(|column| widest(column, length)).collect();
        loop {
            let all = widths.iter().map(|width| width + GAP).sum::<usize>();
            let yields = (0..columns).filter(|column| widths[*column] > least[*column]);
            match yields.max_by_key(|column| widths[*column]) {
                Some(column) if all > room => widths[column] -= 1,
                _ => return widths,
            }
        }
    }

    fn write(&self, f: &mut std::fmt::Formatter<'_>, room: usize) -> std::fmt::Result {
        let widths = self.widths(room);
        for row in &self.rows {
            let cells: Vec<Vec<&str>> =
                row.iter().zip(&widths).map(|(cell, width)| lines(&cell.text, *width)).collect();
            let height = cells.iter().map(Vec::len).max().unwrap_or(0);
            for line in 0..height {
                let text = |column: usize| cells[column].get(line).copied().unwrap_or_default();
                let last = (0..row.len()).rposition(|column| !text(column).is_empty());
                f.write_str("  ")?;
                for column in 0..last.map_or(0, |last| last + 1) {
                    let (text, style) = (text(column), row[column].style);
                    write!(f, "{style}{text}{style:#}")?;
                    if Some(column) != last {
                        let pad = widths[column] - length(text) + GAP;
                        write!(f, "{:pad$}", "")?;
                    }
                }
                f.write_str("\n")?;
            }
        }
        Ok(())
    }
}

/// The blanks between two columns, and before the first.
const GAP: usize = 2;

fn length(text: &str) -> usize {
    text.chars().count()
}

/// A text in lines of so many characters at most, if its words allow it.
fn lines(text: &str, width: usize) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while length(rest) > width {
        // What one more character than there is room for ends with may be the blank.
        let end = rest.char_indices().nth(width + 1).map_or(rest.len(), |(at, _)| at);
        let blank = rest[..end].rfind(' ').or_else(|| rest.find(' '));
        let Some(blank) = blank else { break };
        lines.push(rest[..blank].trim_end());
        rest = rest[blank..].trim_start();
    }
    lines.push(rest);
    lines
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let terminal = terminal_size::terminal_size_of(std::io::stdout());
        self.write(f, terminal.map_or(WIDE, |(width, _)| width.0.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Within<'t>(&'t Table, usize);

    impl std::fmt::Display for Within<'_> {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            self.0.write(f, self.1)
        }
    }

    fn shown(table: &Table, room: usize) -> String {
        anstream::adapter::strip_str(&Within(table, room).to_string()).to_string()
    }

    #[test]
    fn columns_line_up_and_lines_have_no_blanks_at_their_end() {
        let mut table = Table::new(&["node", "state", ""]);
        table.row(["a".into(), "up".into(), "".into()]);
        table.row(["näme".into(), Cell::styled("down", Style::new()), "why".into()]);
        assert_eq!(shown(&table, 80), "  node  state\n  a     up\n  näme  down   why\n");
    }

    #[test]
    fn the_widest_column_goes_on_below() {
        let mut table = Table::new(&["node", "answer", ""]);
        table.row(["a".into(), "line 98 of /pg/pg_hba.conf (reject)".into(), "refused".into()]);
        let wrapped = "  node  answer
  a     line 98 of        refused
        /pg/pg_hba.conf
        (reject)
";
        assert_eq!(shown(&table, 33), wrapped);
        assert_eq!(shown(&table, 80).lines().count(), 2);
        // No word is broken, however narrow it is.
        assert_eq!(
            shown(&table, 1),
            "  node  answer           \n  a     line 98 of       refused\n        /pg/pg_hba.conf\n        (reject)\n"
                .replace("           \n", "\n")
        );
    }

    #[test]
    fn every_word_is_there_whatever_the_room() {
        let text = "  ä  bc def  ghij (klmno) ";
        for width in 0..30 {
            let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
            let mut all = words(text);
            all.retain(|word| !word.is_empty());
            let mut kept: Vec<_> = lines(text, width).into_iter().flat_map(words).collect();
            kept.retain(|word| !word.is_empty());
            assert_eq!(kept, all, "{width}");
        }
    }
}
