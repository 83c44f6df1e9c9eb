//! One number for a spec, the same for what we render and for what the API server gives back.

use std::fmt;

use k8s_openapi::api::networking::v1::{
    NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use sha2::{Digest, Sha256};

/// The first 128 bits of the SHA-256 of a normalised spec's canonical JSON.
///
/// Stable across releases of Cofferdam: keys are sorted, so that neither the order of fields in a Rust type
/// nor a default that the API server fills in changes it. 128 bits are enough, since a tenant who finds a
/// collision may as well write the annotation itself.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct SpecDigest([u8; 16]);

impl SpecDigest {
    /// The digest of a live or rendered spec, after [`normalise`].
    pub fn of(spec: &NetworkPolicySpec) -> Self {
        // The types hold only strings, numbers and string-keyed maps, which always serialise; were that ever
        // untrue, null is a value that no rendered spec has, so it would show as a difference.
        let canonical = serde_json::to_value(normalise(spec.clone())).unwrap_or_default().to_string();
        let mut digest = [0; 16];
        digest.copy_from_slice(&Sha256::digest(canonical.as_bytes())[..16]);
        Self(digest)
    }

    /// The digest in the form of [`fmt::Display`], 32 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 32 || !text.is_ascii() {
            return None;
        }
        let mut digest = [0; 16];
        for (index, byte) in digest.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[index * 2..index * 2 + 2], 16).ok()?;
        }
        Some(Self(digest))
    }
}

/// The spec as the API server would give it back: defaults filled in, and every list or map whose emptiness
/// means absence left out.
///
/// An empty `ingress` or `egress` and an absent one are the same to the API server, and so are an empty `from`,
/// `to` or `ports` and an absent one (fields with `omitempty` in `k8s.io/api/networking/v1`).
pub fn normalise(mut spec: NetworkPolicySpec) -> NetworkPolicySpec {
    if spec.policy_types.as_ref().is_none_or(Vec::is_empty) {
        // Defaulting of the API: Ingress always, Egress if there are egress rules.
        let egress = spec.egress.as_ref().is_some_and(|rules| !rules.is_empty());
        let types = ["Ingress"].into_iter().chain(egress.then_some("Egress"));
        spec.policy_types = Some(types.map(String::from).collect());
    }
    spec.pod_selector = Some(normalise_selector(spec.pod_selector.unwrap_or_default()));
    let ingress = present(spec.ingress).map(|rules| rules.into_iter().map(normalise_ingress).collect());
    let egress = present(spec.egress).map(|rules| {
        let normalised = rules.into_iter().map(|mut rule| {
            rule.to = present(rule.to).map(normalise_peers);
            rule.ports = present(rule.ports).map(normalise_ports);
            rule
        });
        normalised.collect()
    });
    NetworkPolicySpec { ingress, egress, ..spec }
}

fn normalise_ingress(rule: NetworkPolicyIngressRule) -> NetworkPolicyIngressRule {
    NetworkPolicyIngressRule {
        from: present(rule.from).map(normalise_peers),
        ports: present(rule.ports).map(normalise_ports),
    }
}

fn normalise_peers(mut peers: Vec<NetworkPolicyPeer>) -> Vec<NetworkPolicyPeer> {
    for peer in &mut peers {
        peer.namespace_selector = peer.namespace_selector.take().map(normalise_selector);
        peer.pod_selector = peer.pod_selector.take().map(normalise_selector);
        if let Some(block) = &mut peer.ip_block {
            block.except = present(block.except.take());
        }
    }
    peers
}

fn normalise_ports(mut ports: Vec<NetworkPolicyPort>) -> Vec<NetworkPolicyPort> {
    for port in &mut ports {
        port.protocol.get_or_insert_with(|| String::from("TCP"));
    }
    ports
}

fn normalise_selector(mut selector: LabelSelector) -> LabelSelector {
    selector.match_labels = selector.match_labels.filter(|labels| !labels.is_empty());
    selector.match_expressions = present(selector.match_expressions);
    for requirement in selector.match_expressions.iter_mut().flatten() {
        requirement.values = present(requirement.values.take());
    }
    selector
}

fn present<T>(list: Option<Vec<T>>) -> Option<Vec<T>> {
    list.filter(|items| !items.is_empty())
}

impl fmt::Display for SpecDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for SpecDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn digest(spec: Value) -> SpecDigest {
        SpecDigest::of(&serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn what_the_server_defaults_is_no_difference() {
        let ours = digest(json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"ports": [{"port": 53}]}]}));
        let live = digest(json!({"podSelector": {"matchLabels": {}}, "policyTypes": ["Ingress"], "egress": [],
            "ingress": [{"from": [], "ports": [{"port": 53, "protocol": "TCP"}]}]}));
        assert_eq!(ours, live);
    }

    #[test]
    fn an_allow_all_rule_is_a_difference() {
        let closed = digest(json!({"podSelector": {}, "policyTypes": ["Ingress"]}));
        assert_eq!(closed, digest(json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": []})));
        for open in [
            json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{}]}),
            json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}),
            json!({"podSelector": {"matchLabels": {"a": "b"}}, "policyTypes": ["Ingress"]}),
        ] {
            assert_ne!(closed, digest(open.clone()), "{open}");
        }
    }

    #[test]
    fn the_text_form_reads_back() {
        let digest = digest(json!({"podSelector": {}}));
        assert_eq!(SpecDigest::parse(&digest.to_string()), Some(digest));
        for text in ["", "xyz", "zz000000000000000000000000000000", "ä0000000000000000000000000000000"] {
            assert_eq!(SpecDigest::parse(text), None, "{text}");
        }
    }
}
