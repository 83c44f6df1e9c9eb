//! What a tier lets through.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LabelSelector;

/// One named hole in the isolation: exactly one of `preset`, `from`, `to`.
///
/// Example: `{name: dns, preset: DNS}`
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.preset), has(self.from), has(self.to)].filter(x, x).size() == 1")
    .message("an allowance has exactly one of preset, from and to: write one, and a second allowance for the other direction"))]
#[x_kube(validation = Rule::new("!(has(self.ports) && has(self.preset) && self.preset in ['DNS', 'KubeAPIServer'])")
    .message("DNS and KubeAPIServer read their ports from the cluster: remove ports, or write to with the peers and ports that you mean")
    .reason(Reason::FieldValueForbidden)
    .field_path(".ports"))]
pub struct Allowance {
    /// A DNS label, unique in the tier. With a `podSelector` it becomes part of the names of NetworkPolicies.
    ///
    /// Example: `from-ingress-nginx`
    #[schemars(length(max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')")
        .message("not a DNS label: write lower-case letters, digits and -, starting and ending with a letter or digit; for example from-ingress-nginx"))]
    pub name: String,
    /// A kind of traffic that is resolved from the live cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// Ingress: who may connect to the pods; any of these peers. For every pod of the cluster write
    /// `namespaceSelector: {}`, for every address `ipBlock` 0.0.0.0/0 and ::/0: an empty list is refused.
    ///
    /// Example: `[{namespaceSelector: {matchLabels: {team: web}}}]`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("self.size() > 0")
        .message("from is empty, which a NetworkPolicy reads as everyone: list the peers, or remove the allowance to let nobody in")
        .reason(Reason::FieldValueRequired))]
    pub from: Option<Vec<Peer>>,
    /// Egress: whom the pods may connect to; any of these peers. For every pod of the cluster write
    /// `namespaceSelector: {}`, for every address `ipBlock` 0.0.0.0/0 and ::/0: an empty list is refused.
    ///
    /// Example: `[{ipBlock: {cidr: 10.20.0.0/16}}]`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("self.size() > 0")
        .message("to is empty, which a NetworkPolicy reads as everyone: list the peers, or remove the allowance to let nothing out")
        .reason(Reason::FieldValueRequired))]
    pub to: Option<Vec<Peer>>,
    /// The ports, on the side that is connected to; any of them. Absent means every port of every protocol. Not
    /// beside `DNS` and `KubeAPIServer`, which know their own.
    ///
    /// Example: `[{port: 8080}, {protocol: UDP, port: 5000, endPort: 5010}]`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("self.size() > 0")
        .message("ports is empty, which a NetworkPolicy reads as every port: list the ports, or leave ports out if you mean every port")
        .reason(Reason::FieldValueRequired))]
    pub ports: Option<Vec<Port>>,
    /// The pods of the namespace that this holds for. Absent or `{}` means every pod.
    ///
    /// Example: `{matchLabels: {needs-api: "true"}}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
}

// The schema of an optional enum shows the type's text, not the field's.
/// Traffic that is resolved from the live cluster, and kept current. `DNS`: egress to the cluster's DNS, NodeLocal
/// DNSCache included. `SameNamespace`: ingress from, and egress to, the pods of the same namespace. `KubeAPIServer`:
/// egress to the API server.
///
/// Example: `DNS`
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Preset {
    /// Egress to the cluster's DNS.
    #[serde(rename = "DNS")]
    Dns,
    /// Ingress from, and egress to, the pods of the same namespace.
    SameNamespace,
    /// Egress to the API server.
    #[serde(rename = "KubeAPIServer")]
    KubeApiServer,
}

/// One peer: pods, by the labels of their namespace, their own, or both; or a block of addresses.
///
/// Example: `{namespaceSelector: {matchLabels: {team: web}}, podSelector: {}}`
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.ipBlock) || has(self.namespaceSelector) || has(self.podSelector)")
    .message("a peer that names nobody: write namespaceSelector, podSelector or both, or ipBlock")
    .reason(Reason::FieldValueRequired))]
#[x_kube(validation = Rule::new("!has(self.ipBlock) || !(has(self.namespaceSelector) || has(self.podSelector))")
    .message("ipBlock stands alone: write the selectors as a second peer")
    .reason(Reason::FieldValueForbidden)
    .field_path(".ipBlock"))]
pub struct Peer {
    /// The namespaces of the pods, by their labels; `{}` is every namespace. Absent means the namespace that the
    /// policy is in. To name one namespace use the label that the API server keeps on each.
    ///
    /// Example: `{matchLabels: {kubernetes.io/metadata.name: monitoring}}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// The pods, by their labels. Absent or `{}` means every pod of those namespaces.
    ///
    /// Example: `{matchLabels: {app: prometheus}}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
    /// Addresses, usually outside the cluster: pods' addresses change, and a Service's are rewritten on the way.
    ///
    /// Example: `{cidr: 10.20.0.0/16, except: [10.20.9.0/24]}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_block: Option<IpBlock>,
}

