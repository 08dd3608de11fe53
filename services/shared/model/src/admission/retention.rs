//! What a repository asks to become of its tenant when it leaves, held against the policy.

use super::{Case, not_allowed};
use crate::{config, diagnostic::Diagnostic, path, retention::Retention};

impl Case<'_> {
    fn asked(&self) -> config::Retention {
        self.request.config.as_ref().map(|config| config.content.retention.clone()).unwrap_or_default()
    }

    pub(super) fn retention(&self) -> Retention {
        Retention::resolve(&self.asked(), self.policy())
    }

    pub(super) fn grace(&self) -> Vec<Diagnostic> {
        let (Some(config), Some(grace)) = (&self.request.config, self.asked().grace) else { return Vec::new() };
        let (least, most) = (&self.policy().least_grace, &self.policy().grace);
        let message = if grace > most.most {
            format!("a grace of {grace} is more than {}, the limit set by {}", most.most, most.place)
        } else if grace < least.most {
            format!("a grace of {grace} is less than {}, the least that is set by {}", least.most, least.place)
        } else {
            return Vec::new();
        };
        vec![config.fault(path!["retention", "grace"], &message)]
    }

    pub(super) fn leaving(&self) -> Vec<Diagnostic> {
        let limit = &self.policy().leaving;
        let (Some(config), Some(data)) = (&self.request.config, self.asked().data) else { return Vec::new() };
        if limit.most.contains(&data) {
            return Vec::new();
        }
        vec![config.fault(path!["retention", "data"], &not_allowed(&format!("to {data} data"), limit))]
    }
}
