//! The mode `self`: one pass over Secret, leaf and configurations, called again and again.
//!
//! A tick reads the configurations, then the Secret, and patches the configurations only if they are still as read.
//! In that order a bundle is never overwritten by one from an older Secret:
//! whatever another replica has put into a configuration, the Secret read after it holds as well.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use thiserror::Error;
use tracing::debug;

use crate::authority::{Anchor, Authority, AuthorityError};
use crate::bundle::{self, VerifyError};
use crate::inject::{Configuration, InjectError, Injector, LiveConfiguration, LiveWebhook, Repaired};
use crate::leaf::{Leaf, LeafError, LeafView};
use crate::resolver::{Resolver, ResolverError};
use crate::restraint::Restraint;
use crate::rotation::{self, CertState, Live, RotationStep, Slots};
use crate::soak::Soak;
use crate::store::{Client, SecretStore, StoreError, Written};
use crate::timing::Timing;

/// Until the next tick when all is well: an overwritten `caBundle` must be back within five seconds.
pub const STEADY: Duration = Duration::from_secs(4);

/// Until the next tick while something is under way.
pub const UNSETTLED: Duration = Duration::from_secs(1);

/// How often a tick reads the Secret again after another writer came first.
const ATTEMPTS: usize = 3;

/// What to look after. Fixed while the process runs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// The namespace of the Secret.
    pub namespace: String,
    /// The Secret.
    pub secret_name: String,
    /// The name of both webhook configurations.
    pub configuration_name: String,
    /// The names on the leaf: DNS names and IP addresses.
    pub sans: Vec<String>,
    /// How long each stage of a rotation lasts, and how often to look.
    pub timing: Timing,
}

/// Something in a tick failed; the rest of the tick was done all the same.
#[derive(Debug, Error)]
pub enum CertsError {
    /// An authority could not be made.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// A webhook configuration could not be read or written.
    #[error(transparent)]
    Configuration(#[from] InjectError),
    /// A leaf could not be issued.
    #[error(transparent)]
    Leaf(#[from] LeafError),
    /// The Secret could not be read or written.
    #[error(transparent)]
    Secret(#[from] StoreError),
    /// A leaf of our own was refused by the resolver.
    #[error(transparent)]
    Serve(#[from] ResolverError),
}

/// Something that happened, or that is not as it should be. The latter comes again with each tick.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// A configuration changed while `caBundle` was being patched; the next tick looks again.
    BundleConflict {
        /// Which of the two.
        configuration: Configuration,
    },
    /// `caBundle` was wrong or missing, and was written.
    BundlePatched {
        /// Which of the two.
        configuration: Configuration,
    },
    /// A configuration has no webhook.
    ConfigurationEmpty {
        /// Which of the two.
        configuration: Configuration,
    },
    /// A configuration does not exist.
    ConfigurationMissing {
        /// Which of the two.
        configuration: Configuration,
    },
    /// A new leaf is served.
    LeafIssued {
        /// The end of its validity.
        not_after: Timestamp,
    },
    /// An API server would refuse the leaf that is served.
    LeafRefused {
        /// In which of the two configurations.
        configuration: Configuration,
        /// The webhook's name.
        webhook: String,
        /// Why.
        why: VerifyError,
    },
    /// The Secret was written.
    Rotated {
        /// What changed, and why.
        step: RotationStep,
    },
    /// Another replica wrote the Secret first; its content was taken over.
    SecretConflict,
    /// The Secret did not exist, and was created.
    SecretCreated,
}

/// Whether API servers accept the leaf that is served.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Trust {
    /// Both configurations were read, and the leaf verifies against each `caBundle` in them.
    Trusted,
    /// A configuration could not be read and nothing else speaks against the leaf: the last verdict stands.
    Unknown,
    /// No leaf is served, or at least one webhook's `caBundle` refuses it.
    Untrusted,
}

/// What one tick did and found.
#[derive(Debug)]
pub struct TickReport {
    /// Whether the leaf verifies against what was read back from both live configurations.
    pub trust: Trust,
    /// When to tick again.
    pub next: Duration,
    /// What happened, in order.
    pub outcomes: Vec<Outcome>,
    /// What failed.
    pub errors: Vec<CertsError>,
    /// The end of the served leaf's validity.
    pub leaf_not_after: Option<Timestamp>,
    /// The end of the current authority's validity, if the Secret could be read.
    pub authority_not_after: Option<Timestamp>,
}

impl TickReport {
    /// Whether the leaf verifies.
    pub fn is_verified(&self) -> bool {
        self.trust == Trust::Trusted
    }
}

/// What reading a configuration gave.
enum Seen {
    Failed,
    Missing(Configuration),
    Present(LiveConfiguration),
}

/// The keeper of authorities, leaf and `caBundle` on one replica.
pub struct SelfSigned {
    store: SecretStore,
    injector: Injector,
    sans: Vec<String>,
    timing: Timing,
    resolver: Arc<Resolver>,
    served: Option<Leaf>,
    soak: Soak,
    restraint: Restraint,
}

impl fmt::Debug for SelfSigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SelfSigned")
            .field("sans", &self.sans)
            .field("served", &self.served)
            .finish_non_exhaustive()
    }
}

