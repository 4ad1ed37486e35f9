//! From files to tokenised lines: `tokenize_auth_file`, with all that it includes.

use alloc::{collections::BTreeMap, rc::Rc, string::ToString as _, vec, vec::Vec};
use core::ops::Range;

use pg_version::PgVersion;
use textfile::{FileError, FileErrorKind, FileKind, Files, Span};

use crate::{
    Server,
    diagnostics::{Code, Crash, Diagnostic, FileId, Location, Severity},
    lexer::{self, Cursor, Lexed, Line},
    path,
    text::{Text, text},
};

/// The lines of a file and of those that it includes, as fields of tokens.
///
/// Tokens lie one after the other, and so does their text: a large file costs few allocations.
#[derive(Debug, Default)]
pub(crate) struct Tokenized {
    pub(crate) files: Vec<Text>,
    pub(crate) text: Vec<u8>,
    pub(crate) tokens: Vec<TokenData>,
    /// For each field, where its tokens end
    fields: Vec<u32>,
    pub(crate) lines: Vec<LineData>,
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// What the view shows as an error, where it differs between lines
    pub(crate) errors: Vec<Text>,
    pub(crate) crash: Option<Crash>,
}

/// A token: its text is a range of [`Tokenized::text`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct TokenData {
    pub(crate) text: Span,
    pub(crate) span: Span,
    pub(crate) file: FileId,
    pub(crate) quoted: bool,
    /// Its number among the compiled regular expressions
    pub(crate) regex: Option<u32>,
}

/// A line that is not empty.
#[derive(Clone, Debug)]
pub(crate) struct LineData {
    pub(crate) file: FileId,
    pub(crate) number: u32,
    pub(crate) span: Span,
    first_token: u32,
    fields: Range<u32>,
    /// The error that kept it from being tokenised
    pub(crate) error: Option<u32>,
}

impl Tokenized {
    /// The token ranges of a line's fields.
    pub(crate) fn fields(&self, line: &LineData) -> impl Iterator<Item = Range<u32>> + '_ {
        let mut start = line.first_token;
        let fields = line.fields.start as usize..line.fields.end as usize;
        self.fields[fields].iter().map(move |end| {
            let field = start..*end;
            start = *end;
            field
        })
    }

    pub(crate) fn token(&self, index: u32) -> &TokenData {
        &self.tokens[index as usize]
    }

    pub(crate) fn token_text(&self, index: u32) -> &[u8] {
        &self.text[self.token(index).text.range()]
    }

    pub(crate) fn add_error(&mut self, error: Text) -> u32 {
        let index = short(self.errors.len());
        self.errors.push(error);
        index
    }
}

/// Counts of what lies in memory: documents are below 4 GiB, and so is what is made of them.
pub(crate) fn short(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The deepest nesting of 16 and newer: `CONF_FILE_MAX_DEPTH`.
const MAX_DEPTH: u32 = 10;
/// How deep @files may nest before 12 and 13 overflow their stack.
const OLD_STACK_DEPTH: u32 = 250;
/// How many files 14 and 15 can hold open. The number depends on the machine: this is the usual one.
const OLD_OPEN_FILES: u32 = 327;
/// How often files are opened before this crate gives up: ten lines that include their own file make
/// ten thousand million.
const MAX_OPENED: u32 = 10_000;
/// How many bytes of text all tokens may have: they count in `u32`.
const MAX_TEXT: usize = u32::MAX as usize;

/// Tokenises a file at `path` with these bytes.
pub(crate) fn tokenize(bytes: &[u8], path: &[u8], server: &Server, files: &dyn Files) -> Tokenized {
    let mut tokenizer = Tokenizer {
        out: Tokenized { files: vec![path.into()], ..Tokenized::default() },
        server,
        disk: files,
        known: BTreeMap::new(),
        context: Vec::new(),
        opened: 0,
        last_missing: false,
    };
    tokenizer.out.text.reserve(bytes.len());
    tokenizer.file(FileId::MAIN, bytes, 0);
    tokenizer.out
}

struct Tokenizer<'s> {
    out: Tokenized,
    server: &'s Server,
    disk: &'s dyn Files,
    /// Files that were opened before
    known: BTreeMap<Vec<u8>, Opened>,
    /// The lines being read, outermost first
    context: Vec<(FileId, u32)>,
    opened: u32,
    /// Whether the last call to the system that failed did so because something was not there. 16
    /// and newer look at `errno` after a failure that is none of the system's: includes that nest
    /// too deep are taken for missing then (`tokenize_include_file`).
    last_missing: bool,
}

