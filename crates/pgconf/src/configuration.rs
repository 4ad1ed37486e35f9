//! All files of a server's configuration together: what they include, in which order, and whose
//! word is the last.

use std::{borrow::Cow, collections::HashMap};

use pg_version::PgVersion;
use textfile::Files;

use crate::{
    Catalogue,
    diagnostics::Problem,
    file::ConfFile,
    name::{current_name, same_setting},
    walk::{Entry, Known, Loader, Store, What, walk},
};

/// A server's configuration: `postgresql.conf`, every file that it includes, and on top of them
/// `postgresql.auto.conf`, where `ALTER SYSTEM` writes.
///
/// ```
/// use pg_version::PgVersion;
/// use pgconf::Configuration;
/// use textfile::MemoryFiles;
///
/// let mut files = MemoryFiles::default();
/// files.insert("/etc/pg/postgresql.conf", "work_mem = 4MB\ninclude_dir 'conf.d'\n");
/// files.insert("/etc/pg/conf.d/10-memory.conf", "work_mem = 16MB\n");
/// files.insert("/data/postgresql.auto.conf", "work_mem = '64MB'\n");
///
/// let configuration =
///     Configuration::read(&files, "/etc/pg/postgresql.conf", Some(b"/data"), PgVersion::V17);
/// let provenance = configuration.provenance("work_mem");
/// let effective = provenance.effective().unwrap();
/// assert_eq!(effective.value.as_ref(), b"64MB");
/// assert_eq!(effective.file, b"/data/postgresql.auto.conf");
/// assert_eq!(provenance.overridden().count(), 2);
/// ```
#[derive(Clone, Debug)]
pub struct Configuration {
    pub(crate) version: PgVersion,
    pub(crate) store: Store,
    /// Settings and problems in the server's reading order.
    pub(crate) entries: Vec<Entry>,
    /// Where the entries of `postgresql.auto.conf` begin.
    pub(crate) auto_from: usize,
}

impl Configuration {
    /// Reads `main` and all that belongs to it. `main` is the path as the server has it, in its
    /// setting `config_file`: paths in messages begin with it. In `data_directory` lies
    /// `postgresql.auto.conf`; `None` leaves it out.
    ///
    /// Nothing makes reading fail: what is wrong is among the
    /// [problems](Configuration::problems). A file that includes others without end is read up to
    /// 10,000 files and a million settings.
    pub fn read(
        files: &impl Files,
        main: impl AsRef<[u8]>,
        data_directory: Option<&[u8]>,
        version: PgVersion,
    ) -> Self {
        let auto = data_directory
            .map(|folder| crate::path::join(version, folder, b"postgresql.auto.conf"));
        let mut store = Store::new(main.as_ref(), auto);
        let mut loader = Loader { store: &mut store, files };
        let walked = walk(&mut loader, version, ERRORS_PER_FILE);
        Self { version, store, entries: walked.entries, auto_from: walked.auto_from }
    }

    /// The major that reads it.
    #[must_use]
    pub fn version(&self) -> PgVersion {
        self.version
    }

    /// The path of the main file.
    #[must_use]
    pub fn main_path(&self) -> &[u8] {
        self.store.main()
    }

    /// The path of `postgresql.auto.conf`, if it was asked for.
    #[must_use]
    pub fn auto_path(&self) -> Option<&[u8]> {
        self.store.auto()
    }

    /// The files that were read, by path, each once, in the order in which they were first read.
    pub fn files(&self) -> impl Iterator<Item = (&[u8], &ConfFile)> {
        self.store.files()
    }

    /// The file of that path, if it was read.
    #[must_use]
    pub fn file(&self, path: impl AsRef<[u8]>) -> Option<&ConfFile> {
        self.store.file_at(path.as_ref())
    }

