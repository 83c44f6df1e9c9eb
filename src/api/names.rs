//! The fixed names of Cofferdam in a cluster: changing one is a breaking change.

/// API group of the custom resources.
pub const GROUP: &str = "cofferdam.dev";
/// `apiVersion` of the custom resources.
pub const API_VERSION: &str = "cofferdam.dev/v1alpha1";
/// Kind of a tier.
pub const TIER_KIND: &str = "IsolationTier";
/// Field manager of every write.
pub const FIELD_MANAGER: &str = "cofferdam";
/// Namespace that the controller runs in unless told otherwise.
pub const DEFAULT_NAMESPACE: &str = "cofferdam-system";
/// Name of the Lease by which one replica leads.
pub const LEASE: &str = "cofferdam";
/// Label on each policy: `app.kubernetes.io/managed-by: cofferdam`.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY_LABEL`].
pub const MANAGED_BY: &str = "cofferdam";
/// Label on each policy: the name of the tier that it was rendered from.
pub const TIER_LABEL: &str = "cofferdam.dev/tier";
/// Finalizer on a tier whose policies are to go with it.
pub const HANDOVER_FINALIZER: &str = "cofferdam.dev/handover";
/// Annotation on a tier: the digest of the releases that are held and that somebody says are meant.
pub const CONFIRM_ANNOTATION: &str = "cofferdam.dev/confirm";
/// Annotation on each policy: the digest of the spec that we wrote.
pub const RENDERED_ANNOTATION: &str = "cofferdam.dev/rendered";
/// Label that the API server keeps on every namespace: its own name.
pub const NAMESPACE_NAME_LABEL: &str = "kubernetes.io/metadata.name";
/// Label by which an EndpointSlice names its Service.
pub const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";
/// Namespace and name of the Service that every cluster has for its API server.
pub const API_SERVER_SERVICE: (&str, &str) = ("default", "kubernetes");
/// Namespaces that are never touched, by name: a label could be forged.
pub const SYSTEM_NAMESPACES: [&str; 3] = ["kube-system", "kube-public", "kube-node-lease"];
