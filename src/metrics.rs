//! What is counted. Names that controller-runtime has are its names, so that existing dashboards work.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use daemonjob_core::plan::{Finished, Outcome, Plan, Subject};
use daemonjob_core::record::Finish;
use daemonjob_webhook::{Endpoint, Observer, Reviewed};
use jiff::Timestamp;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::controller::Write;

/// Labels of one reconcile.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Reconcile {
    controller: &'static str,
    result: &'static str,
}

/// Label of the one controller.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Named {
    name: &'static str,
}

/// Labels of the nodes of a DaemonJob.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Nodes {
    namespace: String,
    daemonjob: String,
    state: &'static str,
}

/// Labels of a write to a Job.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct JobWrite {
    verb: &'static str,
    reason: &'static str,
    result: &'static str,
}

/// Label of a webhook: its path, as controller-runtime has it.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Webhook {
    webhook: &'static str,
}

/// Labels of an answered request.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Request {
    webhook: &'static str,
    code: u16,
}

/// Labels of a review.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Review {
    webhook: &'static str,
    outcome: &'static str,
}

/// Labels of a denial.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Denial {
    webhook: &'static str,
    reason: &'static str,
}

/// Label of a controller, as controller-runtime names it.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Controller {
    controller: &'static str,
}

/// Label of a watch.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Watched {
    kind: &'static str,
}

/// Labels of a run that finished.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Run {
    result: &'static str,
    reason: &'static str,
}

/// Label of a certificate.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Certificate {
    certificate: &'static str,
}

/// Label of a change of a certificate.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Change {
    change: &'static str,
}

/// Everything that is counted.
pub(crate) struct Metrics {
    registry: Registry,
    reconciles: Family<Reconcile, Counter>,
    reconcile_time: Family<Controller, Histogram, fn() -> Histogram>,
    queue: Family<Named, Gauge>,
    watch_events: Family<Watched, Counter>,
    coalesced_events: Counter,
    window: Gauge,
    finished_runs: Family<Run, Counter>,
    leader: Family<Named, Gauge>,
    nodes: Family<Nodes, Gauge>,
    writes: Family<JobWrite, Counter>,
    requests: Family<Request, Counter>,
    request_time: Family<Webhook, Histogram, fn() -> Histogram>,
    requests_in_flight: Family<Webhook, Gauge>,
    reviews: Family<Review, Counter>,
    denials: Family<Denial, Counter>,
    connections_refused: Counter,
    certificate_expiry: Family<Certificate, Gauge<f64, AtomicU64>>,
    certificate_changes: Family<Change, Counter>,
}

const CONTROLLER: &str = "daemonjob";
const STATES: [&str; 6] = ["active", "failed", "outdated", "skipped", "succeeded", "waiting"];

fn seconds() -> Histogram {
    // 0.1 ms to 13 s.
    Histogram::new(exponential_buckets(0.0001, 2.5, 14))
}

