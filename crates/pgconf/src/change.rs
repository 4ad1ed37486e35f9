//! Changing a configuration of many files, so that the change counts, or says why it does not.

use crate::{
    Catalogue, Configuration, InvalidValue, ListKind, Origin,
    catalogue::{Activation, split_list},
    configuration::Occurrence,
    diagnostics::Problem,
    edit::{Change, EditError, Unset, check_name, check_text},
    file::ConfFile,
    name::{for_sql, same_setting},
};

/// What an edit of a [`Configuration`] did, and what it takes to make it count.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Outcome {
    /// The lines that changed.
    pub change: Change,
    /// The file that was edited, or would have been; the first of them, where several were.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialise::bytes"))]
    pub file: Vec<u8>,
    /// The line in it, counted from 1; 0 where there is none.
    pub line: usize,
    /// Whether the effective value of the setting is another one now.
    pub effective_value_changed: bool,
    /// What makes a running server take up a change of this setting. `None` for a name that the
    /// catalogue does not know.
    pub activation: Option<Activation>,
    /// What stands in the way, or is odd.
    pub warnings: Vec<Warning>,
}

/// What an administrator should know about an edit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case", tag = "warning"))]
pub enum Warning {
    /// `postgresql.auto.conf` sets it too and has the last word. This crate does not edit that file:
    /// run the statement.
    AlterSystemWins {
        /// The line in `postgresql.auto.conf`.
        line: usize,
        /// What it says.
        #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialise::bytes"))]
        value: Vec<u8>,
        /// `ALTER SYSTEM RESET work_mem;`
        statement: String,
    },
    /// Another file that is read later sets it too.
    LaterFileWins {
        /// That file.
        #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialise::bytes"))]
        file: Vec<u8>,
        /// The line in it.
        line: usize,
        /// What it says.
        #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialise::bytes"))]
        value: Vec<u8>,
    },
    /// The major has no such setting; a build with more of them might.
    UnknownName,
    /// Builds like those that the catalogue was made from refuse the value, others take it.
    BuildDependentValue(InvalidValue),
    /// The server refuses the files as they are, whatever was edited.
    Broken {
        /// The file that it reports.
        #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialise::bytes"))]
        file: Vec<u8>,
        /// The line that it reports.
        line: usize,
        /// Why.
        problem: Problem,
    },
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = String::from_utf8_lossy;
        match self {
            Self::AlterSystemWins { line, value, statement } => write!(
                f,
                "postgresql.auto.conf line {line} still sets it to \"{}\": run {statement}",
                text(value)
            ),
            Self::LaterFileWins { file, line, value } => write!(
                f,
                "{} line {line}, which is read later, still sets it to \"{}\"",
                text(file),
                text(value)
            ),
            Self::UnknownName => f.write_str("this major has no setting of that name"),
            Self::BuildDependentValue(invalid) => {
                write!(f, "{invalid}: only servers that have it take the value")
            }
            Self::Broken { file, line, problem } => {
                write!(f, "the server refuses the files: {} line {line}: {problem}", text(file))
            }
        }
    }
}

