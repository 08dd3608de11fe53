//! A tenant's limits as properties of its unit (org.freedesktop.systemd1(5)).

use host::systemd::Value;
use model::{Limits, Size, ids::IdSet, manifest::ManagedOom};

/// How the service manager writes "no limit" and "the default".
const NONE: u64 = u64::MAX;
/// What the unit has where nobody says anything, which no limit must not lift.
const TASKS: u32 = 16_384;
const MICROSECONDS: u64 = 1_000_000;

/// Every property that a limit becomes, also those without a limit: an earlier one must not linger. `tree` is on the device
/// whose bandwidth is limited.
#[must_use]
pub fn properties(limits: &Limits, tree: &str) -> Vec<(&'static str, Value<'static>)> {
    let number = |limit: Option<u32>| Value::U64(limit.map_or(NONE, u64::from));
    let size = |limit: Option<Size>| Value::U64(limit.map_or(NONE, Size::bytes));
    let set = |ids: &Option<IdSet>| Value::from(ids.as_ref().map(IdSet::mask).unwrap_or_default());
    let device =
        |most: Option<u64>| Value::from(most.map(|most| (tree.to_owned(), most)).into_iter().collect::<Vec<_>>());
    let managed = limits.managed_oom.unwrap_or(ManagedOom::Auto).word();
    vec![
        ("CPUQuotaPerSecUSec", Value::U64(limits.cpu_cores.map_or(NONE, |cores| u64::from(cores) * MICROSECONDS))),
        ("CPUWeight", number(limits.cpu_weight)),
        ("AllowedCPUs", set(&limits.allowed_cpus)),
        ("MemoryMax", size(limits.memory)),
        ("MemorySwapMax", size(limits.swap)),
        ("AllowedMemoryNodes", set(&limits.allowed_memory_nodes)),
        ("ManagedOOMMemoryPressure", Value::from(managed)),
        ("TasksMax", number(limits.tasks.or(Some(TASKS)))),
        ("IOWeight", number(limits.io_weight)),
        ("IOReadBandwidthMax", device(limits.io_read.map(Size::bytes))),
        ("IOWriteBandwidthMax", device(limits.io_write.map(Size::bytes))),
        ("IOReadIOPSMax", device(limits.io_reads.map(u64::from))),
        ("IOWriteIOPSMax", device(limits.io_writes.map(u64::from))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(limits: &Limits, name: &str) -> Value<'static> {
        let properties = properties(limits, "/var/lib/tenants/web");
        properties.into_iter().find(|(property, _)| *property == name).unwrap().1
    }

    #[test]
    fn each_limit_becomes_a_property() {
        let limits = Limits {
            cpu_cores: Some(4),
            memory: Some("4G".parse().unwrap()),
            swap: Some("0".parse().unwrap()),
            allowed_cpus: Some("0-1,8".parse().unwrap()),
            tasks: Some(500),
            io_read: Some("1M".parse().unwrap()),
            managed_oom: Some(ManagedOom::Kill),
            ..Limits::default()
        };
        assert_eq!(found(&limits, "CPUQuotaPerSecUSec"), Value::U64(4_000_000));
        assert_eq!(
            (found(&limits, "MemoryMax"), found(&limits, "MemorySwapMax")),
            (Value::U64(4 << 30), Value::U64(0))
        );
        assert_eq!(found(&limits, "AllowedCPUs"), Value::from(vec![3u8, 1]));
        assert_eq!(found(&limits, "TasksMax"), Value::U64(500));
        assert_eq!(found(&limits, "ManagedOOMMemoryPressure"), Value::from("kill"));
        let bandwidth = vec![("/var/lib/tenants/web".to_owned(), 1u64 << 20)];
        assert_eq!(found(&limits, "IOReadBandwidthMax"), Value::from(bandwidth));
    }

    #[test]
    fn no_limit_takes_an_earlier_one_away() {
        let none = Limits::default();
        for name in ["CPUQuotaPerSecUSec", "CPUWeight", "MemoryMax", "MemorySwapMax", "IOWeight"] {
            assert_eq!(found(&none, name), Value::U64(u64::MAX), "{name}");
        }
        assert_eq!(found(&none, "TasksMax"), Value::U64(16_384));
        assert_eq!(found(&none, "AllowedCPUs"), Value::from(Vec::<u8>::new()));
        assert_eq!(found(&none, "IOReadIOPSMax"), Value::from(Vec::<(String, u64)>::new()));
    }
}