impl Metrics {
    /// All at zero.
    pub(crate) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            reconciles: Family::default(),
            reconcile_time: Family::new_with_constructor(seconds),
            queue: Family::default(),
            watch_events: Family::default(),
            coalesced_events: Counter::default(),
            window: Gauge::default(),
            finished_runs: Family::default(),
            leader: Family::default(),
            nodes: Family::default(),
            writes: Family::default(),
            requests: Family::default(),
            request_time: Family::new_with_constructor(seconds),
            requests_in_flight: Family::default(),
            reviews: Family::default(),
            denials: Family::default(),
            connections_refused: Counter::default(),
            certificate_expiry: Family::default(),
            certificate_changes: Family::default(),
        };
        metrics.register_controller();
        metrics.register_webhook();
        for endpoint in [Endpoint::Mutate, Endpoint::Validate] {
            let webhook = endpoint.path();
            metrics.requests_in_flight.get_or_create(&Webhook { webhook }).set(0);
        }
        metrics.lead(false);
        metrics.queued(0);
        // There from the beginning, so that a rate over it has one.
        drop(
            metrics
                .reconcile_time
                .get_or_create(&Controller { controller: CONTROLLER }),
        );
        metrics
    }

    fn register_controller(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "controller_runtime_reconcile",
            "Plans made and statuses written, by result",
            self.reconciles.clone(),
        );
        registry.register(
            "controller_runtime_reconcile_time_seconds",
            "Time that a plan takes",
            self.reconcile_time.clone(),
        );
        registry.register("workqueue_depth", "Writes planned and not sent", self.queue.clone());
        registry.register(
            "leader_election_master_status",
            "1 if this replica leads",
            self.leader.clone(),
        );
        registry.register("daemonjob_nodes", "Nodes of a DaemonJob by state", self.nodes.clone());
        registry.register(
            "daemonjob_job_writes",
            "Writes to Jobs and hash annotations, by reason and result",
            self.writes.clone(),
        );
        registry.register(
            "daemonjob_watch_events",
            "Watch events and listed objects, by kind",
            self.watch_events.clone(),
        );
        registry.register(
            "daemonjob_coalesced_events",
            "Changes of a DaemonJob that was to be planned anyway",
            self.coalesced_events.clone(),
        );
        registry.register(
            "daemonjob_write_window",
            "Writes to Jobs that may be on their way at once",
            self.window.clone(),
        );
        registry.register(
            "daemonjob_finished_runs",
            "Runs of nodes recorded as finished, by result and reason",
            self.finished_runs.clone(),
        );
    }

    fn register_webhook(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "controller_runtime_webhook_requests",
            "Requests for a review, by webhook and HTTP status code",
            self.requests.clone(),
        );
        registry.register(
            "controller_runtime_webhook_latency_seconds",
            "Time that the answer to a request for a review takes",
            self.request_time.clone(),
        );
        registry.register(
            "controller_runtime_webhook_requests_in_flight",
            "Requests for a review that are being answered",
            self.requests_in_flight.clone(),
        );
        registry.register(
            "daemonjob_webhook_reviews",
            "Reviews by webhook and outcome",
            self.reviews.clone(),
        );
        registry.register(
            "daemonjob_webhook_denials",
            "Denials by webhook and kind of cause; one with causes of several kinds counts under each",
            self.denials.clone(),
        );
        registry.register(
            "daemonjob_webhook_connections_refused",
            "Connections that the webhook did not take up, or closed to make room for others",
            self.connections_refused.clone(),
        );
        registry.register(
            "daemonjob_certificate_expiry_timestamp_seconds",
            "End of a certificate's validity",
            self.certificate_expiry.clone(),
        );
        registry.register(
            "daemonjob_certificate_changes",
            "Changes that this replica made to leaf, authorities and caBundle",
            self.certificate_changes.clone(),
        );
    }

    /// In the text format of OpenMetrics.
    pub(crate) fn render(&self) -> String {
        let mut page = String::new();
        text::encode(&mut page, &self.registry).expect("writing to a String cannot fail");
        page
    }

    /// This replica leads, or no longer does.
    pub(crate) fn lead(&self, leads: bool) {
        self.leader
            .get_or_create(&Named { name: CONTROLLER })
            .set(i64::from(leads));
    }

    /// A plan was made.
    pub(crate) fn planned(&self, subject: &Subject, plan: &Plan, took: Duration) {
        self.reconciled("success");
        self.reconcile_time
            .get_or_create(&Controller { controller: CONTROLLER })
            .observe(took.as_secs_f64());
        let status = &plan.status;
        let counts = [
            status.active,
            status.failed,
            status.outdated,
            status.skipped,
            status.succeeded,
            status.waiting,
        ];
        for (state, count) in STATES.into_iter().zip(counts) {
            self.nodes
                .get_or_create(&nodes(subject.namespace(), subject.name(), state))
                .set(count);
        }
    }

    fn reconciled(&self, result: &'static str) {
        let controller = CONTROLLER;
        self.reconciles.get_or_create(&Reconcile { controller, result }).inc();
    }

    /// A plan could not be made.
    pub(crate) fn failed_to_plan(&self) {
        self.reconciled("panic");
    }

    /// A watch told something.
    pub(crate) fn saw(&self, kind: &'static str) {
        self.watch_events.get_or_create(&Watched { kind }).inc();
    }

    /// Something changed of a DaemonJob that was to be planned anyway.
    pub(crate) fn coalesced(&self) {
        self.coalesced_events.inc();
    }

    /// So many writes may be on their way at once.
    pub(crate) fn window(&self, width: usize) {
        self.window.set(i64::try_from(width).unwrap_or(i64::MAX));
    }

    /// Runs are on record that were not before.
    pub(crate) fn finished(&self, runs: &[Finished]) {
        for run in runs {
            let result = match run.finish {
                Finish::Failed => "failed",
                Finish::Succeeded => "succeeded",
            };
            let reason = run.reason;
            self.finished_runs.get_or_create(&Run { result, reason }).inc();
        }
    }

    /// A DaemonJob is gone: so are its series.
    pub(crate) fn forget(&self, namespace: &str, name: &str) {
        for state in STATES {
            self.nodes.remove(&nodes(namespace, name, state));
        }
    }

    /// So many writes are planned and not sent.
    pub(crate) fn queued(&self, writes: usize) {
        self.queue
            .get_or_create(&Named { name: CONTROLLER })
            .set(i64::try_from(writes).unwrap_or(i64::MAX));
    }

    /// A write was answered.
    pub(crate) fn wrote(&self, write: &Write, outcome: &Outcome) {
        let (verb, reason) = match write {
            Write::Create { .. } => ("create", "Starting"),
            Write::Delete { why, .. } => ("delete", why.reason().as_str()),
            Write::RestoreHash { .. } => ("patch", "TemplateHashRestored"),
        };
        let (reason, result) = match outcome {
            Outcome::Done => (reason, "success"),
            Outcome::Failed { because, .. } => (because.reason.as_str(), "error"),
            Outcome::Refused { reason, .. } => (reason.as_str(), "refused"),
            Outcome::Stale => (reason, "stale"),
            Outcome::Taken { .. } => ("NameConflict", "conflict"),
        };
        self.writes.get_or_create(&JobWrite { verb, reason, result }).inc();
    }

    /// A status was written, or not.
    pub(crate) fn reported(&self, written: bool) {
        self.reconciled(if written { "status_written" } else { "status_error" });
    }

    /// Leaf, authorities or caBundle were changed by this replica.
    pub(crate) fn certificate_changed(&self, change: &'static str) {
        self.certificate_changes.get_or_create(&Change { change }).inc();
    }

    /// A certificate ends then.
    pub(crate) fn certificate_ends(&self, certificate: &'static str, at: Timestamp) {
        let seconds = at.as_duration().as_secs_f64();
        self.certificate_expiry
            .get_or_create(&Certificate { certificate })
            .set(seconds);
    }
}

