//! A file, read as a server would.

use std::{
    borrow::Cow,
    cell::RefCell,
    collections::HashMap,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    rc::Rc,
};

use hba_parser::{
    Build, Code, Diagnostic as Problem, DiskFiles, FileId, Finding, HbaDocument, IdentDocument,
    Location, Mappings, Rules, Server, Severity as Badness, Text, Verdict,
};
use textfile::fs::path_of;

use super::secrets;
use crate::frame::{
    console::Console,
    diagnostic::{Diagnostic, Place, Secrets, Severity},
    failure::Failure,
    input::{Input, refuse_private_key},
    text::lossy,
    version,
};

/// What the server is like.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ServerArguments {
    #[command(flatten)]
    pg: version::VersionArguments,
    #[command(flatten)]
    more: More,
}

/// What the server is like, but for its major.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct More {
    /// The server has ssl = off
    #[arg(long)]
    ssl_off: bool,
    /// The server has no ssl_ca_file
    #[arg(long)]
    no_ca_file: bool,
    /// The server was built without this (may be repeated)
    #[arg(long, value_enum, value_name = "FEATURE")]
    without: Vec<Feature>,
    /// A library of the server's oauth_validator_libraries (18; may be repeated)
    #[arg(long, value_name = "LIBRARY")]
    oauth_validator: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Feature {
    /// OpenSSL
    Ssl,
    /// GSSAPI
    Gss,
    /// OpenLDAP
    Ldap,
    /// PAM
    Pam,
}

impl ServerArguments {
    pub(super) fn server(&self, console: &Console) -> Server {
        self.more.server(self.pg.version(console))
    }
}

impl More {
    pub(super) fn server(&self, version: pg_version::PgVersion) -> Server {
        let has = |feature| !self.without.contains(&feature);
        let mut build = Build::DISTRIBUTION;
        build.ssl = has(Feature::Ssl);
        build.gss = has(Feature::Gss);
        build.ldap = has(Feature::Ldap);
        build.pam = has(Feature::Pam);
        let mut server = Server::new(version)
            .with_build(build)
            .with_ssl(!self.ssl_off && build.ssl)
            .with_oauth_validators(self.oauth_validator.iter().cloned());
        server.ssl_ca_file = !self.no_ca_file;
        server
    }
}

/// Which file, and of which kind.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct FileArgument {
    /// The file; - is standard input
    #[arg(value_name = "FILE")]
    path: PathBuf,
    /// The file is a pg_ident.conf (as one with that name is taken for)
    #[arg(long)]
    ident: bool,
}

/// What a server makes of a file.
pub(super) enum Meaning {
    Hba(Rules),
    Ident(Mappings),
}

impl FileArgument {
    pub(super) fn is_ident(&self) -> bool {
        self.ident || self.path.file_name().is_some_and(|name| name == "pg_ident.conf")
    }

    pub(super) fn input(&self) -> Result<Input, Failure> {
        Input::read_shown(&self.path)
    }
}

/// The path by which a file's includes are found.
pub(super) fn path_in(input: &Input) -> Vec<u8> {
    input.path().as_os_str().as_bytes().to_vec()
}

pub(super) fn hba(input: &Input) -> Result<HbaDocument, Failure> {
    HbaDocument::try_parse(input.bytes())
        .map_err(|error| Failure::user(format!("{}: {error}", input.name)))
}

pub(super) fn ident(input: &Input) -> Result<IdentDocument, Failure> {
    IdentDocument::try_parse(input.bytes())
        .map_err(|error| Failure::user(format!("{}: {error}", input.name)))
}

/// The rules of a file with those that it includes.
pub(super) fn rules(input: &Input, server: &Server) -> Result<(HbaDocument, Rules), Failure> {
    let document = hba(input)?;
    let rules = document.interpret_at(&path_in(input), server, &DiskFiles);
    refuse_included_keys(input, rules.files())?;
    Ok((document, rules))
}

pub(super) fn meaning(
    file: &FileArgument,
    input: &Input,
    server: &Server,
) -> Result<Meaning, Failure> {
    if !file.is_ident() {
        return Ok(Meaning::Hba(rules(input, server)?.1));
    }
    let mappings = ident(input)?.interpret_at(&path_in(input), server, &DiskFiles);
    refuse_included_keys(input, mappings.files())?;
    Ok(Meaning::Ident(mappings))
}

fn refuse_included_keys(input: &Input, files: &[Text]) -> Result<(), Failure> {
    files.iter().skip(1).map(|file| path_of(file.as_bytes())).try_for_each(|path| {
        // What is gone since it was read is not shown either.
        refuse_private_key(&input.name_of(path), &std::fs::read(path).unwrap_or_default())
    })
}

impl Meaning {
    pub(super) fn files(&self) -> &[Text] {
        match self {
            Self::Hba(rules) => rules.files(),
            Self::Ident(mappings) => mappings.files(),
        }
    }

