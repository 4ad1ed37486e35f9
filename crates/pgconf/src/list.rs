//! Lists of a configuration: `shared_preload_libraries`, `listen_addresses`, `search_path` ...

use crate::{
    Configuration, ListKind, Outcome,
    catalogue::{join_list, split_list},
    edit::EditError,
};

impl Configuration {
    /// The elements of a setting that is a list: of the value that the files give it, else of its
    /// default.
    ///
    /// # Errors
    /// [`EditError::NotAList`], [`EditError::ListSyntax`]
    pub fn list(&self, name: impl AsRef<[u8]>) -> Result<Vec<Vec<u8>>, EditError> {
        let name = name.as_ref();
        let kind = kind_of(name)?;
        let value = self.value_or_default(name).unwrap_or_default();
        Ok(split_list(self.version(), kind, &value)?)
    }

    /// Appends an element to a list, unless it is there already: then no byte changes. What the list
    /// has stays as it is written. It begins with the value that counts now, also where that is
    /// `postgresql.auto.conf`'s or the default.
    ///
    /// ```
    /// # use pg_version::PgVersion;
    /// # use pgconf::{Change, Configuration};
    /// # let mut files = textfile::MemoryFiles::default();
    /// files.insert("/pg/postgresql.conf", "shared_preload_libraries = 'timescaledb'\n");
    /// let mut conf = Configuration::read(&files, "/pg/postgresql.conf", None, PgVersion::V17);
    /// conf.add_to_list("shared_preload_libraries", "pg_stat_statements")?;
    /// assert_eq!(
    ///     conf.get("shared_preload_libraries").as_deref(),
    ///     Some(&b"timescaledb, pg_stat_statements"[..])
    /// );
    /// let again = conf.add_to_list("shared_preload_libraries", "timescaledb")?;
    /// assert_eq!(again.change, Change::None);
    /// # Ok::<(), pgconf::EditError>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Configuration::set`] and [`Configuration::list`].
    pub fn add_to_list(
        &mut self,
        name: impl AsRef<[u8]>,
        element: impl AsRef<[u8]>,
    ) -> Result<Outcome, EditError> {
        let (name, element) = (name.as_ref(), element.as_ref());
        let kind = kind_of(name)?;
        if self.list(name)?.contains(&self.as_element(kind, element)?) {
            return self.leave(name);
        }
        let mut value = self.value_or_default(name).unwrap_or_default().trim_ascii_end().to_vec();
        if !value.is_empty() {
            value.extend_from_slice(b", ");
        }
        value.extend(join_list(kind, [element]));
        self.set(name, value)
    }

    /// Takes an element out of a list; if it is not there no byte changes.
    ///
    /// # Errors
    /// Those of [`Configuration::set`] and [`Configuration::list`].
    pub fn remove_from_list(
        &mut self,
        name: impl AsRef<[u8]>,
        element: impl AsRef<[u8]>,
    ) -> Result<Outcome, EditError> {
        let (name, element) = (name.as_ref(), element.as_ref());
        let kind = kind_of(name)?;
        let element = self.as_element(kind, element)?;
        let mut list = self.list(name)?;
        let before = list.len();
        list.retain(|present| *present != element);
        if list.len() == before {
            return self.leave(name);
        }
        self.set(name, join_list(kind, list))
    }

    /// What the server takes an element for: it cuts long names.
    fn as_element(&self, kind: ListKind, element: &[u8]) -> Result<Vec<u8>, EditError> {
        let mut list = split_list(self.version(), kind, &join_list(kind, [element]))?;
        Ok(list.pop().unwrap_or_default())
    }
}

fn kind_of(name: &[u8]) -> Result<ListKind, EditError> {
    ListKind::of(name).ok_or_else(|| EditError::NotAList { name: name.to_vec() })
}
