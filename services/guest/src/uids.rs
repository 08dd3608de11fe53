//! The uids of the tenant, from the record that its processes are started by: the tenant manager's, handed over by the
//! service manager as a credential, so that this process sees no other tenant's.

use model::identity::UidRange;
use runtime::record;
use serde::Deserialize;
use std::{io, path::Path};
use tracing::warn;

/// What matters here of the tenant manager's record. The rest may change without us.
#[derive(Debug, Deserialize)]
struct Compiled {
    spec: Spec,
}

#[derive(Debug, Deserialize)]
struct Spec {
    uids: UidRange,
}

/// The uids that the tenant with this record has. None as long as there is no such record.
#[must_use]
pub fn uids_of(path: &Path) -> Option<UidRange> {
    match record::read::<Compiled>(path) {
        Ok(compiled) => Some(compiled.spec.uids),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => None,
        Err(cause) => {
            warn!("cannot read the tenant's uids in {}: {cause}", path.display());
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::records::{Record, Records};
    use model::{InstanceSpec, TenantName, desired::Limits, identity::Slot};

    #[test]
    fn the_tenant_managers_record_is_understood() {
        let directory = tempfile::tempdir().unwrap();
        let records: Records<InstanceSpec> = Records::in_directory(directory.path());
        let web: TenantName = "web".parse().unwrap();
        assert_eq!(uids_of(&records.path(&web)), None);
        let slot = Slot::new(7).unwrap();
        let spec = InstanceSpec {
            revision: "0123456789012345678901234567890123456789".parse().unwrap(),
            image: "debian".parse().unwrap(),
            uids: slot.uids(),
            bridge: slot.bridge(),
            mac: slot.mac(),
            address: slot.address(),
            limits: Limits::default(),
            inherited: model::inherited::Inherited::default(),
            security: model::security::Security::default(),
            sysext: Vec::new(),
            services: Vec::new(),
            secrets: Vec::new(),
            depends_on: Vec::new(),
            hooks: Vec::new(),
            wake: None,
        };
        records.write(&web, &Record { generation: 1, spec }).unwrap();
        assert_eq!(uids_of(&records.path(&web)), Some(slot.uids()));
    }

    #[test]
    fn a_record_that_says_nothing_gives_nobody_a_right() {
        let directory = tempfile::tempdir().unwrap();
        let record = directory.path().join("web.json");
        for content in ["", "{}", "[]", r#"{"generation":1,"spec":{"uids":{"first":-1,"count":1}}}"#] {
            std::fs::write(&record, content).unwrap();
            assert_eq!(uids_of(&record), None, "{content}");
        }
    }
}
