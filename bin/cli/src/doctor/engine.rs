//! The daemon, and what it found out itself.

use super::check::Check;
use crate::report;
use crate::session::Session;

/// All of them. A daemon that is not there is a warning: it may simply not have been started.
pub async fn checks(session: &Session) -> Vec<Check> {
    let version = match session.client.version().await {
        Ok(version) => version.value,
        Err(error) => {
            let error = session.explain(error.into());
            return vec![Check::warn("daemon", report::sentence(&error), "start it with 'cofferdamd'")];
        }
    };
    let mut checks = vec![Check::ok(
        "daemon",
        format!("version {} answers at {}", version.version.unwrap_or_default(), session.client.host()),
    )];
    let info = session.client.info().await.ok().and_then(|document| document.value.cofferdam);
    let Some(info) = info else { return checks };
    checks.push(match info.hyperv_unavailable.as_str() {
        "" => Check::ok(
            "hyperv level",
            format!("{} with {}, guest kernel {}", info.hypervisor, info.accelerator, info.guest_kernel),
        ),
        why => Check::warn("hyperv level", why, "the process level works without it"),
    });
    checks.push(match info.network_warning.as_str() {
        "" => Check::ok("default network", "complete"),
        why => Check::warn("default network", why, "containers run, but may have no way out"),
    });
    checks
}
