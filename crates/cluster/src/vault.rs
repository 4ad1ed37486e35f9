//! Secrets by name: what a plan refers to and never holds.

use std::{collections::BTreeMap, fmt};

use zeroize::Zeroizing;

/// Keys and passwords in memory, by the names that a plan has for them; wiped on drop. A plan can be
/// shown, compared and stored: its secrets are only here.
#[derive(Clone, Default)]
pub struct Vault {
    secrets: BTreeMap<String, Zeroizing<Vec<u8>>>,
}

impl Vault {
    /// Keeps a secret under a name, in place of what was there.
    pub fn insert(&mut self, name: impl Into<String>, secret: Zeroizing<Vec<u8>>) {
        self.secrets.insert(name.into(), secret);
    }

    /// The secret of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.secrets.get(name).map(|secret| secret.as_slice())
    }
}

/// Names only.
impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.secrets.keys()).finish()
    }
}
