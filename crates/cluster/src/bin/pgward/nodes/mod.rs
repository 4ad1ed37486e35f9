//! The commands that work on a whole cluster, as its description has it.

mod apply;
mod description;
mod init;
mod inspect;
mod plan;
pub(crate) mod render;
pub(crate) mod report;
mod rotate;
mod runs;
mod status;
mod verify;
mod work;

pub(crate) use self::{
    apply::{Arguments as ApplyArguments, run as apply},
    init::{Arguments as InitArguments, run as init},
    inspect::{Arguments as InspectArguments, run as inspect},
    plan::{Arguments as PlanArguments, run as plan},
    rotate::{Arguments as RotateArguments, run as rotate},
    runs::{AbandonArguments, ResumeArguments, RollbackArguments, abandon, resume, rollback},
    status::{Arguments as StatusArguments, run as status},
    verify::{Arguments as VerifyArguments, run as verify},
};

use std::sync::OnceLock;

use tokio::runtime::Runtime;

use crate::frame::failure::Failure;

/// Runs what waits for servers. Only commands that need it start a runtime: the others answer in
/// milliseconds. There is one, for connections by ssh live in it.
fn wait_for<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if RUNTIME.get().is_none() {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::failed(format!("no runtime: {error}")))?;
        let _ = RUNTIME.set(runtime);
    }
    let gone = || Failure::failed("no runtime");
    RUNTIME.get().ok_or_else(gone)?.block_on(work)
}
