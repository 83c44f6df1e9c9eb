//! What a request to the API server asks for, in the words of Kubernetes' own RBAC and audit log.

use std::fmt;

use http::{Method, Uri};

/// A request and how it ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ApiCall {
    /// The verb of RBAC: get, list, watch, create, update, patch, delete or deletecollection; other
    /// for what is none of them.
    pub verb: &'static str,
    /// The resource in plural, with a `/` before a subresource; other for those that are not ours.
    pub resource: &'static str,
    /// The answer.
    pub code: ResponseCode,
}

/// How a request ended. Displays as the value of a metric's label.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ResponseCode {
    /// The server answered with this status.
    Http(u16),
    /// The deadline passed first.
    Deadline,
    /// There was no connection, or it broke.
    NoResponse,
}

impl fmt::Display for ResponseCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResponseCode::Http(status) => status.fmt(formatter),
            ResponseCode::Deadline => formatter.write_str("deadline"),
            ResponseCode::NoResponse => formatter.write_str("no_response"),
        }
    }
}

/// Reads verb and resource from a request line, as the API server does. Both are from closed sets:
/// no name that somebody else chose ever comes out.
pub(super) fn verb_and_resource(method: &Method, uri: &Uri) -> (&'static str, &'static str) {
    let segments: Vec<&str> = uri.path().split('/').filter(|segment| !segment.is_empty()).collect();
    let (group, rest) = match segments.as_slice() {
        ["api", "v1", rest @ ..] => ("", rest),
        ["apis", group, _version, rest @ ..] => (*group, rest),
        _ => ("", [].as_slice()),
    };
    let (resource, name, subresource) = match without_namespace(rest) {
        [] => {
            return (if method == Method::GET { "get" } else { "other" }, "other");
        }
        [resource] => (*resource, None, None),
        [resource, name] => (*resource, Some(*name), None),
        [resource, name, subresource, ..] => (*resource, Some(*name), Some(*subresource)),
    };
    let watch = uri.query().is_some_and(|query| query.split('&').any(asks_for_watch));
    (
        verb(method, name.is_some(), watch),
        known_resource(group, resource, subresource),
    )
}

/// Drops the `namespaces/NAME` that only says where. A Namespace itself is written the same way, and
/// has two subresources that look like the resources of a namespace.
fn without_namespace<'a, 'b>(rest: &'a [&'b str]) -> &'a [&'b str] {
    match rest {
        ["namespaces", _, "status" | "finalize", ..] => rest,
        ["namespaces", _, inner @ ..] if !inner.is_empty() => inner,
        _ => rest,
    }
}

fn asks_for_watch(parameter: &str) -> bool {
    matches!(parameter, "watch" | "watch=true" | "watch=1")
}

fn verb(method: &Method, named: bool, watch: bool) -> &'static str {
    match (method.as_str(), named) {
        ("GET", _) if watch => "watch",
        ("GET", true) => "get",
        ("GET", false) => "list",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", true) => "delete",
        ("DELETE", false) => "deletecollection",
        _ => "other",
    }
}

