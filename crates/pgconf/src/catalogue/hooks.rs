//! What single settings do to their values beyond their type: hidden words of enums, the check and
//! show hooks of `guc.c`, `guc_tables.c` and `variable.c`.
//!
//! Left out is what only a running server can tell: whether a locale, a tablespace, a text search
//! configuration, a role exists; what other settings are.

use pg_version::PgVersion;

use super::{
    check::InvalidValue,
    encoding,
    facts::{Kind, Setting},
    key_words,
    lists::{Cut, ListKind, split_list, split_list_cut, truncate_name},
    number, standbys, time_zone,
};

/// The word that an enum takes but does not show stands for.
pub(super) fn hidden_word(setting: &Setting, text: &[u8]) -> Option<&'static str> {
    let is = |word: &str| word.as_bytes().eq_ignore_ascii_case(text);
    let on_off = || match () {
        () if is("true") || is("yes") || is("1") => Some("on"),
        () if is("false") || is("no") || is("0") => Some("off"),
        () => None,
    };
    match setting.name() {
        "archive_mode"
        | "backslash_quote"
        | "compute_query_id"
        | "constraint_exclusion"
        | "debug_parallel_query"
        | "force_parallel_mode"
        | "huge_pages"
        | "recovery_prefetch"
        | "synchronous_commit"
        | "wal_compression" => on_off(),
        "client_min_messages" | "icu_validation_level" | "trace_recovery_messages" => match () {
            () if is("debug") => Some("debug2"),
            () if is("info") => Some("info"),
            () => None,
        },
        "log_min_messages" | "log_min_error_statement" if is("debug") => Some("debug2"),
        "password_encryption" if setting.version() < PgVersion::V14 => {
            (is("on") || is("true") || is("yes") || is("1")).then_some("md5")
        }
        "wal_level" if is("archive") || is("hot_standby") => Some("replica"),
        _ => None,
    }
}

/// Of two words that mean the same, the one that the server shows.
pub(super) fn first_word(setting: &Setting, word: String) -> String {
    match (setting.name(), &word[..]) {
        ("wal_compression", "on") => "pglz".to_owned(),
        _ => word,
    }
}

/// Whether an enum's word is one that other builds have.
pub(super) fn is_build_dependent(setting: &Setting, text: &[u8]) -> bool {
    let words: &[&str] = match setting.name() {
        "default_toast_compression" => &["lz4"],
        "wal_compression" => &["lz4", "zstd"],
        "io_method" => &["io_uring"],
        "dynamic_shared_memory_type" | "shared_memory_type" => &["windows"],
        "wal_sync_method" => &["fsync_writethrough"],
        "recovery_init_sync_method" => &["syncfs"],
        "file_copy_method" => &["clone"],
        "file_extend_method" => &["posix_fallocate"],
        _ => &[],
    };
    words.iter().any(|word| word.as_bytes().eq_ignore_ascii_case(text))
}

pub(super) fn boolean(setting: &Setting, value: bool) -> Result<(), InvalidValue> {
    match setting.name() {
        "default_with_oids" if value => {
            Err(InvalidValue::new("tables declared WITH OIDS are not supported".to_owned()))
        }
        "bonjour" if value => {
            Err(InvalidValue::new("Bonjour is not supported by this build".to_owned())
                .of_this_build())
        }
        _ => Ok(()),
    }
}

/// What a server allows of the stack of 8 MB that systems give it unless told otherwise, in kB; it
/// keeps 512 kB for itself (`STACK_DEPTH_SLOP`).
const MAX_STACK_DEPTH: i32 = 8192 - 512;

