//! The sets `hba`, `ident`, `hba-decisions` and `ident-decisions`: recorded views, reloads and
//! logins, next to what `hba-parser` says.

use std::{fmt::Write as _, net::IpAddr};

use hba_parser::{
    Build, Connection, Encryption, HbaDocument, IdentDocument, LogEntry, Mappings, MemoryFiles,
    PgVersion, RoleGraph, Rules, Server, StaticNetwork, Text, Verdict,
};
use recorded::Comparison;
use serde_json::Value;

/// Where the recorded files lie: `@@DIR@@` in the record.
const FOLDER: &str = "/folder-of-the-case";

/// The server that a key such as `16` or `17d` stands for.
fn server(key: &str) -> Result<Server, String> {
    let (major, distribution) = match key.strip_suffix('d') {
        Some(major) => (major, true),
        None => (key, key == "15"),
    };
    let version = major.parse::<PgVersion>().map_err(|error| error.to_string())?;
    let build = if distribution { Build::DISTRIBUTION } else { Build::MINIMAL };
    let mut server = Server::new(version).with_build(build);
    // The recorded servers had no DNS.
    server.radius_names_resolve = false;
    Ok(server)
}

fn keys(verdict: &Value) -> Result<Vec<String>, String> {
    let keys = verdict["v"].as_array().ok_or("a verdict without v")?;
    Ok(keys.iter().map(|key| key.as_str().map_or_else(|| key.to_string(), Into::into)).collect())
}

/// Text as recorded: a string, or bytes in `hex` or `b64`.
fn bytes(value: &Value) -> Result<Vec<u8>, String> {
    if let Some(text) = value.as_str() {
        return Ok(text.replace("@@DIR@@", FOLDER).into_bytes());
    }
    if let Some(hex) = value["hex"].as_str() {
        return unhex(hex);
    }
    if let Some(base64) = value["b64"].as_str() {
        return unbase64(base64);
    }
    match value["text"].as_str() {
        Some(text) => Ok(text.replace("@@DIR@@", FOLDER).into_bytes()),
        None => Err(format!("no content: {value}")),
    }
}

fn unhex(hex: &str) -> Result<Vec<u8>, String> {
    let pairs = hex.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    pairs.map(|pair| byte(pair).ok_or_else(|| format!("no hex: {hex}"))).collect()
}

fn unbase64(text: &str) -> Result<Vec<u8>, String> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut out, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for byte in text.bytes().filter(|byte| *byte != b'=') {
        let value = ALPHABET.iter().position(|known| *known == byte);
        let value = value.and_then(|value| u32::try_from(value).ok());
        bits = bits << 6 | value.ok_or_else(|| format!("no base64: {text}"))?;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from(bits >> count & 0xff).unwrap_or_default());
        }
    }
    Ok(out)
}

/// The files of a case, and the bytes of the main one.
fn files(case: &Value, main: &str) -> Result<(MemoryFiles, Vec<u8>), String> {
    let mut files = MemoryFiles::default();
    let mut content = None;
    for (name, value) in case["files"].as_object().ok_or("a case without files")? {
        let path = format!("{FOLDER}/{name}");
        if let Some(folder) = path.strip_suffix('/') {
            files.insert_dir(folder);
            continue;
        }
        let bytes = bytes(value)?;
        if name == main {
            content = Some(bytes.clone());
        }
        files.insert(path, bytes);
    }
    Ok((files, content.ok_or_else(|| format!("a case without {main}"))?))
}

/// Bytes as the record has them.
fn text(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.replace(FOLDER, "@@DIR@@").into(),
        Err(_) => {
            let mut hex = String::new();
            for byte in bytes {
                let _ = write!(hex, "{byte:02x}");
            }
            serde_json::json!({ "hex": hex })
        }
    }
}

fn list<'a>(texts: impl Iterator<Item = &'a [u8]>) -> Value {
    texts.map(text).collect()
}

/// A view's rows as we would show them.
fn hba_rows(rules: &Rules) -> Vec<Value> {
    let new = rules.server().version >= PgVersion::V16;
    let rows = rules.rows().map(|row| {
        let rule = row.rule;
        let shown = |value: Option<Text>| value.map_or(Value::Null, |value| text(value.as_bytes()));
        let options = rule.map(|rule| rule.shown_options()).filter(|options| !options.is_empty());
        let mut out = serde_json::json!({
            "line_number": row.line_number,
            "type": rule.map(|rule| rule.connection().as_str()),
            "database": rule.map(|rule| list(rule.databases().map(|name| name.text()))),
            "user_name": rule.map(|rule| list(rule.users().map(|name| name.text()))),
            "address": shown(rule.and_then(|rule| rule.shown_address())),
            "netmask": shown(rule.and_then(|rule| rule.shown_netmask())),
            "auth_method": rule.map(|rule| rule.method().as_str()),
            "options": options.map(|options| list(options.iter().map(Text::as_bytes))),
            "error": row.error.map_or(Value::Null, |error| text(error.as_bytes())),
            "verdict": match (rule, row.error) {
                (None, _) => "error",
                (Some(_), Some(_)) => "warn",
                (Some(_), None) => "ok",
            },
        });
        if new {
            out["rule_number"] = row.rule_number.into();
            out["file_name"] = text(rules.path(row.file).as_bytes());
        }
        out
    });
    rows.collect()
}

