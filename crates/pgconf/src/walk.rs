//! Reading order: `ProcessConfigFile`, `ParseConfigFile` and `ParseConfigDirectory`.

use std::collections::HashMap;

use pg_version::PgVersion;
use textfile::{FileError, FileErrorKind, FileKind, Files};

use crate::{
    diagnostics::Problem,
    file::{ConfFile, ConfLine, LineKind},
    path,
};

/// How deep files may include each other (`CONF_FILE_MAX_DEPTH`).
const MAX_DEPTH: usize = 10;
/// How many files are read at most, and how many settings and problems are kept: two files that
/// include each other a hundred times on each level would be read 100^10 times.
const MAX_FILES: usize = 10_000;
const MAX_ENTRIES: usize = 1_000_000;

/// A setting, or a problem, where the server comes across it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) source: u32,
    /// As the server reports it; a setting's is its line's number.
    pub(crate) line: usize,
    pub(crate) what: What,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    Setting,
    Problem(Problem),
}

/// The names in a folder, or why they cannot be had.
type Listing = Result<Vec<(Vec<u8>, FileKind)>, FileError>;

/// Every file and folder that was asked for, with what became of it.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    sources: Vec<Source>,
    contents: Vec<Content>,
    by_path: HashMap<Vec<u8>, u32>,
    by_canonical: HashMap<Vec<u8>, u32>,
    folders: HashMap<Vec<u8>, Listing>,
    auto: Option<Vec<u8>>,
}

/// A path, and which file it leads to: two of them may lead to the same.
#[derive(Clone, Debug)]
struct Source {
    path: Vec<u8>,
    content: u32,
}

#[derive(Clone, Debug)]
struct Content {
    file: Result<ConfFile, FileErrorKind>,
    edited: bool,
}

impl Store {
    pub(crate) fn new(main: &[u8], auto: Option<Vec<u8>>) -> Self {
        Self {
            // The main file's place is the first, whether or not it can be read.
            sources: vec![Source { path: main.to_vec(), content: 0 }],
            contents: vec![Content { file: Err(FileErrorKind::NotFound), edited: false }],
            by_path: HashMap::new(),
            by_canonical: HashMap::new(),
            folders: HashMap::new(),
            auto,
        }
    }

    pub(crate) fn main(&self) -> &[u8] {
        &self.sources[0].path
    }

    pub(crate) fn auto(&self) -> Option<&[u8]> {
        self.auto.as_deref()
    }

    pub(crate) fn path(&self, source: u32) -> &[u8] {
        &self.sources[source as usize].path
    }

    /// Whether both lead to the same file.
    pub(crate) fn is_same_file(&self, one: u32, other: u32) -> bool {
        self.sources[one as usize].content == self.sources[other as usize].content
    }

    /// Whether it is `postgresql.auto.conf`, by whatever path.
    pub(crate) fn is_auto(&self, source: u32) -> bool {
        let auto = self.auto().and_then(|auto| self.by_path.get(auto));
        auto.is_some_and(|auto| self.is_same_file(*auto, source))
    }

    fn content(&self, source: u32) -> Option<&Content> {
        self.contents.get(self.sources.get(source as usize)?.content as usize)
    }

    pub(crate) fn file(&self, source: u32) -> Option<&ConfFile> {
        self.content(source)?.file.as_ref().ok()
    }

    pub(crate) fn file_at(&self, path: &[u8]) -> Option<&ConfFile> {
        self.file(*self.by_path.get(path)?)
    }

    pub(crate) fn source_at(&self, path: &[u8]) -> Option<u32> {
        let source = *self.by_path.get(path)?;
        self.file(source).map(|_| source)
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = (&[u8], &ConfFile)> {
        (0_u32..)
            .zip(&self.sources)
            .filter_map(|(source, Source { path, .. })| Some((&path[..], self.file(source)?)))
    }

    /// The edited files, each once, by the first of its paths.
    pub(crate) fn edited(&self) -> impl Iterator<Item = (&[u8], &ConfFile)> {
        (0_u32..).zip(&self.contents).filter(|(_, content)| content.edited).filter_map(
            |(index, content)| {
                let source = self.sources.iter().find(|source| source.content == index)?;
                Some((&source.path[..], content.file.as_ref().ok()?))
            },
        )
    }

    pub(crate) fn put(&mut self, source: u32, file: ConfFile) {
        let content = self.sources.get(source as usize).map(|source| source.content as usize);
        if let Some(place) = content.and_then(|content| self.contents.get_mut(content)) {
            *place = Content { file: Ok(file), edited: true };
        }
    }

    pub(crate) fn line(&self, entry: &Entry) -> Option<ConfLine<'_>> {
        self.file(entry.source)?.line(entry.line.checked_sub(1)?)
    }

