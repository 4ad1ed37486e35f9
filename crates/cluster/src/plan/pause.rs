//! How long PostgreSQL lets a link rest before it tries again is cut short for as long as a run takes.
//!
//! `wal_retrieve_retry_interval`, 5 s if nobody has set it, is that pause. A subscription's worker that
//! failed is started again no sooner; up to major 15 no worker of the server is, so soon after the last
//! one (`launcher.c`, `ApplyLauncherMain`). A standby's WAL receiver is started no sooner after the last
//! time that it was found to have ended (`xlogrecovery.c`, before 15 `xlog.c`,
//! `WaitForWALToBecomeAvailable`). Who is given another connection string may come to its replication
//! slot before the old session has left it, and is refused ("replication slot … is active for PID …"): it
//! would stay away for the whole pause, and so would a link that connects anew twice in a run.

use std::{collections::HashSet, time::Duration};

use super::{Action, AutoConf, Expectation, Pace, Plan, Step, Warning, make::stage};
use crate::{
    error::Error,
    inspect::NodeState,
    topology::{Cluster, Link},
    transport::FilesSpec,
};

const SETTING: &str = "wal_retrieve_retry_interval";

/// A pause of this length, in milliseconds, is short enough.
const SHORT: u64 = 100;

/// The length that it gets. Who is refused comes back so often.
const SHORTENED: &str = "50ms";

/// Cuts the pause short on the nodes whose links the plan lets connect anew: in a stage before all
/// others. The last stage gives it its length back, when those links work again.
///
/// # Errors
/// [`Error::Plan`] for a state that is of no described node.
pub(crate) fn shorten(plan: &mut Plan, cluster: &Cluster<'_>) -> Result<(), Error> {
    let mut long = Vec::new();
    for state in cluster.states {
        // By hand it takes longer than that anyway.
        let carried = matches!(cluster.node(&state.name)?.files, FilesSpec::Bundle(_));
        if !carried && retries(state) && length(state).is_some_and(|length| length > SHORT) {
            long.push(state);
        }
    }
    if long.is_empty() {
        return Ok(());
    }
    let (mut connect, mut ended) = (HashSet::new(), HashSet::new());
    for step in plan.stages.iter().flat_map(|stage| &stage.steps) {
        match &step.action {
            Action::SwitchLink { wait: true, .. } | Action::Reconnect { .. }
                if !connect.contains(&step.node) =>
            {
                connect.insert(step.node.clone());
            }
            Action::EndOldSessions { .. } => drop(ended.insert(step.node.clone())),
            _ => {}
        }
    }
    let is_ended =
        |link: &&Link| link.enabled && link.session.is_lasting() && ended.contains(&link.to);
    connect.extend(cluster.links.iter().filter(is_ended).map(|link| link.from.clone()));

    let (mut first, mut last) = (Vec::new(), Vec::new());
    for state in long.into_iter().filter(|state| connect.contains(state.name.as_str())) {
        let auto_conf = match may_be_set(state) {
            Ok(auto_conf) => auto_conf,
            Err(why) => {
                plan.warnings.push(Warning::new(&state.name, note(state, why)));
                continue;
            }
        };
        let there = state.file(&auto_conf.path).map(|file| file.bytes.as_slice());
        let found = there.and_then(|bytes| crate::conf::value_in(bytes, SETTING));
        let short = Action::AlterSystem {
            name: SETTING.to_owned(),
            value: Some(SHORTENED.to_owned()),
            path: auto_conf.path.clone(),
            put_back: None,
        };
        let long = Action::AlterSystem {
            name: SETTING.to_owned(),
            value: found,
            path: auto_conf.path.clone(),
            put_back: Some(Box::new(auto_conf)),
        };
        let step = |action, undo| Step { node: (&state.name).into(), action, undo };
        let reload = || Action::Reload(Expectation { certificate: None });
        first.push(step(short.clone(), Some(long.clone())));
        first.push(step(reload(), None));
        for link in cluster.links_from(&state.name).filter(is_ended) {
            let (to, session) = (link.to.clone(), link.session.clone());
            last.push(step(Action::AwaitLink { to, session }, None));
        }
        last.push(step(long, Some(short)));
        last.push(step(reload(), None));
    }
    if first.is_empty() {
        return Ok(());
    }
    let first = stage("let links that end come back at once", Pace::AllAtOnce, first);
    plan.stages.insert(0, first);
    plan.stages.push(stage("let them take their time again", Pace::AllAtOnce, last));
    Ok(())
}

/// Whether it is PostgreSQL itself that lets links of the node connect anew.
fn retries(state: &NodeState) -> bool {
    state.in_recovery || state.subscriptions.iter().any(|subscription| subscription.enabled)
}

/// The pause in milliseconds.
fn length(state: &NodeState) -> Option<u64> {
    state.setting(SETTING).parse().ok()
}

/// `postgresql.auto.conf`, where the setting can be made there and counts.
fn may_be_set(state: &NodeState) -> Result<AutoConf, &'static str> {
    let is_superuser = |role: &crate::inspect::Role| role.superuser;
    if state.settings.get(SETTING).is_some_and(|setting| setting.source == "command line") {
        return Err("is given on the server's command line");
    }
    if state.setting("allow_alter_system") == "off" {
        return Err("can not be changed, for allow_alter_system is off");
    }
    if !state.role(&state.admin.user).is_some_and(is_superuser) {
        return Err("can be changed by a superuser only");
    }
    super::links::auto_conf(state).ok_or("can not be changed, for there is no postgresql.auto.conf")
}

