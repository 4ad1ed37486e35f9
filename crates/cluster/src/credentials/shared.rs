//! Files that several nodes have in common: servers of one machine whose paths lead to the same place,
//! such as the `.pgpass` of an operating system's user that they all run as.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use crate::{error::Error, inspect::NodeState, spec::NodeSpec, transport::FilesSpec};

/// Which node writes which of the files that more than one may have.
#[derive(Default)]
pub(super) struct Shared<'a> {
    writers: BTreeMap<(Machine<'a>, PathBuf), &'a NodeState>,
}

/// Where a node's files are, as far as the description tells.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Machine<'a> {
    This,
    /// By its host and port.
    Ssh(&'a str, Option<u16>),
    /// That of a node whose files are out of reach: nothing tells of whom else it is.
    Of(&'a str),
}

impl<'a> Machine<'a> {
    fn of(node: &'a NodeSpec) -> Self {
        match &node.files {
            FilesSpec::Local => Self::This,
            FilesSpec::Ssh(ssh) => Self::Ssh(&ssh.host, ssh.port),
            FilesSpec::Bundle(_) => Self::Of(&node.name),
        }
    }
}

impl<'a> Shared<'a> {
    /// The node that writes this file of a node: itself, or whichever came first.
    ///
    /// # Errors
    /// [`Error::Plan`] for nodes that run as different users: of a secret file one of them could read
    /// nothing.
    pub(super) fn writer(
        &mut self,
        node: &'a NodeSpec,
        state: &'a NodeState,
        path: &Path,
    ) -> Result<&'a NodeState, Error> {
        let place = (Machine::of(node), path.to_owned());
        let writer = *self.writers.entry(place).or_insert(state);
        if writer.owner.uid == state.owner.uid {
            return Ok(writer);
        }
        Err(Error::plan(format!(
            "the nodes {} and {} have the same {}, and run as different users: only its owner may \
             read it, so give one of the servers another path (for .pgpass another HOME)",
            writer.name,
            state.name,
            path.display()
        )))
    }
}
