//! What each parameter of an administrator's connection string does here: it holds, it has no meaning,
//! or it is refused in words. None is passed over in silence.
//!
//! Source: PostgreSQL 18, documentation, "Parameter Key Words"; `fe-connect.c`.

use crate::conninfo::ConnInfo;

/// What tokio-postgres takes as libpq does.
const TAKEN: [&str; 15] = [
    "application_name",
    "channel_binding",
    "dbname",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "load_balance_hosts",
    "options",
    "password",
    "port",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
];

/// What is read here.
const OURS: [&str; 8] = [
    "connect_timeout",
    "keepalives_count",
    "passfile",
    "require_auth",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
];

/// What has no meaning here, whatever its value: there is no GSSAPI that these could say more of, and
/// libpq itself does nothing with the others any more, or only where a name is missing.
const WITHOUT_MEANING: [&str; 5] =
    ["fallback_application_name", "gssdelegation", "gsslib", "krbsrvname", "sslcompression"];

/// Where some values say what is so anyway, or has no meaning, and others cannot be kept.
const BY_VALUE: [(&str, &[&str], &str); 10] = [
    ("client_encoding", &["auto", "UTF8", "utf8", "UTF-8", "utf-8"], "pgward speaks UTF-8"),
    ("gssencmode", &["disable", "prefer"], "pgward has no GSSAPI"),
    ("max_protocol_version", &["3.0"], "pgward speaks protocol 3.0"),
    ("min_protocol_version", &["3.0"], "pgward speaks protocol 3.0"),
    ("replication", &["false", "off", "no", "0"], "pgward asks by SQL"),
    // Every certificate that there is is sent.
    (
        "sslcertmode",
        &["allow", "disable"],
        "whether the server asks for a certificate is not looked at",
    ),
    ("sslnegotiation", &["postgres", "direct"], "it is postgres or direct"),
    ("sslsni", &["1"], "the server's name is always sent"),
    ("ssl_max_protocol_version", &["TLSv1.3"], "pgward speaks TLS 1.2 and 1.3"),
    ("ssl_min_protocol_version", &["TLSv1", "TLSv1.1", "TLSv1.2"], "pgward speaks TLS 1.2 and 1.3"),
];

/// What cannot be kept, whatever its value, and what to do instead.
const REFUSED: [(&str, &str); 10] = [
    (
        "requirepeer",
        "leave it out, and see to it that nobody else may write in the socket's folder",
    ),
    ("scram_client_key", "give a password, or passfile"),
    ("scram_server_key", "give a password, or passfile"),
    ("service", "write out what the service says"),
    ("servicefile", "write out what the service says"),
    ("sslcrl", "leave it out"),
    ("sslcrldir", "leave it out"),
    ("sslkeylogfile", "leave it out"),
    ("sslpassword", "give a key without a pass phrase, mode 0600"),
    ("sslrootcert=system", "name the file with the authority's certificate"),
];

/// What is wrong with the parameters, if anything is.
///
/// # Errors
/// The first that cannot be kept, in words without its value where that may be a secret.
pub(super) fn check(conninfo: &ConnInfo) -> Result<(), String> {
    for (keyword, value) in conninfo.iter() {
        if value.is_empty() && !TAKEN.contains(&keyword) {
            // As if it were not there.
            continue;
        }
        let is = |name: &str| match name.split_once('=') {
            Some((name, of)) => name == keyword && of == value,
            None => name == keyword,
        };
        if let Some((name, instead)) = REFUSED.iter().find(|(name, _)| is(name)) {
            return Err(format!("{name} cannot be kept by pgward: {instead}"));
        }
        if TAKEN.contains(&keyword) || OURS.contains(&keyword) || WITHOUT_MEANING.contains(&keyword)
        {
            continue;
        }
        let Some((_, kept, why)) = BY_VALUE.iter().find(|(name, ..)| *name == keyword) else {
            return Err(format!("{keyword} is no parameter that pgward knows"));
        };
        if !kept.contains(&value) {
            let kept = kept.join(", ");
            return Err(format!(
                "{keyword}={value} cannot be kept ({why}): {kept}, or leave it out"
            ));
        }
    }
    let given = |keyword| conninfo.get(keyword).filter(|value| !value.is_empty());
    let is_weak = matches!(given("sslmode").unwrap_or("prefer"), "disable" | "allow" | "prefer");
    if given("sslnegotiation") == Some("direct") && is_weak {
        return Err("sslnegotiation=direct needs sslmode=require or more".to_owned());
    }
    Ok(())
}

/// What tokio-postgres is given of them.
pub(super) fn taken(conninfo: &ConnInfo) -> ConnInfo {
    let mut taken = ConnInfo::default();
    for (keyword, value) in conninfo.iter() {
        let keyword = match keyword {
            // Its own name for it.
            "keepalives_count" => "keepalives_retries",
            "sslnegotiation" => keyword,
            _ if TAKEN.contains(&keyword) => keyword,
            _ => continue,
        };
        // An empty value is libpq's default.
        if !value.is_empty() {
            taken.set(keyword, value);
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_is_passed_over_in_silence() -> Result<(), Box<dyn std::error::Error>> {
        for kept in [
            "host=a port=1 user=b dbname=c password=d sslmode=verify-full sslrootcert=/r",
            "host=a channel_binding=require require_auth=scram-sha-256 sslmode=require",
            "host=a gssencmode=disable krbsrvname=postgres sslcompression=0 sslsni=1",
            "host=a ssl_min_protocol_version=TLSv1.2 ssl_max_protocol_version=''",
            "host=a sslnegotiation=direct sslmode=require sslcertmode=disable",
            "host=a target_session_attrs=read-write keepalives_count=3 client_encoding=UTF8",
        ] {
            assert_eq!(check(&kept.parse()?), Ok(()), "{kept}");
        }
        for (refused, why) in [
            ("gssencmode=require", "gssencmode=require cannot be kept (pgward has no GSSAPI)"),
            ("ssl_min_protocol_version=TLSv1.3", "pgward speaks TLS 1.2 and 1.3"),
            ("ssl_max_protocol_version=TLSv1.2", "pgward speaks TLS 1.2 and 1.3"),
            ("sslcertmode=require", "sslcertmode=require cannot be kept"),
            ("sslsni=0", "the server's name is always sent"),
            ("sslrootcert=system", "name the file with the authority's certificate"),
            ("service=x", "write out what the service says"),
            ("sslpassword=hunter2", "sslpassword cannot be kept by pgward: give a key without"),
            ("requirepeer=postgres", "requirepeer cannot be kept"),
            ("sslnegotiation=direct", "sslnegotiation=direct needs sslmode=require or more"),
            ("replication=database", "pgward asks by SQL"),
            ("oauth_issuer=x", "oauth_issuer is no parameter that pgward knows"),
            ("hots=x", "hots is no parameter that pgward knows"),
        ] {
            let refusal = check(&format!("host=a {refused}").parse()?).err().unwrap_or_default();
            assert!(refusal.contains(why) && !refusal.contains("hunter2"), "{refused}: {refusal}");
        }
        Ok(())
    }

    #[test]
    fn what_libpq_calls_otherwise() -> Result<(), Box<dyn std::error::Error>> {
        let conninfo = "host=a keepalives_count=3 require_auth=none dbname='' sslmode=allow";
        assert_eq!(taken(&conninfo.parse()?).to_text().as_str(), "host=a keepalives_retries=3");
        Ok(())
    }
}