/// What becomes of a number within its bounds.
pub(super) fn integer(setting: &Setting, value: i32) -> Result<i32, InvalidValue> {
    let refused =
        |detail| Err(InvalidValue::refused(setting.name(), &value.to_string(), Some(detail)));
    // Details became sentences with major 18.
    let stop = if setting.version() < PgVersion::V18 { "" } else { "." };
    match setting.name() {
        "autovacuum_work_mem" if value != -1 => {
            Ok(value.max(if setting.version() < PgVersion::V17 { 1024 } else { 64 }))
        }
        "io_max_concurrency" if value == 0 => {
            refused("Only -1 or values bigger than 0 are valid.".to_owned())
        }
        "max_stack_depth" if value > MAX_STACK_DEPTH => {
            let limit = format!("\"max_stack_depth\" must not exceed {MAX_STACK_DEPTH}kB.");
            let refused = InvalidValue::refused("max_stack_depth", &value.to_string(), Some(limit));
            let hint =
                "Increase the platform's stack depth limit via \"ulimit -s\" or local equivalent.";
            Err(refused.with_hint(Some(hint.to_owned())).of_this_build())
        }
        "wal_buffers" if value != -1 => Ok(value.max(4)),
        "vacuum_buffer_usage_limit" if value != 0 && !(128..=16_777_216).contains(&value) => {
            refused(format!(
                "\"{}\" must be 0 or between 128 kB and 16777216 kB{stop}",
                setting.name()
            ))
        }
        "commit_timestamp_buffers"
        | "multixact_member_buffers"
        | "multixact_offset_buffers"
        | "notify_buffers"
        | "serializable_buffers"
        | "subtransaction_buffers"
        | "transaction_buffers"
            if value % 16 != 0 =>
        {
            refused(format!("\"{}\" must be a multiple of 16{stop}", setting.name()))
        }
        _ => Ok(value),
    }
}

/// What the server shows of a number whatever it is.
pub(super) fn shown_real(setting: &Setting) -> Option<&'static str> {
    (setting.name() == "seed").then_some("unavailable")
}

/// A number that the server shows in its own way, without unit.
pub(super) fn shown_integer(setting: &Setting, value: i32) -> Option<String> {
    match setting.name() {
        "data_directory_mode" | "log_file_mode" | "unix_socket_permissions" => {
            Some(format!("{value:04o}"))
        }
        _ => None,
    }
}

/// What becomes of a string.
pub(super) fn string(setting: &Setting, text: &[u8], cut: Cut) -> Result<Vec<u8>, InvalidValue> {
    let mut value = text.to_vec();
    let version = setting.version();
    // Flag GUC_IS_NAME
    if matches!(
        setting.name(),
        "application_name"
            | "client_encoding"
            | "cluster_name"
            | "default_table_access_method"
            | "default_tablespace"
            | "role"
            | "session_authorization"
    ) {
        truncate_name(&mut value, cut);
    }
    let shown = format!("\"{}\"", String::from_utf8_lossy(&value));
    let refused =
        |detail: Option<String>| Err(InvalidValue::refused(setting.name(), &shown, detail));
    match setting.name() {
        "application_name" | "cluster_name" => Ok(clean_ascii(version, &value)),
        "client_encoding" => match encoding::canonical(&value) {
            Some(name) => Ok(name.as_bytes().to_vec()),
            None => refused(None),
        },
        "DateStyle" => date_style(version, &value).or_else(|detail| refused(Some(detail))),
        "search_path" | "temp_tablespaces" => {
            match split_list(version, ListKind::Identifiers, &value) {
                Ok(_) => Ok(value),
                Err(syntax) => refused(Some(syntax.to_string())),
            }
        }
        "log_directory" | "external_pid_file" => Ok(crate::path::tidy(version, value)),
        "synchronous_standby_names" => match standbys::check(&value) {
            Ok(()) => Ok(value),
            Err(standbys::Refusal::Syntax(detail)) => refused(Some(detail)),
            Err(standbys::Refusal::None) => Err(InvalidValue::new(
                "number of synchronous standbys (0) must be greater than zero".to_owned(),
            )),
        },
        "backtrace_functions" => {
            let good = |byte: &u8| {
                byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b',' | b' ' | b'\n' | b'\t')
            };
            if value.iter().all(good) {
                return Ok(value);
            }
            refused(Some(as_detail_of(version, "Invalid character.".to_owned())))
        }
        "default_table_access_method" if value.is_empty() => {
            let name = quoted_since_17(setting);
            refused(Some(format!("{name} cannot be empty.")))
        }
        "primary_slot_name" if !value.is_empty() => {
            slot_name(setting, &value, &value)?;
            Ok(value)
        }
        "synchronized_standby_slots" => {
            match split_list_cut(version, ListKind::Identifiers, &value, cut) {
                Ok(slots) => {
                    slots.iter().try_for_each(|slot| slot_name(setting, &value, slot))?;
                    Ok(value)
                }
                Err(syntax) => refused(Some(syntax.to_string())),
            }
        }
        "recovery_target" if !value.is_empty() && value != b"immediate" => {
            refused(Some("The only allowed value is \"immediate\".".to_owned()))
        }
        "recovery_target_name" if value.len() >= 64 => {
            let name = quoted_since_17(setting);
            refused(Some(format!("{name} is too long (maximum 63 characters).")))
        }
        "recovery_target_lsn" if !value.is_empty() && !is_lsn(&value) => refused(None),
        "recovery_target_xid" if number::strtoul_overflows(&value) => refused(None),
        "recovery_target_timeline"
            if !matches!(&value[..], b"latest" | b"current")
                && number::strtoul_overflows(&value) =>
        {
            let name = quoted_since_17(setting);
            refused(Some(format!("{name} is not a valid number.")))
        }
        "TimeZone" | "log_timezone" => zone(setting, value),
        "timezone_abbreviations" if !time_zone::has_abbreviations(&value) => {
            if value.is_empty() {
                let message = "could not read time zone file \"\": Is a directory";
                return Err(InvalidValue::new(message.to_owned()));
            }
            // There is no such file, or not among those that PostgreSQL comes with.
            let may_be = value.iter().all(u8::is_ascii_alphabetic);
            let refused = InvalidValue::refused(setting.name(), &shown, None);
            Err(if may_be { refused.of_this_build() } else { refused })
        }
        name => match key_words::check(version, name, &value) {
            Ok(()) => Ok(value),
            Err(detail) => {
                // Libraries may bring resource managers of their own since 15.
                let may_be_loaded = name == "wal_consistency_checking"
                    && version >= PgVersion::V15
                    && detail.starts_with("Unrecognized");
                let refused = InvalidValue::refused(name, &shown, Some(detail));
                Err(if may_be_loaded { refused.of_this_build() } else { refused })
            }
        },
    }
}