fn note(state: &NodeState, why: &str) -> String {
    let seconds = Duration::from_millis(length(state).unwrap_or_default()).as_secs_f32();
    format!(
        "{SETTING} is {seconds} s, and {why}: a link that is let in at its second attempt only stays \
         away for so long"
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        inspect::{Setting, Subscription, sample},
        spec::{ClusterSpec, Mode},
        topology::SessionKey,
    };

    type Tested<T = ()> = Result<T, Box<dyn std::error::Error>>;

    /// A node with a subscription and this pause.
    fn node(value: &str, source: &str) -> Tested<NodeState> {
        let mut node = sample::node(b"", &[]);
        let setting = Setting { value: value.to_owned(), source: source.to_owned() };
        node.settings.insert(SETTING.to_owned(), setting);
        node.subscriptions.push(Subscription {
            name: "s".to_owned(),
            database: "postgres".to_owned(),
            conninfo: "host=10.0.0.2".parse()?,
            slot: Some("s".to_owned()),
            enabled: true,
            owner_needs_password: None,
        });
        let file = sample::file(b"Wal_Retrieve_Retry_Interval = '7s'\n");
        sample::put(&mut node, "/d/postgresql.auto.conf", Some(file));
        Ok(node)
    }

    /// What a plan that lets its link connect anew has besides: the statements, and what is said.
    fn besides(node: NodeState, files: &str) -> Tested<(Vec<String>, Vec<String>)> {
        let text = format!(
            "topology = \"native\"\nmode = \"cert\"\nlink-role = \"repl\"\nsecrets = \"s\"\n\
             [[nodes]]\nname = \"n\"\naddress = \"10.0.0.1\"\npeers-from = [\"10.0.0.0/8\"]\n\
             sql = \"host=127.0.0.1\"\nfiles = {files}\n"
        );
        let spec = ClusterSpec::from_toml(&text, "/".as_ref())?;
        let reconnect = Step {
            node: "n".into(),
            action: Action::Reconnect { to: "m".into(), session: Arc::new(SessionKey::None) },
            undo: None,
        };
        let mut plan = Plan {
            mode: Mode::Cert,
            files: Vec::new(),
            links: Vec::new(),
            stages: vec![stage("let the links connect anew", Pace::AllAtOnce, vec![reconnect])],
            warnings: Vec::new(),
            shared: Vec::new(),
        };
        let states = [node];
        shorten(&mut plan, &Cluster::new(&spec, &states, &[]))?;
        let steps = plan.stages.iter().flat_map(|stage| &stage.steps);
        let statements = steps.map(|step| step.action.to_string()).filter(|s| s.contains("SYSTEM"));
        Ok((statements.collect(), plan.warnings.into_iter().map(|it| it.message).collect()))
    }

    #[test]
    fn a_long_pause_is_cut_short_and_gets_its_length_back() -> Tested {
        let (statements, said) = besides(node("7000", "configuration file")?, "\"local\"")?;
        let set = |value| format!("ALTER SYSTEM SET \"{SETTING}\" = '{value}'");
        assert_eq!(statements, [set("50ms"), set("7s")]);
        assert_eq!(said, Vec::<String>::new());
        let mut without = node("5000", "default")?;
        sample::put(&mut without, "/d/postgresql.auto.conf", Some(sample::file(b"")));
        let (statements, _) = besides(without, "\"local\"")?;
        assert_eq!(statements, [set("50ms"), format!("ALTER SYSTEM RESET \"{SETTING}\"")]);
        Ok(())
    }

    #[test]
    fn nothing_is_done_where_it_is_short_or_of_no_use() -> Tested {
        let nothing = (Vec::new(), Vec::new());
        assert_eq!(besides(node("100", "default")?, "\"local\"")?, nothing);
        assert_eq!(besides(node("5000", "default")?, "{ bundle = \"b\" }")?, nothing);
        let mut off = node("5000", "default")?;
        off.subscriptions.iter_mut().for_each(|subscription| subscription.enabled = false);
        assert_eq!(besides(off, "\"local\"")?, nothing);
        Ok(())
    }

    #[test]
    fn what_keeps_it_long_is_said() -> Tested {
        let on_the_command_line = node("5000", "command line")?;
        let mut forbidden = node("5000", "default")?;
        sample::set(&mut forbidden, "allow_alter_system", "off");
        let mut nobody = node("5000", "default")?;
        nobody.admin.user = "repl".to_owned();
        let mut fileless = node("5000", "default")?;
        sample::put(&mut fileless, "/d/postgresql.auto.conf", None);
        for (node, why) in [
            (on_the_command_line, "command line"),
            (forbidden, "allow_alter_system is off"),
            (nobody, "superuser only"),
            (fileless, "no postgresql.auto.conf"),
        ] {
            let (statements, said) = besides(node, "\"local\"")?;
            assert_eq!(statements, Vec::<String>::new());
            assert!(said.len() == 1 && said[0].contains(why), "{said:?}");
            assert!(said[0].starts_with("wal_retrieve_retry_interval is 5 s, and"), "{said:?}");
        }
        Ok(())
    }
}
