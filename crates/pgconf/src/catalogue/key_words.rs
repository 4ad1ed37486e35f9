//! Settings whose value is a list of certain words.

use pg_version::PgVersion;

use super::{
    hooks::as_detail_of,
    lists::{ListKind, split_list},
};

/// Whether a setting's list has no other words than it may have; the error is the detail of what the
/// server says. A setting that is no such list may have any value.
pub(super) fn check(version: PgVersion, name: &str, value: &[u8]) -> Result<(), String> {
    let Some(words) = words(version, name) else { return Ok(()) };
    let kind = ListKind::of(name).unwrap_or(ListKind::Identifiers);
    // Some call them options, and what they say of them was reworded since.
    let are_options = matches!(name, "debug_io_direct" | "log_connections");
    let list = split_list(version, kind, value).map_err(|_| {
        if are_options {
            let detail = format!("Invalid list syntax in parameter \"{name}\".");
            as_detail_of(version, detail)
        } else {
            "List syntax is invalid.".to_owned()
        }
    })?;
    if name == "log_connections"
        && let [first, others @ ..] = &list[..]
        && is_among(first, &["on", "off", "true", "false", "yes", "no", "1", "0"])
    {
        // What it took until 17, when it was a Boolean.
        return match others {
            [] => Ok(()),
            _ => Err(format!(
                "Cannot specify log_connections option \"{}\" in a list with other options.",
                String::from_utf8_lossy(first)
            )),
        };
    }
    let Some(other) = list.iter().find(|element| !is_among(element, words)) else { return Ok(()) };
    let other = String::from_utf8_lossy(other);
    Err(if are_options {
        as_detail_of(version, format!("Invalid option \"{other}\"."))
    } else {
        format!("Unrecognized key word: \"{other}\".")
    })
}

fn is_among(element: &[u8], words: &[&str]) -> bool {
    words.iter().any(|word| word.as_bytes().eq_ignore_ascii_case(element))
}

/// The words that may stand in a setting's list.
fn words(version: PgVersion, name: &str) -> Option<&'static [&'static str]> {
    Some(match name {
        "createrole_self_grant" => &["set", "inherit"],
        "debug_io_direct" => &["data", "wal", "wal_init"],
        "log_connections" => {
            &["receipt", "authentication", "authorization", "setup_durations", "all"]
        }
        "log_destination" if version < PgVersion::V15 => &["stderr", "csvlog", "syslog"],
        "log_destination" => &["stderr", "csvlog", "jsonlog", "syslog"],
        "restrict_nonsystem_relation_kind" => &["view", "foreign-table"],
        "wal_consistency_checking" => &[
            "all", "brin", "btree", "generic", "gin", "gist", "hash", "heap", "heap2", "sequence",
            "spgist",
        ],
        _ => return None,
    })
}