/// A detail as the version spells it: it begins with a capital since 17 and ends with a full stop
/// since 18.
pub(super) fn as_detail_of(version: PgVersion, detail: String) -> String {
    let mut detail = detail;
    if version < PgVersion::V18 {
        detail.truncate(detail.trim_end_matches('.').len());
    }
    if version < PgVersion::V17
        && let Some(first) = detail.get_mut(..1)
    {
        first.make_ascii_lowercase();
    }
    detail
}

/// A setting's name in a message, in quotes since 17.
fn quoted_since_17(setting: &Setting) -> String {
    let name = setting.name();
    if setting.version() < PgVersion::V17 { name.to_owned() } else { format!("\"{name}\"") }
}

/// What the server makes of a time zone.
fn zone(setting: &Setting, value: Vec<u8>) -> Result<Vec<u8>, InvalidValue> {
    let shown = String::from_utf8_lossy(&value);
    let refused = |detail: Option<&str>| {
        let value = format!("\"{shown}\"");
        InvalidValue::refused(setting.name(), &value, detail.map(str::to_owned))
    };
    time_zone::canonical(&value, setting.name() == "TimeZone").map_err(|refusal| match refusal {
        time_zone::Refusal::Interval => refused(None),
        time_zone::Refusal::OutOfRange => refused(Some("UTC timezone offset is out of range.")),
        time_zone::Refusal::Seconds => {
            InvalidValue::new(format!("time zone \"{shown}\" appears to use leap seconds"))
                .with_detail("PostgreSQL does not support leap seconds.")
        }
        // Another time zone database may have it, if it is a name.
        time_zone::Refusal::Unknown if time_zone::may_be_name(&value) => {
            refused(None).of_this_build()
        }
        time_zone::Refusal::Unknown => refused(None),
    })
}

/// `pg_clean_ascii`: what is not printable ASCII becomes `?`, from 16 on its number.
fn clean_ascii(version: PgVersion, value: &[u8]) -> Vec<u8> {
    let mut clean = Vec::with_capacity(value.len());
    for byte in value {
        match byte {
            b' '..=b'~' => clean.push(*byte),
            _ if version < PgVersion::V16 => clean.push(b'?'),
            _ => clean.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
        }
    }
    clean
}

