//! What commands print with `--format json` is valid by their schemas, whatever the answer is.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::support::{Outcome, Place};

const SCHEMAS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas");

/// Every command that needs no server, in each way that it can end.
#[test]
fn what_is_printed_is_valid() -> Outcome {
    let place = Place::new()?;
    place.write("good.conf", "local all all peer\nhostssl all all 10.0.0.0/8 cert\n", 0o600)?;
    place.write("bad.conf", "local all all pear\nhost all all ::/0 trust\n", 0o600)?;
    place.write("pg_ident.conf", "m /a all\n", 0o600)?;
    place.write("postgresql.conf", "port = 5433\nssl = maybe\n", 0o600)?;
    place.write("pgpass", "db1:*:*:bob:pw # x\n", 0o600)?;
    place.write("pw", "pw\n", 0o600)?;
    let commands = "\
        hba check good.conf|hba check bad.conf|hba check pg_ident.conf|hba check nothing|\
        hba lint good.conf|hba lint bad.conf|hba lint pg_ident.conf|\
        hba fmt good.conf|hba fmt good.conf --check|\
        hba decide good.conf --user x|hba decide good.conf --user x --address ::1|\
        hba decide good.conf --user x --address 10.1.1.1 --tls|hba decide bad.conf --user x|\
        hba diff good.conf good.conf|hba diff good.conf bad.conf|\
        hba upgrade good.conf --from 12|hba upgrade bad.conf --from 12 --to 13|\
        hba add good.conf local+all+all+md5 --last -n|hba add good.conf local+all+all+peer|\
        hba remove good.conf --line 1 -n|hba remove good.conf --line 9|\
        conf get postgresql.conf port|conf get postgresql.conf work_mem|conf get postgresql.conf x|\
        conf set postgresql.conf work_mem 8MB|conf set postgresql.conf work_mem x|\
        conf unset postgresql.conf work_mem|conf check postgresql.conf|\
        conf explain work_mem|conf explain port --file postgresql.conf|\
        conf explain seq_page_cost|conf explain wal_level|conf explain x|\
        passfile check pgpass|passfile lookup pgpass --user bob --host db1|\
        passfile lookup pgpass --user eve|passfile lookup pgpass --user bob --host db1 --reveal|\
        passfile add pgpass --host db2 --password-file pw|\
        passfile remove pgpass --host db2|passfile remove pgpass --line 99|\
        pki ca --name x|pki ca --name x|pki issue --host a --role b|pki request --role c|\
        pki sign c.csr|pki sign c.csr --allow-role c|pki chain b.crt ca.crt|pki chain b.crt|\
        pki check b.crt --trust ca.crt|pki check b.crt --trust ca.crt --at 2000-01-01|\
        pki inspect b.crt b.key c.csr|pki inspect pw|\
        scram secret --password-file pw|scram inspect pw|scram verify pw --password-file pw|\
        init x.toml|init x.toml|init -|explain|explain HBA001|explain x|completions fish|man pages|\
        plan nothing.toml|verify nothing.toml|apply nothing.toml|status nothing.toml|\
        inspect nothing.toml|rotate ca nothing.toml|\
        resume nothing.toml|rollback nothing.toml|abandon nothing.toml";
    let mut seen = BTreeSet::new();
    for command in commands.split('|') {
        let arguments = command.split_whitespace().map(|word| word.replace('+', " "));
        let said = place.run(arguments.chain(["--format".to_owned(), "json".to_owned()]))?;
        let value = said.json().map_err(|error| format!("{command}: {error}"))?;
        let schema = value["schema"].as_str().unwrap_or_default().to_owned();
        if !value["result"].is_null() {
            seen.insert(schema);
        }
    }
    // These take the secret that was made; the rest takes servers: `live` and `demo`.
    let said = place.run(["scram", "secret", "--password-file", "pw"])?;
    place.write("secret", said.out, 0o600)?;
    for arguments in [
        &["scram", "inspect", "secret"][..],
        &["scram", "verify", "secret", "--password-file", "pw"],
    ] {
        let value = place.run(arguments.iter().chain(&["--format", "json"]))?.json()?;
        seen.insert(value["schema"].as_str().unwrap_or_default().to_owned());
    }
    let live = [
        "envelope", "demo", "plan", "apply", "verify", "rotate", "status", "inspect", "resume",
        "rollback", "abandon",
    ];
    seen.extend(live.map(str::to_owned));
    let schemas: BTreeSet<String> = std::fs::read_dir(SCHEMAS)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".json").map(str::to_owned))
        .collect();
    assert_eq!(schemas, seen, "every schema was used, and every answer has one");
    Ok(())
}

