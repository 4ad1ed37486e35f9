//! A server reads its configuration again: what is on its disk is checked before, and whether it was
//! taken is looked at afterwards, because `pg_reload_conf()` says yes to anything.

use std::{sync::Arc, time::SystemTime};

use pki::Certificate;
use tokio_postgres::Client;

use super::{
    Work,
    log::{LogPlace, Refusal},
    step::Failure,
};
use crate::{
    deadline::{Deadline, within},
    error::Error,
    hba,
    inspect::{self, HbaError, Node, load_time},
    plan::Expectation,
    run::journal::Loaded,
    sessions::microseconds,
    tls,
    verify::probe::{self, Shown},
};

/// What a reload came to.
#[derive(Debug)]
pub(super) struct Reloaded {
    pub(super) loaded: Loaded,
    /// What the server says if it could not load its certificate, key or authority: it keeps the ones
    /// that it has.
    pub(super) keeps_certificates: Option<String>,
}

/// Reloads a node's server, and looks that it has taken everything.
pub(super) async fn reload(
    work: &Arc<Work>,
    node: &Node,
    expectation: &Expectation,
) -> Result<Loaded, Failure> {
    let Reloaded { loaded, keeps_certificates } = reload_rules(work, node).await?;
    if let Some(words) = keeps_certificates {
        return Err(not_taken(format!("the server's log says: {words}")).into());
    }
    if let Some(expected) = &expectation.certificate {
        let shown = wait_for_certificate(work, node, expected);
        within(work.limits.answer, "the server to show its certificate", shown).await?;
    }
    Ok(loaded)
}

/// Reloads a node's server, and looks that it has taken its rules and settings.
pub(super) async fn reload_rules(work: &Arc<Work>, node: &Node) -> Result<Reloaded, Failure> {
    let patience = work.limits.answer;
    // From before, should the new rules let no session in.
    let client = work.session(node).await.map_err(Failure::without_effect)?;
    let before = async {
        within(patience, "the server to check the changed files", check(work, node, &client))
            .await?;
        let before = within(patience, "a look into the server's log", async {
            Ok((LogPlace::now(&client).await?, load_time(&client).await?))
        });
        before.await
    };
    let (log, before) = before.await.map_err(Failure::without_effect)?;

    within(patience, "the server to read its configuration", async {
        client.execute("SELECT pg_catalog.pg_reload_conf()", &[]).await?;
        let deadline = Deadline::new("the server to read its configuration", patience);
        // Our session hears of it before the server has read `pg_hba.conf`, but no new session is let
        // in before it has (`process_pm_reload_request`; 12 to 15, `SIGHUP_handler`).
        while load_time(&client).await? <= before {
            deadline.pause().await?;
        }
        Ok(())
    })
    .await?;
    // The way in must be open still: the next step, and the administrator, come by it.
    let fresh = work.connect(node, None).await?;
    let loaded = within(patience, "the server to tell what it took", async {
        let open: SystemTime = fresh
            .query_one(
                "SELECT backend_start FROM pg_catalog.pg_stat_activity \
                 WHERE pid = pg_catalog.pg_backend_pid()",
                &[],
            )
            .await?
            .get(0);
        let mark = format!("{}: the configuration was to be read", work.application.own);
        let mut keeps_certificates = None;
        for refusal in log.refusals(&fresh, &mark).await? {
            match refusal {
                Refusal::Configuration(words) => {
                    return Err(not_taken(format!("the server's log says: {words}")));
                }
                Refusal::Certificates(words) => keeps_certificates = Some(words),
            }
        }
        Ok(Reloaded {
            loaded: Loaded { before: microseconds(before), open: microseconds(open) },
            keeps_certificates,
        })
    })
    .await?;
    // Somebody may have written between the first look and the load.
    let looks = async { settings_are_taken(&fresh).await.and(rules_are_taken(&fresh).await) };
    within(patience, "the server to tell what it took from its files", looks).await?;
    Ok(loaded)
}

/// Refuses what is on the disk if the server would not load it, or if it would let this administrator
/// in no more.
async fn check(work: &Work, node: &Node, client: &Client) -> Result<(), Error> {
    let state = inspect::inspect_with(client, &work.spec, node).await?;
    hba::check_on_disk(&state)?;
    match state.hba_errors.first() {
        Some(error) => Err(refused(error)),
        None => settings_are_taken(client).await,
    }
}

/// Refuses a `pg_hba.conf` that the server would not load.
async fn rules_are_taken(client: &Client) -> Result<(), Error> {
    let errors = inspect::hba_errors(client).await?;
    errors.first().map_or(Ok(()), |error| Err(refused(error)))
}

fn refused(error: &HbaError) -> Error {
    let HbaError { line, message } = error;
    not_taken(format!("the server would not load line {line} of pg_hba.conf: {message}"))
}

fn not_taken(reason: impl Into<String>) -> Error {
    Error::NotTaken { reason: reason.into() }
}

/// Refuses configuration files that the server would not load.
async fn settings_are_taken(client: &Client) -> Result<(), Error> {
    // What wants a restart has an error, too, and keeps nothing else from being loaded.
    const QUERY: &str = "SELECT f.sourcefile, f.sourceline, f.name, f.error \
         FROM pg_catalog.pg_file_settings f LEFT JOIN pg_catalog.pg_settings s USING (name) \
         WHERE f.error IS NOT NULL AND s.context IS DISTINCT FROM 'postmaster' \
         ORDER BY f.seqno LIMIT 1";
    let Some(row) = client.query_opt(QUERY, &[]).await? else { return Ok(()) };
    let (file, line, name, error): (Option<String>, Option<i32>, Option<String>, String) =
        (row.get(0), row.get(1), row.get(2), row.get(3));
    let name = name.map(|name| format!("{name}: ")).unwrap_or_default();
    let (line, file) = (line.unwrap_or_default(), file.as_deref().unwrap_or("its configuration"));
    Err(not_taken(format!("the server would not load line {line} of {file}: {name}{error}")))
}

/// A server that cannot load its certificate says so in its log only, and keeps the old one.
async fn wait_for_certificate(work: &Work, node: &Node, expected: &str) -> Result<(), Error> {
    let client = tls::any_server(None)?;
    // It has read everything by now: what it does not show soon it will never show.
    let deadline = Deadline::new("the server to show its certificate", work.limits.answer / 4);
    loop {
        let shown = probe::certificate_shown(node, &client, node.spec.host()).await?;
        if let Shown::Certificate(der) = shown
            && Certificate::from_der(&der)?.fingerprint().to_string() == expected
        {
            return Ok(());
        }
        if deadline.pause().await.is_err() {
            return Err(not_taken(
                "the server was reloaded, but does not show its new certificate: its log says why \
                 after \"SSL configuration was not reloaded\"",
            ));
        }
    }
}
