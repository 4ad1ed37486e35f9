//! Values against what `SET` (for settings that a session can change) and `ALTER SYSTEM` (for the
//! others) say.

use std::error::Error;

use pgconf::{Context, Setting};
use pgtest::{Error as PgError, Server, Session, SqlError};

use super::{
    generate::{self, pick},
    only_a_server_knows, random,
};
use crate::differential::{Options, Outcome};

pub(in crate::differential) fn compare(options: &Options) -> Result<Outcome, String> {
    run(options).map_err(|error| error.to_string())
}

fn run(options: &Options) -> Result<Outcome, Box<dyn Error>> {
    let mut tally = Outcome::default();
    let mut servers = Vec::new();
    for installation in &pgtest::find_each_major()? {
        let server =
            Server::builder(installation).initdb_args(["--encoding=UTF8", "--locale=C"]).start()?;
        let session = server.session()?;
        servers.push((generate::settings(&server)?, session, server));
    }
    for case in 0..options.cases {
        let turn = case % servers.len().max(1);
        let Some((settings, session, server)) = servers.get_mut(turn) else { break };
        let mut random = random(options, case);
        let setting = *pick(&mut random, settings);
        let value = generate::value(&mut random, Some(&setting));
        if only_a_server_knows(setting.name()) || value.contains(['\n', '\0']) {
            tally.explain("values that only a running server can judge");
            continue;
        }
        let (expected, got) = match setting.context() {
            Context::Superuser | Context::User => {
                let expected = match in_session(session, &setting, &value) {
                    Err(PgError::Io { .. }) => {
                        tally.explain(TIMEOUTS);
                        *session = server.session()?;
                        continue;
                    }
                    answer => answer?,
                };
                (expected, ours(&setting, &value, true))
            }
            Context::Internal => continue,
            _ if is_unfit_for_alter_system(setting.name()) => continue,
            _ => (in_system(session, &setting, &value)?, ours(&setting, &value, false)),
        };
        if expected.starts_with("canceling statement due to") {
            tally.explain(TIMEOUTS);
            continue;
        }
        tally.compared += 1;
        if expected != got {
            tally.disagreements.push(format!(
                "case {case} of seed {}, major {}: {} = {value:?}\n  expected {expected}\n  got      {got}",
                options.seed,
                server.version(),
                setting.name(),
            ));
        }
    }
    Ok(tally)
}

/// Why an answer may be missing: the setting that is tried ends the statement or the session.
const TIMEOUTS: &str = "timeouts so short that they end the asking";

/// Settings that `ALTER SYSTEM` refuses whatever the value.
fn is_unfit_for_alter_system(name: &str) -> bool {
    matches!(name, "data_directory" | "allow_alter_system" | "hba_file" | "ident_file")
}

fn ours(setting: &Setting, value: &str, shown: bool) -> String {
    if matches!(
        setting.name(),
        "transaction_isolation" | "transaction_read_only" | "transaction_deferrable"
    ) {
        return "left out".to_owned();
    }
    match setting.check(value) {
        Ok(_) if !shown => "ok".to_owned(),
        Ok(_) if setting.is_shown_by_socket() => "ok 0 0".to_owned(),
        Ok(checked) => {
            format!("ok {} {}", checked.canonical().escape_ascii(), checked.show().escape_ascii())
        }
        Err(invalid) => {
            format!("{} ({:?}, {:?})", invalid.message(), invalid.detail(), invalid.hint())
        }
    }
}

fn in_session(session: &mut Session, setting: &Setting, value: &str) -> Result<String, PgError> {
    let name = setting.name();
    if matches!(name, "transaction_isolation" | "transaction_read_only" | "transaction_deferrable")
    {
        return Ok("left out".to_owned());
    }
    let answer = session.query_all(&format!(
        "BEGIN; SELECT encode(convert_to(set_config('{name}', {}, true), 'UTF8'), 'hex'), \
         '{name}'; SELECT encode(convert_to(setting, 'UTF8'), 'hex') FROM pg_settings WHERE \
         name = '{name}'; ROLLBACK",
        literal(value)
    ));
    match answer {
        Ok(results) => {
            let hex = |index: usize| {
                let text = results.get(index).and_then(|rows| rows.value())?;
                let bytes: Vec<u8> = text
                    .as_bytes()
                    .chunks(2)
                    .filter_map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok())
                    .collect();
                Some(bytes.escape_ascii().to_string())
            };
            let shown = hex(1).unwrap_or_default();
            // Hidden settings have no row.
            let canonical = hex(2).unwrap_or_else(|| shown.clone());
            Ok(format!("ok {canonical} {shown}"))
        }
        Err(PgError::Sql(error)) => {
            session.query("ROLLBACK")?;
            Ok(refused(&error))
        }
        Err(error) => Err(error),
    }
}

fn in_system(session: &mut Session, setting: &Setting, value: &str) -> Result<String, PgError> {
    let name = setting.name();
    match session.query(&format!("ALTER SYSTEM SET \"{name}\" = {}", literal(value))) {
        Ok(_) => {
            session.query(&format!("ALTER SYSTEM RESET \"{name}\""))?;
            Ok("ok".to_owned())
        }
        Err(PgError::Sql(error)) => Ok(refused(&error)),
        Err(error) => Err(error),
    }
}

fn refused(error: &SqlError) -> String {
    format!("{} ({:?}, {:?})", error.message, error.detail.as_deref(), error.hint.as_deref())
}

fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
