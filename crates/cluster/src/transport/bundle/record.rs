//! From a plan to what a bundle has for one of its nodes.

use pg_version::PgVersion;
use scram::Secret;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{BundleError, BundleNode, Phase};
use crate::{
    plan::{Action, Plan, Stage, Statement, alter_system, hex},
    sql::literal,
    topology::SessionKey,
    transport::NodeFiles as _,
    vault::Vault,
};

/// Cuts the plan's stages into phases, alike for every node of the cluster, and records what is this
/// node's.
pub(super) fn record(node: &BundleNode, plan: &Plan, vault: &Vault) -> Result<(), BundleError> {
    let mut phase = Phase(1);
    let mut begun = false;
    // Whoever goes on by hand looks at the links with `verify`.
    let changes = |stage: &&Stage| stage.steps.iter().any(|step| !step.action.only_looks());
    for stage in plan.stages.iter().filter(changes) {
        let has = |is: fn(&Action) -> bool| stage.steps.iter().any(|step| is(&step.action));
        let connects = has(|it| matches!(it, Action::SwitchLink { .. } | Action::Reconnect { .. }));
        // A link that connects anew needs what was done before, on the other node, too.
        if connects && begun {
            phase.0 += 1;
        }
        if let Some(guard) = until_all_have_tls(stage, &node.0.node) {
            node.begin(phase, stage.title.as_str())?;
            node.statement(None, guard.clone(), Zeroizing::new(guard));
        }
        for step in &stage.steps {
            // A session is ended where the link leads to.
            let at = match &step.action {
                Action::Reconnect { to, .. } => to,
                _ => &step.node,
            };
            if *at != node.0.node || step.action.only_looks() {
                continue;
            }
            node.begin(phase, stage.title.as_str())?;
            record_action(node, &step.action, step.undo.as_ref(), vault)?;
            record_back(node, step.undo.as_ref(), vault);
        }
        // With a reload a server begins to ask for, or to show, what the others must know by then;
        // what comes before one is only put there.
        let ends = connects || has(|it| matches!(it, Action::Reload(_)));
        phase.0 += u16::from(ends);
        begun = !ends;
    }
    Ok(())
}