impl SelfSigned {
    /// Serves through `resolver`. The client should not retry by itself; every call is bounded here.
    pub fn new(client: Client, settings: Settings, resolver: Arc<Resolver>) -> Self {
        let store = SecretStore::new(client.clone(), &settings.namespace, &settings.secret_name);
        let injector = Injector::new(client, &settings.configuration_name);
        let Settings { sans, timing, .. } = settings;
        Self {
            store,
            injector,
            sans,
            timing,
            resolver,
            served: None,
            soak: Soak::default(),
            restraint: Restraint::default(),
        }
    }

    /// One pass. It never fails as a whole: what cannot be done is in the report, and comes again next time.
    pub async fn tick(&mut self, now: Timestamp) -> TickReport {
        let mut report = TickReport {
            trust: Trust::Unknown,
            next: self.timing.unsettled,
            outcomes: Vec::new(),
            errors: Vec::new(),
            leaf_not_after: None,
            authority_not_after: None,
        };
        let seen = self.read_configurations(&mut report).await;
        let elapsed = self.soak.look(carried_everywhere(&seen), now);
        match self.settle_secret(&seen, elapsed, now, &mut report).await {
            Ok(Some(slots)) => self.follow(&slots, &seen, now, &mut report).await,
            // Held back: leaf and bundle stay as well as they were.
            Ok(None) => {}
            Err(error) => report.errors.push(error),
        }
        report.trust = self.verify(&seen, now, &mut report.outcomes);
        report.leaf_not_after = self.served.as_ref().map(Leaf::not_after);
        report.next = self.pause(&report);
        debug!(trust = ?report.trust, outcomes = ?report.outcomes, "certificates looked after");
        report
    }

    async fn read_configurations(&self, report: &mut TickReport) -> [Seen; 2] {
        let [first, second] = Configuration::ALL;
        let (one, other) = tokio::join!(self.injector.read(first), self.injector.read(second));
        [(first, one), (second, other)].map(|(configuration, read)| match read {
            Ok(Some(live)) => Seen::Present(live),
            Ok(None) => Seen::Missing(configuration),
            Err(error) => {
                report.errors.push(error.into());
                Seen::Failed
            }
        })
    }

    /// Reads the Secret, takes the next step if there is one, and gives what the Secret then holds;
    /// nothing, if the step is not to be taken yet.
    async fn settle_secret(
        &mut self,
        seen: &[Seen],
        mut elapsed: Duration,
        now: Timestamp,
        report: &mut TickReport,
    ) -> Result<Option<Slots>, CertsError> {
        let mut slots = Slots::default();
        for _ in 0..ATTEMPTS {
            let basis;
            (slots, basis) = self.store.read().await?;
            self.restraint.look(&slots.current, std::mem::take(&mut elapsed), now);
            let state = CertState {
                slots: slots.clone(),
                live: self.live(seen, now),
                timing: self.timing,
            };
            let step = rotation::step(&state, now);
            if !self.restraint.allows(&step, self.timing.soak) {
                return Ok(None);
            }
            if step == RotationStep::Keep {
                return Ok(Some(slots));
            }
            let after = slots.clone().after(&step, now, || Authority::generate(now))?;
            match self.store.write(&after, &basis).await? {
                Written::Conflict => {
                    report.outcomes.push(Outcome::SecretConflict);
                    continue;
                }
                Written::Created => report.outcomes.push(Outcome::SecretCreated),
                Written::Patched => {}
            }
            report.outcomes.push(Outcome::Rotated { step });
            return Ok(Some(after));
        }
        Ok(Some(slots))
    }

    fn live(&self, seen: &[Seen], now: Timestamp) -> Live {
        let serving = self
            .served
            .as_ref()
            .filter(|leaf| leaf.is_valid(now))
            .map(|leaf| leaf.issuer().clone());
        let anywhere = bundles(seen).flat_map(Anchor::all_in_pem).collect();
        Live {
            trusted: self.soak.seen.clone(),
            anywhere,
            serving,
        }
    }

