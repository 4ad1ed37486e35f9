//! Edits, judged by `pg_file_settings`: the setting has the wanted value (or is gone), or the crate
//! said what still overrides it; every other setting is what it was; untouched lines are the same
//! bytes; and doing it again changes no byte.

use std::collections::BTreeMap;

use pg_version::PgVersion;
use pgconf::{
    Catalogue, Change, ConfFile, Configuration, EditError, ListKind, Outcome as Edited, Setting,
    Unset, Warning, split_list,
};
use textfile::fs::path_of;

use super::{
    cases::judge_each,
    generate::{self, FilesKind, pick},
    server::Row,
};
use crate::differential::{Options, Outcome, Random};

pub(in crate::differential) fn compare(options: &Options) -> Result<Outcome, String> {
    judge_each(
        options,
        |_| FilesKind::Readable,
        |mut case, tally| {
            let Some(before) = case.rows(tally)? else { return Ok(()) };
            if before.iter().any(|row| row.name.is_none()) {
                // The server would not look at what an edit does in files that it cannot read.
                tally.explain("files that the server cannot read, so nothing to judge");
                return Ok(());
            }
            let mut configuration = case.reader.configuration();
            let edit = Edit::new(&mut case.random, case.settings, &configuration);
            let outcome = match edit.make(&mut configuration) {
                Ok(outcome) => outcome,
                Err(
                    EditError::InvalidValue(_)
                    | EditError::NotForFiles { .. }
                    | EditError::Name { .. }
                    | EditError::ListSyntax(_),
                ) => {
                    tally.explain("edits that the crate refuses");
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            };
            let names = spellings(configuration.version(), edit.name.as_bytes());
            let untouched = configuration.edited().all(|(path, file)| {
                if Some(path) == configuration.auto_path() {
                    return false;
                }
                let old = std::fs::read(path_of(path)).unwrap_or_default();
                is_edit_of(file, &old, &names)
            });
            for (path, file) in configuration.edited() {
                std::fs::write(path_of(path), file.to_bytes())?;
            }
            let mut again = case.reader.configuration();
            let second = edit.make(&mut again)?;
            let Some(after) = case.rows(tally)? else { return Ok(()) };
            tally.compared += 1;
            let version = configuration.version();
            let (before, after) = (effective(version, &before), effective(version, &after));
            let overridden = outcome.warnings.iter().any(|warning| {
                matches!(warning, Warning::AlterSystemWins { .. } | Warning::LaterFileWins { .. })
            });
            let key = key(version, edit.name.as_bytes());
            let others = |all: &BTreeMap<Vec<u8>, Vec<u8>>| {
                let mut others = all.clone();
                others.remove(&key);
                others
            };
            let wrong = match () {
                () if !untouched => Some("lines that were not to be touched are other bytes"),
                () if again.edited().next().is_some() || second.change != Change::None => {
                    Some("doing it again changes bytes")
                }
                () if others(&before) != others(&after) => Some("another setting changed"),
                () if overridden => (before.get(&key) != after.get(&key))
                    .then_some("said to be overridden, but changed"),
                () => edit.what_is_wrong_with(version, before.get(&key), after.get(&key)),
            };
            if overridden {
                tally.explain("of the edits, those with a warning that they do not count");
            }
            let shown = wrong.map(|wrong| case.shown(&format!("{wrong}: {edit:?}\n  {outcome:?}")));
            tally.disagreements.extend(shown);
            Ok(())
        },
    )
}

#[derive(Debug)]
struct Edit {
    name: String,
    what: What,
}

#[derive(Debug)]
enum What {
    Set(String),
    /// Only in this file.
    SetIn(Vec<u8>, String),
    Unset(Unset),
    AddToList(String),
    RemoveFromList(String),
}

impl Edit {
    fn new(random: &mut Random, settings: &[Setting], configuration: &Configuration) -> Self {
        let there: Vec<String> = configuration
            .occurrences()
            .map(|occurrence| String::from_utf8_lossy(occurrence.name).into_owned())
            .collect();
        let name = if there.is_empty() || random.once_in(3) {
            generate::name(random, settings)
        } else {
            pick(random, &there).clone()
        };
        let setting = Catalogue::new(configuration.version()).get(&name);
        // Of several values the first that the crate takes: more is to be seen of an edit that is made.
        let mut value = String::new();
        for _ in 0..4 {
            value = generate::value(random, setting.as_ref()).replace(['\n', '\0'], "");
            if setting.is_none_or(|setting| setting.check(&value).is_ok()) {
                break;
            }
        }
        let what = match random.below(10) {
            0 => What::Unset(Unset::CommentOut),
            1 => What::Unset(Unset::Remove),
            2..5 => {
                let auto = configuration.auto_path();
                let files = configuration.files().map(|(path, _)| path);
                let files: Vec<_> = files.filter(|path| Some(*path) != auto).collect();
                What::SetIn(pick(random, &files).to_vec(), value)
            }
            5 | 6 if ListKind::of(&name).is_some() => {
                let there = configuration.list(&name).unwrap_or_default();
                let element = match there.first() {
                    Some(first) if random.once_in(2) => String::from_utf8_lossy(first).into_owned(),
                    _ => generate::element(random),
                };
                if random.once_in(2) {
                    What::AddToList(element)
                } else {
                    What::RemoveFromList(element)
                }
            }
            _ => What::Set(value),
        };
        Self { name, what }
    }

    fn make(&self, configuration: &mut Configuration) -> Result<Edited, EditError> {
        let name = &self.name;
        match &self.what {
            What::Set(value) => configuration.set(name, value),
            What::SetIn(path, value) => configuration.set_in(path, name, value),
            What::Unset(how) => configuration.unset(name, *how),
            What::AddToList(element) => configuration.add_to_list(name, element),
            What::RemoveFromList(element) => configuration.remove_from_list(name, element),
        }
    }

    /// Why the value that counts now is not what was asked for.
    fn what_is_wrong_with(
        &self,
        version: PgVersion,
        before: Option<&Vec<u8>>,
        after: Option<&Vec<u8>>,
    ) -> Option<&'static str> {
        let list = |value: &[u8]| split_list(version, ListKind::of(&self.name)?, value).ok();
        let default = Catalogue::new(version).get(&self.name).and_then(|setting| setting.default());
        let elements = |value: Option<&Vec<u8>>| {
            list(value.map_or(default.unwrap_or_default().as_bytes(), |value| value))
        };
        let is_done = match &self.what {
            What::Set(value) | What::SetIn(_, value) => {
                after.is_some_and(|after| after == value.as_bytes())
            }
            What::Unset(_) => after.is_none(),
            What::AddToList(element) => {
                let mut wanted = elements(before)?;
                if !wanted.iter().any(|present| present == element.as_bytes()) {
                    wanted.push(element.clone().into_bytes());
                }
                elements(after) == Some(wanted)
            }
            What::RemoveFromList(element) => {
                let mut wanted = elements(before)?;
                wanted.retain(|present| present != element.as_bytes());
                elements(after) == Some(wanted)
            }
        };
        (!is_done).then_some("the setting has not the wanted value")
    }
}

