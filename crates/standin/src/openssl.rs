//! Certificates by openssl, as the documents have them made by hand.

use std::path::Path;

use pgtest::Run;
use tempfile::TempDir;

use super::{Error, Result, node::file};

/// A certificate authority in a folder of its own.
#[derive(Debug)]
pub struct Ca {
    folder: TempDir,
    /// Its certificate, PEM.
    pub cert: String,
}

/// A certificate and its key, PEM.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate.
    pub cert: String,
    /// The key, PKCS #8.
    pub key: String,
}

impl Ca {
    /// A self-signed root.
    pub fn create(common_name: &str) -> Result<Self> {
        let folder = tempfile::tempdir().map_err(|error| Error::File("a folder".into(), error))?;
        let mut ca = Self { folder, cert: String::new() };
        let subject = format!("/CN={common_name}");
        ca.openssl(&[
            &["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"],
            &["-days", "30", "-subj", &subject, "-keyout", "ca.key", "-out", "ca.crt"],
            &["-addext", "keyUsage=critical,keyCertSign,cRLSign"],
        ])?;
        ca.cert = ca.read("ca.crt")?;
        Ok(ca)
    }

    /// The authority whose certificate and key are in these files.
    pub fn load(cert: &Path, key: &Path) -> Result<Self> {
        let folder = tempfile::tempdir().map_err(|error| Error::File("a folder".into(), error))?;
        for (path, name) in [(cert, "ca.crt"), (key, "ca.key")] {
            std::fs::copy(path, folder.path().join(name)).map_err(file(path))?;
        }
        let mut ca = Self { folder, cert: String::new() };
        ca.cert = ca.read("ca.crt")?;
        Ok(ca)
    }

    /// A server's certificate; `names` as `DNS:…` and `IP:…`.
    pub fn server(&self, common_name: &str, names: &[&str]) -> Result<Certificate> {
        let names = format!("subjectAltName={}\n", names.join(","));
        self.issue(common_name, &format!("extendedKeyUsage=serverAuth\n{names}"))
    }

    /// A client's certificate; the name is the role.
    pub fn client(&self, role: &str) -> Result<Certificate> {
        self.issue(role, "extendedKeyUsage=clientAuth\n")
    }

    fn issue(&self, common_name: &str, extensions: &str) -> Result<Certificate> {
        let subject = format!("/CN={common_name}");
        let path = self.folder.path().join("extensions");
        std::fs::write(&path, format!("basicConstraints=critical,CA:FALSE\n{extensions}"))
            .map_err(file(&path))?;
        self.openssl(&[
            &["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"],
            &["-subj", &subject, "-keyout", "leaf.key", "-out", "leaf.csr"],
        ])?;
        self.openssl(&[
            &["x509", "-req", "-in", "leaf.csr", "-CA", "ca.crt", "-CAkey", "ca.key"],
            &["-CAcreateserial", "-days", "30", "-extfile", "extensions", "-out", "leaf.crt"],
        ])?;
        Ok(Certificate { cert: self.read("leaf.crt")?, key: self.read("leaf.key")? })
    }

    fn openssl(&self, words: &[&[&str]]) -> Result {
        Run::new("openssl").args(words.concat()).folder(self.folder.path()).check()?;
        Ok(())
    }

    fn read(&self, name: &str) -> Result<String> {
        let path = self.folder.path().join(name);
        std::fs::read_to_string(&path).map_err(file(&path))
    }
}
