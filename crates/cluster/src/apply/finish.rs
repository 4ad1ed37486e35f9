//! What comes when all files are as they were: servers take their old certificates, links that
//! connected by new ones connect by theirs.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    Work,
    reload::{self, Reloaded},
    step::{reconnect, session_now},
    take_back::Ended,
};
use crate::{
    bounded::for_each,
    error::Error,
    plan::{Action, Stage},
    run::journal::{At, Record},
};

/// Does it on the nodes where everything else was taken back.
pub(super) async fn finish(work: &Arc<Work>, stuck: &BTreeSet<String>, ended: &mut Ended) {
    let at_once = work.limits.nodes;
    let (mut reloads, mut reconnects) = (BTreeSet::new(), Vec::new());
    for (stage, content) in work.plan.stages.iter().enumerate() {
        for (step, planned) in content.steps.iter().enumerate() {
            let at = At { stage, step };
            if is_read_later(work, at) && !stuck.contains(&*planned.node) {
                reloads.insert(planned.node.to_string());
            }
            if is_last(work, at) && work.journal.state(at).is_to_undo() {
                reconnects.push(at);
            }
        }
    }
    let reloaded = for_each(at_once, reloads, |node| read_certificates(work.clone(), node)).await;
    match reloaded {
        Ok(reloaded) => {
            for (node, reloaded) in reloaded {
                match reloaded {
                    Ok(Reloaded { keeps_certificates: None, .. }) => {}
                    Ok(Reloaded { keeps_certificates: Some(words), .. }) => {
                        ended.kept.push(format!(
                            "{node}: its certificate is as it was found, and the server can not \
                             load it: its log says: {words}"
                        ));
                    }
                    Err(error) => ended.left.push(format!("{node}: reload: {error}")),
                }
            }
        }
        Err(error) => ended.left.push(error.to_string()),
    }
    let connect = |at| connect_anew(work.clone(), at, stuck.clone());
    match for_each(at_once, reconnects, connect).await {
        Ok(failed) => ended.left.extend(failed.into_iter().flatten()),
        Err(error) => ended.left.push(error.to_string()),
    }
}

/// Whether a step is taken back when all others have been.
pub(super) fn is_last(work: &Work, at: At) -> bool {
    matches!(work.step(at).map(|step| &step.action), Some(Action::Reconnect { .. }))
}

/// Whether a step gave other bytes to a file that the server reads at a reload of a later stage: its
/// own stage has none for the node, so the old bytes have not been read again yet.
fn is_read_later(work: &Work, at: At) -> bool {
    let Some(step) = work.step(at) else { return false };
    let replaced = matches!(
        (&step.action, &step.undo),
        (Action::WriteFile { .. }, Some(Action::WriteFile { .. }))
    );
    let reloads = |stage: &Stage| {
        let mut steps = stage.steps.iter();
        steps.any(|other| other.node == step.node && matches!(other.action, Action::Reload(_)))
    };
    replaced
        && work.journal.state(at).begun.is_some()
        && !reloads(&work.plan.stages[at.stage])
        && work.plan.stages[at.stage..].iter().any(reloads)
}

async fn read_certificates(work: Arc<Work>, name: String) -> (String, Result<Reloaded, Error>) {
    let reload = async {
        let node = work.node(&name)?;
        reload::reload_rules(&work, node).await.map_err(|failure| failure.error)
    };
    let reloaded = reload.await;
    (name, reloaded)
}

/// Lets a link connect by what it has again; what kept it from that.
async fn connect_anew(work: Arc<Work>, at: At, stuck: BTreeSet<String>) -> Option<String> {
    let step = work.step(at)?.clone();
    let Action::Reconnect { to, session } = &step.action else { return None };
    if [&step.node, to].into_iter().any(|node| stuck.contains(&**node)) {
        // It will be when what is left is taken back.
        return None;
    }
    let _ = work.record(Record::Undo { at, file: None }).await;
    let connected = async {
        let now = session_now(&work, to, session).await?;
        reconnect(&work, to, session, now).await
    };
    match connected.await {
        Ok(()) => {
            let _ = work.record(Record::Undone { at, kept: None }).await;
            None
        }
        Err(error) => {
            let reason = format!("{}: {error}", step.action);
            let _ = work.record(Record::Left { at, reason: reason.clone() }).await;
            Some(format!("{}: {reason}", step.node))
        }
    }
}
