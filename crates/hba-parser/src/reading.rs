//! What both files have in common: lines become items or problems, and what the server's view and
//! its log say of them.

use alloc::vec::Vec;

use textfile::{Files, Span};

use crate::{
    Server,
    diagnostics::{
        Code, Diagnostic, FileId, Location, LogEntry, Severity, Verdict, context_text, not_reloaded,
    },
    patterns::Patterns,
    record::{Problem, Report, Shown},
    regex::Regex,
    text::{Text, text},
    tokenize::{Tokenized, short, tokenize},
};

/// A file as one server understands it: its lines as items (rules, mappings) or problems.
#[derive(Debug)]
pub(crate) struct Reading<T> {
    pub(crate) tokens: Tokenized,
    pub(crate) items: Vec<T>,
    entries: Vec<Entry>,
    patterns: Patterns,
    verdict: Verdict,
    server: Server,
}

/// What became of a line.
#[derive(Debug)]
struct Entry {
    line: u32,
    item: Option<u32>,
    /// What the view shows as its error
    error: Option<u32>,
}

/// One line to be understood.
pub(crate) struct Parsing<'p> {
    pub(crate) tokens: &'p Tokenized,
    /// The line's number among the lines
    pub(crate) line: u32,
    pub(crate) server: &'p Server,
    patterns: &'p mut Patterns,
    report: LineReport<'p>,
    /// Tokens and their expressions
    regexes: &'p mut Vec<(u32, u32)>,
}

impl Parsing<'_> {
    /// Compiles the regular expression of a token, if it has one.
    pub(crate) fn compile(&mut self, token: u32) -> Result<(), Problem> {
        if let Some(regex) = self.patterns.compile(self.tokens, token)? {
            self.regexes.push((token, regex));
        }
        Ok(())
    }
}

impl Report for Parsing<'_> {
    fn report(&mut self, severity: Severity, problem: Problem) {
        self.report.add(severity, problem);
    }

    fn forget_warning(&mut self) {
        self.report.shown = None;
    }
}

/// Takes problems of one line.
struct LineReport<'r> {
    diagnostics: &'r mut Vec<Diagnostic>,
    location: Location,
    shown: Option<Text>,
}

impl LineReport<'_> {
    fn add(&mut self, severity: Severity, problem: Problem) {
        let Location { file, line, .. } = self.location;
        let context = if problem.context { Vec::from([(file, line)]) } else { Vec::new() };
        if severity > Severity::Notice {
            match problem.shown {
                Shown::Same => self.shown = Some(problem.message.clone()),
                Shown::Other(shown) => self.shown = Some(shown),
                Shown::Nothing => {}
            }
        }
        self.diagnostics.push(Diagnostic {
            severity,
            code: problem.code,
            message: problem.message,
            hint: problem.hint,
            location: Location { span: problem.span, ..self.location },
            context,
        });
    }
}

/// A row of the server's view.
pub(crate) struct EntryRow<'r> {
    /// Its number among those without an error, from 1
    pub(crate) number: Option<u32>,
    pub(crate) file: FileId,
    pub(crate) line: u32,
    pub(crate) item: Option<u32>,
    pub(crate) error: Option<&'r Text>,
}