/// `check_datestyle`: a style and an order of day, month and year in any order. What is not said
/// stays as it was; the built-in default stands for that here.
fn date_style(version: PgVersion, value: &[u8]) -> Result<Vec<u8>, String> {
    let words = split_list(version, ListKind::Identifiers, value).map_err(|e| e.to_string())?;
    let (mut style, mut order) = (Part::new("ISO"), Part::new("MDY"));
    for word in &words {
        let is = |other: &str| word.eq_ignore_ascii_case(other.as_bytes());
        let begins = |other: &str| {
            word.get(..other.len()).is_some_and(|w| w.eq_ignore_ascii_case(other.as_bytes()))
        };
        match () {
            () if is("iso") => style.ask_for("ISO"),
            () if is("sql") => style.ask_for("SQL"),
            () if begins("postgres") => style.ask_for("Postgres"),
            () if is("german") => {
                style.ask_for("German");
                order.suppose("DMY");
            }
            () if is("ymd") => order.ask_for("YMD"),
            () if is("dmy") || begins("euro") => order.ask_for("DMY"),
            () if is("mdy") || is("us") || begins("noneuro") => order.ask_for("MDY"),
            () if is("default") => {
                style.suppose("ISO");
                order.suppose("MDY");
            }
            () => {
                let word = String::from_utf8_lossy(word);
                return Err(format!("Unrecognized key word: \"{word}\"."));
            }
        }
    }
    if style.conflict || order.conflict {
        let name = if version < PgVersion::V18 { "datestyle" } else { "DateStyle" };
        return Err(format!("Conflicting \"{name}\" specifications."));
    }
    Ok(format!("{}, {}", style.value, order.value).into_bytes())
}

/// One of the two things that a date style says.
struct Part {
    value: &'static str,
    asked_for: bool,
    conflict: bool,
}

impl Part {
    const fn new(value: &'static str) -> Self {
        Self { value, asked_for: false, conflict: false }
    }

    fn ask_for(&mut self, value: &'static str) {
        self.conflict |= self.asked_for && self.value != value;
        self.value = value;
        self.asked_for = true;
    }

    /// Where nothing has been asked for so far.
    fn suppose(&mut self, value: &'static str) {
        if !self.asked_for {
            self.value = value;
        }
    }
}

/// `ReplicationSlotValidateName`, for a slot in `value`.
fn slot_name(setting: &Setting, value: &[u8], slot: &[u8]) -> Result<(), InvalidValue> {
    let good = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_';
    let (wrong, hint) = match () {
        () if slot.is_empty() => ("is too short", None),
        () if slot.len() >= 64 => ("is too long", None),
        () if !slot.iter().all(good) => (
            "contains invalid character",
            Some(
                "Replication slot names may only contain lower case letters, numbers, and the \
                 underscore character.",
            ),
        ),
        () => return Ok(()),
    };
    let detail = format!("replication slot name \"{}\" {wrong}", String::from_utf8_lossy(slot));
    let value = format!("\"{}\"", String::from_utf8_lossy(value));
    // Major 12 says it in a warning of its own.
    let (detail, hint) = match setting.version() {
        PgVersion::V12 => (None, None),
        _ => (Some(detail), hint),
    };
    let refused = InvalidValue::refused(setting.name(), &value, detail);
    Err(refused.with_hint(hint.map(str::to_owned)))
}

/// `pg_lsn_in_internal`: two hexadecimal numbers of up to eight digits.
fn is_lsn(text: &[u8]) -> bool {
    let mut parts = text.split(|byte| *byte == b'/');
    let good =
        |part: &[u8]| (1..=8).contains(&part.len()) && part.iter().all(u8::is_ascii_hexdigit);
    matches!((parts.next(), parts.next(), parts.next()), (Some(a), Some(b), None) if good(a) && good(b))
}

/// Whether the server shows what the socket of the asking connection says, whatever was set: the
/// keepalive settings, which are all `0` over a Unix-domain socket.
pub(super) fn is_shown_by_socket(setting: &Setting) -> bool {
    matches!(setting.kind(), Kind::Integer { .. })
        && matches!(
            setting.name(),
            "tcp_keepalives_count"
                | "tcp_keepalives_idle"
                | "tcp_keepalives_interval"
                | "tcp_user_timeout"
        )
}
