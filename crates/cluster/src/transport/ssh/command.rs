//! What `ssh` is started with, and what its words mean.

use std::{path::Path, process::Stdio};

use tokio::process::Command;

use super::SshError;
use crate::transport::SshSpec;

/// What holds whatever the configuration of `ssh` says: the first value wins, and the command line
/// comes first.
const ALWAYS: [&str; 21] = [
    // Words that older versions do not know.
    "IgnoreUnknown=ForkAfterAuthentication,StdinNull",
    // Nobody is asked anything.
    "BatchMode=yes",
    // Only known hosts, and what is known stays as it is.
    "StrictHostKeyChecking=yes",
    "UpdateHostKeys=no",
    "VerifyHostKeyDNS=no",
    "NoHostAuthenticationForLocalhost=no",
    // Nothing of ours is at the node's disposal.
    "ForwardAgent=no",
    "ForwardX11=no",
    "GSSAPIDelegateCredentials=no",
    "AddKeysToAgent=no",
    "Tunnel=no",
    "ClearAllForwardings=yes",
    "PermitLocalCommand=no",
    "RemoteCommand=none",
    // One connection, which ends with us.
    "ControlPersist=no",
    "ForkAfterAuthentication=no",
    "StdinNull=no",
    "ServerAliveInterval=5",
    // The sockets of forwardings are ours alone, and replace those of a connection before.
    "StreamLocalBindMask=0177",
    "StreamLocalBindUnlink=yes",
    // "open failed" is said at this level.
    "LogLevel=INFO",
];

/// `ssh` that logs in, speaks SFTP on its standard input and output, and listens at `control` for
/// what else shall go over the same connection.
pub(super) fn connect(spec: &SshSpec, control: &Path) -> Command {
    let mut command = quiet(&spec.program);
    command.arg("-aTxM").arg("-S").arg(control);
    for option in ALWAYS {
        command.args(["-o", option]);
    }
    command.arg("-o").arg(format!("ConnectTimeout={}", u32::from(spec.connect_timeout) + 1));
    if let Some(config) = &spec.config {
        command.arg("-F").arg(config);
    }
    if let Some(user) = &spec.user {
        command.arg("-l").arg(user);
    }
    if let Some(port) = spec.port {
        command.arg("-p").arg(port.to_string());
    }
    if let Some(key) = &spec.identity_file {
        command.args(["-o", "IdentitiesOnly=yes"]);
        command.arg("-o").arg(format!("IdentityFile={}", quoted(key)));
    }
    if let Some(known_hosts) = &spec.known_hosts {
        command.arg("-o").arg(format!("UserKnownHostsFile={}", quoted(known_hosts)));
        command.args(["-o", "GlobalKnownHostsFile=/dev/null"]);
    }
    command.arg("-s").arg("--").arg(&spec.host).arg("sftp");
    command
}

/// `ssh` that has the connection at `control` do something; it never makes one itself.
pub(super) fn over(spec: &SshSpec, control: &Path, what: &[&str]) -> Command {
    let mut command = quiet(&spec.program);
    command.args(["-F", "none", "-o", "BatchMode=yes", "-o", "ProxyCommand=false"]);
    // The name is needed, and not looked at.
    command.arg("-S").arg(control).args(what).args(["--", "pgward"]);
    command
}

fn quiet(program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .env_remove("SSH_ASKPASS")
        .env("SSH_ASKPASS_REQUIRE", "never")
        // Ctrl-C is for us to act on: what was begun over the connection must be taken back over it.
        .process_group(0)
        .kill_on_drop(true);
    command
}

/// A path as the value of an option; [`SshSpec::check`] refuses what cannot be written so.
fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display().to_string().replace('%', "%%"))
}

/// What `ssh` said, in one line without its ornaments.
pub(super) fn gist(said: &str) -> String {
    let lines =
        said.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('@'));
    let gist = lines.collect::<Vec<_>>().join("; ");
    if gist.is_empty() { "ssh said nothing".to_owned() } else { gist }
}

/// Why there is no connection, by what `ssh` said; it says it in English everywhere.
pub(super) fn reason(place: &str, said: &str) -> SshError {
    let place = place.to_owned();
    let has = |text: &str| said.contains(text);
    let said_in_short = gist(said);
    if has("IDENTIFICATION HAS CHANGED") || has("REVOKED HOST KEY") {
        SshError::ChangedHost { place, said: said_in_short }
    } else if has("Host key verification failed") {
        SshError::UnknownHost { place, said: said_in_short }
    } else if has("Permission denied") || has("Too many authentication failures") {
        SshError::Denied { place, said: said_in_short }
    } else if has("subsystem request failed") {
        SshError::NoSftp { place, said: said_in_short }
    } else {
        SshError::Unreachable { place, said: said_in_short }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_keeps_its_words_apart() {
        let mut spec = SshSpec::new("db1");
        spec.identity_file = Some("/keys/of %u/id".into());
        spec.known_hosts = Some("/known hosts".into());
        let command = connect(&spec, Path::new("/tmp/x/c0"));
        let words: Vec<_> =
            command.as_std().get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        for word in [
            "StrictHostKeyChecking=yes",
            "BatchMode=yes",
            "ForwardAgent=no",
            "IdentityFile=\"/keys/of %%u/id\"",
            "UserKnownHostsFile=\"/known hosts\"",
        ] {
            assert!(words.iter().any(|other| other == word), "{word} in {words:?}");
        }
        assert_eq!(words[words.len() - 4..], ["-s", "--", "db1", "sftp"]);
    }

    #[test]
    fn what_ssh_says_is_understood() {
        let changed = "@@@@@@\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n@@@@@@\n\
                       IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!\n\
                       Host key verification failed.\n";
        assert!(matches!(reason("a", changed), SshError::ChangedHost { said, .. }
            if said.starts_with("IT IS POSSIBLE") && said.ends_with("failed.")));
        let unknown = "No ED25519 host key is known for db1 and you have requested strict checking.\n\
                       Host key verification failed.\n";
        assert!(matches!(reason("a", unknown), SshError::UnknownHost { .. }));
        let denied = "root@db1: Permission denied (publickey).";
        assert!(matches!(reason("a", denied), SshError::Denied { .. }));
        assert!(matches!(reason("a", ""), SshError::Unreachable { said, .. }
            if said == "ssh said nothing"));
    }
}
