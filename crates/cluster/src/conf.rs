//! The server's settings: which files to edit so that they count.

use std::{collections::BTreeMap, os::unix::ffi::OsStrExt as _, path::PathBuf};

use pgconf::Warning;
use zeroize::Zeroizing;

use crate::{conninfo::ConnInfo, error::Error, inspect::NodeState};

/// What becomes of a node's configuration files.
#[derive(Debug)]
pub(crate) struct ConfEdit {
    /// The files that change, with their new bytes.
    pub(crate) files: Vec<(PathBuf, Vec<u8>)>,
    /// What the administrator should know.
    pub(crate) notes: Vec<String>,
}

/// Gives settings their values where they count. A setting that has its value already is left alone.
///
/// # Errors
/// [`Error::Plan`] where an edit could not make it count: `postgresql.auto.conf`, a file that is read
/// later or the command line has the last word, or the server refuses the files as they are.
pub(crate) fn set(state: &NodeState, settings: &[(&str, &str)]) -> Result<ConfEdit, Error> {
    let mut configuration = state.configuration.clone();
    let mut notes = Vec::new();
    for (name, value) in settings {
        if state.settings.get(*name).is_some_and(|setting| setting.source == "command line") {
            return Err(Error::plan(format!(
                "{name} is given on the server's command line, which no file can override: start \
                 the server without it"
            )));
        }
        let before =
            configuration.get(name).map(|value| String::from_utf8_lossy(&value).into_owned());
        if configuration.means(name, value) {
            continue;
        }
        let outcome =
            configuration.set(name, value).map_err(|error| Error::plan(error.to_string()))?;
        for warning in outcome.warnings {
            match warning {
                Warning::AlterSystemWins { .. }
                | Warning::LaterFileWins { .. }
                | Warning::Broken { .. } => return Err(Error::plan(format!("{name}: {warning}"))),
                other => notes.push(format!("{name}: {other}")),
            }
        }
        if let Some(before) = before.filter(|_| name.ends_with("_file")) {
            notes.push(format!(
                "{name} is \"{before}\" now: clients and servers that rely on that must be told of \
                 the cluster's authority"
            ));
        }
    }
    let files = configuration.edited().map(|(path, file)| {
        (PathBuf::from(std::ffi::OsStr::from_bytes(path)), file.to_bytes().into_owned())
    });
    let files = files.collect();
    Ok(ConfEdit { files, notes })
}

/// The value that a file of `ALTER SYSTEM` gives a setting.
pub(crate) fn value_in(file: &[u8], name: &str) -> Option<String> {
    let file = pgconf::ConfFile::new(file);
    let is_it = |line: &pgconf::ConfLine<'_>| {
        line.name().is_some_and(|found| found.eq_ignore_ascii_case(name.as_bytes()))
    };
    let last = file.lines().rfind(is_it)?;
    Some(String::from_utf8_lossy(&last.value()?).into_owned())
}

/// Whether two files of `ALTER SYSTEM` say the same of every setting but one. A connection string may be
/// written in another way.
pub(crate) fn same_but(one: &[u8], other: &[u8], but: &str) -> bool {
    let settings = |bytes: &[u8]| -> BTreeMap<Vec<u8>, Zeroizing<Vec<u8>>> {
        let file = pgconf::ConfFile::new(bytes);
        let setting = |line: pgconf::ConfLine<'_>| {
            let name = line.name()?.to_ascii_lowercase();
            let value = Zeroizing::new(line.value()?.into_owned());
            let value = match std::str::from_utf8(&value).map(str::parse::<ConnInfo>) {
                Ok(Ok(conninfo)) if name == b"primary_conninfo" => {
                    Zeroizing::new(conninfo.to_text().as_bytes().to_vec())
                }
                _ => value,
            };
            (name != but.as_bytes()).then_some((name, value))
        };
        file.lines().filter_map(setting).collect()
    };
    settings(one) == settings(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_say_the_same() {
        let found = b"# theirs\nprimary_conninfo = 'host=a user=u '\nwork_mem = '4MB'\n";
        let same = |other: &str, but| same_but(found, other.as_bytes(), but);
        let (conninfo, memory) = ("primary_conninfo = 'host=a user=u'\n", "work_mem = '4MB'\n");
        assert!(same(&format!("{memory}{conninfo}"), "other"));
        assert!(same(&format!("{conninfo}{memory}OTHER = 1\n"), "other"));
        assert!(!same(&format!("{conninfo}{memory}OTHER = 1\n"), "primary_conninfo"));
        let by_hand = format!("{memory}primary_conninfo = 'host=b user=u'\n");
        assert!(!same(&by_hand, "other"));
        assert!(same(&by_hand, "primary_conninfo"));
        assert_eq!(value_in(found, "work_mem").as_deref(), Some("4MB"));
        assert_eq!(value_in(b"a = 1\nA = 2\n", "a").as_deref(), Some("2"));
        assert_eq!(value_in(found, "other"), None);
    }
}