    /// Leaf and `caBundle` follow the Secret.
    async fn follow(&mut self, slots: &Slots, seen: &[Seen], now: Timestamp, report: &mut TickReport) {
        // Without one, every attempt met another writer; the next tick finds what that one wrote.
        let Some(current) = slots.current.filled() else { return };
        report.authority_not_after = Some(current.anchor().not_after());
        match self.renew_leaf(current, now) {
            Ok(issued) => report.outcomes.extend(issued),
            Err(error) => report.errors.push(error),
        }
        let bundle = bundle::encode(&slots.anchors());
        for live in seen.iter().filter_map(Seen::present) {
            let configuration = live.configuration;
            match self.injector.repair(live, &bundle).await {
                Ok(Repaired::Conflict) => report.outcomes.push(Outcome::BundleConflict { configuration }),
                Ok(Repaired::Patched) => report.outcomes.push(Outcome::BundlePatched { configuration }),
                Ok(Repaired::Unchanged) => {}
                Err(error) => report.errors.push(error.into()),
            }
        }
    }

    fn renew_leaf(&mut self, current: &Authority, now: Timestamp) -> Result<Option<Outcome>, CertsError> {
        let view = LeafView {
            served: self.served.as_ref(),
            current: current.anchor(),
            trusted: &self.soak.seen,
            soak: self.timing.soak,
        };
        if !view.must_issue(now) {
            return Ok(None);
        }
        let leaf = Leaf::issue(current, &self.sans, now)?;
        self.resolver
            .swap(vec![leaf.certificate().clone()], leaf.key().clone_key())?;
        let not_after = leaf.not_after();
        self.served = Some(leaf);
        Ok(Some(Outcome::LeafIssued { not_after }))
    }

    /// Judges the served leaf by what this tick read, not by what it wrote.
    fn verify(&self, seen: &[Seen], now: Timestamp, outcomes: &mut Vec<Outcome>) -> Trust {
        let mut trust = if self.served.is_some() {
            Trust::Trusted
        } else {
            Trust::Untrusted
        };
        for seen in seen {
            let objections = match seen {
                Seen::Failed => {
                    trust = if trust == Trust::Trusted { Trust::Unknown } else { trust };
                    continue;
                }
                Seen::Missing(configuration) => vec![Outcome::ConfigurationMissing {
                    configuration: *configuration,
                }],
                Seen::Present(live) => self.objections(live, now),
            };
            if !objections.is_empty() {
                trust = Trust::Untrusted;
            }
            outcomes.extend(objections);
        }
        trust
    }

    /// What speaks against the served leaf in one configuration.
    fn objections(&self, live: &LiveConfiguration, now: Timestamp) -> Vec<Outcome> {
        let configuration = live.configuration;
        if live.webhooks.is_empty() {
            return vec![Outcome::ConfigurationEmpty { configuration }];
        }
        let Some(leaf) = &self.served else { return Vec::new() };
        let refused = |webhook: &LiveWebhook| {
            let verdict = match &webhook.server_name {
                Some(name) => bundle::verify(leaf.certificate(), &webhook.ca_bundle, name, now),
                None => Err(VerifyError::NoServerName),
            };
            let why = verdict.err()?;
            Some(Outcome::LeafRefused {
                configuration,
                webhook: webhook.name.clone(),
                why,
            })
        };
        live.webhooks.iter().filter_map(refused).collect()
    }

    fn pause(&self, report: &TickReport) -> Duration {
        let missing = |outcome: &Outcome| {
            matches!(
                outcome,
                Outcome::ConfigurationMissing { .. } | Outcome::ConfigurationEmpty { .. }
            )
        };
        let under_way = !report.is_verified() || !report.outcomes.iter().all(missing);
        // After an error there is no hurry: the API server may have enough to do.
        if under_way && report.errors.is_empty() {
            self.timing.unsettled
        } else {
            self.timing.steady
        }
    }
}

impl Seen {
    fn present(&self) -> Option<&LiveConfiguration> {
        match self {
            Self::Present(live) => Some(live),
            Self::Failed | Self::Missing(_) => None,
        }
    }
}

fn bundles(seen: &[Seen]) -> impl Iterator<Item = &[u8]> {
    seen.iter()
        .filter_map(Seen::present)
        .flat_map(|live| &live.webhooks)
        .map(|webhook| webhook.ca_bundle.as_slice())
}

/// The anchors that every webhook of both configurations carries; unset if one could not be read.
fn carried_everywhere(seen: &[Seen]) -> Option<BTreeSet<Anchor>> {
    if seen.iter().any(|seen| matches!(seen, Seen::Failed)) {
        return None;
    }
    let complete = seen
        .iter()
        .all(|seen| seen.present().is_some_and(|live| !live.webhooks.is_empty()));
    let sets = bundles(seen).map(|pem| Anchor::all_in_pem(pem).into_iter().collect::<BTreeSet<_>>());
    let common = sets.reduce(|one, other| one.intersection(&other).cloned().collect());
    Some(common.filter(|_| complete).unwrap_or_default())
}
