//! The steps, in the order in which they are told.

use kube::ResourceExt;

use crate::harness::eventually::PATIENCE;
use crate::harness::scenario_namespaces::let_tenant_edit;
use crate::harness::{Observer, eventually};
use crate::narrator::Narrator;
use crate::stage::{Stage, names};
use crate::stopwatch::{Stopwatch, milliseconds};

/// The namespaces of `config/samples`, and the one that the demo makes.
const NAMESPACES: [&str; 6] = ["builds", "ledger", "payments", "search", "storefront", "newcomer"];
const INGRESS: &str = "cofferdam-baseline-ingress";
const EGRESS: &str = "cofferdam-baseline-egress";
const EXTRA: &str = "cofferdam-allow-api-server-egress";

/// The whole demo.
pub async fn tell(narrator: Narrator) {
    let stage = Stage::set(narrator).await;
    observe(&stage).await;
    enforce(&stage).await;
    open_by_hand(&stage).await;
    delete_by_hand(&stage).await;
    ask_who_did_it(&stage).await;
    new_namespace(&stage).await;
    move_between_tiers(&stage).await;
    numbers(&stage);
    delete_a_tier(&stage).await;
    delete_the_definition(&stage).await;
    stage.clear().await;
}

async fn observe(stage: &Stage) {
    stage.step("Observe first: three tiers that report and write nothing");
    stage.admin("kubectl apply -k config/samples").await;
    stage
        .admin("kubectl wait isolationtier --all --for=condition=Ready --timeout=30s")
        .await;
    stage.wait_for_tiers(|counts| counts.observed, [6, 1, 2]).await;
    stage.admin("kubectl get isolationtiers").await;
    stage.say(
        "What would they do? The plan of the controller itself, and what a person should know before enforcing it:",
    );
    stage.admin("cofferdam plan -o table").await;
    stage.admin("kubectl get networkpolicies -A").await;
}