/// A command line that cannot be understood is told in the way that it asks for, too.
#[test]
fn wrong_command_lines_are_told_as_json() -> Outcome {
    let place = Place::new()?;
    for (line, schema, words) in [
        ("--format json", "pgward", "'pgward' requires a subcommand"),
        ("--format json hba", "hba", "no command is given"),
        ("plan --nonsense --format json", "plan", "unexpected argument '--nonsense' found"),
        ("--format=json hba decide", "hba-decide", "not provided: --user <ROLE> <FILE>"),
        ("conf check x --pg 99 --format json", "conf-check", "the majors 12 to 18 are"),
    ] {
        let said = place.run(line.split(' '))?;
        let told = said.json().map_err(|error| format!("{line}: {error}"))?;
        assert_eq!((said.code, said.talk.as_str()), (Some(1), ""), "{line}: {said:?}");
        assert_eq!((&told["schema"], &told["outcome"]), (&schema.into(), &"error".into()));
        let message = told["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains(words), "{line}: {message}");
    }
    let said = place.run(["plan", "--nonsense", "--log-format", "json"])?;
    let told: Value = serde_json::from_str(&said.talk)?;
    assert_eq!((said.code, said.out.as_str(), &told["level"]), (Some(1), "", &"error".into()));
    // What is for people stays so.
    let said = place.run(["plan", "--nonsense", "--", "--format", "json"])?;
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{said:?}");
    assert!(said.talk.contains("Usage: pgward plan [OPTIONS] [FILE]\n"), "{said:?}");
    Ok(())
}

/// Objects of a schema that would let any key pass.
fn open_objects(schema: &Value, path: &str, found: &mut Vec<String>) {
    match schema {
        Value::Object(keys) => {
            let types = &schema["type"];
            let is_object = *types == "object"
                || types.as_array().is_some_and(|types| types.contains(&"object".into()));
            let rest = &schema["additionalProperties"];
            if is_object && *rest != false && !rest.is_object() {
                found.push(path.to_owned());
            }
            for (key, value) in keys {
                open_objects(value, &format!("{path}/{key}"), found);
            }
        }
        Value::Array(all) => all.iter().for_each(|one| open_objects(one, path, found)),
        _ => {}
    }
}

/// Each schema stands by itself: what several describe they describe alike. Every key is listed.
#[test]
fn schemas_list_every_key_and_agree() -> Outcome {
    let mut definitions = BTreeMap::<String, Value>::new();
    for entry in std::fs::read_dir(SCHEMAS)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let schema: Value = serde_json::from_str(&std::fs::read_to_string(&path)?)?;
        let mut open = Vec::new();
        open_objects(&schema, "", &mut open);
        // What the envelope holds has the schema that it names.
        open.retain(|at| !path.ends_with("envelope.json") || at != "/properties/result");
        assert!(open.is_empty(), "{}: {open:?}", path.display());
        for (name, definition) in schema["$defs"].as_object().into_iter().flatten() {
            // A finding's place, or a setting's.
            if name != "place" {
                let known = definitions.entry(name.clone()).or_insert_with(|| definition.clone());
                assert_eq!(known, definition, "{}: {name}", path.display());
            }
        }
    }
    assert!(definitions.len() > 5, "{definitions:?}");
    Ok(())
}
