//! Settings: what the links need of the server's configuration.

use crate::{
    demand::Demand,
    inspect::NodeState,
    verify::{code::Code, finding::Finding},
};

pub(super) fn check(state: &NodeState, demand: &Demand, findings: &mut Vec<Finding>) {
    let mut find = |code, what: String| findings.push(Finding::error(code, &state.name, what));
    for (file, message) in &state.configuration_errors {
        find(Code::ReloadRefused, format!("{file}: {message}"));
    }
    if let Some(file) = &state.changed_since_reload {
        find(
            Code::NotReloaded,
            format!("{file} was changed after the server last read its configuration"),
        );
    }
    for name in &demand.above_zero {
        if state.setting(name) == "0" {
            find(
                Code::OtherSetting,
                format!("{name} is 0: links need it above 0, which takes a restart"),
            );
        }
    }
    for (name, wanted) in &demand.settings {
        let value = state.setting(name);
        if state.configuration.means(name, wanted) && value == wanted {
            continue;
        }
        let code = match *name {
            "ssl" => Code::SslOff,
            "ssl_ca_file" if value.is_empty() => Code::NoCaFile,
            _ => Code::OtherSetting,
        };
        if value != wanted {
            find(code, format!("{name} is \"{value}\", not \"{wanted}\""));
        } else {
            find(
                code,
                format!(
                    "{name} is \"{value}\" now, but the files say otherwise: not after a restart"
                ),
            );
        }
    }
}