async fn enforce(stage: &Stage) {
    stage.step("Enforce, the strongest tier first");
    stage
        .admin(r#"kubectl patch isolationtier restricted open-egress baseline --type=merge -p '{"spec":{"mode":"Enforce"}}'"#)
        .await;
    stage.wait_for_tiers(|counts| counts.protected, [3, 1, 2]).await;
    stage.admin("kubectl get isolationtiers").await;
    stage.say("The highest precedence governs: baseline selects all six and protects the three that are left to it.");
    stage
        .admin("kubectl get networkpolicies -A -L cofferdam.dev/tier")
        .await;
    stage.say(
        "One of them as it is rendered: DNS from the Service and endpoints of this cluster, and the namespace itself.",
    );
    stage
        .admin(&format!("kubectl describe networkpolicy -n payments {EGRESS}"))
        .await;
}

async fn open_by_hand(stage: &Stage) {
    stage.step("A tenant opens a namespace to everybody");
    stage.say("The user `tenant` has the role edit in payments. Times are the API server's own, from its audit log:");
    stage.say("from the end of the request that did it to the end of the request that healed it.");
    let_tenant_edit(&stage.control_plane.admin().await, "payments").await;
    let stopwatch = Stopwatch::start(stage.control_plane.audit_log());
    stage
        .tenant(&format!(
            r#"kubectl patch networkpolicy -n payments {INGRESS} --type=merge -p '{{"spec":{{"ingress":[{{}}]}}}}'"#
        ))
        .await;
    let took = stopwatch.heal("payments", INGRESS).await;
    stage
        .admin(&format!(
            "kubectl get networkpolicy -n payments {INGRESS} -o jsonpath='{{.spec}}{{\"\\n\"}}'"
        ))
        .await;
    stage.result(&format!("healed {} after the edit", milliseconds(took)));
}

async fn delete_by_hand(stage: &Stage) {
    stage.step("A tenant deletes a policy");
    let stopwatch = Stopwatch::start(stage.control_plane.audit_log());
    stage
        .tenant(&format!("kubectl delete networkpolicy -n payments {EGRESS}"))
        .await;
    let took = stopwatch.heal("payments", EGRESS).await;
    stage.admin("kubectl get networkpolicies -n payments").await;
    stage.result(&format!("back {} after it was deleted", milliseconds(took)));
    stage.wait_for_events("payments", 2).await;
    stage.admin("kubectl events -n payments").await;
}

async fn ask_who_did_it(stage: &Stage) {
    stage.step("Nobody heals, and everybody sees who did it");
    stage.say(
        "The controller is frozen for a moment, as though its node were gone. The tenant opens the namespace again.",
    );
    stage.say(
        "`cofferdam status` asks no controller: it makes the same plan of what stands, and says who changed what.",
    );
    stage.controller.stop();
    let stopwatch = Stopwatch::start(stage.control_plane.audit_log());
    stage
        .tenant(&format!(
            r#"kubectl patch networkpolicy -n payments {INGRESS} --type=merge -p '{{"spec":{{"ingress":[{{}}]}}}}'"#
        ))
        .await;
    stage
        .admin(r#"cofferdam status --tier restricted -o wide || echo "exit code $?""#)
        .await;
    stage.controller.cont();
    stopwatch.heal("payments", INGRESS).await;
    stage.admin("cofferdam status").await;
    stage.say("And for the auditor, CIS Kubernetes 5.3.2:");
    stage.admin("cofferdam report --cis || echo \"exit code $?\"").await;
}

async fn new_namespace(stage: &Stage) {
    stage.step("A new namespace");
    let stopwatch = Stopwatch::start(stage.control_plane.audit_log());
    stage.admin("kubectl create namespace newcomer").await;
    let open = stopwatch
        .protection("newcomer", [INGRESS, EGRESS])
        .await
        .map(milliseconds);
    stage.admin("kubectl get networkpolicies -n newcomer").await;
    stage.result(&format!(
        "it stood without ingress policy for {}, without egress policy for {}",
        open[0], open[1]
    ));
}

async fn move_between_tiers(stage: &Stage) {
    stage.step("From one tier to another and back: one write a direction");
    stage.say("The third write is the policy that restricted has for the pods that may reach the API server.");
    for (label, tier, third) in [("=restricted", "restricted", "create"), ("-", "baseline", "delete")] {
        let stopwatch = Stopwatch::start(stage.control_plane.audit_log());
        stage
            .admin(&format!("kubectl label namespace storefront cofferdam.dev/tier{label}"))
            .await;
        stage.wait_for_policies_of("storefront", tier).await;
        let writes = stopwatch.writes("storefront");
        let expected = [
            format!("{third} {EXTRA}"),
            format!("update {EGRESS}"),
            format!("update {INGRESS}"),
        ];
        assert_eq!(writes, expected);
        stage.result(&format!("now under {tier}, by {} writes:", writes.len()));
        stage.quote(&writes.join("\n"));
    }
}

fn numbers(stage: &Stage) {
    stage.step("The numbers, for a dashboard and an alert");
    stage.say(&format!(
        "{}, those of drift and protection that are not 0:",
        stage.controller.url("/metrics")
    ));
    let shown = |line: &&str| {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        let wanted = [
            "cofferdam_drift_",
            "cofferdam_time_to_protection",
            "cofferdam_tier_namespaces",
        ];
        wanted.iter().any(|wanted| name.starts_with(wanted)) && !name.ends_with("_bucket") && !line.ends_with(" 0")
    };
    let metrics = stage.controller.metrics();
    let lines: Vec<_> = metrics.text().lines().filter(shown).collect();
    stage.quote(&lines.join("\n"));
}

async fn delete_a_tier(stage: &Stage) {
    stage.step("A tier is deleted: the next one that matches takes over in place");
    stage.admin("kubectl delete isolationtier restricted").await;
    for namespace in ["payments", "ledger"] {
        stage.wait_for_policies_of(namespace, "baseline").await;
    }
    stage
        .admin("kubectl get networkpolicies -n payments -L cofferdam.dev/tier")
        .await;
}

async fn delete_the_definition(stage: &Stage) {
    stage.step("Even the definition is deleted, and every tier with it");
    let before = stage.policies().await;
    stage
        .admin("kubectl delete customresourcedefinition isolationtiers.cofferdam.dev")
        .await;
    stage.say("The garbage collector takes the tier off the owners of each policy. The other owner is the namespace,");
    stage.say("so the policy stays: no longer healed, until a tier takes it over.");
    eventually("the garbage collector has been at every policy", PATIENCE, || async {
        let mut policies = stage.policies().await;
        policies.retain(|policy| {
            policy
                .owner_references()
                .iter()
                .any(|owner| owner.kind == "IsolationTier")
        });
        policies
            .is_empty()
            .then_some(())
            .ok_or_else(|| format!("{:?}", names(&policies)))
    })
    .await;
    stage.admin("kubectl get networkpolicies -A").await;
    let after = names(&stage.policies().await);
    let lost: Vec<_> = names(&before).difference(&after).cloned().collect();
    assert_eq!(lost, [""; 0], "expected every policy to outlive its tier");
    Observer::of(NAMESPACES).verdict(&stage.control_plane).await;
    let deletions = stage.since_the_start.deletions_of("cofferdam-baseline-");
    assert_eq!(deletions, [format!("payments/{EGRESS} by tenant")]);
    stage.result(
        "nothing opened: of all requests so far one deleted a base policy, and that was the tenant's in step 5",
    );
}
