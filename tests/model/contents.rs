//! Policies as the server stores them, each with a number, and what becomes of them in other hands than ours.

use cofferdam::api::names::{MANAGED_BY, MANAGED_BY_LABEL, TIER_LABEL};
use cofferdam::policy::render::render;
use cofferdam::policy::{Facts, ObservedPolicy, PolicyName};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde_json::{Value, json};

use crate::catalogue::{Catalogue, SHOWN_UID, SHOWN_VERSION};
use crate::cluster::{Directions, EXTRA, POLICIES, Shelf};
use crate::scenario::{EGRESS, INGRESS, TIERS};

pub type ContentId = u16;

/// A policy but for uid and version.
pub struct Content {
    pub object: NetworkPolicy,
    /// As the controller reads it; nothing where the name is not reserved.
    pub observed: Option<ObservedPolicy>,
    /// The direction that it isolates, if it is a base.
    pub isolates: Directions,
    /// The uid of the tier that owns it, if one does.
    pub tier_owner: Option<String>,
    pub has_namespace_owner: bool,
}

impl Catalogue {
    /// The number of a policy as the server stores it.
    pub fn intern(&mut self, policy: &NetworkPolicy) -> ContentId {
        let mut json = serde_json::to_value(policy).unwrap();
        let metadata = json["metadata"].as_object_mut().unwrap();
        metadata.retain(|field, value| field != "uid" && field != "resourceVersion" && !is_empty(value));
        let key = json.to_string();
        if let Some(id) = self.content_ids.get(&key) {
            return *id;
        }
        json["metadata"]["uid"] = json!(SHOWN_UID);
        json["metadata"]["resourceVersion"] = json!(SHOWN_VERSION);
        let object: NetworkPolicy = serde_json::from_value(json).unwrap();
        let owners = object.metadata.owner_references.iter().flatten();
        let tier_owner = owners.clone().find(|owner| owner.kind == "IsolationTier");
        let id = self.contents.len() as ContentId;
        let mut observed = ObservedPolicy::read(object.clone()).map(|(_, observed)| observed);
        if let (false, Some(observed)) = (self.habits.two_owners, &mut observed) {
            let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
            observed.marks.namespace_owner = Some(format!("uid-{namespace}").into());
        }
        self.contents.push(Content {
            isolates: isolates(&object),
            tier_owner: tier_owner.map(|owner| owner.uid.clone()),
            has_namespace_owner: owners.clone().any(|owner| owner.kind == "Namespace"),
            observed,
            object,
        });
        self.content_ids.insert(key, id);
        id
    }

    /// What a tenant's move makes of a policy: nothing if it cannot be made, and otherwise what stands then.
    pub fn tenant_moves(&mut self, namespace: u8, index: u8, before: Option<ContentId>) -> Option<Option<ContentId>> {
        if let Some(known) = self.moves.get(&(namespace, index, before)) {
            return *known;
        }
        let tenant_move = self.scenario.tenant[usize::from(index)];
        let object = before.map(|content| &self.content(content).object);
        let after = tenant_move.make(namespace, object, &self.scenario);
        let after = after.map(|object| object.map(|object| self.intern(&object)));
        let after = after.filter(|after| *after != before);
        self.moves.insert((namespace, index, before), after);
        after
    }

    /// What the garbage collector leaves of a policy whose tier is gone: nothing where that was its last owner.
    pub fn collected(&mut self, content: ContentId) -> Option<ContentId> {
        if !self.content(content).has_namespace_owner {
            return None;
        }
        let mut object = self.content(content).object.clone();
        let owners = object.metadata.owner_references.get_or_insert_default();
        owners.retain(|owner| owner.kind != "IsolationTier");
        Some(self.intern(&object))
    }

    /// Whether all marks of a policy agree on that tier.
    pub fn is_marked_for(&self, content: ContentId, tier: &str, uid: &str) -> bool {
        let metadata = &self.content(content).object.metadata;
        let label = |key: &str| metadata.labels.as_ref()?.get(key).map(String::as_str);
        let owner = metadata.owner_references.iter().flatten();
        let owner = owner.clone().find(|owner| owner.kind == "IsolationTier");
        label(MANAGED_BY_LABEL) == Some(MANAGED_BY)
            && label(TIER_LABEL) == Some(tier)
            && owner.is_some_and(|owner| owner.name == tier && owner.uid == uid)
    }

    /// Whether an ingress base stands as a tier wants it, without the allowance for some pods that belongs to it: those pods
    /// are cut off.
    pub fn is_cut(&mut self, shelf: &Shelf) -> bool {
        let Some(base) = shelf[0].map(|object| object.content) else {
            return false;
        };
        let extra = shelf[EXTRA].map(|object| object.content);
        if let Some(known) = self.cuts.get(&(base, extra)) {
            return *known;
        }
        let spec = |content: ContentId| self.content(content).object.spec.as_ref();
        let mut cut = false;
        for (tier, variants) in self.scenario.tiers.iter().enumerate() {
            for variant in variants.iter().filter(|variant| variant.extra && !variant.broken) {
                let rendered = render(&variant.parsed(tier), &Facts::unread());
                let wanted = |policy: usize| {
                    let name = PolicyName::reserved(POLICIES[policy]);
                    name.and_then(|name| rendered.policies.get(&name))
                        .map(|policy| &policy.spec)
                };
                let stands = self.is_marked_for(base, TIERS[tier], &variant.uid(tier)) && spec(base) == wanted(0);
                cut |= stands && extra.and_then(spec) != wanted(EXTRA);
            }
        }
        self.cuts.insert((base, extra), cut);
        cut
    }
}

fn is_empty(value: &Value) -> bool {
    value.is_null()
        || value.as_array().is_some_and(Vec::is_empty)
        || value.as_object().is_some_and(serde_json::Map::is_empty)
}

/// Judged from what was promised, not by the core: a base that selects every pod, for that direction, and no rule of
/// which lets everybody through.
fn isolates(object: &NetworkPolicy) -> Directions {
    let spec = object.spec.clone().unwrap_or_default();
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let all_pods = spec.pod_selector.is_none_or(|selector| selector == Default::default());
    let types = spec.policy_types.unwrap_or_default();
    let isolates = |base: &str, direction: &str| all_pods && name == base && types.iter().any(|name| name == direction);
    let nobody = |peers: &Option<Vec<_>>| peers.as_ref().is_none_or(Vec::is_empty);
    let open_ingress = spec.ingress.iter().flatten().any(|rule| nobody(&rule.from));
    let open_egress = spec.egress.iter().flatten().any(|rule| nobody(&rule.to));
    let ingress = isolates(POLICIES[0], "Ingress") && !open_ingress;
    let egress = isolates(POLICIES[1], "Egress") && !open_egress;
    (u8::from(ingress) * INGRESS) | (u8::from(egress) * EGRESS)
}
