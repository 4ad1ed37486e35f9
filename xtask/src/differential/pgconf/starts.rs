//! Files against a server that is to start with them: `postgres -C` reads them, tries every value, and
//! ends. All that is wrong with files and values is in its log; the crate has to find the same, in the
//! same order. Where nothing is, it prints the value that one of the settings has; the crate has to
//! say the same of it.

use pgconf::{Catalogue, Configuration, Problem};
use pgtest::Run;

use super::{
    cases::{Case, judge_each},
    generate::FilesKind,
    only_a_server_knows,
};
use crate::differential::{Options, Outcome};

pub(in crate::differential) fn compare(options: &Options) -> Result<Outcome, String> {
    // Files in which every value is good are rare unless they are made so.
    let kind = |number| if number % 3 == 0 { FilesKind::Any } else { FilesKind::Sound };
    judge_each(options, kind, |mut case, tally| {
        // A main file that cannot be read is the last one.
        let main = findings(&case.reader.configuration_without_auto());
        let configuration = case.reader.configuration();
        let is_read = |it: &Finding| matches!(it, Finding::Unknown(_) | Finding::Value);
        let got = if main.iter().all(is_read) { findings(&configuration) } else { main };
        if configuration.get("data_directory").is_some() {
            tally.explain("files that name another data folder, with another postgresql.auto.conf");
            return Ok(());
        }
        let values = !got.iter().any(|finding| !matches!(finding, Finding::Value));
        if values && !can_be_told(&case, &configuration) {
            tally.explain("files with values that only a running server can judge");
            return Ok(());
        }
        let name = shown_setting(&mut case, &configuration);
        let server = &case.reader.server;
        let output = Run::new(server.installation().program("postgres"))
            .args(["-C", name.as_deref().unwrap_or("block_size"), "-D"])
            .args([server.data_dir()])
            .account(server.account())
            .output()?;
        let log = String::from_utf8_lossy(&output.stderr);
        if [
            "multiple recovery targets specified",
            "Cannot enable parameter when",
            "Cannot enable \"log_",
        ]
        .iter()
        .any(|message| log.contains(message))
        {
            tally.explain("files with settings that forbid each other");
            return Ok(());
        }
        tally.compared += 1;
        if output.status.success() {
            tally.explain("of these, files that a server starts with");
        }
        let expected: Vec<_> = log.lines().filter_map(Finding::in_log).collect();
        if output.status.success() != expected.is_empty() || got != expected {
            let difference = format!("we find {got:?}, the server {expected:?}: {log}");
            tally.disagreements.push(case.shown(&difference));
        } else if output.status.success()
            && let Some(name) = name
        {
            tally.explain("of these, files with a value that was compared");
            let value = configuration.get(&name).unwrap_or_default();
            let setting = Catalogue::new(configuration.version()).get(&name);
            let checked = setting.map(|setting| setting.check_in_file(&value));
            let got = match &checked {
                None => &value[..],
                Some(Ok(checked)) => checked.canonical(),
                // What is noticed later.
                Some(Err(_)) => return Ok(()),
            };
            if output.stdout.strip_suffix(b"\n") != Some(got) {
                let shown = output.stdout.escape_ascii();
                let difference = format!("{name} is {shown}, not {}", got.escape_ascii());
                tally.disagreements.push(case.shown(&difference));
            }
        }
        Ok(())
    })
}

