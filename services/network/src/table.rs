//! The firewall's table, and what the kernel made of it when it was written: nft lists a table in other words than it was
//! given, and in other words again after an update, so what is compared is one listing with another.

use crate::{
    error::{MachineError, NetworkError},
    firewall,
    machine::Machine,
    places::Places,
};
use host::files::{self, FileError};
use model::{NetworkSpec, TenantName};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// What was written last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Written {
    places: Places,
    rules: String,
    listing: Value,
}

/// The table, remembered in a file.
#[derive(Debug, Clone)]
pub struct Table {
    path: PathBuf,
}

/// The table at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    places: Places,
    intact: bool,
}

impl View {
    /// Whether the table serves this tenant as `spec` says.
    #[must_use]
    pub fn hold(&self, tenant: &TenantName, spec: &NetworkSpec) -> bool {
        self.intact && self.places.get(tenant) == Some(spec)
    }
}

impl Table {
    /// The table that is remembered in this file.
    #[must_use]
    pub fn remembered_in(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Makes the table what these places need, in one transaction. Returns whether it was not.
    ///
    /// # Errors
    /// The old table stays, or nothing is remembered of the new one and the next call writes it again.
    pub async fn ensure(&self, machine: &impl Machine, places: &Places) -> Result<bool, NetworkError> {
        if places.is_empty() {
            let held = machine.table().await?.is_some();
            if held {
                machine.load(firewall::absent()).await?;
            }
            return Ok(files::remove(&self.path)? | held);
        }
        let rules = firewall::render(places);
        // Other rules than the last ones are loaded whatever the kernel has.
        if let Some(written) = self.read()?.filter(|written| written.rules == rules)
            && machine.table().await?.map(|listing| firewall::normal(&listing)).as_ref() == Some(&written.listing)
        {
            // Ports that wake a tenant are no rules.
            if written.places != *places {
                self.write(&Written { places: places.clone(), ..written })?;
            }
            return Ok(false);
        }
        machine.load(&rules).await?;
        let listing = machine.table().await?.ok_or(MachineError::Vanished)?;
        self.write(&Written { places: places.clone(), rules, listing: firewall::normal(&listing) })?;
        Ok(true)
    }

    /// Looks at the table.
    ///
    /// # Errors
    /// It cannot be listed.
    pub async fn view(&self, machine: &impl Machine) -> Result<View, NetworkError> {
        let live = machine.table().await?.map(|listing| firewall::normal(&listing));
        let Some(written) = self.read()? else { return Ok(View { places: Places::new(), intact: false }) };
        // An update may render other rules for the same places.
        let intact = live.as_ref() == Some(&written.listing) && written.rules == firewall::render(&written.places);
        Ok(View { places: written.places, intact })
    }

    /// What cannot be read was never written: the next call writes it again.
    fn read(&self) -> Result<Option<Written>, FileError> {
        match fs::read(&self.path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(FileError::new("read", &self.path)(cause)),
        }
    }

    fn write(&self, written: &Written) -> Result<bool, FileError> {
        let bytes =
            serde_json::to_vec(written).map_err(|cause| FileError::new("serialise", &self.path)(cause.into()))?;
        files::write_atomically(&self.path, &bytes, 0o644)
    }
}
