//! A PGD group on native replication: the connection string that a node shows of another is one thing, that
//! of the subscription beneath it, by which the link really connects, may be another.

use super::super::{code::Code, finding::Finding};
use crate::{
    conninfo::ConnInfo,
    inspect::NodeState,
    topology::{Link, LinkPlace, SessionKey},
};

/// What decides whom a link takes for the server, and what it shows of itself.
const KEYWORDS: [&str; 6] =
    ["sslmode", "sslrootcert", "sslcert", "sslkey", "channel_binding", "require_auth"];

/// In what a link really connects otherwise than its interface says and the description wants, in words.
pub(in super::super) fn otherwise(from: &NodeState, link: &Link, wanted: &ConnInfo) -> Vec<Other> {
    let LinkPlace::BdrInterface { database } = &*link.place else { return Vec::new() };
    let SessionKey::Slot(slot) = &*link.session else { return Vec::new() };
    let is_beneath = |it: &&crate::inspect::Subscription| {
        it.database == *database && it.slot.as_ref() == Some(slot)
    };
    let Some(subscription) = from.subscriptions.iter().find(is_beneath) else { return Vec::new() };
    let value = |conninfo: &ConnInfo, keyword| conninfo.get(keyword).unwrap_or_default().to_owned();
    // A relative path is one within the data directory.
    let is_same = |keyword, one: &str, other: &str| match keyword {
        "sslrootcert" | "sslcert" | "sslkey" => {
            from.in_data_directory(one) == from.in_data_directory(other)
        }
        _ => one == other,
    };
    let other = |keyword| {
        let used = value(&subscription.conninfo, keyword);
        let (shown, wanted) = (value(&link.conninfo, keyword), value(wanted, keyword));
        if is_same(keyword, &used, &shown) || is_same(keyword, &used, &wanted) {
            return None;
        }
        let code = match keyword {
            "sslmode" | "sslrootcert" => Code::ServerNotVerified,
            _ => Code::LinkOtherwise,
        };
        let what = format!(
            "the subscription {} beneath it has {keyword} \"{used}\", not \"{shown}\" as \
             bdr.node_summary says: give it that again (ALTER SUBSCRIPTION, or bdr.alter_node_interface \
             with the same connection string)",
            subscription.name
        );
        Some(Other { code, what })
    };
    KEYWORDS.into_iter().filter_map(other).collect()
}

/// A parameter by which a link really connects.
pub(in super::super) struct Other {
    code: Code,
    pub(in super::super) what: String,
}

impl Other {
    pub(super) fn finding(&self, link: &Link) -> Finding {
        let what = format!("{}: {}", link.name, self.what);
        Finding::error(self.code, &link.from, what).of_link(&link.from, &link.to)
    }
}
