//! Drift that stands, because admission refuses what the controller writes: one of each kind, counted while it lasts.

use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Api;
use kube::api::{DeleteParams, PostParams};

use super::counters::unix_now;
use super::drive::{Drifted, Round};
use super::tenant::{ENOUGH_FOR_A_FIGHT, Tenant, disown, open, open_policy};
use super::{Life, PATIENCE};
use crate::harness::scenario_denial::denial_begins;
use crate::harness::scenario_namespaces::create_namespace;
use crate::harness::scenario_tiers::apply_tier;
use crate::harness::{Identity, eventually};

const TEAM: &str = "stuck";
const TIER: &str = "
namespaceSelector: {matchLabels: {team: stuck}}
mode: Enforce
allow: [{name: web, from: [{ipBlock: {cidr: 10.1.0.0/16}}], ports: [{port: 8001}], podSelector: {matchLabels: {app: web}}}]
";
/// Namespace, policy and what becomes of it.
const DRIFT: [(&str, &str, &str); 5] = [
    ("stuck-1", "cofferdam-baseline-ingress", "missing"),
    ("stuck-2", "cofferdam-allow-web-ingress", "missing"),
    ("stuck-3", "cofferdam-baseline-egress", "modified"),
    ("stuck-4", "cofferdam-baseline-ingress", "disowned"),
    ("stuck-5", "cofferdam-allow-forged-ingress", "surplus"),
];
/// A life may have no namespace that is only observed.
const OBSERVING: &str = "namespaceSelector: {matchLabels: {team: seen}}\nmode: Observe\nisolate: [Ingress]\n";
const OBSERVED: &str = "seen-1";
/// What nobody may create there, which shows that the denial has begun.
const PROOF: &str = "proof";

impl Life {
    pub(super) async fn with_drift_that_stands(&mut self) {
        let admin = self.control_plane.admin().await;
        self.round_begins().await;
        apply_tier(&admin, TEAM, TIER).await;
        apply_tier(&admin, "looker", OBSERVING).await;
        self.agrees(&Round::default(), "on a tier for what cannot be healed")
            .await;
        self.round_begins().await;
        for (namespace, ..) in DRIFT {
            create_namespace(&admin, namespace, &[("team", TEAM)]).await;
        }
        create_namespace(&admin, OBSERVED, &[("team", "seen")]).await;
        let created = DRIFT.iter().map(|(namespace, ..)| *namespace).chain([OBSERVED]);
        let created = Round {
            created: created.map(str::to_owned).collect(),
            ..Round::default()
        };
        self.agrees(&created, "on its namespaces").await;

        self.round_begins().await;
        let changed_since = self.mark;
        self.deny_everything().await;
        for (namespace, policy, kind) in DRIFT {
            let policies: Api<NetworkPolicy> = Api::namespaced(admin.clone(), namespace);
            match kind {
                "missing" => _ = policies.delete(policy, &DeleteParams::default()).await.unwrap(),
                "modified" => open(&policies, policy).await.unwrap(),
                "disowned" => disown(&policies, policy).await.unwrap(),
                _ => {
                    _ = policies
                        .create(&PostParams::default(), &open_policy(policy))
                        .await
                        .unwrap()
                }
            }
        }
        let stands = DRIFT.map(|(namespace, policy, kind)| (namespace.to_owned(), policy.to_owned(), kind) as Drifted);
        let stands = Round {
            stands: stands.into(),
            ..Round::default()
        };
        self.agrees(&stands, "on drift that cannot be healed").await;

        self.round_begins().await;
        self.changed_since = changed_since;
        for kind in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
            self.control_plane.kubectl(&["delete", kind, TEAM]).expect_success();
        }
        let healed = Round {
            tampered: DRIFT.map(|(namespace, ..)| namespace.to_owned()).into(),
            ..Round::default()
        };
        self.agrees(&healed, "on what was healed at last").await;
    }

    /// The memory of it ends with the process, so nothing restarts meanwhile.
    pub(super) async fn with_a_fight_that_ends(&mut self) {
        let (namespace, policy, _) = DRIFT[0];
        let policies: Api<NetworkPolicy> = Api::namespaced(self.control_plane.admin().await, namespace);
        self.round_begins().await;
        let fought = Tenant::default().fight(policy, ENOUGH_FOR_A_FIGHT, &policies).await;
        fought.expect("it stands");
        let fought = Round {
            tampered: [namespace.to_owned()].into(),
            ..Round::default()
        };
        self.agrees(&fought, "on a fight").await;
        eventually("the fight is over, by the log", PATIENCE, || async {
            let contested = self.counters.fights.contested(unix_now())?;
            if contested.is_empty() {
                Ok(())
            } else {
                Err(format!("{contested:?}"))
            }
        })
        .await;
        self.round_begins().await;
        self.agrees(&Round::default(), "on a fight that is over").await;
    }

    async fn deny_everything(&self) {
        let controller = Identity::Controller.user();
        let manifest = format!(
            "
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {{name: {TEAM}}}
spec:
  matchConstraints:
    resourceRules:
    - {{apiGroups: [networking.k8s.io], apiVersions: [v1], operations: [CREATE, UPDATE, DELETE], resources: [networkpolicies]}}
  validations:
  - expression: \"request.userInfo.username != '{controller}' && request.name != '{PROOF}'\"
    message: ask the network team first
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {{name: {TEAM}}}
spec:
  policyName: {TEAM}
  validationActions: [Deny]
  matchResources: {{namespaceSelector: {{matchLabels: {{team: {TEAM}}}}}}}
"
        );
        let input = self.control_plane.kubectl_with_input(&["apply", "-f", "-"], &manifest);
        input.expect_success();
        denial_begins(&self.control_plane, DRIFT[0].0, PROOF).await;
    }
}