fn known_resource(group: &str, resource: &str, subresource: Option<&str>) -> &'static str {
    match (group, resource, subresource) {
        ("", "namespaces", None) => "namespaces",
        ("", "services", None) => "services",
        ("networking.k8s.io", "networkpolicies", None) => "networkpolicies",
        ("cofferdam.dev", "isolationtiers", None) => "isolationtiers",
        ("cofferdam.dev", "isolationtiers", Some("status")) => "isolationtiers/status",
        ("discovery.k8s.io", "endpointslices", None) => "endpointslices",
        ("" | "events.k8s.io", "events", None) => "events",
        ("coordination.k8s.io", "leases", None) => "leases",
        ("apiextensions.k8s.io", "customresourcedefinitions", None) => "customresourcedefinitions",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_a_request_asks_for() {
        const POLICIES: &str = "/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies";
        let cases = [
            ("GET", "/api/v1/namespaces", "list", "namespaces"),
            ("GET", "/api/v1/namespaces?limit=500", "list", "namespaces"),
            ("GET", "/api/v1/namespaces?limit=5&watch=true", "watch", "namespaces"),
            ("GET", "/api/v1/namespaces?&watch=1", "watch", "namespaces"),
            ("GET", "/api/v1/namespaces?watch=false", "list", "namespaces"),
            (
                "GET",
                "/api/v1/namespaces?labelSelector=watch%3Dtrue",
                "list",
                "namespaces",
            ),
            ("GET", "/api/v1/namespaces/shop", "get", "namespaces"),
            ("PUT", "/api/v1/namespaces/shop/finalize", "update", "other"),
            ("PATCH", "/api/v1/namespaces/shop/status", "patch", "other"),
            (
                "GET",
                "/apis/networking.k8s.io/v1/networkpolicies?watch=true",
                "watch",
                "networkpolicies",
            ),
            ("POST", POLICIES, "create", "networkpolicies"),
            ("POST", &format!("{POLICIES}?dryRun=All"), "create", "networkpolicies"),
            ("PUT", &format!("{POLICIES}/base"), "update", "networkpolicies"),
            ("DELETE", &format!("{POLICIES}/base"), "delete", "networkpolicies"),
            ("DELETE", POLICIES, "deletecollection", "networkpolicies"),
            ("GET", &format!("{POLICIES}/base"), "get", "networkpolicies"),
            (
                "GET",
                "/apis/cofferdam.dev/v1alpha1/isolationtiers",
                "list",
                "isolationtiers",
            ),
            (
                "PATCH",
                "/apis/cofferdam.dev/v1alpha1/isolationtiers/a",
                "patch",
                "isolationtiers",
            ),
            (
                "PATCH",
                "/apis/cofferdam.dev/v1alpha1/isolationtiers/a/status",
                "patch",
                "isolationtiers/status",
            ),
            (
                "GET",
                "/api/v1/namespaces/default/services/kubernetes",
                "get",
                "services",
            ),
            ("GET", "/api/v1/services", "list", "services"),
            ("GET", "/api/v1/namespaces/a/services/b/proxy", "get", "other"),
            (
                "GET",
                "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
                "list",
                "endpointslices",
            ),
            (
                "POST",
                "/apis/events.k8s.io/v1/namespaces/default/events",
                "create",
                "events",
            ),
            ("PATCH", "/api/v1/namespaces/default/events/a", "patch", "events"),
            (
                "GET",
                "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/isolationtiers.cofferdam.dev",
                "get",
                "customresourcedefinitions",
            ),
            (
                "PUT",
                "/apis/coordination.k8s.io/v1/namespaces/cofferdam-system/leases/cofferdam",
                "update",
                "leases",
            ),
            // A namespace may have any name, that of a resource too.
            ("GET", "/api/v1/namespaces/services", "get", "namespaces"),
            ("GET", "/api/v1/namespaces/events/services", "list", "services"),
            // The same plural in somebody else's group is somebody else's.
            ("GET", "/apis/example.org/v1/networkpolicies", "list", "other"),
            ("GET", "/apis/example.org/v1/namespaces/shop/services", "list", "other"),
            ("GET", "/api/v1/pods", "list", "other"),
            ("GET", "/version", "get", "other"),
            ("GET", "/apis/networking.k8s.io/v1", "get", "other"),
            ("POST", "/", "other", "other"),
            ("OPTIONS", "/api/v1/namespaces", "other", "namespaces"),
        ];
        for (method, uri, verb, resource) in cases {
            let parsed = verb_and_resource(&method.parse().unwrap(), &uri.parse().unwrap());
            assert_eq!(parsed, (verb, resource), "{method} {uri}");
        }
    }

    #[test]
    fn codes_are_label_values() {
        let cases = [
            (ResponseCode::Http(403), "403"),
            (ResponseCode::Deadline, "deadline"),
            (ResponseCode::NoResponse, "no_response"),
        ];
        for (code, label) in cases {
            assert_eq!(code.to_string(), label);
        }
    }
}