    fn error(&self, source: u32) -> Option<FileErrorKind> {
        self.content(source)?.file.as_ref().err().copied()
    }
}

/// Where the walk gets its files from.
pub(crate) trait Lookup {
    fn store(&self) -> &Store;
    /// Makes sure that the store knows the file.
    fn file(&mut self, path: &[u8]) -> u32;
    /// The names in a folder.
    fn folder(&mut self, path: &[u8]) -> Listing;
}

/// Fills a store.
pub(crate) struct Loader<'a, F> {
    pub(crate) store: &'a mut Store,
    pub(crate) files: &'a F,
}

impl<F: Files> Lookup for Loader<'_, F> {
    fn store(&self) -> &Store {
        self.store
    }

    #[expect(clippy::cast_possible_truncation, reason = "there are at most MAX_FILES of them")]
    fn file(&mut self, path: &[u8]) -> u32 {
        if let Some(source) = self.store.by_path.get(path) {
            return *source;
        }
        let canonical = self.files.canonical(path);
        let known = canonical.as_ref().and_then(|path| self.store.by_canonical.get(path)).copied();
        let content = known.unwrap_or_else(|| {
            let file = match self.files.read(path) {
                Ok(bytes) => ConfFile::try_new(bytes).map_err(|_| FileErrorKind::Other),
                Err(error) => Err(error.kind),
            };
            let content = Content { file, edited: false };
            let contents = &mut self.store.contents;
            if self.store.by_path.is_empty() {
                // The main file's place is kept for it.
                contents[0] = content;
                return 0;
            }
            contents.push(content);
            contents.len() as u32 - 1
        });
        if let Some(path) = canonical {
            self.store.by_canonical.insert(path, content);
        }
        let source = if self.store.by_path.is_empty() {
            0
        } else {
            self.store.sources.push(Source { path: path.to_vec(), content });
            self.store.sources.len() as u32 - 1
        };
        self.store.by_path.insert(path.to_vec(), source);
        source
    }

    fn folder(&mut self, path: &[u8]) -> Listing {
        let files = self.files;
        self.store.folders.entry(path.to_vec()).or_insert_with(|| files.list(path)).clone()
    }
}

/// Goes by what a store knows already.
pub(crate) struct Known<'a> {
    pub(crate) store: &'a Store,
}

impl Lookup for Known<'_> {
    fn store(&self) -> &Store {
        self.store
    }

    fn file(&mut self, path: &[u8]) -> u32 {
        self.store.by_path.get(path).copied().unwrap_or(u32::MAX)
    }

    fn folder(&mut self, path: &[u8]) -> Listing {
        let unknown = || Err(FileError::new(FileErrorKind::NotFound));
        self.store.folders.get(path).cloned().unwrap_or_else(unknown)
    }
}

/// What a walk found.
pub(crate) struct Walked {
    pub(crate) entries: Vec<Entry>,
    /// Where the entries of `postgresql.auto.conf` begin.
    pub(crate) auto_from: usize,
    pub(crate) main_is_read: bool,
    pub(crate) auto_is_read: bool,
}

/// Reads the main file and `postgresql.auto.conf`; a file with `errors_per_file` syntax errors is
/// given up there.
pub(crate) fn walk(lookup: &mut impl Lookup, version: PgVersion, errors_per_file: usize) -> Walked {
    let main = lookup.store().main().to_vec();
    let auto = lookup.store().auto().map(<[u8]>::to_vec);
    let mut walker = Walker {
        lookup,
        version,
        errors_per_file,
        entries: Vec::new(),
        files: 0,
        is_limited: false,
    };
    let main_is_read = walker.file(&main, true, None, 0);
    let auto_from = walker.entries.len();
    let auto_is_read = auto.is_none_or(|auto| walker.file(&auto, false, None, 0));
    Walked { entries: walker.entries, auto_from, main_is_read, auto_is_read }
}

struct Walker<'a, L> {
    lookup: &'a mut L,
    version: PgVersion,
    errors_per_file: usize,
    entries: Vec<Entry>,
    files: usize,
    is_limited: bool,
}

/// The line of a file that includes another.
#[derive(Clone, Copy)]
struct Caller {
    source: u32,
    line: usize,
}