    /// Every setting in the order in which the server reads them; of each name the last one counts.
    pub fn occurrences(&self) -> impl DoubleEndedIterator<Item = Occurrence<'_>> {
        self.entries.iter().enumerate().filter_map(|(index, _)| self.occurrence(index))
    }

    /// Where `name` is set, in any case and under its old name too, and which place counts.
    #[must_use]
    pub fn provenance(&self, name: impl AsRef<[u8]>) -> Provenance<'_> {
        let name = name.as_ref();
        Provenance {
            occurrences: self
                .occurrences()
                .filter(|occurrence| same_setting(self.version, occurrence.name, name))
                .collect(),
        }
    }

    /// The value that the files give `name`, `None` if none of them does.
    #[must_use]
    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<Cow<'_, [u8]>> {
        let name = name.as_ref();
        self.last_of(name).and_then(|index| self.occurrence(index)).map(|found| found.value)
    }

    /// The value that a server that starts with these files has: what they say, else the default
    /// that is built into it. `None` for a name that has neither.
    ///
    /// ```
    /// # use pg_version::PgVersion;
    /// # use pgconf::Configuration;
    /// # let mut files = textfile::MemoryFiles::default();
    /// files.insert("/postgresql.conf", "ssl = yes\n");
    /// let configuration = Configuration::read(&files, "/postgresql.conf", None, PgVersion::V16);
    /// assert_eq!(configuration.value_or_default("ssl").as_deref(), Some(&b"yes"[..]));
    /// assert_eq!(configuration.value_or_default("work_mem").as_deref(), Some(&b"4096"[..]));
    /// ```
    #[must_use]
    pub fn value_or_default(&self, name: impl AsRef<[u8]>) -> Option<Cow<'_, [u8]>> {
        let name = name.as_ref();
        self.get(name).or_else(|| {
            let setting = Catalogue::new(self.version).get(name)?;
            setting.default().map(|value| Cow::Borrowed(value.as_bytes()))
        })
    }

    /// Whether the effective value of `name` means the same as `value`: `1GB` and `1024MB`, `on` and
    /// `true`. What the catalogue does not know is compared byte for byte.
    #[must_use]
    pub fn means(&self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> bool {
        let (name, value) = (name.as_ref(), value.as_ref());
        let Some(now) = self.value_or_default(name) else { return false };
        if now.as_ref() == value {
            return true;
        }
        let Some(setting) = Catalogue::new(self.version).get(name) else { return false };
        match (setting.check(&now), setting.check(value)) {
            (Ok(now), Ok(value)) => now.value() == value.value(),
            _ => false,
        }
    }

    /// What makes a server refuse the files as a whole, in reading order: at its start it ends, on a
    /// reload nothing is changed.
    ///
    /// A name without a dot that the catalogue does not know is among them
    /// ([`Problem::UnknownName`]): most servers would refuse it, but a build can have settings of its
    /// own.
    pub fn problems(&self) -> impl Iterator<Item = Located<'_, Problem>> {
        let catalogue = Catalogue::new(self.version);
        self.entries.iter().filter_map(move |entry| {
            let file = self.store.path(entry.source);
            match &entry.what {
                What::Problem(problem) => {
                    Some(Located { file, line: entry.line, what: problem.clone() })
                }
                What::Setting => {
                    let name = self.store.line(entry)?.name()?;
                    let unknown = !catalogue.takes(name);
                    unknown.then(|| Located {
                        file,
                        line: entry.line,
                        what: Problem::UnknownName { name: name.to_vec() },
                    })
                }
            }
        })
    }

    /// The values that the server would refuse: at its start it ends, on a reload it keeps the old
    /// ones. They are those that count, and those that it tries before them because they are spelled
    /// otherwise (`Work_Mem`, `sort_mem`).
    pub fn invalid_values(&self) -> impl Iterator<Item = Located<'_, crate::InvalidValue>> {
        let catalogue = Catalogue::new(self.version);
        self.tried().into_iter().filter_map(move |index| {
            let occurrence = self.occurrence(index)?;
            let setting = catalogue.get(occurrence.name)?;
            let error = setting.check_in_file(&occurrence.value).err()?;
            Some(Located { file: occurrence.file, line: occurrence.line, what: error })
        })
    }

    /// What the server's view `pg_file_settings` shows of these files, before anything of them was
    /// loaded: every setting in reading order, up to the first syntax error of each file.
    ///
    /// The view also tries every value on the running server ("setting could not be applied"), which
    /// files alone cannot tell: see [`Configuration::invalid_values`] for what can be told without.
    #[must_use]
    pub fn file_settings(&self) -> Vec<FileSetting<'_>> {
        let mut known = Known { store: &self.store };
        let mut walked = walk(&mut known, self.version, 1);
        if !walked.main_is_read {
            walked.entries.truncate(walked.auto_from);
        }
        // Names are looked at only if every file could be read.
        let is_read = walked.main_is_read && walked.auto_is_read;
        let mut refused = !is_read;
        let catalogue = Catalogue::new(self.version);
        let mut rows: Vec<FileSetting<'_>> = Vec::with_capacity(walked.entries.len());
        let mut present: HashMap<Vec<u8>, ()> = HashMap::new();
        let mut last: HashMap<&[u8], usize> = HashMap::new();
        for entry in &walked.entries {
            let mut row = FileSetting {
                file: self.store.path(entry.source),
                line: entry.line,
                name: None,
                value: None,
                applied: false,
                error: None,
            };
            match &entry.what {
                What::Problem(problem) => row.error = Some(problem.clone()),
                What::Setting => {
                    let line = self.store.line(entry);
                    row.name = line.and_then(|line| line.name());
                    row.value = line.and_then(|line| line.value());
                    row.applied = true;
                }
            }
            if let Some(name) = row.name.filter(|_| is_read) {
                let current = current_name(self.version, name).to_ascii_lowercase();
                if catalogue.knows(name) {
                    // A second one: earlier ones of exactly this spelling are out. Those spelled
                    // otherwise stay, and are set only to be overridden.
                    if present.insert(current, ()).is_some()
                        && let Some(earlier) = last.get(name)
                    {
                        rows[*earlier].applied = false;
                    }
                    last.insert(name, rows.len());
                } else if !catalogue.takes(name) {
                    row.error = Some(Problem::UnknownName { name: name.to_vec() });
                    refused = true;
                }
            }
            rows.push(row);
        }
        if refused {
            for row in &mut rows {
                row.applied = false;
            }
        }
        rows
    }

    pub(crate) fn occurrence(&self, index: usize) -> Option<Occurrence<'_>> {
        let entry = self.entries.get(index)?;
        if !matches!(entry.what, What::Setting) {
            return None;
        }
        let line = self.store.line(entry)?;
        let file = self.store.path(entry.source);
        Some(Occurrence {
            file,
            line: entry.line,
            name: line.name()?,
            value: line.value()?,
            origin: if self.store.is_auto(entry.source) {
                Origin::AlterSystem
            } else if index < self.auto_from {
                Origin::File
            } else {
                Origin::IncludedByAlterSystem
            },
        })
    }

    /// The last entry that sets `name`.
    pub(crate) fn last_of(&self, name: &[u8]) -> Option<usize> {
        (0..self.entries.len()).rev().find(|index| self.sets(&self.entries[*index], name))
    }

    /// The entries that set `name` in people's files, which are all but what `postgresql.auto.conf`
    /// says and includes.
    pub(crate) fn editable(&self, name: &[u8]) -> impl DoubleEndedIterator<Item = &Entry> {
        let files = self.entries[..self.auto_from].iter();
        files.filter(move |entry| !self.store.is_auto(entry.source) && self.sets(entry, name))
    }

    fn sets(&self, entry: &Entry, name: &[u8]) -> bool {
        matches!(entry.what, What::Setting)
            && self
                .store
                .line(entry)
                .and_then(|line| line.name())
                .is_some_and(|other| same_setting(self.version, other, name))
    }

    /// The entries whose values the server tries, in reading order: of those that spell a name the same
    /// way the last one (`ProcessConfigFileInternal` compares names with `strcmp`).
    fn tried(&self) -> Vec<usize> {
        let mut last: HashMap<&[u8], usize> = HashMap::new();
        for (index, entry) in self.entries.iter().enumerate() {
            if matches!(entry.what, What::Setting)
                && let Some(name) = self.store.line(entry).and_then(|line| line.name())
            {
                last.insert(name, index);
            }
        }
        let mut tried: Vec<usize> = last.into_values().collect();
        tried.sort_unstable();
        tried
    }

    /// Reads the files that are there once more, after an edit moved lines.
    pub(crate) fn walk_again(&mut self) {
        let mut known = Known { store: &self.store };
        let walked = walk(&mut known, self.version, ERRORS_PER_FILE);
        self.entries = walked.entries;
        self.auto_from = walked.auto_from;
    }
}

