//! The sets `pgconf`, files against the rows of `pg_file_settings`, and `pgconf-values`, values
//! against what `SET`, `SHOW` and `pg_settings` said.

use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};
use pg_version::PgVersion;
use pgconf::{Catalogue, Configuration};
use serde_json::Value;
use textfile::{FileError, FileErrorKind, FileKind, Files, MemoryFiles};

use recorded::Comparison;

/// Where the record's `$CONF` and `$DATA` are here.
const CONF: &str = "/conf";
const DATA: &str = "/data";

/// Judges a case of `pgconf`.
///
/// A row of the record whose error is "setting could not be applied" says that the running server
/// refused to take the value: as the wrong one, as one that needs a restart, or as one that only
/// another setting of that server forbids. Of such a row everything is compared but whether it was
/// applied: our row has to be there, not overridden, and without an error of the file.
pub(crate) fn files(case: &Value) -> Result<Vec<Comparison>, String> {
    let files = CaseFiles::new(case.get("files").ok_or("no files")?)?;
    majors(case.get("verdict").ok_or("no verdict")?)?
        .into_iter()
        .map(|(version, verdict)| {
            let main = format!("{CONF}/postgresql.conf");
            let configuration = Configuration::read(&files, main, Some(DATA.as_bytes()), version);
            let rows = configuration.file_settings();
            let expected = verdict.as_array().ok_or("a verdict is no list")?;
            let mut got: Vec<_> = rows
                .iter()
                .map(|row| {
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    [
                        Value::from(symbolic(&text(row.file))),
                        Value::from(row.line),
                        row.name.map_or(Value::Null, bytes_value),
                        row.value.as_deref().map_or(Value::Null, bytes_value),
                        Value::from(row.applied),
                        row.error
                            .as_ref()
                            .map_or(Value::Null, |error| symbolic(&error.to_string()).into()),
                    ]
                })
                .collect();
            let mut wanted = Vec::new();
            for (index, row) in expected.iter().enumerate() {
                let mut row: Vec<Value> = row.as_array().ok_or("a row is no list")?.clone();
                if row.get(5).is_some_and(|error| error == "setting could not be applied") {
                    row.truncate(4);
                    row.push("up to the running server".into());
                    if let Some([.., applied, error]) = got.get_mut(index)
                        && *applied == true
                        && error.is_null()
                    {
                        *applied = "up to the running server".into();
                    }
                }
                wanted.push(row);
            }
            let got: Vec<Vec<Value>> = got
                .into_iter()
                .map(|row| {
                    let unjudged = row[4].is_string();
                    row.into_iter().take(if unjudged { 5 } else { 6 }).collect()
                })
                .collect();
            Ok(Comparison {
                major: version.to_string(),
                expected: Value::from(wanted).to_string(),
                got: Value::from(got).to_string(),
            })
        })
        .collect()
}

/// Judges a case of `pgconf-values`: `["ok", setting, shown]` or `["err", message, hint]`.
pub(crate) fn values(case: &Value) -> Result<Vec<Comparison>, String> {
    let name = case["name"].as_str().ok_or("no name")?;
    let value = bytes(&case["value"])?;
    majors(case)?
        .into_iter()
        .map(|(version, verdict)| {
            let got = judge_value(version, name, &value);
            Ok(Comparison {
                major: version.to_string(),
                expected: verdict.to_string(),
                got: Value::from(got).to_string(),
            })
        })
        .collect()
}

fn judge_value(version: PgVersion, name: &str, value: &[u8]) -> Vec<Value> {
    let Some(setting) = Catalogue::new(version).get(name) else {
        if name.contains('.') {
            return vec!["ok".into(), bytes_value(value), bytes_value(value)];
        }
        let message = format!("unrecognized configuration parameter \"{name}\"");
        return vec!["err".into(), message.into(), Value::Null];
    };
    match setting.check_session().and_then(|()| setting.check(value)) {
        // The record was made over a Unix-domain socket.
        Ok(_) if setting.is_shown_by_socket() => vec!["ok".into(), "0".into(), "0".into()],
        Ok(checked) => {
            vec!["ok".into(), bytes_value(checked.canonical()), bytes_value(checked.show())]
        }
        Err(invalid) => vec![
            "err".into(),
            invalid.message().into(),
            invalid.hint().map_or(Value::Null, Value::from),
        ],
    }
}

/// The verdict for each major: `all`, or `base` with what differs in `diff`.
fn majors(record: &Value) -> Result<Vec<(PgVersion, Value)>, String> {
    let base = record.get("all").or_else(|| record.get("base"));
    let diff = record.get("diff").and_then(Value::as_object);
    let mut verdicts = Vec::new();
    for version in PgVersion::ALL {
        let own = diff.and_then(|diff| diff.get(&version.to_string()));
        verdicts.extend(own.or(base).map(|verdict| (version, verdict.clone())));
    }
    if verdicts.is_empty() { Err("no verdict for any major".to_owned()) } else { Ok(verdicts) }
}