/// One of the settings in the files, whose value the server is to print. Not those that it prints as it
/// keeps them, and not as it shows them: modes, and what depends on time zones; nor those that it sets
/// itself as it starts.
fn shown_setting(case: &mut Case<'_>, configuration: &Configuration) -> Option<String> {
    const KEPT_OTHERWISE: [&str; 14] = [
        "config_file",
        "data_directory",
        "data_directory_mode",
        "hba_file",
        "ident_file",
        "log_file_mode",
        "log_timezone",
        "seed",
        "timezone",
        "timezone_abbreviations",
        "transaction_deferrable",
        "transaction_isolation",
        "transaction_read_only",
        "unix_socket_permissions",
    ];
    let catalogue = Catalogue::new(configuration.version());
    let mut names: Vec<String> = configuration
        .occurrences()
        .filter_map(|place| String::from_utf8(catalogue.current_name(place.name).to_vec()).ok())
        .filter(|name| !KEPT_OTHERWISE.iter().any(|other| other.eq_ignore_ascii_case(name)))
        .filter(|name| catalogue.get(name).is_none_or(|it| case.settings.contains(&it)))
        .collect();
    names.sort_unstable();
    (!names.is_empty()).then(|| names.swap_remove(case.random.below(names.len())))
}

/// Something that keeps a server from starting.
#[derive(Debug, PartialEq)]
enum Finding {
    /// A line that cannot be read: its file, number, and what is wrong in it.
    Syntax(String),
    /// A name that is none of a setting, with its file and line.
    Unknown(String),
    /// A file or folder that cannot be read.
    File,
    /// A value that is refused.
    Value,
}

impl Finding {
    fn in_log(line: &str) -> Option<Self> {
        let (_, message) = line.split_once("LOG:  ")?;
        Some(if let Some(place) = message.strip_prefix("syntax error in file ") {
            Self::Syntax(place.to_owned())
        } else if let Some(name) = message.strip_prefix("unrecognized configuration parameter ") {
            Self::Unknown(name.to_owned())
        } else if message.starts_with("skipping missing configuration file")
            // The hundredth of them has been said.
            || message.starts_with("too many syntax errors found, abandoning file")
        {
            return None;
        } else if message.contains("configuration file")
            || message.contains("configuration directory")
            || message.contains("could not stat file")
            || message.contains("could not open directory")
            || message.contains("input in flex scanner failed")
        {
            Self::File
        } else {
            Self::Value
        })
    }
}

/// What the crate finds.
fn findings(configuration: &Configuration) -> Vec<Finding> {
    // A C string ends at its first NUL.
    let text = |bytes: &[u8]| {
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        String::from_utf8_lossy(&bytes[..end]).into_owned()
    };
    let problems: Vec<_> = configuration
        .problems()
        .map(|problem| {
            let place = format!("\"{}\" line {}", text(problem.file), problem.line);
            match problem.what {
                Problem::Syntax { near: None } => {
                    Finding::Syntax(format!("{place}, near end of line"))
                }
                Problem::Syntax { near: Some(token) } => {
                    Finding::Syntax(format!("{place}, near token \"{}\"", text(&token)))
                }
                Problem::UnknownName { name } => {
                    Finding::Unknown(format!("\"{}\" in file {place}", text(&name)))
                }
                _ => Finding::File,
            }
        })
        .collect();
    // Names are looked at only if all files could be read, values only if all names are known.
    let is_read = problems.iter().all(|problem| matches!(problem, Finding::Unknown(_)));
    if !is_read {
        return problems.into_iter().filter(|it| !matches!(it, Finding::Unknown(_))).collect();
    }
    if !problems.is_empty() {
        return problems;
    }
    // That it cannot listen, a server notices later, and what only a library could have brought.
    let is_later = |invalid: &pgconf::InvalidValue| {
        let message = invalid.message();
        message.starts_with("invalid list syntax in parameter")
            || invalid.is_build_dependent() && message.contains("\"wal_consistency_checking\"")
    };
    let values = configuration.invalid_values();
    values.filter(|value| !is_later(&value.what)).map(|_| Finding::Value).collect()
}

/// Whether no value is up to the server.
fn can_be_told(case: &Case<'_>, configuration: &Configuration) -> bool {
    let catalogue = Catalogue::new(configuration.version());
    let mut settings = configuration.occurrences().filter_map(|place| catalogue.get(place.name));
    settings.all(|setting| case.settings.contains(&setting) && !only_a_server_knows(setting.name()))
}