fn ident_rows(maps: &Mappings) -> Vec<Value> {
    let new = maps.server().version >= PgVersion::V16;
    let rows = maps.rows().map(|row| {
        let mapping = row.mapping;
        let mut out = serde_json::json!({
            "line_number": row.line_number,
            "map_name": mapping.map(|mapping| text(mapping.map())),
            "sys_name": mapping.map(|mapping| text(mapping.system_user())),
            "pg_username": mapping.map(|mapping| text(mapping.database_user())),
            "error": row.error.map_or(Value::Null, |error| text(error.as_bytes())),
            "verdict": if mapping.is_some() { "ok" } else { "error" },
        });
        if new {
            out["map_number"] = row.map_number.into();
            let file = usize::try_from(row.file.0).unwrap_or_default();
            out["file_name"] = text(maps.files()[file].as_bytes());
        }
        out
    });
    rows.collect()
}

fn log_lines(log: &[LogEntry]) -> Vec<Value> {
    let mut lines = Vec::new();
    for entry in log {
        let mut line = |kind: &str, bytes: &[u8]| {
            // The record has the log as text, with escapes for what is not UTF-8.
            let mut message = format!("{kind}:  ");
            for chunk in bytes.utf8_chunks() {
                message.push_str(chunk.valid());
                for byte in chunk.invalid() {
                    let _ = write!(message, "\\x{byte:02x}");
                }
            }
            lines.push(text(message.as_bytes()));
        };
        line("LOG", entry.message.as_bytes());
        if let Some(hint) = entry.hint {
            line("HINT", hint.as_bytes());
        }
        if let Some(context) = &entry.context {
            line("CONTEXT", context.as_bytes());
        }
    }
    lines
}

/// What we make of a file: the verdict, the view's rows, the log.
type Read = fn(&[u8], &str, &Server, &MemoryFiles) -> (Verdict, Vec<Value>, Vec<LogEntry>);

fn compare(case: &Value, main: &str, read: Read) -> Result<Vec<Comparison>, String> {
    let (files, content) = files(case, main)?;
    let path = format!("{FOLDER}/{main}");
    let mut comparisons = Vec::new();
    let none = Vec::new();
    for view in case["view"].as_array().unwrap_or(&none) {
        for key in keys(view)? {
            let (verdict, rows, _) = read(&content, &path, &server(&key)?, &files);
            let got = match (&verdict, view["rows"].as_array()) {
                (Verdict::ServerDown(_), None) => "no rows: the server cannot read it".to_owned(),
                (Verdict::ServerDown(crash), _) => format!("no rows: {crash}"),
                _ => Value::from(rows).to_string(),
            };
            let expected = match view["rows"].as_array() {
                Some(rows) => Value::from(rows.clone()).to_string(),
                None => "no rows: the server cannot read it".to_owned(),
            };
            comparisons.push(Comparison { major: format!("{key} view"), expected, got });
        }
    }
    for reload in case["reload"].as_array().unwrap_or(&none) {
        for key in keys(reload)? {
            let (verdict, _, log) = read(&content, &path, &server(&key)?, &files);
            let expected = format!("accepted {}, log {}", reload["accepted"], reload["log"]);
            let lines = Value::from(log_lines(&log));
            let got = format!("accepted {}, log {lines}", verdict.is_loaded());
            comparisons.push(Comparison { major: format!("{key} reload"), expected, got });
        }
    }
    Ok(comparisons)
}

/// `hba`: rows of `pg_hba_file_rules`, acceptance at reload and the log.
pub(crate) fn hba(case: &Value) -> Result<Vec<Comparison>, String> {
    compare(case, "pg_hba.conf", |content, path, server, files| {
        let rules = HbaDocument::parse(content).interpret_at(path.as_bytes(), server, files);
        (rules.verdict().clone(), hba_rows(&rules), rules.reload_log())
    })
}

/// `ident`: the same for `pg_ident_file_mappings`.
pub(crate) fn ident(case: &Value) -> Result<Vec<Comparison>, String> {
    compare(case, "pg_ident.conf", |content, path, server, files| {
        let maps = IdentDocument::parse(content).interpret_at(path.as_bytes(), server, files);
        (maps.verdict().clone(), ident_rows(&maps), maps.reload_log())
    })
}

