//! `pgward apply`.

use cluster::{
    Error,
    inspect::THIS_MACHINE,
    plan::Plan,
    prepare::Prepared,
    run,
    vault::Vault,
    verify::{self, Options, Verification},
};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{
    description::{Description, DescriptionArgument},
    plan::{inspect_all, prepare},
    render, wait_for,
    work::work,
};
use crate::frame::{
    answer::Answer,
    console::Console,
    failure::{Exit, Failure},
};

/// `pgward apply`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgward apply
  pgward apply cluster.toml --yes         in a script, after the plan was looked at
  pgward apply --accept-changes           what others have changed is meant to be so

The plan is shown first; nothing is done before it is agreed to. What fails is taken back on every \
node. Afterwards every link is verified, as by pgward verify.

Exit code 0: done (or nothing to do), and every link is proved; 1: done, and not every link is proved; \
2: it could not be done, and what was done was taken back, or the message says what was not.")]
pub(crate) struct Arguments {
    #[command(flatten)]
    description: DescriptionArgument,
    #[command(flatten)]
    consent: ConsentArguments,
    /// First take what others changed since as it is, so that verify names it no more (PGW701)
    #[arg(long)]
    accept_changes: bool,
}

/// Whether to ask.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct ConsentArguments {
    /// Do it without asking
    #[arg(long, short)]
    pub(super) yes: bool,
    /// Do not verify afterwards
    #[arg(long)]
    pub(super) no_verify: bool,
}

pub(crate) fn run(arguments: &Arguments, console: &Console) -> Result<Answer, Failure> {
    let description = arguments.description.read(console)?;
    nothing_unfinished(&description)?;
    if arguments.accept_changes
        && let Some(refused) = accept(&description, arguments.consent, console)?
    {
        return Ok(refused);
    }
    let prepared = prepare(&description, console)?;
    carry_out(&description, prepared, arguments.consent, console)
}

/// Shows what others changed, asks, and remembers it as it is; the answer for somebody who says no.
fn accept(
    description: &Description,
    consent: ConsentArguments,
    console: &Console,
) -> Result<Option<Answer>, Failure> {
    let states = inspect_all(description, console)?;
    let changes = run::changes(&description.spec, &states)?;
    if changes.is_empty() {
        console.note("nobody has changed anything since: there is nothing to accept");
        return Ok(None);
    }
    for change in &changes {
        console.show("change", &format!("{}\n", render::words(change)));
    }
    if !consent.yes {
        match console.confirm("Take this as it is?") {
            Some(true) => {}
            Some(false) => return Ok(Some(nothing_done(None))),
            None => return Err(nobody_to_ask("look at what was changed")),
        }
    }
    run::accept_changes(&description.spec, &states)?;
    Ok(None)
}

fn nothing_done(plan: Option<&Plan>) -> Answer {
    let result = json!({ "plan": plan, "applied": false, "verification": null });
    Answer::new("nothing was done\n", result).exit(Exit::Findings)
}

fn nobody_to_ask(first: &str) -> Failure {
    Failure::user("there is no terminal to ask at, so nothing was done")
        .fix(format!("{first}, then give --yes"))
}

/// A run that is unfinished is in the way of every other: that is said before anything is planned.
pub(super) fn nothing_unfinished(description: &Description) -> Result<(), Failure> {
    match run::status(&description.spec)?.unfinished() {
        None => Ok(()),
        Some(run) => Err(Failure::user(format!("run {} is unfinished", run.id))
            .fix("go on with it by pgward resume, or take it back by pgward rollback")),
    }
}

