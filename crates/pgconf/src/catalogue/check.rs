//! Values as the server reads them: `parse_and_validate_value` of `guc.c`.

use std::fmt;

use pg_version::PgVersion;

use super::{
    facts::{Kind, Setting},
    hooks,
    lists::Cut,
    number,
    units::Unit,
};

/// A value that the server takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    value: Value,
    canonical: Vec<u8>,
    show: Vec<u8>,
}

/// A value by its type.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Value {
    /// `on` or `off`
    Bool(bool),
    /// A whole number, in the setting's unit.
    Integer(i32),
    /// A number, in the setting's unit.
    Real(f64),
    /// One of the setting's words, as the server spells it.
    Enum(String),
    /// Bytes, after what the setting's check makes of them.
    String(
        #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialise::bytes"))] Vec<u8>,
    ),
}

impl Checked {
    /// The value by its type.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The value in the form of the column `setting` of `pg_settings`: a number in the setting's
    /// unit, `on` or `off`.
    #[must_use]
    pub fn canonical(&self) -> &[u8] {
        &self.canonical
    }

    /// The value as `SHOW` prints it: a number with the largest unit that fits.
    #[must_use]
    pub fn show(&self) -> &[u8] {
        &self.show
    }
}

/// Why the server refuses a value, in its words. Displays the message without detail and hint.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct InvalidValue {
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    build_dependent: bool,
}

impl InvalidValue {
    pub(super) fn new(message: String) -> Self {
        Self { message, detail: None, hint: None, build_dependent: false }
    }

    /// What the server says of a value that a setting's own check refuses; `value` is spelled as the
    /// type does.
    pub(super) fn refused(name: &str, value: &str, detail: Option<String>) -> Self {
        let message = format!("invalid value for parameter \"{name}\": {value}");
        Self { detail, ..Self::new(message) }
    }

    pub(super) fn with_detail(self, detail: &str) -> Self {
        Self { detail: Some(detail.to_owned()), ..self }
    }

    /// A value that other servers may take.
    pub(super) fn of_this_build(self) -> Self {
        Self { build_dependent: true, ..self }
    }

    pub(super) fn with_hint(self, hint: Option<String>) -> Self {
        Self { hint, ..self }
    }

    /// The message: `invalid value for parameter "work_mem": "4mb"`.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The server's DETAIL, if it has one.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    /// The server's HINT, if it has one: the units or the words that it knows.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Whether servers built with another library or for another system, or that have other files,
    /// take the value: `lz4` for `wal_compression`, a time zone of a newer database.
    #[must_use]
    pub fn is_build_dependent(&self) -> bool {
        self.build_dependent
    }
}

impl fmt::Display for InvalidValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for InvalidValue {}

pub(super) fn check(setting: &Setting, text: &[u8], cut: Cut) -> Result<Checked, InvalidValue> {
    match setting.kind() {
        Kind::Bool => check_bool(setting, text),
        Kind::Integer { unit, min, max } => check_integer(setting, text, unit, min, max),
        Kind::Real { unit, min, max } => check_real(setting, text, unit, min, max),
        Kind::Enum(_) => check_enum(setting, text),
        Kind::String => {
            let value = hooks::string(setting, text, cut)?;
            Ok(Checked {
                canonical: value.clone(),
                show: value.clone(),
                value: Value::String(value),
            })
        }
    }
}

/// What the server says of a text that is no value of the type.
fn unreadable(setting: &Setting, text: &[u8]) -> InvalidValue {
    let value = format!("\"{}\"", String::from_utf8_lossy(text));
    InvalidValue::refused(setting.name(), &value, None)
}

fn check_bool(setting: &Setting, text: &[u8]) -> Result<Checked, InvalidValue> {
    let Some(value) = parse_bool(text) else {
        let message = format!("parameter \"{}\" requires a Boolean value", setting.name());
        return Err(InvalidValue::new(message));
    };
    hooks::boolean(setting, value)?;
    let canonical = if value { "on" } else { "off" }.as_bytes().to_vec();
    Ok(Checked { value: Value::Bool(value), show: canonical.clone(), canonical })
}

/// `parse_bool`: any beginning of true, false, yes, no; on, off and of; 1 and 0; in any case.
fn parse_bool(text: &[u8]) -> Option<bool> {
    let begins =
        |word: &[u8]| word.get(..text.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(text));
    match text {
        [] => None,
        [_] if begins(b"1") => Some(true),
        [_] if begins(b"0") => Some(false),
        _ if begins(b"true") || begins(b"yes") => Some(true),
        _ if begins(b"false") || begins(b"no") => Some(false),
        [_, _, ..] if begins(b"on") => Some(true),
        [_, _, ..] if begins(b"off") => Some(false),
        _ => None,
    }
}