/// A setting's name as the server knows it, whatever the case and age of the one that was written.
fn key(version: PgVersion, name: &[u8]) -> Vec<u8> {
    Catalogue::new(version).current_name(name).to_ascii_lowercase()
}

/// The names, in lower case, under which a setting may stand in a file.
fn spellings(version: PgVersion, name: &[u8]) -> Vec<Vec<u8>> {
    let wanted = key(version, name);
    let old = ["sort_mem", "vacuum_mem", "ssl_ecdh_curve"].map(|old| old.as_bytes().to_vec());
    let mut names = vec![wanted.clone()];
    names.extend(old.into_iter().filter(|old| key(version, old) == wanted));
    names
}

/// The value of each setting that the server would try to give it: the last one.
fn effective(version: PgVersion, rows: &[Row]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let named = rows.iter().filter_map(|row| Some((row.name.as_ref()?, row.value.as_ref()?)));
    named.map(|(name, value)| (key(version, name), value.clone())).collect()
}

/// Whether the lines that do not name the setting, now or in a comment, are the same bytes.
fn is_edit_of(new: &ConfFile, old: &[u8], names: &[Vec<u8>]) -> bool {
    let others = |file: &ConfFile| -> Vec<Vec<u8>> {
        let is_other = |bytes: &&[u8]| {
            let text = bytes.to_ascii_lowercase();
            !names.iter().any(|name| text.windows(name.len()).any(|part| part == name))
        };
        let bytes = file.document().lines().map(textfile::Line::bytes);
        bytes.filter(is_other).map(<[u8]>::to_vec).collect()
    };
    let (new, old) = (others(new), others(&ConfFile::new(old)));
    // An edit may end the last line.
    new.len() == old.len()
        && new
            .iter()
            .zip(&old)
            .all(|(new, old)| new == old || (old.last() != Some(&b'\n') && new.starts_with(old)))
}
