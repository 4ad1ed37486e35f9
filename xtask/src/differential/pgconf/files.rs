//! Files against the rows of `pg_file_settings`.
//!
//! Where the server says "setting could not be applied", the crate has to say that the value is
//! invalid, unless one of these explains it: the setting needs a restart or is for the server's own
//! use ([`pgconf::Activation`]); only a running server can judge the value. And what the crate calls
//! invalid the server must refuse.

use pgconf::{Activation, Catalogue, FileSetting, Setting};

use super::{cases::judge_each, generate::FilesKind, only_a_server_knows, server::Row};
use crate::differential::{Options, Outcome};

pub(in crate::differential) fn compare(options: &Options) -> Result<Outcome, String> {
    judge_each(
        options,
        |_| FilesKind::Any,
        |case, tally| {
            let Some(expected) = case.rows(tally)? else { return Ok(()) };
            let configuration = case.reader.configuration();
            let got = configuration.file_settings();
            tally.compared += 1;
            let catalogue = Catalogue::new(configuration.version());
            let judge = Judge { catalogue, settings: case.settings };
            let difference = if expected.len() == got.len() {
                let mut pairs = expected.iter().zip(&got);
                pairs.find_map(|(row, ours)| judge.difference(tally, row, ours))
            } else {
                Some(format!("{} rows, not {}", got.len(), expected.len()))
            };
            tally.disagreements.extend(difference.map(|difference| case.shown(&difference)));
            Ok(())
        },
    )
}

struct Judge<'a> {
    catalogue: Catalogue,
    /// Those that this server has as the catalogue says.
    settings: &'a [Setting],
}

impl Judge<'_> {
    fn difference(&self, tally: &mut Outcome, row: &Row, ours: &FileSetting<'_>) -> Option<String> {
        let file = String::from_utf8_lossy(ours.file);
        let line = i64::try_from(ours.line).ok()?;
        let same = row.file == file
            && row.line == line
            && row.name.as_deref() == ours.name
            && row.value.as_deref() == ours.value.as_deref();
        if !same {
            return Some(format!("the server has {row:?}, we {ours:?}"));
        }
        let setting = ours.name.and_then(|name| self.catalogue.get(name));
        let invalid = setting.as_ref().zip(ours.value.as_deref()).and_then(|(setting, value)| {
            setting.check(value).err().map(|invalid| invalid.to_string())
        });
        if row.error.as_deref() == Some("setting could not be applied") {
            if !ours.applied || ours.error.is_some() {
                return Some(format!("the server tried to apply {row:?}, we have {ours:?}"));
            }
            if invalid.is_some() {
                return None;
            }
            let rule = match setting {
                // The view's database has no encoding, as that of a server that starts.
                Some(setting) if setting.check_in_file(ours.value.as_deref()?).is_err() => {
                    return None;
                }
                Some(setting) if setting.is_refused_in_file() => "values of a setting for no file",
                Some(setting) if !self.settings.contains(&setting) => {
                    "values of a setting that this server was built with otherwise"
                }
                Some(setting) if setting.activation() >= Activation::NewSession => {
                    "values of a setting that this session cannot change"
                }
                Some(setting) if only_a_server_knows(setting.name()) => {
                    "values that only a running server can judge"
                }
                _ => return Some(format!("the server refuses the value of {row:?}, we do not")),
            };
            tally.explain(rule);
            return None;
        }
        if row.applied != ours.applied || row.error != ours.error.as_ref().map(ToString::to_string)
        {
            return Some(format!("the server has {row:?}, we {ours:?}"));
        }
        match invalid {
            Some(invalid) if row.applied && !setting.is_some_and(|s| s.is_refused_in_file()) => {
                Some(format!("the server applies {row:?}, we say: {invalid}"))
            }
            _ => None,
        }
    }
}