/// A block of addresses, less some blocks inside it.
///
/// Example: `{cidr: 10.20.0.0/16, except: [10.20.9.0/24]}`
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
// Both sides are guarded, so that a block that is no block is reported once, by its own rule.
#[x_kube(validation = Rule::new(
        "!has(self.except) || !isCIDR(self.cidr) || self.except.all(e, !isCIDR(e) || \
         (cidr(self.cidr).containsCIDR(e) && cidr(e).prefixLength() > cidr(self.cidr).prefixLength()))")
    .message("except leaves out parts of cidr: write blocks of the same family that lie inside cidr and are smaller than it")
    .field_path(".except"))]
pub struct IpBlock {
    /// The block, IPv4 or IPv6, in canonical form: the first address of the block, then the length of the prefix.
    ///
    /// Example: `10.20.0.0/16` or `2001:db8::/32`
    #[schemars(length(max = 43))]
    #[x_kube(validation = Rule::new("isCIDR(self) && string(cidr(self).masked()) == self").message(CIDR_MESSAGE))]
    pub cidr: String,
    /// Blocks inside `cidr` that are left out; each smaller than it, in canonical form. Absent means none.
    ///
    /// Example: `[10.20.9.0/24]`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), inner(length(max = 43)))]
    #[x_kube(validation = Rule::new("self.size() > 0")
        .message("except is empty: list the blocks that are left out, or leave except out")
        .reason(Reason::FieldValueRequired))]
    #[x_kube(validation = Rule::new("self.all(e, isCIDR(e) && string(cidr(e).masked()) == e)").message(CIDR_MESSAGE))]
    pub except: Option<Vec<String>>,
}

/// A port or a range of ports.
///
/// Example: `{protocol: TCP, port: 5000, endPort: 5010}`
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
// A NetworkPolicy takes `{}` for every TCP port, and that is what `port: null` from an unset variable comes to.
#[x_kube(validation = Rule::new("has(self.port) || has(self.protocol)")
    .message("a port that names none: write port, or protocol alone for every port of it")
    .reason(Reason::FieldValueRequired))]
#[x_kube(validation = Rule::new("!has(self.endPort) || (has(self.port) && type(self.port) == int)")
    .message("endPort ends a range that starts at a port number: write port as a number too, or remove endPort")
    .reason(Reason::FieldValueForbidden)
    .field_path(".endPort"))]
#[x_kube(validation = Rule::new("!has(self.endPort) || !has(self.port) || type(self.port) != int || self.endPort >= self.port")
    .message("endPort lies below port: write the smaller number in port")
    .field_path(".endPort"))]
pub struct Port {
    /// The protocol; TCP where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// A port number of the pod (not of its Service), or the name of a container port. Absent means every port of
    /// the protocol.
    ///
    /// Example: `8080` or `https`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("type(self) != int || (self >= 1 && self <= 65535)")
        .message("not a port number: write 1 to 65535, or leave port out for every port of the protocol"))]
    #[x_kube(validation = Rule::new(
            "type(self) != string || (self.matches('^[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?$') && self.matches('[a-z]') && !self.contains('--'))")
        .message("not the name of a container port: write at most 15 lower-case letters, digits and single -, with at least one letter, \
            starting and ending with a letter or digit; or a number without quotes"))]
    pub port: Option<PortNumberOrName>,
    /// The last port of a range that starts at `port`, which must be a number then. Absent means `port` alone.
    ///
    /// Example: `5010`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub end_port: Option<i32>,
}

/// `x-kubernetes-int-or-string`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(untagged)]
pub enum PortNumberOrName {
    /// A port number, 1 to 65535.
    Number(i32),
    /// The name of a container port.
    Name(String),
}

/// The transport protocol. Absent means TCP.
///
/// Example: `UDP`
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Protocol {
    /// TCP.
    #[default]
    TCP,
    /// UDP.
    UDP,
    /// SCTP.
    SCTP,
}

impl JsonSchema for PortNumberOrName {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PortNumberOrName".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "x-kubernetes-int-or-string": true, "maxLength": 15 })
    }
}

/// Static: a message that spells out the canonical form costs the API server a hundred times its budget.
const CIDR_MESSAGE: &str = "not a block in canonical form: write the first address of the block and the length of the prefix, \
     for example 10.20.0.0/16 (not 10.20.1.5/16 or 10.20.0.0) or 2001:db8::/32 (not 2001:DB8:0::/32)";
