//! `caBundle` in both webhook configurations: read, compared, patched.
//!
//! Level-triggered: whoever overwrites it finds it restored by the next tick of any replica.

use std::fmt;

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use kube::api::{ObjectMeta, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use thiserror::Error;

use crate::store::{CallError, FIELD_MANAGER, call};

/// One of the two webhook configurations; both have the same name.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Configuration {
    /// The `MutatingWebhookConfiguration`.
    Mutating,
    /// The `ValidatingWebhookConfiguration`.
    Validating,
}

impl Configuration {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Mutating, Self::Validating];

    /// The API's name of the kind.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Mutating => "MutatingWebhookConfiguration",
            Self::Validating => "ValidatingWebhookConfiguration",
        }
    }
}

impl fmt::Display for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}

/// A webhook configuration could not be read or written.
#[derive(Debug, Error)]
pub enum InjectError {
    /// The configuration could not be changed.
    #[error("cannot patch caBundle into the {configuration} {name}")]
    Patch {
        /// Which of the two.
        configuration: Configuration,
        /// Its name.
        name: String,
        /// What went wrong.
        #[source]
        source: CallError,
    },
    /// The configuration could not be read.
    #[error("cannot read the {configuration} {name}")]
    Read {
        /// Which of the two.
        configuration: Configuration,
        /// Its name.
        name: String,
        /// What went wrong.
        #[source]
        source: CallError,
    },
}

/// One webhook of a configuration, as an API server sees it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct LiveWebhook {
    pub(crate) name: String,
    /// The name that the API server asks for in the handshake; none if the client configuration names no server.
    pub(crate) server_name: Option<String>,
    pub(crate) ca_bundle: Vec<u8>,
}

/// A configuration that was read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct LiveConfiguration {
    pub(crate) configuration: Configuration,
    resource_version: String,
    pub(crate) webhooks: Vec<LiveWebhook>,
}

/// What became of a patch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Repaired {
    /// Somebody changed it since it was read, or deleted it: the next tick looks again.
    Conflict,
    Patched,
    Unchanged,
}

/// The two configurations' place.
#[derive(Clone)]
pub(crate) struct Injector {
    mutating: Api<MutatingWebhookConfiguration>,
    validating: Api<ValidatingWebhookConfiguration>,
    name: String,
}

impl Injector {
    pub(crate) fn new(client: Client, name: &str) -> Self {
        Self {
            mutating: Api::all(client.clone()),
            validating: Api::all(client),
            name: name.to_owned(),
        }
    }

    /// Reads a configuration; none if it does not exist.
    pub(crate) async fn read(&self, configuration: Configuration) -> Result<Option<LiveConfiguration>, InjectError> {
        let read = match configuration {
            Configuration::Mutating => call(self.mutating.get_opt(&self.name))
                .await
                .map(|read| read.map(mutating)),
            Configuration::Validating => call(self.validating.get_opt(&self.name))
                .await
                .map(|read| read.map(validating)),
        };
        read.map_err(|source| InjectError::Read {
            configuration,
            name: self.name.clone(),
            source,
        })
    }

    /// Makes `bundle` the `caBundle` of every webhook, if it is not yet.
    pub(crate) async fn repair(&self, live: &LiveConfiguration, bundle: &[u8]) -> Result<Repaired, InjectError> {
        let stale: Vec<_> = live
            .webhooks
            .iter()
            .filter(|webhook| webhook.ca_bundle != bundle)
            .collect();
        if stale.is_empty() {
            return Ok(Repaired::Unchanged);
        }
        // Strategic: merged by the webhooks' names, so only `caBundle` changes. The version refuses it if a webhook
        // was removed since: the patch would add it again, without its rules.
        let encoded = ByteString(bundle.to_vec());
        let entry = |name: &str| json!({ "name": name, "clientConfig": { "caBundle": encoded } });
        let patch = Patch::Strategic(json!({
            "metadata": { "resourceVersion": live.resource_version },
            "webhooks": stale.iter().map(|webhook| entry(&webhook.name)).collect::<Vec<_>>(),
        }));
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patched = match live.configuration {
            Configuration::Mutating => call(self.mutating.patch(&self.name, &params, &patch)).await.map(drop),
            Configuration::Validating => call(self.validating.patch(&self.name, &params, &patch)).await.map(drop),
        };
        match patched {
            Ok(()) => Ok(Repaired::Patched),
            Err(error) if error.is_conflict() || error.is_not_found() => Ok(Repaired::Conflict),
            Err(source) => Err(InjectError::Patch {
                configuration: live.configuration,
                name: self.name.clone(),
                source,
            }),
        }
    }
}

fn mutating(read: MutatingWebhookConfiguration) -> LiveConfiguration {
    let webhooks = read.webhooks.unwrap_or_default().into_iter();
    let webhooks = webhooks
        .map(|webhook| live_webhook(webhook.name, webhook.client_config))
        .collect();
    live(Configuration::Mutating, read.metadata, webhooks)
}

fn validating(read: ValidatingWebhookConfiguration) -> LiveConfiguration {
    let webhooks = read.webhooks.unwrap_or_default().into_iter();
    let webhooks = webhooks
        .map(|webhook| live_webhook(webhook.name, webhook.client_config))
        .collect();
    live(Configuration::Validating, read.metadata, webhooks)
}

fn live(configuration: Configuration, metadata: ObjectMeta, webhooks: Vec<LiveWebhook>) -> LiveConfiguration {
    LiveConfiguration {
        configuration,
        resource_version: metadata.resource_version.unwrap_or_default(),
        webhooks,
    }
}

fn live_webhook(name: String, client: WebhookClientConfig) -> LiveWebhook {
    let service = client
        .service
        .map(|service| format!("{}.{}.svc", service.name, service.namespace));
    let server_name = service.or_else(|| client.url.as_deref().and_then(url_host).map(str::to_owned));
    LiveWebhook {
        name,
        server_name,
        ca_bundle: client.ca_bundle.unwrap_or_default().0,
    }
}

/// The host of a webhook's URL, without the brackets of an IPv6 address.
/// The API server accepts only `https://HOST[:PORT]/PATH` here: no user, query or fragment.
fn url_host(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("https://")?;
    let authority = rest.split('/').next()?;
    let host = match authority.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next()?,
        None => authority.split(':').next()?,
    };
    (!host.is_empty()).then_some(host)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::admissionregistration::v1::ServiceReference;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("https://127.0.0.1:9443/mutate", Some("127.0.0.1"))]
    #[case("https://[fd00::1]:9443/mutate", Some("fd00::1"))]
    #[case("https://hook.example", Some("hook.example"))]
    #[case("https://hook.example/mutate", Some("hook.example"))]
    #[case("http://hook.example/mutate", None)]
    #[case("https:///mutate", None)]
    fn host_of_a_url(#[case] url: &str, #[case] host: Option<&str>) {
        assert_eq!(url_host(url), host);
    }

    #[test]
    fn a_services_server_name_is_the_one_that_api_servers_use() {
        let service = ServiceReference {
            name: "hook".into(),
            namespace: "jobs".into(),
            ..ServiceReference::default()
        };
        let client = WebhookClientConfig {
            service: Some(service),
            ..WebhookClientConfig::default()
        };
        assert_eq!(
            live_webhook("w".into(), client).server_name.as_deref(),
            Some("hook.jobs.svc")
        );
    }
}