fn check_integer(
    setting: &Setting,
    text: &[u8],
    unit: Option<Unit>,
    min: i32,
    max: i32,
) -> Result<Checked, InvalidValue> {
    // A whole number first, for hexadecimal and octal; where that stops at a fraction or an exponent
    // or overflows, a fraction.
    let mut scanned = number::strtol(text);
    if scanned.out_of_range || matches!(text.get(scanned.end), Some(b'.' | b'e' | b'E')) {
        scanned = number::strtod(text);
    }
    let value = in_base_unit(setting, text, &scanned, unit)?.round_ties_even();
    if value > f64::from(i32::MAX) || value < f64::from(i32::MIN) {
        let hint = "Value exceeds integer range.".to_owned();
        return Err(unreadable(setting, text).with_hint(Some(hint)));
    }
    #[expect(clippy::cast_possible_truncation, reason = "whole and in range")]
    let value = value as i32;
    if value < min || value > max {
        let bounds = [min.to_string(), max.to_string()];
        return Err(out_of_bounds(setting, &value.to_string(), unit, &bounds));
    }
    let value = hooks::integer(setting, value)?;
    let canonical = hooks::shown_integer(setting, value);
    let show = canonical.clone().unwrap_or_else(|| match unit {
        Some(unit) if value > 0 => {
            let (shown, unit) = unit.show_integer(value.into());
            format!("{shown}{unit}")
        }
        _ => value.to_string(),
    });
    Ok(Checked {
        value: Value::Integer(value),
        canonical: canonical.unwrap_or_else(|| value.to_string()).into_bytes(),
        show: show.into_bytes(),
    })
}

fn check_real(
    setting: &Setting,
    text: &[u8],
    unit: Option<Unit>,
    min: f64,
    max: f64,
) -> Result<Checked, InvalidValue> {
    let value = in_base_unit(setting, text, &number::strtod(text), unit)?;
    if value < min || value > max {
        let bounds = [number::percent_g(min), number::percent_g(max)];
        return Err(out_of_bounds(setting, &number::percent_g(value), unit, &bounds));
    }
    if let Some(shown) = hooks::shown_real(setting) {
        let shown = shown.as_bytes().to_vec();
        return Ok(Checked { value: Value::Real(value), canonical: shown.clone(), show: shown });
    }
    let show = match unit {
        Some(unit) if value > 0.0 => {
            let (shown, unit) = unit.show_real(value);
            format!("{}{unit}", number::percent_g(shown))
        }
        _ => number::percent_g(value),
    };
    Ok(Checked {
        value: Value::Real(value),
        canonical: number::percent_g(value).into_bytes(),
        show: show.into_bytes(),
    })
}

/// The number that was read, times the unit behind it.
fn in_base_unit(
    setting: &Setting,
    text: &[u8],
    scanned: &number::Scanned,
    unit: Option<Unit>,
) -> Result<f64, InvalidValue> {
    if scanned.end == 0 || scanned.out_of_range || scanned.value.is_nan() {
        return Err(unreadable(setting, text));
    }
    let rest = &text[scanned.end..];
    let rest = &rest[rest.iter().take_while(|byte| number::is_space(**byte)).count()..];
    if rest.is_empty() {
        return Ok(scanned.value);
    }
    let Some(unit) = unit else { return Err(unreadable(setting, text)) };
    unit.to_base(scanned.value, rest)
        .ok_or_else(|| unreadable(setting, text).with_hint(Some(unit.hint().to_owned())))
}

fn out_of_bounds(
    setting: &Setting,
    value: &str,
    unit: Option<Unit>,
    [min, max]: &[String; 2],
) -> InvalidValue {
    let unit = unit.map_or(String::new(), |unit| format!(" {}", unit.as_str()));
    let name = setting.name();
    let of_bounds = if setting.version() >= PgVersion::V17 { &unit[..] } else { "" };
    InvalidValue::new(format!(
        "{value}{unit} is outside the valid range for parameter \"{name}\" \
         ({min}{of_bounds} .. {max}{of_bounds})"
    ))
}

fn check_enum(setting: &Setting, text: &[u8]) -> Result<Checked, InvalidValue> {
    let shown = setting.values().find(|value| value.as_bytes().eq_ignore_ascii_case(text));
    let Some(word) = shown.or_else(|| hooks::hidden_word(setting, text).map(str::to_owned)) else {
        let values: Vec<_> = setting.values().collect();
        let hint =
            (!values.is_empty()).then(|| format!("Available values: {}.", values.join(", ")));
        let invalid = unreadable(setting, text).with_hint(hint);
        let of_build = hooks::is_build_dependent(setting, text);
        return Err(if of_build { invalid.of_this_build() } else { invalid });
    };
    let word = hooks::first_word(setting, word);
    let bytes = word.clone().into_bytes();
    Ok(Checked { value: Value::Enum(word), canonical: bytes.clone(), show: bytes })
}