    pub(super) fn verdict(&self) -> &Verdict {
        match self {
            Self::Hba(rules) => rules.verdict(),
            Self::Ident(mappings) => mappings.verdict(),
        }
    }

    pub(super) fn problems(&self) -> &[Problem] {
        match self {
            Self::Hba(rules) => rules.diagnostics(),
            Self::Ident(mappings) => mappings.diagnostics(),
        }
    }

    pub(super) fn lint(&self) -> Vec<Finding> {
        match self {
            Self::Hba(rules) => rules.lint(),
            Self::Ident(mappings) => mappings.lint(),
        }
    }

    /// How many rules or mappings, in words.
    pub(super) fn count(&self) -> (usize, String) {
        let (number, one, many) = match self {
            Self::Hba(rules) => (rules.len(), "rule", "rules"),
            Self::Ident(mappings) => (mappings.len(), "mapping", "mappings"),
        };
        (number, crate::frame::text::count(number, one, many))
    }
}

/// The files that were read, to show their lines.
pub(super) struct Sources<'a> {
    main: &'a Input,
    files: &'a [Text],
    /// Those that something was shown of, each read once.
    shown: RefCell<HashMap<FileId, Rc<Shown<'a>>>>,
}

/// A file's bytes, and where in them secrets are.
struct Shown<'a> {
    bytes: Cow<'a, [u8]>,
    secrets: Secrets,
}

impl<'a> Sources<'a> {
    pub(super) fn new(main: &'a Input, files: &'a [Text]) -> Self {
        Self { main, files, shown: RefCell::default() }
    }

    /// What a file is called.
    pub(super) fn name(&self, file: FileId) -> String {
        self.path(file).map(|path| self.main.name_of(path)).unwrap_or_default()
    }

    fn path(&self, file: FileId) -> Option<&'a Path> {
        let path = self.files.get(usize::try_from(file.0).ok()?)?;
        Some(path_of(path.as_bytes()))
    }

    fn shown(&self, file: FileId) -> Rc<Shown<'a>> {
        let read = || {
            let bytes: Cow<'a, [u8]> = if file == FileId::MAIN {
                self.main.bytes().into()
            } else {
                // It was read a moment ago; if it is gone, there is no line to show.
                self.path(file).and_then(|path| std::fs::read(path).ok()).unwrap_or_default().into()
            };
            let secrets = secrets::find(&bytes);
            Rc::new(Shown { bytes, secrets })
        };
        self.shown.borrow_mut().entry(file).or_insert_with(read).clone()
    }

    pub(super) fn place(&self, location: Location) -> Place {
        let Shown { bytes, secrets } = &*self.shown(location.file);
        let (name, line) = (self.name(location.file), location.line as usize);
        Place::numbered(name, bytes, location.span.range(), line, secrets)
    }

    /// A line's text, secrets masked, without its line end.
    pub(super) fn line(&self, location: Location) -> String {
        let shown = self.shown(location.file);
        let line = shown.bytes.get(location.span.range()).unwrap_or_default();
        lossy(secrets::masked(line).trim_ascii_end())
    }

    /// A problem as the server has it, for people.
    pub(super) fn problem(&self, problem: &Problem) -> Diagnostic {
        let mut message = lossy(problem.message.as_bytes());
        // The server would name a file.
        if problem.code == Code::NoEntries && self.main.snapshot().is_none() {
            message = format!("{} contains no entries", self.main.name);
        }
        let mut diagnostic = Diagnostic::new(severity(problem.severity), message)
            .code(problem.code.as_str())
            .at(self.place(problem.location))
            .fix(problem.help());
        // The empty file has no line to show.
        if problem.code == Code::NoEntries {
            diagnostic.place = Some(Place::hidden(self.main.name.clone(), 1));
        }
        if let Some(hint) = problem.hint {
            diagnostic = diagnostic.why(format!("the server's hint: {hint}"));
        }
        for (file, line) in problem.context.iter().skip(1) {
            diagnostic = diagnostic.why(format!("included from {} line {line}", self.name(*file)));
        }
        diagnostic
    }

    /// What a lint found, for people.
    pub(super) fn finding(&self, finding: &Finding) -> Diagnostic {
        let lint = finding.lint;
        let diagnostic = Diagnostic::new(severity(lint.severity()), finding.message.clone())
            .code(lint.code())
            .at(self.place(finding.location))
            .fix(lint.help());
        match finding.other {
            Some(other) => diagnostic.related(self.place(other), "this comes first"),
            None => diagnostic,
        }
    }
}

fn severity(badness: Badness) -> Severity {
    match badness {
        Badness::Notice => Severity::Notice,
        Badness::Warning => Severity::Warning,
        Badness::Error => Severity::Error,
    }
}