impl<L: Lookup> Walker<'_, L> {
    /// Reads one file; false if anything in it or below it is wrong.
    fn file(&mut self, name: &[u8], strict: bool, caller: Option<Caller>, depth: usize) -> bool {
        // The main file has no caller: what is wrong with it is reported at itself.
        let at = caller.unwrap_or(Caller { source: 0, line: 0 });
        if is_blank(name) {
            return self.problem(at, Problem::EmptyFileName);
        }
        if depth > MAX_DEPTH {
            return self.problem(at, Problem::TooDeep);
        }
        let path = match caller {
            Some(caller) => {
                let from = self.lookup.store().path(caller.source);
                let path = path::absolute(self.version, name, from);
                if path == from {
                    return self.problem(at, Problem::Recursion);
                }
                path
            }
            None => name.to_vec(),
        };
        self.files += 1;
        if self.is_full(at) {
            return false;
        }
        let source = self.lookup.file(&path);
        match self.lookup.store().error(source) {
            None => self.lines(source, depth),
            // A folder can be opened as a file, only not read.
            Some(FileErrorKind::IsADirectory) => {
                self.problem(Caller { source, line: 1 }, Problem::Unreadable)
            }
            Some(_) if strict => self.problem(at, Problem::CannotOpenFile { path }),
            Some(_) => true,
        }
    }

    fn lines(&mut self, source: u32, depth: usize) -> bool {
        let mut good = true;
        let mut errors = 0;
        let count = self.lookup.store().file(source).map_or(0, |file| file.lines.len());
        for index in 0..count {
            let Some(file) = self.lookup.store().file(source) else { break };
            let line = index + 1;
            let caller = Some(Caller { source, line });
            let kind = file.lines[index].kind;
            match kind {
                LineKind::Blank | LineKind::Comment => {}
                LineKind::Setting => {
                    if self.is_full(Caller { source, line }) {
                        return false;
                    }
                    self.entries.push(Entry { source, line, what: What::Setting });
                }
                LineKind::Error => {
                    if let Some(error) = file.syntax_error(index) {
                        let at = Caller { source, line: error.line };
                        good = self.problem(at, Problem::Syntax { near: error.near });
                    }
                    errors += 1;
                    if errors >= self.errors_per_file {
                        break;
                    }
                }
                LineKind::Include | LineKind::IncludeIfExists | LineKind::IncludeDir => {
                    let name = file.line(index).and_then(|line| line.value());
                    let name = name.unwrap_or_default().into_owned();
                    good &= if kind == LineKind::IncludeDir {
                        self.folder(&name, Caller { source, line }, depth + 1)
                    } else {
                        self.file(&name, kind == LineKind::Include, caller, depth + 1)
                    };
                }
            }
        }
        good
    }

    fn folder(&mut self, name: &[u8], caller: Caller, depth: usize) -> bool {
        if is_blank(name) {
            return self.problem(caller, Problem::EmptyDirectoryName);
        }
        let from = self.lookup.store().path(caller.source);
        let folder = path::absolute(self.version, name, from);
        let Ok(mut names) = self.lookup.folder(&folder) else {
            return self.problem(caller, Problem::CannotOpenDirectory { path: folder });
        };
        names.retain(|(name, kind)| {
            *kind != FileKind::Directory
                && name.len() > b".conf".len()
                && name[0] != b'.'
                && name.ends_with(b".conf")
        });
        // By their bytes, as strcmp does.
        names.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let paths = names.into_iter().map(|(name, kind)| {
            (path::join(self.version, &folder, &name), kind == FileKind::Dangling)
        });
        let paths: Vec<_> = paths.collect();
        if let Some((path, _)) = paths.iter().find(|(_, dangling)| *dangling) {
            return self.problem(caller, Problem::CannotStat { path: path.clone() });
        }
        // The first file with an error is the last one that is read.
        paths.iter().all(|(path, _)| self.file(path, true, Some(caller), depth))
    }

    /// Whether a limit is reached, from where on nothing more is read. Said once.
    fn is_full(&mut self, at: Caller) -> bool {
        let full = self.files > MAX_FILES || self.entries.len() >= MAX_ENTRIES;
        if full && !self.is_limited {
            self.is_limited = true;
            self.problem(at, Problem::Limit);
        }
        full
    }

    fn problem(&mut self, at: Caller, problem: Problem) -> bool {
        self.entries.push(Entry { source: at.source, line: at.line, what: What::Problem(problem) });
        false
    }
}

fn is_blank(name: &[u8]) -> bool {
    name.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
}
