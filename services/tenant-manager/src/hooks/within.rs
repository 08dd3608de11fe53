//! Runs a script in the tenant, as a service of the tenant's own service manager: what it may do there, the tenant may.

use super::{HookError, failed, said::Said};
use host::inside::{Ending, Inside, InsideError, Streams};
use model::{HookSpec, TenantName};
use std::{
    fs::File,
    time::{Duration, Instant},
};
use tokio::time::timeout;

/// How much longer than the script the tenant's service manager may take to say that it has ended. It may be anything.
const REST: Duration = Duration::from_secs(10);

/// Runs it to its end, which comes when its time is over.
pub(super) async fn run(tenant: &TenantName, spec: &HookSpec) -> Result<(), HookError> {
    let (said, pipe) = Said::begin(tenant, spec).map_err(HookError::Start)?;
    let most = spec.timeout.duration();
    let begun = Instant::now();
    let ran = async {
        let null = File::open("/dev/null").map_err(InsideError::Bridge)?;
        let streams = [null.into(), pipe.try_clone().map_err(InsideError::Bridge)?, pipe];
        let inside = Inside::connect(tenant.as_str()).await?;
        let words = [format!("/srv/config/{}", spec.script)];
        inside.start_bounded("root", &words, Streams::Apart(streams), most).await?.ended().await
    };
    let ended = timeout(most + REST, ran).await;
    let too_long = format!("took longer than {}", spec.timeout);
    let how = match ended {
        Ok(Ok(Ending::Exited(0))) => return Ok(()),
        Ok(Ok(Ending::Exited(code))) => format!("exited with {code}"),
        Ok(Ok(Ending::Killed(_))) | Err(_) if begun.elapsed() >= most => too_long,
        Ok(Ok(Ending::Killed(signal))) => format!("was killed by signal {signal}"),
        Ok(Err(InsideError::Bridge(cause))) => return Err(HookError::Start(cause)),
        Ok(Err(fault)) => crate::text::printable(&format!("was not run: {}", runtime::chain(&fault))),
        Err(_) => too_long,
    };
    Err(failed(spec, &how, &said.last().await))
}
