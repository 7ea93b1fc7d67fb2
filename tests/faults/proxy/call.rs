//! What a request asks for, read from its line: the words of the audit log, so that the request monitor can judge it.

use daemonjob_cluster::Call;
use http::request::Parts;
use http::{Method, header};
use serde_json::Value;

use crate::support::rules::{Kind, is_read};

/// Reads a request.
pub(super) fn call_of(parts: &Parts, body: &[u8]) -> Call {
    let path = Resource::of(parts.uri.path());
    let is_watch = parts.uri.query().is_some_and(|query| query.contains("watch=true"));
    let verb = match parts.method {
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ if is_watch => "watch",
        _ if path.name.is_empty() => "list",
        _ => "get",
    };
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let of_body = || body["metadata"]["name"].as_str().unwrap_or_default();
    let name = if path.name.is_empty() { of_body() } else { path.name };
    let agent = parts.headers.get(header::USER_AGENT);
    Call {
        verb: verb.to_owned(),
        group: path.group.to_owned(),
        resource: path.resource.to_owned(),
        subresource: path.subresource.to_owned(),
        namespace: path.namespace.to_owned(),
        name: name.to_owned(),
        user: String::new(),
        user_agent: agent
            .and_then(|agent| agent.to_str().ok())
            .unwrap_or_default()
            .to_owned(),
        code: 0,
        received: String::new(),
        body,
    }
}

/// The request for a watch, from another version on.
pub(super) fn since(mut parts: Parts, version: u64) -> Parts {
    let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
    let others = query.split('&').filter(|part| !part.starts_with("resourceVersion="));
    let others: Vec<&str> = others.collect();
    let uri = format!("{path}?{}&resourceVersion={version}", others.join("&"));
    parts.uri = uri.parse().expect("it was a URI before");
    parts
}

/// `patch daemonjobs/status`.
pub(crate) fn kind(call: &Call) -> String {
    Kind(call).to_string()
}

/// A write about a DaemonJob: not one to the Lease, which is renewed all the time, nor one for the certificate.
pub(crate) fn is_write(call: &Call) -> bool {
    let is_other = matches!(call.resource.as_str(), "leases" | "secrets") || call.resource.ends_with("configurations");
    !is_read(call) && !is_other
}

/// A part of a path; empty where it has none.
#[derive(Debug, Default, PartialEq, Eq)]
struct Resource<'a> {
    group: &'a str,
    namespace: &'a str,
    resource: &'a str,
    name: &'a str,
    subresource: &'a str,
}

impl<'a> Resource<'a> {
    fn of(path: &'a str) -> Self {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (group, rest) = match parts.as_slice() {
            ["api", _, rest @ ..] => ("", rest),
            ["apis", group, _, rest @ ..] => (*group, rest),
            _ => return Self::default(),
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            _ => ("", rest),
        };
        let part = |at: usize| rest.get(at).copied().unwrap_or_default();
        Self {
            group,
            namespace,
            resource: part(0),
            name: part(1),
            subresource: part(2),
        }
    }
}

#[test]
fn a_path_names_its_resource() {
    let read = |path| {
        let Resource {
            group,
            namespace,
            resource,
            name,
            subresource,
        } = Resource::of(path);
        [group, namespace, resource, name, subresource].join(" ")
    };
    assert_eq!(read("/api/v1/nodes"), "  nodes  ");
    assert_eq!(read("/api/v1/namespaces/ns"), "  namespaces ns ");
    assert_eq!(read("/apis/batch/v1/namespaces/ns/jobs/j"), "batch ns jobs j ");
    let status = "/apis/daemon.justk8s.com/v1alpha1/namespaces/ns/daemonjobs/it/status";
    assert_eq!(read(status), "daemon.justk8s.com ns daemonjobs it status");
    assert_eq!(read("/version"), "    ");
}