impl<T> Reading<T> {
    /// Reads a file at `path`: `parse` understands one line. With `needs_item`, a file without any
    /// is refused.
    pub(crate) fn new(
        bytes: &[u8],
        path: &[u8],
        server: &Server,
        files: &dyn Files,
        needs_item: bool,
        parse: impl Fn(&mut Parsing<'_>) -> Result<T, Problem>,
    ) -> Self {
        let mut tokens = tokenize(bytes, path, server, files);
        let mut patterns = Patterns::new(server.version);
        let lines = tokens.lines.len();
        let (mut items, mut entries) = (Vec::with_capacity(lines), Vec::with_capacity(lines));
        let mut diagnostics = core::mem::take(&mut tokens.diagnostics);
        let mut regexes = Vec::new();
        let mut refused = false;
        for index in 0..short(lines) {
            let line = &tokens.lines[index as usize];
            if let Some(error) = line.error {
                refused = true;
                entries.push(Entry { line: index, item: None, error: Some(error) });
                continue;
            }
            let location = Location { file: line.file, line: line.number, span: line.span };
            let compiled = regexes.len();
            let report = LineReport { diagnostics: &mut diagnostics, location, shown: None };
            let mut parsing = Parsing {
                tokens: &tokens,
                line: index,
                server,
                patterns: &mut patterns,
                report,
                regexes: &mut regexes,
            };
            let parsed = parse(&mut parsing);
            let mut report = parsing.report;
            let item = match parsed {
                Ok(item) => {
                    items.push(item);
                    Some(short(items.len() - 1))
                }
                Err(problem) => {
                    refused = true;
                    report.add(Severity::Error, problem);
                    None
                }
            };
            let error = report.shown.map(|shown| tokens.add_error(shown));
            if item.is_none() {
                regexes.truncate(compiled);
            }
            entries.push(Entry { line: index, item, error });
        }
        for (token, regex) in regexes {
            tokens.tokens[token as usize].regex = Some(regex);
        }
        if needs_item && !refused && items.is_empty() && tokens.crash.is_none() {
            refused = true;
            diagnostics.push(Diagnostic {
                severity: Severity::Error,
                code: Code::NoEntries,
                message: text!("configuration file \"", path, "\" contains no entries"),
                hint: None,
                location: Location { file: FileId::MAIN, line: 1, span: Span::default() },
                context: Vec::new(),
            });
        }
        let verdict = match tokens.crash.clone() {
            Some(crash) => Verdict::ServerDown(crash),
            None if refused => Verdict::Refused,
            None => Verdict::Loaded,
        };
        tokens.diagnostics = diagnostics;
        Self { tokens, items, entries, patterns, verdict, server: server.clone() }
    }

    pub(crate) fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    pub(crate) fn diagnostics(&self) -> &[Diagnostic] {
        &self.tokens.diagnostics
    }

    pub(crate) fn files(&self) -> &[Text] {
        &self.tokens.files
    }

    pub(crate) fn path(&self, file: FileId) -> &Text {
        let files = self.files();
        &files[file.index().min(files.len() - 1)]
    }

    /// Where a line is, by its number among the lines.
    pub(crate) fn location(&self, line: u32) -> Location {
        let line = &self.tokens.lines[line as usize];
        Location { file: line.file, line: line.number, span: line.span }
    }

    pub(crate) fn regex(&self, token: u32) -> Option<&Regex> {
        self.patterns.get(self.tokens.token(token).regex?)
    }

    /// The rows of the server's view.
    pub(crate) fn rows(&self) -> impl Iterator<Item = EntryRow<'_>> + '_ {
        let mut number = 0;
        self.entries.iter().map(move |entry| {
            let line = &self.tokens.lines[entry.line as usize];
            let error = entry.error.map(|error| &self.tokens.errors[error as usize]);
            number += u32::from(error.is_none());
            EntryRow {
                number: error.is_none().then_some(number),
                file: line.file,
                line: line.number,
                item: entry.item,
                error,
            }
        })
    }

    /// What the server logs when it reads the file at reload; `name` is what older ones call it.
    pub(crate) fn reload_log(&self, name: &str) -> Vec<LogEntry> {
        let entry = |diagnostic: &Diagnostic| LogEntry {
            message: diagnostic.message.clone(),
            hint: diagnostic.hint,
            context: context_text(&diagnostic.context, self.files()),
        };
        let mut log: Vec<_> = self.diagnostics().iter().map(entry).collect();
        if self.verdict == Verdict::Refused {
            let message = not_reloaded(&self.server, self.path(FileId::MAIN), name);
            log.push(LogEntry { message, hint: None, context: None });
        }
        log
    }

    /// Each line that is not empty, and the item that it is.
    pub(crate) fn line_states(&self) -> impl Iterator<Item = (Location, Option<u32>)> + '_ {
        self.entries.iter().map(|entry| (self.location(entry.line), entry.item))
    }
}
