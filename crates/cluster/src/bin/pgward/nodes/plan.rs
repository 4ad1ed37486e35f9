//! `pgward plan`.

use cluster::{
    inspect::{self, NodeState},
    prepare::{self, Prepared},
};
use serde_json::json;
use time::OffsetDateTime;

use super::{
    apply::nothing_unfinished,
    description::{Description, DescriptionArgument},
    render, wait_for,
};
use crate::frame::{answer::Answer, console::Console, failure::Failure};

/// `pgward plan`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgward plan
  pgward plan cluster.toml --check        for a script: is there anything to do?
  pgward plan --format json > plan.json

Planning only reads. Shown are the diff of each file, the SQL with secrets masked, and the order of the \
work. pgward apply makes the same plan anew, shows it, and does it.

Exit code 0: there is a plan, or nothing to do; 1: no plan can be made, such as while a run is unfinished, or with --check there is \
something to do; 2: a node cannot be asked.")]
pub(crate) struct Arguments {
    #[command(flatten)]
    description: DescriptionArgument,
    /// Exit code 1 if there is anything to do
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(arguments: &Arguments, console: &Console) -> Result<Answer, Failure> {
    let description = arguments.description.read(console)?;
    nothing_unfinished(&description)?;
    let prepared = prepare(&description, console)?;
    let plan = prepared.plan;
    let fine = plan.is_empty() || !arguments.check;
    let result = json!({ "empty": plan.is_empty(), "plan": plan });
    Ok(Answer::new(render::plan(&plan), result).fine_if(fine))
}

/// Inspects the nodes and plans.
pub(super) fn prepare(description: &Description, console: &Console) -> Result<Prepared, Failure> {
    let states = inspect_all(description, console)?;
    let progress = console.begin("plan");
    let planned = prepare::prepare(&description.spec, &states, OffsetDateTime::now_utc());
    progress.end(if planned.is_ok() { "done" } else { "failed" });
    Ok(planned?)
}

/// Inspects every node.
pub(super) fn inspect_all(
    description: &Description,
    console: &Console,
) -> Result<Vec<NodeState>, Failure> {
    let Description { spec, nodes, .. } = description;
    let progress = console.begin("inspect the nodes");
    let inspected = wait_for(async { Ok(inspect::inspect_all(spec, nodes).await?) });
    progress.end(if inspected.is_ok() { "done" } else { "failed" });
    inspected
}