fn record_action(
    node: &BundleNode,
    action: &Action,
    undo: Option<&Action>,
    vault: &Vault,
) -> Result<(), BundleError> {
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
        Action::AlterSystem { name, value, .. } => {
            record_statement(node, None, &alter_system(name, value.as_deref()), vault)?;
        }
        // They only look.
        Action::AwaitLink { .. } | Action::UseLink { .. } => {}
        Action::SetPassword { role, statement } => {
            if let Some(Action::SetPassword { statement: found, .. }) = undo {
                let guard = unless_changed(role, [found, statement], vault);
                node.statement(None, guard.clone(), Zeroizing::new(guard));
            }
            record_statement(node, None, statement, vault)?;
        }
        Action::Reload(_) => node.reload(),
        Action::SwitchLink { statements, reload, .. } => {
            for (database, statement) in statements.iter() {
                record_statement(node, database.as_deref(), statement, vault)?;
            }
            if *reload {
                node.reload();
            }
        }
        Action::Reconnect { session, .. } => {
            if let Some(statement) = end_session(session) {
                node.statement(None, statement.clone(), Zeroizing::new(statement));
            }
        }
        Action::EndOldSessions { roles, .. } => {
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
    if !may_be_held(statement, vault) {
        return Err(BundleError::ClearSecret { statement: shown });
    }
    node.statement(database, shown, statement.resolve(vault)?);
    Ok(())
}

/// Refuses to go on where a role's password is neither of those that the statements set: a password that
/// somebody has given it since, by another bundle perhaps, is not this one's to replace. They are told by
/// their digests.
fn unless_changed(role: &str, statements: [&Statement; 2], vault: &Vault) -> String {
    let known = statements.map(|statement| match statement.secret() {
        Some(name) => {
            let stored = vault.get(name).unwrap_or_default();
            literal(&hex(&Sha256::digest(stored)))
        }
        None => "''".to_owned(),
    });
    let body = format!(
        "BEGIN IF coalesce((SELECT pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to( \
             rolpassword, 'UTF8')), 'hex') FROM pg_catalog.pg_authid WHERE rolname = {role}), '') \
             NOT IN ({}) THEN \
           RAISE EXCEPTION 'the role % has another password by now than this was made for', {role}; \
         END IF; END",
        known.join(", "),
        role = literal(role),
    );
    format!("DO {}", literal(&body))
}

/// Whether a statement has no secret but what a server stores of a password.
fn may_be_held(statement: &Statement, vault: &Vault) -> bool {
    // What any major would take for a password is one.
    let is_stored = |secret: &[u8]| {
        let reads = |version| Secret::parse(secret, version).is_ok();
        secret.starts_with(b"SCRAM-SHA-256$") && reads(PgVersion::V12) && reads(PgVersion::V18)
    };
    let secret = statement.secret().and_then(|name| vault.get(name));
    secret.is_none_or(is_stored)
}

/// What takes a step's statements back. Files are taken back by the copies that are kept of them.
fn record_back(node: &BundleNode, undo: Option<&Action>, vault: &Vault) {
    let setting;
    let statements: Vec<(Option<&str>, &Statement)> = match undo {
        Some(Action::AlterSystem { name, value, .. }) => {
            setting = alter_system(name, value.as_deref());
            vec![(None, &setting)]
        }
        Some(Action::Execute { database, statement }) => vec![(database.as_deref(), statement)],
        Some(Action::SetPassword { statement, .. }) => vec![(None, statement)],
        Some(Action::SwitchLink { statements, .. }) => statements
            .iter()
            .map(|(database, statement)| (database.as_deref(), statement))
            .collect(),
        _ => return,
    };
    // The last comes first when all is turned round.
    for (database, statement) in statements.into_iter().rev() {
        let held = may_be_held(statement, vault).then(|| statement.resolve(vault).ok()).flatten();
        node.statement_back(database, statement.to_string(), held);
    }
}

/// Waits until the links that come to a node whose open way in a stage closes have TLS, and refuses to go
/// on where they do not: who skipped a node, or was too fast, would shut it out.
fn until_all_have_tls(stage: &Stage, node: &str) -> Option<String> {
    let mut steps = stage.steps.iter().filter(|step| step.node == node);
    let roles = steps.find_map(|step| match &step.action {
        Action::EndOldSessions { roles, tls: true, .. } => Some(roles),
        _ => None,
    })?;
    let roles: Vec<String> = roles.iter().map(|role| literal(role)).collect();
    let plain = format!(
        "pg_catalog.pg_stat_replication r JOIN pg_catalog.pg_stat_ssl s USING (pid) \
         WHERE r.usename IN ({}) AND r.client_addr IS NOT NULL AND NOT s.ssl",
        roles.join(", ")
    );
    let body = format!(
        "DECLARE started timestamptz := pg_catalog.clock_timestamp(); address inet; \
         BEGIN LOOP \
           SELECT r.client_addr INTO address FROM {plain} LIMIT 1; \
           EXIT WHEN NOT FOUND; \
           IF pg_catalog.clock_timestamp() > started + interval '30 s' THEN \
             RAISE EXCEPTION 'a link from % still has no TLS: this would shut it out', address \
               USING HINT = 'Finish the phase before on every node first.'; \
           END IF; \
           PERFORM pg_catalog.pg_sleep(0.2); PERFORM pg_catalog.pg_stat_clear_snapshot(); \
         END LOOP; END"
    );
    Some(format!("DO {}", literal(&body)))
}

/// Ends a link's session, so that it connects anew; none for a link that has none while it is not
/// used.
fn end_session(session: &SessionKey) -> Option<String> {
    let slots = "pg_catalog.pg_replication_slots WHERE active_pid IS NOT NULL AND";
    let (pid, place) = match session {
        SessionKey::Slot(slot) => ("active_pid", format!("{slots} slot_name = {}", literal(slot))),
        SessionKey::Peer { slots: names, ending, .. } => {
            let names: Vec<String> = names.iter().map(|name| literal(name)).collect();
            let named = if names.is_empty() {
                "false".to_owned()
            } else {
                format!("slot_name IN ({})", names.join(", "))
            };
            let ends = format!(
                "pg_catalog.right(slot_name::text, {}) = {}",
                ending.chars().count(),
                literal(ending)
            );
            ("active_pid", format!("{slots} ({named} OR {ends})"))
        }
        SessionKey::Walreceiver { application, .. }
        | SessionKey::AnyWalreceiver { application } => (
            "pid",
            format!(
                "pg_catalog.pg_stat_replication WHERE application_name = {}",
                literal(application)
            ),
        ),
        SessionKey::OnDemand { .. } | SessionKey::None => return None,
    };
    Some(format!("SELECT pg_catalog.pg_terminate_backend({pid}) FROM {place}"))
}

/// Ends the sessions from the network that were let in by the rules before the last reload.
fn end_old_sessions(roles: &[String]) -> String {
    let roles: Vec<String> = roles.iter().map(|role| literal(role)).collect();
    format!(
        "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity \
         WHERE usename IN ({}) AND client_addr IS NOT NULL \
         AND backend_start < pg_catalog.pg_conf_load_time()",
        roles.join(", ")
    )
}
