//! The rows of the servers' views of both files, as they show them and as we would.

use std::fmt::Write as _;

use hba_parser::{Mappings, PgVersion, Rules, Text};

/// A column's text as hexadecimal digits: it may be in any encoding.
fn hex_of(column: &str) -> String {
    format!("encode(textsend({column}), 'hex')")
}

fn select(columns: &[String], view: &str) -> String {
    let columns: Vec<_> = columns.iter().map(|column| format!("coalesce({column}, '-')")).collect();
    format!("SELECT concat_ws(' ', {}) FROM {view}", columns.join(", "))
}

/// A column that 16 and newer have.
fn since_16(version: PgVersion, column: String) -> String {
    if version >= PgVersion::V16 { column } else { "NULL::text".to_owned() }
}

/// Asks for the rows of `pg_hba_file_rules`, one a line.
pub(super) fn hba_query(version: PgVersion) -> String {
    let list = |column: &str| {
        let each = hex_of("item");
        format!(
            "CASE WHEN {column} IS NULL THEN NULL ELSE (SELECT string_agg({each}, ',' ORDER BY \
             place) FROM unnest({column}) WITH ORDINALITY AS list(item, place)) END"
        )
    };
    let columns = [
        "line_number::text".to_owned(),
        since_16(version, "rule_number::text".into()),
        since_16(version, hex_of("file_name")),
        "type".to_owned(),
        list("database"),
        list("user_name"),
        hex_of("address"),
        hex_of("netmask"),
        "auth_method".to_owned(),
        list("options"),
        hex_of("error"),
    ];
    select(&columns, "pg_hba_file_rules")
}

/// Asks for the rows of `pg_ident_file_mappings` (15 and newer), one a line.
pub(super) fn ident_query(version: PgVersion) -> String {
    let columns = [
        "line_number::text".to_owned(),
        since_16(version, "map_number::text".into()),
        since_16(version, hex_of("file_name")),
        hex_of("map_name"),
        hex_of("sys_name"),
        hex_of("pg_username"),
        hex_of("error"),
    ];
    select(&columns, "pg_ident_file_mappings")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

fn text(text: Option<&[u8]>) -> String {
    text.map_or_else(|| "-".to_owned(), hex)
}

fn number(number: Option<u32>, new: bool) -> String {
    number.filter(|_| new).map_or_else(|| "-".to_owned(), |number| number.to_string())
}

/// What we would answer to [`hba_query`].
pub(super) fn hba_rows(rules: &Rules) -> String {
    let new = rules.server().version >= PgVersion::V16;
    let list = |items: Option<Vec<String>>| items.map_or_else(|| "-".to_owned(), |i| i.join(","));
    let rows = rules.rows().map(|row| {
        let rule = row.rule;
        let address = rule.and_then(|rule| rule.shown_address());
        let netmask = rule.and_then(|rule| rule.shown_netmask());
        let options = rule.map(|rule| rule.shown_options()).filter(|options| !options.is_empty());
        [
            row.line_number.to_string(),
            number(row.rule_number, new),
            text(new.then(|| rules.path(row.file).as_bytes())),
            rule.map_or("-", |rule| rule.connection().as_str()).to_owned(),
            list(rule.map(|rule| rule.databases().map(|name| hex(name.text())).collect())),
            list(rule.map(|rule| rule.users().map(|name| hex(name.text())).collect())),
            text(address.as_ref().map(Text::as_bytes)),
            text(netmask.as_ref().map(Text::as_bytes)),
            rule.map_or("-", |rule| rule.method().as_str()).to_owned(),
            list(options.map(|o| o.iter().map(|option| hex(option.as_bytes())).collect())),
            text(row.error.map(Text::as_bytes)),
        ]
        .join(" ")
    });
    rows.collect::<Vec<_>>().join("\n")
}

/// What we would answer to [`ident_query`].
pub(super) fn ident_rows(maps: &Mappings) -> String {
    let new = maps.server().version >= PgVersion::V16;
    let rows = maps.rows().map(|row| {
        let path = usize::try_from(row.file.0).ok().and_then(|file| maps.files().get(file));
        [
            row.line_number.to_string(),
            number(row.map_number, new),
            text(path.filter(|_| new).map(Text::as_bytes)),
            text(row.mapping.map(|mapping| mapping.map())),
            text(row.mapping.map(|mapping| mapping.system_user())),
            text(row.mapping.map(|mapping| mapping.database_user())),
            text(row.error.map(Text::as_bytes)),
        ]
        .join(" ")
    });
    rows.collect::<Vec<_>>().join("\n")
}