/// A file that was opened, and what reading it brought: a folder can be opened, too.
type Opened = (FileId, Result<Rc<[u8]>, FileError>);

/// What went wrong in a line, as the view shows it.
type LineError = Option<Text>;

impl Tokenizer<'_> {
    fn version(&self) -> PgVersion {
        self.server.version
    }

    fn new_messages(&self) -> bool {
        self.version() >= PgVersion::V16
    }

    /// Reports what the server logs while it tokenises. 16 and newer say in which line; older ones
    /// only for lines that are too long.
    fn report(&mut self, severity: Severity, code: Code, message: Text, span: Span) {
        let mut context: Vec<_> = self.context.iter().rev().copied().collect();
        if !self.new_messages() {
            context.truncate(usize::from(code == Code::LineTooLong));
        }
        let (file, line) = self.context.last().copied().unwrap_or((FileId::MAIN, 0));
        let location = Location { file, line, span };
        let hint = None;
        self.out.diagnostics.push(Diagnostic { severity, code, message, hint, location, context });
    }

    fn file(&mut self, file: FileId, bytes: &[u8], depth: u32) {
        self.context.push((file, 1));
        for line in lexer::lines(bytes, self.version()) {
            if self.out.crash.is_some() {
                break;
            }
            if let Some(last) = self.context.last_mut() {
                last.1 = line.number();
            }
            self.line(file, &line, depth);
        }
        self.context.pop();
    }

    fn line(&mut self, file: FileId, line: &Line<'_>, depth: u32) {
        let first_token = short(self.out.tokens.len());
        let first_field = short(self.out.fields.len());
        let mut error: LineError = None;
        if line.is_too_long() {
            let message = Text::from("authentication file line too long");
            self.report(Severity::Error, Code::LineTooLong, message.clone(), line.span());
            error = Some(message);
        } else {
            let mut cursor = Cursor::new(line);
            while error.is_none() && self.out.crash.is_none() {
                let before = self.out.tokens.len();
                let more = self.field(file, line, &mut cursor, depth, &mut error);
                if self.out.tokens.len() > before {
                    let end = short(self.out.tokens.len());
                    self.out.fields.push(end);
                }
                if !more {
                    break;
                }
            }
        }
        let fields = first_field..short(self.out.fields.len());
        if fields.is_empty() && error.is_none() {
            return;
        }
        let mut data = LineData {
            file,
            number: line.number(),
            span: line.span(),
            first_token,
            fields,
            error: None,
        };
        if error.is_none() && self.new_messages() && data.fields.len() == 2 {
            match self.include(file, &data, depth) {
                Some(Ok(())) => return,
                Some(Err(message)) => {
                    // Its tokens made way for those of the included lines.
                    data.fields = data.fields.start..data.fields.start;
                    error = Some(message);
                }
                None => {}
            }
        }
        data.error = error.map(|error| self.out.add_error(error));
        self.out.lines.push(data);
    }

    /// `next_field_expand`: tokens with commas between them. Says whether the line may go on.
    fn field(
        &mut self,
        file: FileId,
        line: &Line<'_>,
        cursor: &mut Cursor<'_>,
        depth: u32,
        error: &mut LineError,
    ) -> bool {
        loop {
            let start = self.out.text.len();
            match cursor.next_token(&mut self.out.text, line.token_limit()) {
                Lexed::End => return false,
                Lexed::TooLong(token) => {
                    let skipped = self.out.text.split_off(start);
                    let message =
                        text!("authentication file token too long, skipping: \"", skipped, "\"");
                    self.report(Severity::Error, Code::TokenTooLong, message, token.span());
                    *error = Some("authentication file token too long".into());
                    return false;
                }
                Lexed::Token(token) => {
                    let text = &self.out.text[start..];
                    if !token.quoted && text.len() > 1 && text[0] == b'@' {
                        let name = self.out.text.split_off(start);
                        self.expand(file, &name[1..], token.span(), depth + 1, error);
                    } else {
                        self.out.tokens.push(TokenData {
                            text: lexer::span(start, self.out.text.len()),
                            span: token.span(),
                            file,
                            quoted: token.quoted,
                            regex: None,
                        });
                    }
                    if !token.comma || error.is_some() || self.out.crash.is_some() {
                        return true;
                    }
                }
            }
        }
    }

    /// `tokenize_expand_file`: all tokens of an @file become part of the field.
    fn expand(
        &mut self,
        outer: FileId,
        name: &[u8],
        span: Span,
        depth: u32,
        error: &mut LineError,
    ) {
        let outer_path = &self.out.files[outer.index()];
        let path = path::included(outer_path.as_bytes(), name, self.version());
        let limit = match self.version() {
            PgVersion::V12 | PgVersion::V13 => OLD_STACK_DEPTH,
            PgVersion::V14 | PgVersion::V15 => OLD_OPEN_FILES,
            _ => u32::MAX,
        };
        if depth > limit {
            let file = Text::from(path);
            self.out.crash = Some(if self.version() < PgVersion::V14 {
                Crash::StackOverflow { file }
            } else {
                Crash::TooManyOpenFiles { file }
            });
            return;
        }
        let opened = match self.open(&path, Some(name), span, depth) {
            Ok(opened) => opened,
            Err(failed) => {
                *error = Some(failed.message);
                return;
            }
        };
        let lines = self.out.lines.len();
        let fields = self.out.fields.len();
        self.read(opened, span, depth, error);
        let nested = self.out.lines.split_off(lines);
        self.out.fields.truncate(fields);
        if let Some(failed) = nested.iter().find_map(|line| line.error) {
            *error = self.out.errors.get(failed as usize).cloned();
        }
    }

    /// Tokenises a file that was opened. A folder can be opened, too, but not read.
    fn read(&mut self, (file, content): Opened, span: Span, depth: u32, error: &mut LineError) {
        match content {
            Ok(bytes) => self.file(file, &bytes, depth),
            Err(failed) => {
                self.last_missing = false;
                let path = &self.out.files[file.index()];
                let message = text!("could not read file \"", path, "\": ", failed.message);
                let old = self.version() < PgVersion::V14;
                let severity = if old { Severity::Error } else { Severity::Notice };
                self.context.push((file, 1));
                self.report(severity, Code::CannotRead, message.clone(), span);
                self.context.pop();
                // 14 and newer forget about it.
                if old {
                    *error = Some(message);
                }
            }
        }
    }

    /// `open_auth_file`, or before 16 what `tokenize_inc_file` does. With `at`, the name in an
    /// @token.
    fn open(
        &mut self,
        path: &[u8],
        at: Option<&[u8]>,
        span: Span,
        depth: u32,
    ) -> Result<Opened, OpenError> {
        if self.new_messages() && depth > MAX_DEPTH {
            let message =
                text!("could not open file \"", path, "\": maximum nesting depth exceeded");
            self.report(Severity::Error, Code::NestedTooDeep, message.clone(), span);
            return Err(OpenError { message, missing: self.last_missing });
        }
        let size =
            self.known.get(path).and_then(|(_, content)| content.as_ref().ok()?.len().into());
        self.opened += 1;
        if self.opened > MAX_OPENED || self.out.text.len() + size.unwrap_or(0) > MAX_TEXT {
            let message = text!("could not open file \"", path, "\": too many files are included");
            self.report(Severity::Error, Code::TooManyFiles, message.clone(), span);
            return Err(OpenError { message, missing: false });
        }
        let disk = self.disk;
        let files = &mut self.out.files;
        let (file, content) = self.known.entry(path.to_vec()).or_insert_with(|| {
            let content = disk.read(path).map(Rc::from);
            let file = FileId(short(files.len()));
            files.push(path.into());
            (file, content)
        });
        match content {
            Err(failed) if failed.kind != FileErrorKind::IsADirectory => {
                let missing = failed.kind == FileErrorKind::NotFound;
                self.last_missing = missing;
                let reason = failed.message.clone();
                let message = match at {
                    Some(name) if !self.new_messages() => text!(
                        "could not open secondary authentication file \"@",
                        name,
                        "\" as \"",
                        path,
                        "\": ",
                        reason
                    ),
                    _ => text!("could not open file \"", path, "\": ", reason),
                };
                self.report(Severity::Error, Code::CannotOpen, message.clone(), span);
                Err(OpenError { message, missing })
            }
            content => Ok((*file, content.clone())),
        }
    }

    /// An include record: `None` if it is none.
    fn include(&mut self, file: FileId, line: &LineData, depth: u32) -> Option<Result<(), Text>> {
        let mut fields = self.out.fields(line);
        let (first, second) = (fields.next()?.start, fields.next()?.start);
        let kind = IncludeKind::named(self.out.token_text(first))?;
        let name = self.out.token_text(second).to_vec();
        let span = self.out.token(second).span;
        drop(fields);
        self.out.tokens.truncate(line.first_token as usize);
        self.out.fields.truncate(line.fields.start as usize);
        Some(match kind {
            IncludeKind::Directory => self.include_dir(file, &name, span, depth),
            _ => {
                let outer = &self.out.files[file.index()];
                let path = path::included(outer.as_bytes(), &name, self.version());
                self.include_file(&path, span, depth, kind == IncludeKind::IfExists)
            }
        })
    }

    fn include_file(
        &mut self,
        path: &[u8],
        span: Span,
        depth: u32,
        missing_ok: bool,
    ) -> Result<(), Text> {
        match self.open(path, None, span, depth + 1) {
            Ok(opened) => {
                self.read(opened, span, depth + 1, &mut None);
                Ok(())
            }
            Err(failed) if failed.missing && missing_ok => {
                if let Some(last) = self.out.diagnostics.last_mut() {
                    last.severity = Severity::Notice;
                }
                let message = text!("skipping missing authentication file \"", path, "\"");
                self.report(Severity::Notice, Code::SkippedMissingFile, message, span);
                Ok(())
            }
            Err(failed) => Err(failed.message),
        }
    }

    /// `GetConfFilesInDir`, and each file in its order.
    fn include_dir(
        &mut self,
        file: FileId,
        name: &[u8],
        span: Span,
        depth: u32,
    ) -> Result<(), Text> {
        if name.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')) {
            let message = text!("empty configuration directory name: \"", name, "\"");
            self.report(Severity::Error, Code::EmptyDirectoryName, message, span);
            return Err("empty configuration directory name".into());
        }
        let outer = &self.out.files[file.index()];
        let folder = path::included(outer.as_bytes(), name, self.version());
        let entries = match self.disk.list(&folder) {
            Ok(entries) => {
                // Reading a folder sets `errno` back.
                self.last_missing = false;
                entries
            }
            Err(failed) => {
                self.last_missing = failed.kind == FileErrorKind::NotFound;
                let message = text!(
                    "could not open configuration directory \"",
                    folder,
                    "\": ",
                    failed.message
                );
                self.report(Severity::Error, Code::CannotOpenDirectory, message, span);
                return Err(text!("could not open directory \"", folder, "\""));
            }
        };
        let mut paths = Vec::new();
        for (name, kind) in entries {
            if name.len() < 6 || name.starts_with(b".") || !name.ends_with(b".conf") {
                continue;
            }
            let path = path::in_folder(&folder, &name, self.version());
            match kind {
                FileKind::File => paths.push(path),
                FileKind::Directory => {}
                FileKind::Dangling => {
                    self.last_missing = true;
                    let reason = FileError::new(FileErrorKind::NotFound).message.to_string();
                    let message = text!("could not stat file \"", path, "\": ", reason);
                    self.report(Severity::Error, Code::CannotStat, message, span);
                    return Err(text!("could not stat file \"", path, "\""));
                }
            }
        }
        paths.sort_unstable();
        let mut errors: Vec<Text> = Vec::new();
        // An error stays set for the files after it: they count as failed, too.
        let mut error = None;
        for path in paths {
            if let Err(failed) = self.include_file(&path, span, depth, false) {
                error = Some(failed);
            }
            errors.extend(error.clone());
        }
        if errors.is_empty() {
            return Ok(());
        }
        let lines: Vec<&[u8]> = errors.iter().map(Text::as_bytes).collect();
        Err(lines.join(&b'\n').into())
    }
}

/// Why a file was not opened.
struct OpenError {
    message: Text,
    missing: bool,
}

/// The include records of 16 and newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "kebab-case"))]
pub enum IncludeKind {
    /// `include`: the file must be there.
    File,
    /// `include_if_exists`: it need not.
    IfExists,
    /// `include_dir`: all files of a folder whose names end in `.conf`.
    Directory,
}

impl IncludeKind {
    pub(crate) fn named(name: &[u8]) -> Option<Self> {
        match name {
            b"include" => Some(Self::File),
            b"include_if_exists" => Some(Self::IfExists),
            b"include_dir" => Some(Self::Directory),
            _ => None,
        }
    }
}
