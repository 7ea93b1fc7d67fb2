//! Keeps the webhook's certificate in order, on a timer and whenever a configuration changes, and says when the replica
//! may be asked for reviews.

mod changes;
mod news;
mod standing;

use std::sync::Arc;
use std::time::Duration;

use daemonjob_certs::{Looked, MountedPair, Outcome, Resolver, SelfSigned, Settings, TickReport};
use kube::Client;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::changes::Changes;
use self::news::Herald;
use self::standing::Standing;
use crate::admin::Readiness;
use crate::clock;
use crate::config::RunArgs;
use crate::metrics::Metrics;

/// Between two looks at mounted files.
const LOOK: Duration = Duration::from_secs(10);

/// What the keeper of the certificate needs.
pub(crate) struct Keeper {
    /// Serves the key.
    pub resolver: Arc<Resolver>,
    /// Told whether the replica may be asked.
    pub readiness: Readiness,
    /// Told when certificates end.
    pub metrics: Arc<Metrics>,
}

impl Keeper {
    /// Mode `self`: makes, renews, publishes and verifies, until told to stop.
    pub(crate) async fn keep_own(self, client: Client, args: &RunArgs, stop: CancellationToken) {
        let settings = Settings {
            namespace: args.namespace.clone(),
            secret_name: args.certs_secret.clone(),
            configuration_name: args.webhook_configuration.clone(),
            sans: args.webhook_names(),
            timing: args.certs_timing.unwrap_or_default(),
        };
        let mut changes = Changes::of(&client, &args.webhook_configuration);
        let herald = Herald::new(client.clone(), &args.identity(), &args.namespace, &args.certs_secret);
        let mut own = SelfSigned::new(client, settings, Arc::clone(&self.resolver));
        let mut standing = Standing::default();
        let mut told = Vec::new();
        let mut tellings = JoinSet::new();
        loop {
            let report = tokio::select! {
                () = stop.cancelled() => break,
                report = own.tick(clock::now()) => report,
            };
            self.readiness.set(standing.after(report.trust, Instant::now()));
            self.tell(&report, &mut told);
            // Beside the next look, which must not wait for an API server that does not answer.
            while tellings.try_join_next().is_some() {}
            for news in report.outcomes.iter().filter_map(news::news) {
                tellings.spawn(herald.clone().tell(news));
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(report.next) => {}
                () = changes.next() => {}
            }
        }
        self.readiness.set(false);
    }

    /// Logs what is new; what is wrong comes again with each tick and is told once.
    fn tell(&self, report: &TickReport, told: &mut Vec<String>) {
        if let Some(at) = report.leaf_not_after {
            self.metrics.certificate_ends("leaf", at);
        }
        if let Some(at) = report.authority_not_after {
            self.metrics.certificate_ends("authority", at);
        }
        let mut troubles: Vec<String> = report.errors.iter().map(|error| chain(error)).collect();
        for change in report.outcomes.iter().filter_map(news::change) {
            self.metrics.certificate_changed(change);
        }
        for outcome in &report.outcomes {
            match outcome {
                Outcome::BundleConflict { .. } | Outcome::SecretConflict => {}
                Outcome::BundlePatched { .. }
                | Outcome::LeafIssued { .. }
                | Outcome::Rotated { .. }
                | Outcome::SecretCreated => info!(?outcome, "certificate"),
                Outcome::ConfigurationEmpty { .. }
                | Outcome::ConfigurationMissing { .. }
                | Outcome::LeafRefused { .. } => troubles.push(format!("{outcome:?}")),
            }
        }
        for trouble in troubles.iter().filter(|trouble| !told.contains(trouble)) {
            warn!(error = trouble, "the webhook's certificate is not in order yet");
        }
        if troubles.is_empty() && !told.is_empty() {
            info!("the webhook's certificate is in order");
        }
        *told = troubles;
    }

    /// Modes `certManager` and `existingSecret`: loads what is mounted, again whenever its content changes.
    pub(crate) async fn keep_mounted(self, mut pair: MountedPair, stop: CancellationToken) {
        loop {
            let looked;
            (pair, looked) = match tokio::task::spawn_blocking(move || {
                let looked = pair.look();
                (pair, looked)
            })
            .await
            {
                Ok(looked) => looked,
                // Only a panic of the look itself, a defect, ends here; the last good key goes on serving.
                Err(error) => {
                    error!(%error, "looking at the mounted certificate failed");
                    break;
                }
            };
            match looked {
                Ok(Looked::Loaded) => {
                    info!("the mounted certificate is served");
                    self.metrics.certificate_changed("mounted_loaded");
                }
                Ok(Looked::Unchanged) => {}
                Err(error) => {
                    warn!(error = chain(&error), "the mounted certificate was not taken");
                    self.metrics.certificate_changed("mounted_refused");
                }
            }
            if let Some(validity) = pair.validity() {
                self.metrics.certificate_ends("leaf", validity.not_after);
            }
            self.readiness.set(pair.is_valid(clock::now()));
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        self.readiness.set(false);
    }
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let texts: Vec<String> = std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect();
    texts.join(": ")
}
