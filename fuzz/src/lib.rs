//! The fuzz targets, as functions that also run on the checked-in corpus.

pub mod hba;
pub mod passfile;
pub mod pgconf;
pub mod pki;
pub mod scram;

/// A target: takes any bytes, panics if it finds something wrong.
pub type Target = fn(&[u8]);

/// Every target, by the name of its corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("hba_decide", hba::decide),
    ("hba_edit", hba::edit),
    ("hba_format", hba::format),
    ("hba_interpret", hba::interpret),
    ("hba_roundtrip", hba::roundtrip),
    ("passfile_edit", passfile::edit),
    ("passfile_lookup", passfile::lookup),
    ("pgconf_configuration", pgconf::configuration),
    ("pgconf_edit", pgconf::edit),
    ("pki_chain", pki::chain),
    ("pki_heap", pki::heap),
    ("pki_request", pki::request),
    ("scram_certificate", scram::certificate),
    ("scram_client", scram::client),
    ("scram_saslprep", scram::prepare),
    ("scram_secret", scram::secret),
    ("scram_server", scram::server),
];

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    #[test]
    fn corpus() {
        for (name, target) in TARGETS {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
            let mut inputs = 0;
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                println!("{}", path.display());
                target(&fs::read(path).unwrap());
                inputs += 1;
            }
            assert!(inputs > 0, "{} is empty", folder.display());
            target(b"");
        }
    }
}
