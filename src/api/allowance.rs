//! What a tier lets through.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LabelSelector;

/// One named hole in the isolation: exactly one of `preset`, `from`, `to`.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Allowance {
    /// A DNS label, unique in the tier.
    pub name: String,
    /// A kind of traffic that is resolved from the live cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// Who may connect to the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Vec<Peer>>,
    /// Whom the pods may connect to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Vec<Peer>>,
    /// The ports; every port where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<Vec<Port>>,
    /// The pods of the namespace that this holds for; every pod where absent or `{}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
}

/// Traffic whose addresses and ports are read from the live cluster.
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

/// One peer: pods (by namespace, labels, or both), or a block of addresses.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    /// Namespaces; where absent, the tier's namespace itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// Pods; where absent, every pod of the namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
    /// Addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_block: Option<IpBlock>,
}

/// A block of addresses, less some blocks inside it.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IpBlock {
    /// The block, in canonical form.
    pub cidr: String,
    /// Blocks inside it that are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub except: Option<Vec<String>>,
}

/// A port or a range of ports.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Port {
    /// The protocol; TCP where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// A number, or the name of a container port; every port of the protocol where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<PortNumberOrName>,
    /// The last port of a range that starts at `port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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

/// Transport protocol.
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
        schemars::json_schema!({ "x-kubernetes-int-or-string": true })
    }
}
