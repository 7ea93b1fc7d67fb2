//! Leads for as long as this replica has the Lease, and again when it has it again.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::error::ControllerError;
use super::reconcile::{Clients, Settings, lead};
use crate::lease::Fence;
use crate::metrics::Metrics;

/// Leads whenever this replica has the Lease.
///
/// # Errors
/// What ended the controller for good.
pub(crate) async fn follow_lead(
    clients: Clients,
    fence: Fence,
    mut leading: watch::Receiver<bool>,
    metrics: Arc<Metrics>,
    settings: Settings,
    stop: CancellationToken,
) -> Result<(), ControllerError> {
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            won = leading.wait_for(|leads| *leads) => if won.is_err() { return Ok(()) },
        }
        metrics.lead(true);
        let term = stop.child_token();
        let led = tokio::select! {
            biased;
            _ = leading.wait_for(|leads| !*leads) => Ok(()),
            led = lead(&clients, fence.clone(), Arc::clone(&metrics), settings.clone(), term.clone()) => led,
        };
        metrics.lead(false);
        led?;
    }
}