/// Text, or `{"hex": ...}`, or `{"b64": ...}`.
fn bytes(value: &Value) -> Result<Vec<u8>, String> {
    if let Some(text) = value.as_str() {
        return Ok(text.as_bytes().to_vec());
    }
    if let Some(hex) = value.get("hex").and_then(Value::as_str) {
        let pairs = hex.as_bytes().chunks(2).map(|pair| {
            str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok())
        });
        return pairs.collect::<Option<_>>().ok_or_else(|| "not hexadecimal".to_owned());
    }
    if let Some(base64) = value.get("b64").and_then(Value::as_str) {
        return BASE64.decode(base64).map_err(|error| error.to_string());
    }
    if value.get("text").is_some() {
        return bytes(&value["text"]);
    }
    Err(format!("unknown content: {value}"))
}

fn bytes_value(bytes: &[u8]) -> Value {
    match str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            serde_json::json!({ "hex": hex })
        }
    }
}

fn symbolic(text: &str) -> String {
    text.replace(&format!("{CONF}/"), "$CONF/").replace(&format!("{DATA}/"), "$DATA/")
}

/// A case's files. Symbolic links lead to other files of the case; a mode without any read bit but
/// the owner's hides a file from the server, as the record's files belonged to somebody else.
struct CaseFiles {
    files: MemoryFiles,
    links: Vec<(Vec<u8>, Vec<u8>)>,
    hidden: Vec<Vec<u8>>,
}

impl CaseFiles {
    fn new(case: &Value) -> Result<Self, String> {
        let mut files =
            Self { files: MemoryFiles::default(), links: Vec::new(), hidden: Vec::new() };
        for (name, content) in case.as_object().ok_or("files are no object")? {
            let path = match &name[..] {
                "@auto" => format!("{DATA}/postgresql.auto.conf"),
                name => format!("{CONF}/{name}"),
            };
            if let Some(folder) = path.strip_suffix('/') {
                files.files.insert_dir(folder);
                continue;
            }
            if let Some(link) = content.get("symlink").and_then(Value::as_str) {
                let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                let target = if link.starts_with('/') {
                    link.to_owned()
                } else {
                    format!("{folder}/{link}")
                };
                files.links.push((path.into_bytes(), target.into_bytes()));
                continue;
            }
            let readable = |mode: &str| u32::from_str_radix(mode, 8).is_ok_and(|m| m & 0o044 != 0);
            if content.get("mode").and_then(Value::as_str).is_some_and(|mode| !readable(mode)) {
                files.hidden.push(path.clone().into_bytes());
            }
            let mut content = bytes(content)?;
            if let Ok(text) = str::from_utf8(&content) {
                let text = text.replace("$CONF", CONF).replace("$DATA", DATA);
                content = text.into_bytes();
            }
            files.files.insert(path, content);
        }
        Ok(files)
    }

    /// The file that a path leads to, one part after the other, as the system goes: through links,
    /// and back only from folders that are there.
    fn resolve(&self, path: &[u8]) -> Result<Vec<u8>, FileError> {
        // A system gives up after as many links.
        self.resolve_within(path, 40)
    }

    fn resolve_within(&self, path: &[u8], links: usize) -> Result<Vec<u8>, FileError> {
        let mut at = Vec::new();
        for part in path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")) {
            if part == b".." {
                if !self.is_folder(&at) {
                    return Err(FileError::new(FileErrorKind::NotFound));
                }
                at.truncate(parent(&at).len());
                continue;
            }
            at.push(b'/');
            at.extend_from_slice(part);
            if let Some((_, target)) = self.links.iter().find(|(link, _)| *link == at) {
                let links = links.checked_sub(1).ok_or(FileError::new(FileErrorKind::Other))?;
                at = self.resolve_within(target, links)?;
            }
        }
        Ok(at)
    }

    fn is_folder(&self, path: &[u8]) -> bool {
        matches!(path, b"" | b"/conf" | b"/data") || self.list_resolved(path).is_ok()
    }

    fn list_resolved(&self, path: &[u8]) -> Result<Vec<(Vec<u8>, FileKind)>, FileError> {
        match self.files.list(path) {
            // A folder with nothing but links in it.
            Err(_) if self.links.iter().any(|(link, _)| parent(link) == path) => Ok(Vec::new()),
            names => names,
        }
    }
}

impl Files for CaseFiles {
    fn read(&self, path: &[u8]) -> Result<Vec<u8>, FileError> {
        let path = self.resolve(path)?;
        if self.hidden.contains(&path) {
            return Err(FileError::new(FileErrorKind::PermissionDenied));
        }
        if self.is_folder(&path) {
            return Err(FileError::new(FileErrorKind::IsADirectory));
        }
        self.files.read(&path)
    }

    fn list(&self, path: &[u8]) -> Result<Vec<(Vec<u8>, FileKind)>, FileError> {
        let path = self.resolve(path)?;
        let mut names = self.list_resolved(&path)?;
        for (link, _) in self.links.iter().filter(|(link, _)| parent(link) == path) {
            let kind = match self.resolve(link) {
                Ok(target) if self.is_folder(&target) => FileKind::Directory,
                Ok(target) if self.files.read(&target).is_ok() => FileKind::File,
                _ => FileKind::Dangling,
            };
            names.push((link[path.len() + 1..].to_vec(), kind));
        }
        Ok(names)
    }
}

fn parent(path: &[u8]) -> &[u8] {
    &path[..path.iter().rposition(|byte| *byte == b'/').unwrap_or(0)]
}