/// After so many syntax errors a server that starts or reloads gives a file up.
const ERRORS_PER_FILE: usize = 100;

/// A place that sets a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Occurrence<'a> {
    /// The file's path.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialise::bytes"))]
    pub file: &'a [u8],
    /// The line, counted from 1.
    pub line: usize,
    /// The name as written there: in any case, or an old one.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialise::bytes"))]
    pub name: &'a [u8],
    /// The value, without quotes and escapes.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialise::bytes"))]
    pub value: Cow<'a, [u8]>,
    /// Which kind of file it is.
    pub origin: Origin,
}

/// Whose file a setting stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Origin {
    /// `postgresql.conf` or a file that it includes: people's.
    File,
    /// `postgresql.auto.conf`: the server's own, changed with `ALTER SYSTEM`.
    AlterSystem,
    /// A file that `postgresql.auto.conf` includes, which only a person can have done.
    IncludedByAlterSystem,
}

/// All places that set one setting, in reading order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Provenance<'a> {
    occurrences: Vec<Occurrence<'a>>,
}

impl<'a> Provenance<'a> {
    /// The place that counts: the last one read.
    #[must_use]
    pub fn effective(&self) -> Option<&Occurrence<'a>> {
        self.occurrences.last()
    }

    /// The places that do not count, because the effective one is read after them.
    pub fn overridden(&self) -> impl DoubleEndedIterator<Item = &Occurrence<'a>> {
        self.occurrences.iter().take(self.occurrences.len().saturating_sub(1))
    }
}

/// Something, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Located<'a, T> {
    /// The file's path.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialise::bytes"))]
    pub file: &'a [u8],
    /// The line as the server reports it, counted from 1; 0 where it reports that.
    pub line: usize,
    /// What is there.
    pub what: T,
}

impl<T: std::fmt::Display> std::fmt::Display for Located<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}", String::from_utf8_lossy(self.file), self.line, self.what)
    }
}

/// A row of the server's view `pg_file_settings`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct FileSetting<'a> {
    /// The file's path.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialise::bytes"))]
    pub file: &'a [u8],
    /// The line as the server reports it.
    pub line: usize,
    /// The name as written, `None` for an error.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialise::optional_bytes"))]
    pub name: Option<&'a [u8]>,
    /// The value, `None` for an error.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialise::optional_bytes"))]
    pub value: Option<Cow<'a, [u8]>>,
    /// Whether the server would try to apply it: it is not overridden, and nothing makes the server
    /// refuse the files.
    pub applied: bool,
    /// What is wrong with the line.
    pub error: Option<Problem>,
}
