//! From a plan to what a bundle has for one of its nodes.

use pg_version::PgVersion;
use postgres_protocol::escape::escape_literal;
use scram::Secret;
use zeroize::Zeroizing;

use super::{BundleError, BundleNode, Phase};
use crate::{
    plan::{Action, Plan, Statement},
    transport::NodeFiles as _,
    vault::Vault,
};

pub(super) fn record(node: &BundleNode, plan: &Plan, vault: &Vault) -> Result<(), BundleError> {
    let switches = |stage: &crate::plan::Stage| {
        stage.steps.iter().any(|step| matches!(step.action, Action::SwitchLink { .. }))
    };
    // What comes before any link is switched over opens, what comes after closes. A plan that
    // switches none leaves nothing between.
    let first = plan.stages.iter().position(switches).unwrap_or(plan.stages.len());
    let last = plan.stages.iter().rposition(switches).unwrap_or(plan.stages.len());
    for (index, stage) in plan.stages.iter().enumerate() {
        let phase = match index {
            _ if index < first => Phase::Open,
            _ if index <= last => Phase::Switch,
            _ => Phase::Close,
        };
        let steps = stage.steps.iter().filter(|step| step.node == node.0.node);
        for step in steps {
            node.begin(phase, stage.title.as_str())?;
            record_action(node, &step.action, vault)?;
        }
    }
    Ok(())
}

fn record_action(node: &BundleNode, action: &Action, vault: &Vault) -> Result<(), BundleError> {
    match action {
        Action::MakeFolder { path, access } => node.make_folder(path, *access)?,
        Action::WriteFile { path, access, expected, content } => {
            node.write(path, content.resolve(vault)?, *access, *expected)?;
        }
        Action::RemoveFile { path } => node.remove_file(path)?,
        Action::RemoveFolder { path } => node.remove_folder(path)?,
        Action::Execute { database, statement } => {
            record_statement(node, database.as_deref(), statement, vault)?;
        }
        Action::Reload(_) => node.reload(),
        Action::SwitchLink { statements, reload, .. } => {
            for (database, statement) in statements {
                record_statement(node, database.as_deref(), statement, vault)?;
            }
            if *reload {
                node.reload();
            }
        }
        Action::EndOldSessions { roles } => {
            let statement = end_old_sessions(roles);
            node.statement(None, statement.clone(), Zeroizing::new(statement));
        }
    }
    Ok(())
}

fn record_statement(
    node: &BundleNode,
    database: Option<&str>,
    statement: &Statement,
    vault: &Vault,
) -> Result<(), BundleError> {
    let shown = statement.to_string();
    if let Some(name) = statement.secret() {
        // What any major would take for a password is one.
        let is_stored = |secret: &[u8]| {
            let reads = |version| Secret::parse(secret, version).is_ok();
            secret.starts_with(b"SCRAM-SHA-256$") && reads(PgVersion::V12) && reads(PgVersion::V18)
        };
        if vault.get(name).is_some_and(|secret| !is_stored(secret)) {
            return Err(BundleError::ClearSecret { statement: shown });
        }
    }
    node.statement(database, shown, statement.resolve(vault)?);
    Ok(())
}

/// Ends the sessions from the network that were let in by the rules before the last reload.
fn end_old_sessions(roles: &[String]) -> String {
    let roles: Vec<String> =
        roles.iter().map(|role| escape_literal(role).trim_start().to_owned()).collect();
    format!(
        "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity \
         WHERE usename IN ({}) AND client_addr IS NOT NULL \
         AND backend_start < pg_catalog.pg_conf_load_time()",
        roles.join(", ")
    )
}
