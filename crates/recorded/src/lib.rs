//! Recorded verdicts: what real servers and clients said of many cases, one JSON object a line,
//! gzipped or plain. A crate's judge turns a case into what the crate says, in the record's words;
//! here both are read and compared. For tests, and for `cargo xtask replay`.

use std::{
    fmt,
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
};

use flate2::read::MultiGzDecoder;
use serde_json::Value;

/// What one case says for one major (or pair of server and client), and what our code says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// For which major or pair: `16`, `17d`, `srv15/libpq12`.
    pub major: String,
    /// What the record says.
    pub expected: String,
    /// What our code says.
    pub got: String,
}

/// Judges one case. An error is a case that is not of the set's format.
pub type Judge = fn(&Value) -> Result<Vec<Comparison>, String>;

/// Why a file of cases was not read.
#[derive(Debug)]
#[non_exhaustive]
pub struct ReadError {
    /// The file.
    pub path: PathBuf,
    /// The line, counted from 1, if one of them is to blame.
    pub line: Option<usize>,
    /// What the system or the JSON reader says.
    pub source: io::Error,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.source)
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// The cases of a file: one a line, or the member `testcases` of one document.
///
/// ```
/// let folder = std::env::temp_dir().join(format!("recorded-doc-{}", std::process::id()));
/// std::fs::write(&folder, "{\"name\": \"a\"}\n\n{\"name\": \"b\"}\n")?;
/// let cases = recorded::cases(&folder)?;
/// assert_eq!(cases[1]["name"], "b");
/// std::fs::remove_file(folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`ReadError`]
pub fn cases(path: impl AsRef<Path>) -> Result<Vec<Value>, ReadError> {
    let path = path.as_ref();
    let failed = |source| ReadError { path: path.to_owned(), line: None, source };
    let mut file = BufReader::new(File::open(path).map_err(failed)?);
    let gzipped = file.fill_buf().map_err(failed)?.starts_with(&[0x1f, 0x8b]);
    let mut content = String::new();
    if gzipped {
        MultiGzDecoder::new(file).read_to_string(&mut content).map_err(failed)?;
    } else {
        file.read_to_string(&mut content).map_err(failed)?;
    }
    if let Ok(Value::Object(mut document)) = serde_json::from_str(&content)
        && let Some(Value::Array(cases)) = document.remove("testcases")
    {
        return Ok(cases);
    }
    let lines = content.lines().enumerate().filter(|(_, line)| !line.is_empty());
    lines
        .map(|(number, line)| {
            serde_json::from_str(line).map_err(|error| ReadError {
                path: path.to_owned(),
                line: Some(number + 1),
                source: error.into(),
            })
        })
        .collect()
}

/// What a case is called.
#[must_use]
pub fn name(case: &Value) -> &str {
    let name = ["name", "id", "certificate"].iter().find_map(|key| case.get(*key)?.as_str());
    name.unwrap_or("(unnamed)")
}

/// Judges every case of a file, for a test.
///
/// # Panics
/// If a case disagrees, is not of the set's format, or if there are fewer than `at_least` verdicts.
#[expect(clippy::panic, reason = "documented: that is how a test fails")]
pub fn check(path: impl AsRef<Path>, judge: Judge, at_least: usize) {
    let cases = cases(path).unwrap_or_else(|error| panic!("{error}"));
    let mut compared = 0;
    for case in &cases {
        let comparisons = judge(case).unwrap_or_else(|error| panic!("{}: {error}", name(case)));
        for Comparison { major, expected, got } in comparisons {
            compared += 1;
            assert_eq!(got, expected, "{} in {major}: {case}", name(case));
        }
    }
    assert!(compared >= at_least, "only {compared} verdicts");
}