/// Shows a plan, asks, does it, and proves it.
pub(super) fn carry_out(
    description: &Description,
    prepared: Prepared,
    consent: ConsentArguments,
    console: &Console,
) -> Result<Answer, Failure> {
    let Prepared { plan, vault } = prepared;
    if plan.is_empty() {
        return verified(description, &plan, false, consent, console, &render::plan(&plan));
    }
    // Where the answer is JSON, standard output is for that alone.
    if console.is_json() {
        console.show("plan", &render::plan(&plan));
    } else {
        console.print(&(render::plan(&plan) + "\n"))?;
    }
    if !consent.yes {
        match console.confirm("Do it?") {
            Some(true) => {}
            Some(false) => return Ok(nothing_done(Some(&plan))),
            None => return Err(nobody_to_ask("look at the plan")),
        }
    }
    if description.reached.bundles().next().is_some() {
        return bundles(description, &plan, vault, console);
    }
    work(description, console, "apply", async |runner| {
        runner.apply(Prepared { plan: plan.clone(), vault }).await
    })?;
    verified(description, &plan, true, consent, console, "")
}

/// Puts what the nodes need into folders for somebody to carry there. Only this machine's own part of
/// the plan, the authority, is done.
fn bundles(
    description: &Description,
    plan: &Plan,
    vault: Vault,
    console: &Console,
) -> Result<Answer, Failure> {
    let reached = &description.reached;
    if reached.bundles().count() != description.nodes.len() {
        return Err(Failure::user(
            "some nodes are reached and others get a bundle: nothing can wait for what is done by hand",
        )
        .fix("give every node files = { bundle = … }, or none"));
    }
    // Nothing is done here that no bundle would follow.
    for bundle in reached.bundles() {
        bundle.target().map_err(Error::from)?;
    }
    let mut own = plan.clone();
    for stage in &mut own.stages {
        stage.steps.retain(|step| step.node == THIS_MACHINE);
    }
    own.stages.retain(|stage| !stage.steps.is_empty());
    if !own.is_empty() {
        let prepared = Prepared { plan: own, vault: vault.clone() };
        work(description, console, "keep the authority", async |runner| {
            runner.apply(prepared).await
        })?;
    }
    let progress = console.begin("write the bundles");
    let written = wait_for(async {
        let mut folders = Vec::new();
        for bundle in reached.bundles() {
            let (bundle, plan, vault) = (bundle.clone(), plan.clone(), vault.clone());
            let made = tokio::task::spawn_blocking(move || {
                bundle.record(&plan, &vault)?;
                bundle.finish(OffsetDateTime::now_utc())
            });
            let made = made.await.map_err(|_| Error::Cancelled)?;
            folders.extend(made.map_err(Error::from)?);
        }
        Ok(folders)
    });
    progress.end(if written.is_ok() { "done" } else { "failed" });
    let mut text =
        String::from("\nwritten, each with a README that says what to do on its node, and when:\n");
    for folder in written? {
        text.push_str(&format!("  {}\n", folder.display()));
    }
    text.push_str("when all of it is done, pgward verify proves it\n");
    let result = json!({ "plan": plan, "applied": false, "verification": null });
    Ok(Answer::new(text, result))
}

/// Proves what was done, unless the user does not want it.
fn verified(
    description: &Description,
    plan: &Plan,
    applied: bool,
    consent: ConsentArguments,
    console: &Console,
    said: &str,
) -> Result<Answer, Failure> {
    if consent.no_verify {
        let result = json!({ "plan": plan, "applied": applied, "verification": null });
        let text = if applied { "done; pgward verify proves it\n" } else { said };
        return Ok(Answer::new(text, result));
    }
    let verification = verify_now(description, Options::default(), console)?;
    let said = if said.is_empty() { String::new() } else { format!("{said}\n") };
    let text = said + &render::proof(&verification);
    let result: Value = json!({ "plan": plan, "applied": applied, "verification": verification });
    let findings = render::findings(&verification.findings);
    Ok(Answer::new(text, result)
        .with_findings(findings)
        .exit(Exit::Fine)
        .fine_if(verification.proved()))
}

pub(super) fn verify_now(
    description: &Description,
    options: Options,
    console: &Console,
) -> Result<Verification, Failure> {
    let Description { spec, nodes, .. } = description;
    let first = if options.reconnect { "let the links connect anew and " } else { "" };
    let progress = console.begin(&format!("{first}verify the links"));
    let now = OffsetDateTime::now_utc();
    let verified = wait_for(async { Ok(verify::verify_with(spec, nodes, now, options).await?) });
    progress.end(if verified.is_ok() { "done" } else { "failed" });
    verified
}
