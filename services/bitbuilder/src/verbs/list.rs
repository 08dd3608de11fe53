//! `bitbuilder list`

use crate::output::{self, Failure, Json};
use interfaces::orchestrator::List;
use model::TenantName;
use runtime::Client;

pub(crate) async fn run(services: &Client, json: Json) -> Result<u8, Failure> {
    let tenants = services.call(&List { tenant: None }).await?.tenants;
    let names: Vec<&TenantName> = tenants.iter().map(|status| &status.tenant).collect();
    output::json(json, &names)?;
    if json == Json::Off {
        names.iter().try_for_each(|name| output::text(&format!("{name}\n")))?;
    }
    Ok(0)
}