/// The roles that the recorded servers had.
fn roles(more: &[&str]) -> RoleGraph {
    let mut roles = RoleGraph::default();
    let logins = ["alice", "bob", "carol", "dave", "eve", "Alice", "all", "+grp1", "repl"];
    logins.iter().chain(more).for_each(|role| roles.create(role));
    for (role, member) in
        [("grp1", "alice"), ("grp1", "grp2"), ("grp1", "carol"), ("grp2", "bob"), ("grp2", "all")]
    {
        roles.grant(role, member);
    }
    roles
}

/// The loopback interface.
fn network() -> StaticNetwork {
    let mut network = StaticNetwork::default();
    let interfaces = [([127, 0, 0, 1], [255, 0, 0, 0])];
    network.interfaces =
        interfaces.into_iter().map(|(address, mask)| (address.into(), mask.into())).collect();
    let v6 = |bits: u128| IpAddr::V6(bits.into());
    network.interfaces.push((v6(1), v6(u128::MAX)));
    network
}

/// `hba-decisions`: the line that a real connection matched.
pub(crate) fn hba_decisions(case: &Value) -> Result<Vec<Comparison>, String> {
    let content = bytes(&case["hba"])?;
    let (roles, network) = (roles(&[]), network());
    let mut comparisons = Vec::new();
    for result in case["results"].as_array().ok_or("a case without results")? {
        for key in keys(result)? {
            let rules = HbaDocument::parse(content.clone()).interpret(&server(&key)?);
            let got = if rules.verdict().is_loaded() {
                let compiled =
                    HbaDocument::parse(content.clone()).interpret(&server(&key)?).compile();
                let mut matched = Vec::new();
                for conn in case["conns"].as_array().ok_or("a case without conns")? {
                    let decided = decided(&rules, conn, &roles, &network)?;
                    let (database, user) = names(conn)?;
                    let asked = connection(conn, &database, &user)?;
                    let line = compiled.decide(&asked, &roles, &network).map(|rule| rule.line());
                    let slow = rules.decide(&asked, &roles, &network).rule.map(|rule| rule.line());
                    if line != slow {
                        return Err(format!("compiled {line:?}, one by one {slow:?}: {conn}"));
                    }
                    matched.push(decided);
                }
                Value::from(matched).to_string()
            } else {
                "\"file refused\"".to_owned()
            };
            let expected = result["matched"].to_string();
            comparisons.push(Comparison { major: key, expected, got });
        }
    }
    Ok(comparisons)
}

fn names(conn: &Value) -> Result<(Vec<u8>, Vec<u8>), String> {
    Ok((bytes(&conn["db"])?, bytes(&conn["user"])?))
}

fn connection<'a>(
    conn: &Value,
    database: &'a [u8],
    user: &'a [u8],
) -> Result<Connection<'a>, String> {
    let connection = match conn["via"].as_str().ok_or("a connection without via")? {
        "unix" => Connection::local(database, user),
        address => {
            let address: IpAddr = address.parse().map_err(|_| format!("no address: {address}"))?;
            let tls = conn["ssl"].as_bool() == Some(true);
            let encryption = if tls { Encryption::Tls } else { Encryption::None };
            Connection::tcp(address, encryption, database, user)
        }
    };
    let physical = conn["replication"].as_str() == Some("true");
    Ok(if physical { connection.physical_replication() } else { connection })
}

/// What a real login showed: the line of the rule, that it rejects, or that there is none.
fn decided(
    rules: &Rules,
    conn: &Value,
    roles: &RoleGraph,
    network: &StaticNetwork,
) -> Result<Value, String> {
    let (database, user) = names(conn)?;
    let decision = rules.decide(&connection(conn, &database, &user)?, roles, network);
    Ok(match decision.rule {
        None => "none".into(),
        Some(rule) if rule.method() == hba_parser::Method::Reject => "reject".into(),
        Some(rule) => rule.line().into(),
    })
}

/// `ident-decisions`: may the system user root log in as each of these roles?
pub(crate) fn ident_decisions(case: &Value) -> Result<Vec<Comparison>, String> {
    let content = bytes(&case["ident"])?;
    let roles = roles(&["root", "oot", "prootx"]);
    let mut comparisons = Vec::new();
    for result in case["results"].as_array().ok_or("a case without results")? {
        for key in keys(result)? {
            let maps = IdentDocument::parse(content.clone()).interpret(&server(&key)?);
            let got = if maps.verdict().is_loaded() {
                let mut answers = Vec::new();
                for user in case["users"].as_array().ok_or("a case without users")? {
                    let user = bytes(user)?;
                    let allowed = maps.check(Some(b"m"), b"root", &user, &roles).is_allowed();
                    answers.push(Value::from(if allowed { "yes" } else { "no" }));
                }
                Value::from(answers).to_string()
            } else {
                "\"file refused\"".to_owned()
            };
            comparisons.push(Comparison { major: key, expected: result["r"].to_string(), got });
        }
    }
    Ok(comparisons)
}
