//! Whether the host can open what a commit holds sealed: asked of who has the key, before anything is touched.

use interfaces::secret::Examine;
use model::{Diagnostic, TenantName, secrets, tree::Request};
use runtime::Client;
use std::time::Duration;

/// Longer than the most that can be sealed takes to be opened.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is said of a request's secrets that cannot be opened, each in its place. The error is the host's: nothing is known of
/// the commit then.
pub(crate) async fn refused(
    services: &Client,
    tenant: &TenantName,
    request: &Request,
) -> Result<Vec<Diagnostic>, String> {
    let Some(document) = request.secrets.as_ref().filter(|document| !document.content.secrets.is_empty()) else {
        return Ok(Vec::new());
    };
    let sealed = document.content.secrets.clone();
    let asked = Examine { tenant: tenant.clone(), secrets: sealed, without: None };
    match services.waiting(PATIENCE).call(&asked).await {
        Ok(examined) => {
            let why: Vec<_> = examined.refused.into_iter().map(|refused| (refused.name, refused.reason)).collect();
            Ok(secrets::refused(document, tenant, &why))
        }
        Err(error) => Err(format!("whether its secrets can be opened is not known: {}", runtime::chain(&error))),
    }
}
