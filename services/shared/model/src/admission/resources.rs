//! How much of the machine a tenant may have: no more than its policy says, also if it asks for nothing.

use super::Case;
use crate::{
    desired::Limits,
    diagnostic::Diagnostic,
    document::Step,
    ids::IdSet,
    manifest::{Iops, Resources},
    path,
    policy::{Limit, Policy},
    size::Size,
};

/// What the built-in policy has for bytes per second: no limit.
const NO_BANDWIDTH: u64 = 7 << 60;
/// And for operations per second.
const NO_OPERATIONS: u32 = 2_147_483_647;

impl Case<'_> {
    pub(super) fn allowed_cpus(&self) -> Vec<Diagnostic> {
        let asked = self.asks().resources.cpu.allowed_cpus.as_ref();
        self.inside(path!["resources", "cpu", "allowedCpus"], asked, &self.policy().cpus, "processors")
    }

    pub(super) fn allowed_memory_nodes(&self) -> Vec<Diagnostic> {
        let (asks, nodes) = (&self.asks().resources.memory, &self.policy().nodes);
        let at = |field| [Step::Field("resources"), Step::Field("memory"), Step::Field(field)];
        [
            self.inside(&at("allowedMemoryNodes"), asks.allowed_memory_nodes.as_ref(), nodes, "memory nodes"),
            self.inside(&at("numaMask"), asks.numa_mask.as_ref(), nodes, "memory nodes"),
        ]
        .concat()
    }

    pub(super) fn tasks(&self) -> Vec<Diagnostic> {
        self.within(path!["resources", "tasks"], self.asks().resources.tasks, &self.policy().tasks, "tasks")
    }

    pub(super) fn io(&self) -> Vec<Diagnostic> {
        let (asks, policy) = (&self.asks().resources.io, self.policy());
        let at = |field| [Step::Field("resources"), Step::Field("io"), Step::Field(field)];
        [
            self.within(&at("readBandwidthMax"), asks.read_bandwidth, &policy.read, "read per second"),
            self.within(&at("writeBandwidthMax"), asks.write_bandwidth, &policy.write, "written per second"),
            self.within(&at("readIopsMax"), asks.read_iops, &policy.reads, "reads per second"),
            self.within(&at("writeIopsMax"), asks.write_iops, &policy.writes, "writes per second"),
        ]
        .concat()
    }

    fn inside(&self, path: &[Step<'_>], asked: Option<&IdSet>, limit: &Limit<IdSet>, what: &str) -> Vec<Diagnostic> {
        match asked {
            Some(asked) if !asked.is_within(&limit.most) => {
                let message = format!("the {what} {asked} are not all among {}, set by {}", limit.most, limit.place);
                self.fault(path, &message)
            }
            Some(_) | None => Vec::new(),
        }
    }
}

/// Who asks for nothing gets what the policy allows, not everything.
pub(super) fn granted(asks: &Resources, policy: &Policy) -> Limits {
    let (cpu, memory, io) = (&asks.cpu, &asks.memory, &asks.io);
    let set = |asked: &Option<IdSet>, most: &IdSet| {
        Some(asked.clone().unwrap_or_else(|| most.clone())).filter(|set| !set.is_all())
    };
    let bandwidth =
        |asked: Option<Size>, most: Size| Some(asked.unwrap_or(most)).filter(|most| most.bytes() < NO_BANDWIDTH);
    let operations =
        |asked: Option<Iops>, most: Iops| Some(asked.unwrap_or(most).number()).filter(|most| *most < NO_OPERATIONS);
    Limits {
        cpu_cores: Some(cpu.cores.unwrap_or(policy.cores.most).number()),
        cpu_weight: cpu.shares.map(|shares| super::cpu_weight(shares.number())),
        memory: Some(memory.limit.unwrap_or(policy.memory.most)),
        swap: Some(memory.swap.unwrap_or(policy.swap.most)),
        allowed_cpus: set(&cpu.allowed_cpus, &policy.cpus.most),
        allowed_memory_nodes: set(&memory.allowed_memory_nodes, &policy.nodes.most),
        managed_oom: memory.managed_oom,
        tasks: Some(asks.tasks.unwrap_or(policy.tasks.most).number()),
        io_weight: io.weight.map(|weight| weight.number()),
        io_read: bandwidth(io.read_bandwidth, policy.read.most),
        io_write: bandwidth(io.write_bandwidth, policy.write.most),
        io_reads: operations(io.read_iops, policy.reads.most),
        io_writes: operations(io.write_iops, policy.writes.most),
    }
}
