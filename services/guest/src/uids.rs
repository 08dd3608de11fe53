//! The uids of the tenant, from the record that its processes are started by: the tenant manager's, handed over by the
//! service manager as a credential, so that this process sees no other tenant's.

use model::identity::UidRange;
use serde::Deserialize;
use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};
use tracing::warn;

/// More than any record has.
const LARGEST_RECORD: u64 = 1 << 20;

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
pub fn uids_of(record: &Path) -> Option<UidRange> {
    match read(record) {
        Ok(uids) => Some(uids),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => None,
        Err(cause) => {
            warn!("cannot read the tenant's uids in {}: {cause}", record.display());
            None
        }
    }
}

fn read(record: &Path) -> io::Result<UidRange> {
    let mut bytes = Vec::new();
    File::open(record)?.take(LARGEST_RECORD).read_to_end(&mut bytes)?;
    let compiled: Compiled = serde_json::from_slice(&bytes)?;
    Ok(compiled.spec.uids)
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
            security: model::security::Security::default(),
            sysext: Vec::new(),
            services: Vec::new(),
            secrets: Vec::new(),
            depends_on: Vec::new(),
            hooks: Vec::new(),
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
