//! Whether a tenant runs, as its unit says.

use host::systemd::{Kept, SystemdError};
use model::TenantName;

/// Who knows which tenants run.
pub trait Instances: Clone + Send + Sync + 'static {
    /// Whether the tenant runs, is on its way up or down, or is started as soon as somebody connects.
    fn runs(&self, tenant: &TenantName) -> impl Future<Output = Result<bool, SystemdError>> + Send;
}

/// The service manager.
#[derive(Debug, Clone, Default)]
pub struct Units(Kept);

impl Instances for Units {
    async fn runs(&self, tenant: &TenantName) -> Result<bool, SystemdError> {
        let names = [("container", "service"), ("machine", "service"), ("wake", "socket")]
            .map(|(what, suffix)| format!("bitbuilder-{what}@{tenant}.{suffix}"));
        let units = self.0.connect().await?.list(&[&names[0], &names[1], &names[2]]).await?;
        // Any state but these two may have processes.
        Ok(units.iter().any(|unit| !matches!(unit.active_state.as_str(), "inactive" | "failed")))
    }
}
