//! What no bundle holds: passwords in clear.

use std::fs;

use cluster::{
    plan::{Action, Pace, Plan, Stage, Statement, Step},
    spec::Mode,
    transport::bundle::BundleError,
    vault::Vault,
};
use zeroize::Zeroizing;

use crate::{
    Outcome,
    fixture::{Fixture, NOW, tree},
};

fn plan_of(step: Step) -> Plan {
    let stage = Stage { title: String::new(), pace: Pace::AllAtOnce, steps: vec![step] };
    Plan {
        mode: Mode::Scram,
        files: vec![],
        links: vec![],
        stages: vec![stage],
        warnings: vec![],
        shared: vec![],
    }
}

/// What needs a password in clear to be taken back is left to whoever knows that.
#[test]
fn a_password_in_clear_is_put_back_by_who_knows_it() -> Outcome {
    let fixture = Fixture::new();
    let node = fixture.open(fixture.spec());
    let mut vault = Vault::default();
    vault.insert("clear", Zeroizing::new(b"hunter2".to_vec()));
    let in_app = |statement| Action::Execute { database: Some("app".into()), statement };
    let action = in_app(Statement::new("ALTER SUBSCRIPTION s CONNECTION 'host=m'"));
    let undo = in_app(Statement::with_secret("ALTER SUBSCRIPTION s CONNECTION", "clear"));
    node.record(&plan_of(Step { node: "node-1".into(), action, undo: Some(undo) }), &vault)?;
    let bundle = node.finish(NOW)?.ok_or("nothing was recorded")?;
    let readme = fs::read_to_string(bundle.join("README.txt"))?;
    let (_, back) = readme.split_once("Phase 1, back").ok_or("no way back")?;
    let statement = "In the database app:\n   - ALTER SUBSCRIPTION s CONNECTION '********'\n";
    assert!(back.contains(statement), "{back}");
    for (path, (_, bytes)) in tree(&bundle) {
        let text = String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned();
        assert!(!text.contains("hunter2"), "{}", path.display());
    }
    Ok(())
}

#[test]
fn a_password_in_clear_is_in_no_bundle() {
    let fixture = Fixture::new();
    let node = fixture.open(fixture.spec());
    for clear in ["hunter2", "SCRAM-SHA-256$", "SCRAM-SHA-256$4096:c2FsdA==$x:y", "md5hunter2"] {
        let mut vault = Vault::default();
        vault.insert("clear", Zeroizing::new(clear.as_bytes().to_vec()));
        let statement = Statement::with_secret("ALTER ROLE repl PASSWORD", "clear");
        let action = Action::Execute { database: None, statement };
        let plan = plan_of(Step { node: "node-1".into(), action, undo: None });
        let error = node.record(&plan, &vault).unwrap_err();
        assert!(matches!(error, BundleError::ClearSecret { .. }), "{error}");
        assert!(!error.to_string().contains("hunter2"));
    }
    assert!(node.finish(NOW).unwrap().is_none());
}
