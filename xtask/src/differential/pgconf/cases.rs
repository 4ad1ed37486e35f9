//! What the runs over files share: a server of each major, which take turns at the cases, and each
//! case's random files on the disk before one of them.

use std::error::Error;

use pgconf::{Configuration, Setting};
use pgtest::Error as PgError;

use super::{
    generate::{self, FilesKind},
    random,
    server::{Reader, Row},
};
use crate::differential::{Options, Outcome, Random};

/// Random files that a server has before it.
pub(super) struct Case<'a> {
    number: usize,
    seed: u64,
    pub(super) random: Random,
    pub(super) reader: &'a Reader,
    /// Those that this server has as the catalogue says.
    pub(super) settings: &'a [Setting],
    files: Vec<(String, generate::Content)>,
}

impl Case<'_> {
    /// What the server reads in its files now; `None`, counted as left out, where the view itself
    /// fails: some checks of values end the query that shows it ("invalid name syntax").
    pub(super) fn rows(&self, tally: &mut Outcome) -> Result<Option<Vec<Row>>, PgError> {
        match self.reader.rows() {
            Ok(rows) => Ok(Some(rows)),
            Err(PgError::Sql(_)) => {
                tally.explain("files that make the view itself fail");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// A disagreement in words, with all that is needed to see it again.
    pub(super) fn shown(&self, what: &str) -> String {
        let files: Vec<_> =
            self.files.iter().map(|(name, content)| format!("{name}: {content}")).collect();
        format!(
            "case {} of seed {}, major {}: {what}\n  {}",
            self.number,
            self.seed,
            self.reader.server.version(),
            files.join("\n  ")
        )
    }
}

/// Whether a quoted value begins with a NUL byte. Its end is looked for before its beginning then
/// (`DeescapeQuotedString`): what the server has is nothing, or what was in that memory before.
fn has_value_that_was_never_written(configuration: &Configuration) -> bool {
    let lines = configuration.files().flat_map(|(_, file)| file.lines());
    lines.filter_map(|line| line.raw_value()).any(|value| value.starts_with(b"'\0"))
}

/// What becomes of a case: it was judged, or the run cannot go on.
type Judged = Result<(), Box<dyn Error>>;

/// Judges as many cases as are wanted, each with files of the kind that its number asks for.
pub(super) fn judge_each(
    options: &Options,
    kind: impl Fn(usize) -> FilesKind,
    judge: impl FnMut(Case<'_>, &mut Outcome) -> Judged,
) -> Result<Outcome, String> {
    run(options, kind, judge).map_err(|error| error.to_string())
}

fn run(
    options: &Options,
    kind: impl Fn(usize) -> FilesKind,
    mut judge: impl FnMut(Case<'_>, &mut Outcome) -> Judged,
) -> Result<Outcome, Box<dyn Error>> {
    let mut readers = Vec::new();
    for installation in &pgtest::find_each_major()? {
        let reader = Reader::start(installation)?;
        let settings = generate::settings(&reader.server)?;
        readers.push((reader, settings));
    }
    let mut tally = Outcome::default();
    for number in 0..options.cases {
        let turn = number % readers.len().max(1);
        let Some((reader, settings)) = readers.get_mut(turn) else { break };
        let mut random = random(options, number);
        let kind = kind(number);
        let mut files = generate::files(&mut random, settings, kind);
        // People's files are the sample, with lines of their own below.
        if kind == FilesKind::Readable
            && random.once_in(3)
            && let Some((_, generate::Content::Bytes(main))) = files.first_mut()
        {
            main.splice(0..0, reader.sample.iter().copied());
        }
        reader.write(&files)?;
        if has_value_that_was_never_written(&reader.configuration()) {
            tally.explain("files with a value that the server takes from memory it never wrote");
            continue;
        }
        judge(Case { number, seed: options.seed, random, reader, settings, files }, &mut tally)?;
    }
    Ok(tally)
}
