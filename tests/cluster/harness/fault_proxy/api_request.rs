//! A request in the words that a script uses: verb, resource, object.

use http::{Method, Uri};

/// What a request asks the API server for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ApiRequest {
    /// As RBAC and the audit log name it.
    pub verb: &'static str,
    /// Plural.
    pub resource: String,
    /// `status`, or empty.
    pub subresource: String,
    /// Empty for what is cluster-wide, and for what asks for every namespace.
    pub namespace: String,
    /// Empty for a list, a watch and a create.
    pub name: String,
}

/// Which requests a rule is about; what is not said matches everything.
#[derive(Clone, Debug, Default)]
pub struct Requests {
    verbs: &'static [&'static str],
    resource: Option<&'static str>,
    subresource: Option<&'static str>,
    namespace: Option<String>,
    name: Option<String>,
}

const WRITES: &[&str] = &["create", "update", "patch", "delete", "deletecollection"];

impl ApiRequest {
    /// Reads a request line. What is no request for objects (`/readyz`) has an empty resource.
    pub fn of(method: &Method, uri: &Uri) -> Self {
        let mut segments: Vec<&str> = uri.path().split('/').filter(|segment| !segment.is_empty()).collect();
        // api/VERSION or apis/GROUP/VERSION
        let prefix = match segments.first() {
            Some(&"api") => 2,
            Some(&"apis") => 3,
            _ => segments.len(),
        };
        segments.drain(..prefix.min(segments.len()));
        let of_namespace =
            segments.len() > 2 && segments[0] == "namespaces" && !["status", "finalize"].contains(&segments[2]);
        let namespace = if of_namespace { segments[1] } else { "" };
        if of_namespace {
            segments.drain(..2);
        }
        let segment = |index: usize| segments.get(index).copied().unwrap_or_default().to_owned();
        let watch = uri
            .query()
            .unwrap_or_default()
            .split('&')
            .any(|pair| ["watch=true", "watch=1"].contains(&pair));
        let named = segments.len() > 1;
        Self {
            verb: match *method {
                Method::POST => "create",
                Method::PUT => "update",
                Method::PATCH => "patch",
                Method::DELETE if named => "delete",
                Method::DELETE => "deletecollection",
                _ if watch => "watch",
                _ if named => "get",
                _ => "list",
            },
            resource: segment(0),
            subresource: segment(2),
            namespace: namespace.to_owned(),
            name: segment(1),
        }
    }

    /// Whether it would change something.
    pub fn is_write(&self) -> bool {
        WRITES.contains(&self.verb)
    }
}

impl std::fmt::Display for ApiRequest {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            verb,
            resource,
            subresource,
            namespace,
            name,
        } = self;
        let slash = if subresource.is_empty() { "" } else { "/" };
        write!(formatter, "{verb} {resource}{slash}{subresource} {namespace}/{name}")
    }
}

impl Requests {
    /// Every one.
    pub fn any() -> Self {
        Self::default()
    }

    /// Those that would change something.
    pub fn writes() -> Self {
        Self::with(WRITES)
    }

    /// Those that read at once: GET of an object, and lists.
    pub fn reads() -> Self {
        Self::with(&["get", "list"])
    }

    /// Starts of watches.
    pub fn watches() -> Self {
        Self::with(&["watch"])
    }

    /// Of these verbs.
    pub fn with(verbs: &'static [&'static str]) -> Self {
        Self {
            verbs,
            ..Self::default()
        }
    }

    /// For this resource, not for its subresources.
    pub fn of(mut self, resource: &'static str) -> Self {
        self.resource = Some(resource);
        self.subresource = Some("");
        self
    }

    /// For this subresource.
    pub fn of_subresource(mut self, resource: &'static str, subresource: &'static str) -> Self {
        self.resource = Some(resource);
        self.subresource = Some(subresource);
        self
    }

    /// In this namespace.
    pub fn in_namespace(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }

    /// For the object of this name.
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Whether a request is one of them.
    pub fn include(&self, request: &ApiRequest) -> bool {
        (self.verbs.is_empty() || self.verbs.contains(&request.verb))
            && self.resource.is_none_or(|resource| resource == request.resource)
            && self
                .subresource
                .is_none_or(|subresource| subresource == request.subresource)
            && self
                .namespace
                .as_ref()
                .is_none_or(|namespace| *namespace == request.namespace)
            && self.name.as_ref().is_none_or(|name| *name == request.name)
    }
}
