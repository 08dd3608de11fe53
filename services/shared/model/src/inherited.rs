//! What a tenant's processes have from their first one, which is started with it: systemd has no property for it that can be
//! set on a unit while that is loaded.

use crate::{
    ids::IdSet,
    manifest::{IoClass, NumaPolicy, OomPolicy, Resources},
};
use serde::{Deserialize, Serialize};

/// The priority of who says nothing (ioprio_set(2)).
const USUAL_PRIORITY: u32 = 4;

/// What a tenant is started with and keeps until it is started anew. Nothing said is as on the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Inherited {
    /// IOSchedulingClass= (systemd.exec(5)).
    pub io_class: Option<IoClass>,
    /// IOSchedulingPriority=, 0 to 7, of a class that has priorities.
    pub io_priority: Option<u32>,
    /// NUMAPolicy=.
    pub numa_policy: Option<NumaPolicy>,
    /// NUMAMask=, of a policy that is about certain nodes.
    pub numa_mask: Option<IdSet>,
    /// OOMPolicy= (systemd.service(5)).
    pub oom_policy: Option<OomPolicy>,
}

impl Inherited {
    /// What is asked for. All of it is the tenant's own affair, but for the nodes, which the policy has been asked for.
    #[must_use]
    pub fn asked(resources: &Resources) -> Self {
        let (memory, io) = (&resources.memory, &resources.io);
        let io_class = io.class.or_else(|| io.priority.map(|_| IoClass::BestEffort));
        let priority = || io.priority.map_or(USUAL_PRIORITY, |priority| priority.number());
        Self {
            io_class,
            io_priority: io_class.filter(|class| class.has_priorities()).map(|_| priority()),
            numa_policy: memory.numa_policy,
            numa_mask: memory.numa_policy.filter(|policy| policy.has_nodes()).and_then(|_| memory.nodes()).cloned(),
            oom_policy: memory.oom_policy,
        }
    }
}

impl crate::manifest::Memory {
    /// The nodes that the NUMA policy is about, if it is about any.
    #[must_use]
    pub fn nodes(&self) -> Option<&IdSet> {
        self.numa_mask.as_ref().or(self.allowed_memory_nodes.as_ref())
    }
}

impl IoClass {
    /// Whether some of its processes have their turn before others.
    #[must_use]
    pub fn has_priorities(self) -> bool {
        match self {
            Self::BestEffort => true,
            Self::Idle => false,
        }
    }
}

impl NumaPolicy {
    /// Whether it is about certain nodes.
    #[must_use]
    pub fn has_nodes(self) -> bool {
        match self {
            Self::Preferred | Self::Bind | Self::Interleave => true,
            Self::Default | Self::Local => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Io, Memory};

    fn asked(memory: Memory, io: Io) -> Inherited {
        Inherited::asked(&Resources { memory, io, ..Resources::default() })
    }

    #[test]
    fn a_priority_is_of_best_effort_and_never_of_idle() {
        let io = |class, priority: Option<i64>| {
            let io = Io { class, priority: priority.map(|priority| priority.try_into().unwrap()), ..Io::default() };
            let inherited = asked(Memory::default(), io);
            (inherited.io_class, inherited.io_priority)
        };
        assert_eq!(io(None, None), (None, None));
        assert_eq!(io(None, Some(0)), (Some(IoClass::BestEffort), Some(0)));
        assert_eq!(io(Some(IoClass::BestEffort), None), (Some(IoClass::BestEffort), Some(4)));
        assert_eq!(io(Some(IoClass::Idle), None), (Some(IoClass::Idle), None));
    }

    #[test]
    fn the_nodes_are_those_of_the_mask_or_all_that_are_allowed() {
        let set = |text: &str| text.parse::<IdSet>().ok();
        let nodes = |policy, mask: &str| {
            let memory = Memory {
                numa_policy: policy,
                numa_mask: set(mask),
                allowed_memory_nodes: set("0-1"),
                ..Memory::default()
            };
            asked(memory, Io::default()).numa_mask
        };
        assert_eq!(nodes(Some(NumaPolicy::Preferred), "1"), set("1"));
        assert_eq!(nodes(Some(NumaPolicy::Interleave), ""), set("0-1"));
        // Other nodes for such a tenant would start it anew for nothing.
        assert_eq!((nodes(Some(NumaPolicy::Local), ""), nodes(None, "")), (None, None));
    }
}