impl Configuration {
    /// Gives `name` the value `value`, where it counts: in the place whose value is the effective
    /// one now, be it in an included file; in the main file's template line or at its end where no
    /// file sets it. [`ConfFile::set`] tells how a line is edited.
    ///
    /// `postgresql.auto.conf` is never edited: if it has the last word, the
    /// [outcome](Outcome::warnings) names the `ALTER SYSTEM RESET` to run. Nothing is written either:
    /// [`Configuration::edited`] has the new files.
    ///
    /// ```
    /// use pg_version::PgVersion;
    /// use pgconf::{Activation, Configuration};
    ///
    /// let mut files = textfile::MemoryFiles::default();
    /// files.insert("/pg/postgresql.conf", "#ssl = off\ninclude_dir 'conf.d'\n");
    /// files.insert("/pg/conf.d/a.conf", "port = 5433 # ours\n");
    /// files.insert("/data/postgresql.auto.conf", "ssl = 'off'\n");
    /// let mut configuration =
    ///     Configuration::read(&files, "/pg/postgresql.conf", Some(b"/data"), PgVersion::V17);
    ///
    /// let outcome = configuration.set("port", "5434")?;
    /// assert_eq!(outcome.file, b"/pg/conf.d/a.conf");
    /// assert_eq!(outcome.activation, Some(Activation::Restart));
    ///
    /// let outcome = configuration.set("ssl", "on")?;
    /// assert_eq!(
    ///     outcome.warnings[0].to_string(),
    ///     "postgresql.auto.conf line 1 still sets it to \"off\": run ALTER SYSTEM RESET ssl;"
    /// );
    /// assert_eq!(configuration.edited().count(), 2);
    /// # Ok::<(), pgconf::EditError>(())
    /// ```
    ///
    /// # Errors
    /// [`EditError`]: a name or value that the file's grammar cannot hold, that no file may set, that
    /// the server refuses, or that is to be a list and is none. A name that the catalogue does not know is none, but a warning.
    pub fn set(
        &mut self,
        name: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Result<Outcome, EditError> {
        let (name, value) = (name.as_ref(), value.as_ref());
        let warnings = self.check_edit(name, value)?;
        let before = self.effective_value(name);
        let (source, line) = match self.editable(name).next_back() {
            Some(entry) => (entry.source, Some(entry.line - 1)),
            None => (self.main_source()?, None),
        };
        let edit = self.edit(source, |file| file.set_line(line, name, value))?;
        Ok(self.outcome(name, source, edit, before, warnings))
    }

    /// Gives `name` the value `value` in the file at `path` and in no other. It goes where it counts,
    /// if there is such a place in that file: a line that a later file overrides is commented out
    /// and the setting put at the file's end, if that is read after the other.
    ///
    /// # Errors
    /// Those of [`Configuration::set`]; [`EditError::NoSuchFile`], [`EditError::AutoConf`].
    pub fn set_in(
        &mut self,
        path: impl AsRef<[u8]>,
        name: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Result<Outcome, EditError> {
        let (path, name, value) = (path.as_ref(), name.as_ref(), value.as_ref());
        if self.auto_path() == Some(path) {
            return Err(EditError::AutoConf);
        }
        let source = self
            .store
            .source_at(path)
            .ok_or_else(|| EditError::NoSuchFile { path: path.to_vec() })?;
        if self.store.is_auto(source) {
            return Err(EditError::AutoConf);
        }
        let warnings = self.check_edit(name, value)?;
        let before = self.effective_value(name);
        let version = self.version;
        let is = |other: &[u8]| same_setting(version, other, name);
        let untouched = self.clone();
        let mut edit = self.edit(source, |file| file.set_line(file.last_line(is), name, value))?;
        if !self.counts_from(source, name) {
            // Not there, then; at the end perhaps.
            let mut other = untouched;
            let moved = other.edit(source, |file| {
                file.unset_lines(is, Unset::CommentOut)?;
                let line = file.add_line(name, value)? + 1;
                Ok(crate::FileEdit { change: Change::Added, line })
            })?;
            if other.counts_from(source, name) {
                *self = other;
                edit = moved;
            }
        }
        Ok(self.outcome(name, source, edit, before, warnings))
    }

    /// Takes `name` out of every file but `postgresql.auto.conf`, under its old name too, so that the
    /// server's default counts.
    ///
    /// # Errors
    /// [`EditError::Name`] and [`EditError::Directive`] for what can be no setting.
    pub fn unset(&mut self, name: impl AsRef<[u8]>, how: Unset) -> Result<Outcome, EditError> {
        let name = name.as_ref();
        check_name(name)?;
        let before = self.effective_value(name);
        let version = self.version;
        let mut sources: Vec<u32> = Vec::new();
        for entry in self.editable(name) {
            if !sources.iter().any(|source| self.store.is_same_file(*source, entry.source)) {
                sources.push(entry.source);
            }
        }
        let mut done = crate::FileEdit { change: Change::None, line: 0 };
        for source in &sources {
            let edit = self
                .edit(*source, |file| file.unset_lines(|n| same_setting(version, n, name), how))?;
            done.change = match (done.change, edit.change) {
                (Change::CommentedOut(a), Change::CommentedOut(b)) => Change::CommentedOut(a + b),
                (Change::Removed(a), Change::Removed(b)) => Change::Removed(a + b),
                (_, change) => change,
            };
            if done.line == 0 {
                done.line = edit.line;
            }
        }
        let source = sources.first().copied().unwrap_or(0);
        Ok(self.outcome(name, source, done, before, Vec::new()))
    }

    /// What is said of an edit of `name` that has nothing to do.
    pub(crate) fn leave(&self, name: &[u8]) -> Result<Outcome, EditError> {
        check_name(name)?;
        let source = self.editable(name).next_back().map_or(0, |entry| entry.source);
        let nothing = crate::FileEdit { change: Change::None, line: 0 };
        Ok(self.outcome(name, source, nothing, self.effective_value(name), Vec::new()))
    }

    /// The files that edits have changed, by path.
    pub fn edited(&self) -> impl Iterator<Item = (&[u8], &ConfFile)> {
        self.store.edited()
    }

    /// Whether the server could read and would take it; what is worth a warning.
    fn check_edit(&self, name: &[u8], value: &[u8]) -> Result<Vec<Warning>, EditError> {
        check_text(name, value)?;
        let catalogue = Catalogue::new(self.version);
        let Some(setting) = catalogue.get(name) else {
            return Ok(if catalogue.takes(name) { Vec::new() } else { vec![Warning::UnknownName] });
        };
        if setting.is_refused_in_file() {
            return Err(EditError::NotForFiles { name: setting.name() });
        }
        match setting.check_in_file(value) {
            Ok(_) => {
                if let Some(kind) = ListKind::of(setting.name()) {
                    split_list(self.version, kind, value)?;
                }
                Ok(Vec::new())
            }
            Err(invalid) if invalid.is_build_dependent() => {
                Ok(vec![Warning::BuildDependentValue(invalid)])
            }
            Err(invalid) => Err(EditError::InvalidValue(invalid)),
        }
    }

    fn main_source(&self) -> Result<u32, EditError> {
        let path = self.store.main();
        self.store.source_at(path).ok_or_else(|| EditError::NoSuchFile { path: path.to_vec() })
    }

    /// Edits one file and reads all again if lines moved.
    fn edit(
        &mut self,
        source: u32,
        edit: impl FnOnce(&mut ConfFile) -> Result<crate::FileEdit, EditError>,
    ) -> Result<crate::FileEdit, EditError> {
        let path = self.store.path(source);
        let Some(file) = self.store.file(source) else {
            return Err(EditError::NoSuchFile { path: path.to_vec() });
        };
        let mut file = file.clone();
        let done = edit(&mut file)?;
        if done.change != Change::None {
            self.store.put(source, file);
            self.walk_again();
        }
        Ok(done)
    }

    fn effective_value(&self, name: &[u8]) -> Option<Vec<u8>> {
        self.get(name).map(std::borrow::Cow::into_owned)
    }

    /// Whether the place that counts, leaving `postgresql.auto.conf` aside, is in that file.
    fn counts_from(&self, source: u32, name: &[u8]) -> bool {
        let last = self.editable(name).next_back();
        last.is_some_and(|entry| self.store.is_same_file(entry.source, source))
    }

    fn outcome(
        &self,
        name: &[u8],
        source: u32,
        edit: crate::FileEdit,
        before: Option<Vec<u8>>,
        mut warnings: Vec<Warning>,
    ) -> Outcome {
        if let Some(winner) = self.last_of(name)
            && let Some(occurrence) = self.occurrence(winner)
        {
            let elsewhere = !self.store.is_same_file(self.entries[winner].source, source);
            warnings.extend(overriding(&occurrence, elsewhere));
        }
        warnings.extend(
            self.problems()
                .find(|problem| !matches!(problem.what, Problem::UnknownName { .. }))
                .map(|problem| Warning::Broken {
                    file: problem.file.to_vec(),
                    line: problem.line,
                    problem: problem.what,
                }),
        );
        Outcome {
            change: edit.change,
            file: self.store.path(source).to_vec(),
            line: edit.line,
            effective_value_changed: self.effective_value(name) != before,
            activation: Catalogue::new(self.version).get(name).map(|setting| setting.activation()),
            warnings,
        }
    }
}

/// What to say if the place that counts is not in the file that was edited, but elsewhere.
fn overriding(occurrence: &Occurrence<'_>, elsewhere: bool) -> Option<Warning> {
    let (line, value) = (occurrence.line, occurrence.value.to_vec());
    match occurrence.origin {
        Origin::AlterSystem => Some(Warning::AlterSystemWins {
            line,
            value,
            statement: format!("ALTER SYSTEM RESET {};", for_sql(occurrence.name)),
        }),
        // The file that was edited may be read twice, once from there.
        Origin::IncludedByAlterSystem | Origin::File => elsewhere.then(|| Warning::LaterFileWins {
            file: occurrence.file.to_vec(),
            line,
            value,
        }),
    }
}
