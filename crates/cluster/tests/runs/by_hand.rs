//! What somebody changes by hand after a run was applied stays when it is taken back, and is named.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
};

use cluster::{
    Error,
    run::{self, Outcome, State},
    spec::Mode,
};
use pg_version::PgVersion;

use crate::support::{Bench, SHORT, Tested};

fn kept_of(outcome: Outcome) -> Vec<String> {
    match outcome {
        Outcome::TakenBack { kept } => kept,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_by_hand_stays() -> Tested {
    let bench = Bench::start(PgVersion::V18, Mode::Scram, 2).await?;
    let found = bench.state()?;
    assert_eq!(bench.apply().await?, Outcome::Applied);

    let (one, two) = (bench.data("node-1")?, bench.data("node-2")?);
    let hba = one.join("pg_hba.conf");
    let text = fs::read_to_string(&hba)?;
    fs::write(&hba, format!("# theirs, before\n{text}# theirs, behind\n"))?;
    fs::set_permissions(two.join("postgresql.conf"), fs::Permissions::from_mode(0o640))?;
    fs::remove_file(two.join("pgward/root.crt"))?;
    fs::write(one.join("pgward/root.crt"), "theirs\n")?;
    fs::write(two.join("pgward/notes.txt"), "theirs\n")?;
    bench.query("node-2", "ALTER ROLE replicator PASSWORD 'theirs'")?;

    let kept = kept_of(bench.rollback().await?);
    let named = |what: &str| kept.iter().any(|kept| kept.contains(what));
    assert!(
        named("node-1: ") && named("pg_hba.conf was changed by hand, and keeps that"),
        "{kept:#?}"
    );
    assert!(named("postgresql.conf has another mode or owner by now"), "{kept:#?}");
    assert!(named("pgward/root.crt is another file by now"), "{kept:#?}");
    assert!(named("the role replicator has another password by now"), "{kept:#?}");
    assert_eq!(kept.len(), 4, "{kept:#?}");
    assert_eq!(run::status(bench.spec())?.runs[0].kept.len(), 4);

    // What is theirs is there, and what was ours is not.
    let before = text_of(&found, "node-1 pg_hba.conf")?;
    let now = fs::read_to_string(&hba)?;
    assert_eq!(now, format!("# theirs, before\n{before}# theirs, behind\n"));
    assert_eq!(fs::metadata(two.join("postgresql.conf"))?.mode() & 0o777, 0o640);
    assert_eq!(fs::read_to_string(one.join("pgward/root.crt"))?, "theirs\n");
    assert_eq!(names(&one)?, ["root.crt"]);
    assert_eq!(names(&two)?, ["notes.txt"]);
    bench.replicates().await
}

/// The bytes of a file, without mode and owner.
fn text_of(found: &std::collections::BTreeMap<String, String>, key: &str) -> Tested<String> {
    let text = found.get(key).ok_or("not found")?;
    Ok(text.splitn(3, ' ').nth(2).ok_or("no text")?.to_owned())
}

fn names(data: &std::path::Path) -> Tested<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(data.join("pgward"))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// What cannot be taken back holds up what it needs, and nothing else; when it is in order, the rest
/// is taken back.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_way_holds_up_what_it_needs() -> Tested {
    let bench = Bench::start(PgVersion::V18, Mode::Cert, 3).await?;
    let found = bench.state()?;
    assert_eq!(bench.apply().await?, Outcome::Applied);

    // Somebody gave a link another connection string, with our credentials.
    let query = "SELECT subconninfo FROM pg_subscription WHERE subname = 'node_3_from_node_2'";
    let conninfo = bench.query("node-3", query)?.ok_or("no link")?;
    let alter = |conninfo: &str| {
        format!(
            "ALTER SUBSCRIPTION node_3_from_node_2 CONNECTION '{conninfo} application_name=theirs'"
        )
    };
    bench.query("node-3", &alter(&conninfo))?;
    let outcome = bench.rollback().await;
    let Err(Error::Left { kept, left }) = &outcome else { panic!("{outcome:?}") };
    assert_eq!(*kept, Vec::<String>::new());
    assert!(left.iter().any(|left| left.contains("was given another connection string by hand")));
    // Where the link starts it needs its certificate, and where it ends its way in.
    assert!(bench.data("node-3")?.join("pgward/client.key").exists());
    assert!(bench.query("node-2", "SHOW ssl")?.as_deref() == Some("on"));
    assert!(!bench.data("node-1")?.join("pgward").exists(), "nothing is in the way there");
    bench.replicates().await?;
    assert_eq!(run::status(bench.spec())?.runs[0].state, State::TakingBack);

    // As it was written: that is ours to take back.
    bench.query(
        "node-3",
        &format!("ALTER SUBSCRIPTION node_3_from_node_2 CONNECTION '{conninfo}'"),
    )?;
    assert_eq!(kept_of(bench.rollback().await?), Vec::<String>::new());
    bench.is_as_found(&found, "in order again").await
}

/// A role and a link that are gone are named, and keep nothing from being taken back.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_is_named() -> Tested {
    let bench = Bench::start(PgVersion::V18, Mode::Scram, 2).await?;
    assert_eq!(bench.apply().await?, Outcome::Applied);
    bench.query("node-2", "ALTER SUBSCRIPTION node_2_from_node_1 DISABLE")?;
    bench.query("node-2", "ALTER SUBSCRIPTION node_2_from_node_1 SET (slot_name = NONE)")?;
    bench.query("node-2", "DROP SUBSCRIPTION node_2_from_node_1")?;
    bench.query("node-2", "ALTER ROLE replicator RENAME TO gone")?;
    // The other link can not log in any more, by no rules.
    let outcome = bench.runner().limits(SHORT).rollback().await;
    let Err(Error::Left { kept, left }) = &outcome else { panic!("{outcome:?}") };
    let named = |what: &str| kept.iter().any(|kept| kept.contains(what));
    assert!(named("the link node_2_from_node_1 is gone"), "{kept:#?}");
    assert!(named("the role replicator is gone"), "{kept:#?}");
    assert!(left[0].contains("node_1_from_node_2 of node-1 does not work"), "{left:#?}");
    assert_eq!(left.len(), 1, "{left:#?}");
    assert!(!bench.data("node-1")?.join("pgward").exists());
    assert!(!bench.data("node-2")?.join("pgward").exists());
    bench.query("node-2", "ALTER ROLE gone RENAME TO replicator")?;
    let again = kept_of(bench.rollback().await?);
    assert!(again.len() == 2 && kept.iter().all(|kept| again.contains(kept)), "{again:#?}");
    Ok(())
}
