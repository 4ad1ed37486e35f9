//! Links that have a session only while they are used are used before a run changes anything, and again
//! before the old way in is closed. Of one that has a session at all times it is seen whether it came
//! back; of these nobody would know until somebody needs them.

use std::sync::Arc;

use super::{Action, Pace, Stage, Step, make::stage};
use crate::topology::{Cluster, SessionKey};

/// Finds out which of them work.
pub(crate) fn before(cluster: &Cluster<'_>) -> Stage {
    let title = "see which of the links work that are used on demand";
    stage(title, Pace::AllAtOnce, steps(cluster, false))
}

/// Looks whether those that worked still do.
pub(crate) fn again(cluster: &Cluster<'_>) -> Stage {
    let title = "see that the links that are used on demand still work";
    stage(title, Pace::AllAtOnce, steps(cluster, true))
}

fn steps(cluster: &Cluster<'_>, again: bool) -> Vec<Step> {
    let is_used = |link: &&crate::topology::Link| {
        link.enabled && matches!(*link.session, SessionKey::OnDemand { .. })
    };
    let links = cluster.links.iter().filter(is_used);
    let step = |link: &crate::topology::Link| Step {
        node: link.from.clone(),
        action: Action::UseLink {
            to: link.to.clone(),
            name: link.name.clone(),
            place: Arc::clone(&link.place),
            session: Arc::clone(&link.session),
            again,
        },
        undo: None,
    };
    links.map(step).collect()
}
