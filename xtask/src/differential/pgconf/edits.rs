//! Edits, judged by `pg_file_settings`: the setting has the wanted value (or is gone), or the crate
//! said what still overrides it; every other setting is what it was; untouched lines are the same
//! bytes; and doing it again changes no byte.

use std::{collections::BTreeMap, error::Error};

use pg_version::PgVersion;
use pgconf::{Catalogue, ConfFile, Configuration, EditError, Setting, Unset, Warning};

use super::{
    generate::{self, pick},
    random,
    server::{Reader, Row},
};
use crate::differential::{Options, Outcome, Random};

pub(in crate::differential) fn compare(options: &Options) -> Result<Outcome, String> {
    run(options).map_err(|error| error.to_string())
}

fn run(options: &Options) -> Result<Outcome, Box<dyn Error>> {
    let mut tally = Outcome::default();
    let mut readers = Vec::new();
    for installation in &pgtest::find_each_major()? {
        let reader = Reader::start(installation)?;
        let settings = generate::settings(&reader.server)?;
        readers.push((reader, settings));
    }
    for case in 0..options.cases {
        let turn = case % readers.len().max(1);
        let Some((reader, settings)) = readers.get_mut(turn) else { break };
        let mut random = random(options, case);
        let files = generate::files(&mut random, settings);
        reader.write(&files)?;
        let Ok(before) = reader.rows() else {
            tally.explain("files that make the view itself fail");
            continue;
        };
        if before.iter().any(|row| row.name.is_none()) {
            // The server would not look at what an edit does in files that it cannot read.
            tally.explain("files that the server cannot read, so nothing to judge");
            continue;
        }
        let mut configuration = reader.configuration();
        let edit = Edit::new(&mut random, settings, &configuration);
        let outcome = match edit.make(&mut configuration) {
            Ok(outcome) => outcome,
            Err(
                EditError::InvalidValue(_) | EditError::NotForFiles { .. } | EditError::Name { .. },
            ) => {
                tally.explain("edits that the crate refuses");
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let names = spellings(configuration.version(), edit.name.as_bytes());
        let untouched = configuration.edited().all(|(path, file)| {
            let old = std::fs::read(textfile::fs::path_of(path)).unwrap_or_default();
            is_edit_of(file, &old, &names)
        });
        for (path, file) in configuration.edited() {
            std::fs::write(textfile::fs::path_of(path), file.to_bytes())?;
        }
        let mut again = reader.configuration();
        let second = edit.make(&mut again)?;
        let Ok(after) = reader.rows() else {
            tally.explain("files that make the view itself fail");
            continue;
        };
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
            () if again.edited().next().is_some() || second.change != pgconf::Change::None => {
                Some("doing it again changes bytes")
            }
            () if others(&before) != others(&after) => Some("another setting changed"),
            () if overridden => (before.get(&key) != after.get(&key))
                .then_some("said to be overridden, but changed"),
            () => (after.get(&key).map(|value| &value[..])
                != edit.value.as_deref().map(str::as_bytes))
            .then_some("the setting has not the wanted value"),
        };
        if overridden {
            tally.explain("of the edits, those with a warning that they do not count");
        }
        if let Some(wrong) = wrong {
            let shown: Vec<_> = files
                .iter()
                .map(|(name, bytes)| format!("{name}: {}", bytes.escape_ascii()))
                .collect();
            tally.disagreements.push(format!(
                "case {case} of seed {}, major {version}: {wrong}: {edit:?}\n  {outcome:?}\n  {}",
                options.seed,
                shown.join("\n  ")
            ));
        }
    }
    Ok(tally)
}

#[derive(Debug)]
struct Edit {
    name: String,
    /// `None` takes the setting out.
    value: Option<String>,
    how: Unset,
    /// Only in this file.
    only_in: Option<Vec<u8>>,
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
        let value = generate::value(random, setting.as_ref()).replace(['\n', '\0'], "");
        let how = if random.once_in(2) { Unset::CommentOut } else { Unset::Remove };
        let value = (!random.once_in(5)).then_some(value);
        let only_in =
            (value.is_some() && random.once_in(3)).then(|| configuration.main_path().to_vec());
        Self { name, value, how, only_in }
    }

    fn make(&self, configuration: &mut Configuration) -> Result<pgconf::Outcome, EditError> {
        match (&self.value, &self.only_in) {
            (None, _) => configuration.unset(&self.name, self.how),
            (Some(value), None) => configuration.set(&self.name, value),
            (Some(value), Some(path)) => configuration.set_in(path, &self.name, value),
        }
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
        let is_other = |text: &&[u8]| {
            let text = text.to_ascii_lowercase();
            !names.iter().any(|name| text.windows(name.len()).any(|part| part == name))
        };
        // An edit may end the last line, which may end with a CR already.
        let bytes = file.document().lines().map(textfile::Line::bytes);
        bytes
            .filter(is_other)
            .map(|line| line.strip_suffix(b"\n").unwrap_or(line).to_vec())
            .collect()
    };
    others(new) == others(&ConfFile::new(old))
}