fn nodes(namespace: &str, name: &str, state: &'static str) -> Nodes {
    Nodes {
        namespace: namespace.to_owned(),
        daemonjob: name.to_owned(),
        state,
    }
}

impl Observer for Metrics {
    fn began(&self, endpoint: Endpoint) {
        let webhook = endpoint.path();
        self.requests_in_flight.get_or_create(&Webhook { webhook }).inc();
    }

    fn ended(&self, endpoint: Endpoint) {
        let webhook = endpoint.path();
        self.requests_in_flight.get_or_create(&Webhook { webhook }).dec();
    }

    fn reviewed(&self, review: &Reviewed) {
        let webhook = review.endpoint.path();
        let code = review.status;
        self.requests.get_or_create(&Request { webhook, code }).inc();
        self.request_time
            .get_or_create(&Webhook { webhook })
            .observe(review.duration.as_secs_f64());
        let outcome = review.outcome.as_str();
        self.reviews.get_or_create(&Review { webhook, outcome }).inc();
        for reason in review.denied_for.iter().copied() {
            self.denials.get_or_create(&Denial { webhook, reason }).inc();
        }
    }

    fn connection_refused(&self) {
        self.connections_refused.inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_of_a_daemonjob_go_with_it() {
        let metrics = Metrics::new();
        metrics.nodes.get_or_create(&nodes("ns", "dj", "active")).set(3);
        assert!(
            metrics
                .render()
                .contains(r#"daemonjob_nodes{namespace="ns",daemonjob="dj",state="active"} 3"#)
        );
        metrics.forget("ns", "dj");
        assert!(!metrics.render().contains("\"dj\""));
    }

    #[test]
    fn a_denial_counts_under_each_kind_of_its_causes() {
        let metrics = Metrics::new();
        let endpoint = Endpoint::Validate;
        metrics.began(endpoint);
        metrics.reviewed(&Reviewed {
            endpoint,
            operation: None,
            outcome: daemonjob_webhook::Outcome::Denied,
            status: 200,
            denied_for: ["FieldValueInvalid", "FieldValueRequired"].into(),
            duration: Duration::from_millis(1),
        });
        let page = metrics.render();
        for line in [
            r#"controller_runtime_webhook_requests_in_flight{webhook="/validate"} 1"#,
            r#"controller_runtime_webhook_requests_total{webhook="/validate",code="200"} 1"#,
            r#"controller_runtime_webhook_latency_seconds_count{webhook="/validate"} 1"#,
            r#"daemonjob_webhook_reviews_total{webhook="/validate",outcome="denied"} 1"#,
            r#"daemonjob_webhook_denials_total{webhook="/validate",reason="FieldValueInvalid"} 1"#,
            r#"daemonjob_webhook_denials_total{webhook="/validate",reason="FieldValueRequired"} 1"#,
        ] {
            assert!(page.contains(line), "{line} is missing:\n{page}");
        }
    }

    #[test]
    fn dashboards_of_controller_runtime_find_their_names() {
        let page = Metrics::new().render();
        for name in [
            "leader_election_master_status",
            "controller_runtime_reconcile_time_seconds",
            "workqueue_depth",
            r#"controller_runtime_webhook_requests_in_flight{webhook="/mutate"} 0"#,
        ] {
            assert!(page.contains(name), "{name}");
        }
    }
}
