//! A tenant's target, and what its container waits for: written before the tenant is started, in the words of a boot, and
//! gone when it was stopped. PID 1 reads them when it first hears of them, and is not reloaded.

use crate::{paths::Paths, sleep, unit_files};
use boot::units;
use host::files::FileError;
use model::{InstanceSpec, TenantName};
use std::collections::BTreeSet;

fn names(tenant: &TenantName) -> [String; 2] {
    [units::target(tenant), format!("{}.d/{}", units::container(tenant), units::DROP_IN)]
}

/// Makes a tenant's files what a boot would make of `spec`.
pub(crate) fn ensure(paths: &Paths, tenant: &TenantName, spec: &InstanceSpec) -> Result<(), FileError> {
    let depends_on: BTreeSet<TenantName> = spec.depends_on.iter().cloned().collect();
    let texts =
        [Some(units::target_text(tenant, &depends_on)), units::order_text(&depends_on, !spec.sysext.is_empty())];
    for (name, text) in names(tenant).iter().zip(texts) {
        match text {
            Some(text) if unit_files::read(paths, name)?.as_ref() == Some(&text) => {}
            Some(text) => unit_files::write(paths, name, &text)?,
            None => unit_files::remove(paths, name)?,
        }
    }
    Ok(())
}

/// Takes a tenant's files away. What was made at boot stays until the units are made again, and then is not.
pub(crate) fn remove(paths: &Paths, tenant: &TenantName) -> Result<(), FileError> {
    let files = names(tenant).into_iter().chain([sleep::drop_in(tenant)]);
    files.into_iter().try_for_each(|name| unit_files::remove(paths, &name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manager::tests::spec;
    use std::fs;

    #[test]
    fn the_files_come_and_go_and_those_of_a_boot_are_enough() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::below(root.path());
        let web: TenantName = "web".parse().unwrap();
        let waiting = InstanceSpec { depends_on: vec!["db".parse().unwrap()], ..spec("a") };
        let [target, order] = names(&web).map(|name| paths.units().join(name));
        ensure(&paths, &web, &waiting).unwrap();
        assert!(fs::read_to_string(&target).unwrap().contains("After=tenant-db.target\n"));
        assert_eq!(fs::read_to_string(&order).unwrap(), "[Unit]\nAfter=bitbuilder-container@db.service\n");
        ensure(&paths, &web, &spec("a")).unwrap();
        assert!(!fs::read_to_string(&target).unwrap().contains("db") && !order.parent().unwrap().exists());
        remove(&paths, &web).unwrap();
        assert!(!target.exists());

        fs::create_dir_all(paths.generated()).unwrap();
        let text = units::target_text(&web, &BTreeSet::new());
        fs::write(paths.generated().join(units::target(&web)), text).unwrap();
        ensure(&paths, &web, &spec("a")).unwrap();
        assert!(!target.exists(), "what the boot made says the same");
        ensure(&paths, &web, &waiting).unwrap();
        assert!(target.exists() && order.exists());
    }
}
