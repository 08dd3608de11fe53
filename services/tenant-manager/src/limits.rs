//! A tenant's limits as properties of its unit (org.freedesktop.systemd1(5)).

use model::Limits;

/// How the service manager writes "no limit" and "the default".
const NONE: u64 = u64::MAX;
const MICROSECONDS: u64 = 1_000_000;

/// Every property that a limit becomes, also those without a limit: an earlier one must not linger.
#[must_use]
pub fn properties(limits: &Limits) -> [(&'static str, u64); 4] {
    [
        ("CPUQuotaPerSecUSec", limits.cpu_cores.map_or(NONE, |cores| u64::from(cores) * MICROSECONDS)),
        ("CPUWeight", limits.cpu_weight.map_or(NONE, u64::from)),
        ("MemoryMax", limits.memory.map_or(NONE, model::Size::bytes)),
        ("MemorySwapMax", limits.swap.map_or(NONE, model::Size::bytes)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_becomes_a_property() {
        let limits = Limits {
            cpu_cores: Some(4),
            cpu_weight: Some(100),
            memory: Some("4G".parse().unwrap()),
            swap: Some("0".parse().unwrap()),
        };
        assert_eq!(
            properties(&limits),
            [("CPUQuotaPerSecUSec", 4_000_000), ("CPUWeight", 100), ("MemoryMax", 4 << 30), ("MemorySwapMax", 0)]
        );
        assert!(properties(&Limits::default()).iter().all(|(_, value)| *value == u64::MAX));
    }
}
