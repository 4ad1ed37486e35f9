//! Using links that have a session only while they are used.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    Work,
    links::{LinkNow, LinksNow},
    step::Failure,
};
use crate::{
    bounded::for_each,
    deadline::within,
    error::Error,
    inspect::Node,
    plan::{Action, Step},
    run::journal::{At, Seen},
    sessions,
    topology::SessionKey,
};

/// Uses the link of a step, and tells whether it works.
///
/// # Errors
/// [`Error::LinkFails`] where it worked before the run, and does not any more.
pub(super) async fn look(work: &Work, node: &Node, step: &Step) -> Result<Seen, Failure> {
    let Action::UseLink { name, session, again, .. } = &step.action else {
        return Ok(Seen::Nothing);
    };
    match use_link(work, node, session).await {
        Err(error) if *again && worked_before(work, step) => {
            let reason = format!(
                "the link {name} worked before, and would not if the old way in were closed now: {}",
                error.without_node()
            );
            Err(Failure::without_effect(Error::LinkFails { reason }))
        }
        used => Ok(Seen::Used { works: used.is_ok() }),
    }
}

async fn use_link(work: &Work, node: &Node, session: &SessionKey) -> Result<(), Error> {
    let SessionKey::OnDemand { database, role, statement } = session else {
        return Err(Error::plan("the link has a session of its own"));
    };
    let used = async {
        let user = work.connect(node, Some(database)).await?;
        Ok(sessions::use_link(&user, role, statement).await?)
    };
    within(work.limits.answer, "the link to work", used).await
}

/// The steps that used a link before the run changed anything, and could.
fn that_worked(work: &Work) -> impl Iterator<Item = &Step> {
    let stages = work.plan.stages.iter().enumerate();
    let steps = stages.flat_map(|(stage, content)| {
        content.steps.iter().enumerate().map(move |(step, planned)| (At { stage, step }, planned))
    });
    let worked = |at| work.journal.state(at).done == Some(Seen::Used { works: true });
    steps.filter_map(move |(at, step)| {
        let is_before = matches!(step.action, Action::UseLink { again: false, .. });
        (is_before && worked(at)).then_some(step)
    })
}

fn worked_before(work: &Work, step: &Step) -> bool {
    let mut before = step.clone();
    if let Action::UseLink { again, .. } = &mut before.action {
        *again = false;
    }
    that_worked(work).any(|step| *step == before)
}

/// What does not work any more of what worked before the run, when that was taken back. A link that is
/// gone is nothing to be used.
pub(super) async fn as_found(
    work: &Arc<Work>,
    now: &LinksNow,
    stuck: &BTreeSet<String>,
) -> Vec<String> {
    let is_to_work = |step: &&Step| match &step.action {
        Action::UseLink { to, name, place, .. } => {
            !stuck.contains(&*step.node)
                && !stuck.contains(&**to)
                && !matches!(now.find(&step.node, name, place), LinkNow::Gone)
        }
        _ => false,
    };
    let steps: Vec<Step> = that_worked(work).filter(is_to_work).cloned().collect();
    let use_again = |step: Step| {
        let work = work.clone();
        async move {
            let Action::UseLink { name, session, .. } = &step.action else { return None };
            let used = async { use_link(&work, work.node(&step.node)?, session).await };
            let error = used.await.err()?;
            Some(format!("{}: the link {name} does not work: {}", step.node, error.without_node()))
        }
    };
    match for_each(work.limits.nodes, steps, use_again).await {
        Ok(left) => left.into_iter().flatten().collect(),
        Err(error) => vec![error.to_string()],
    }
}
