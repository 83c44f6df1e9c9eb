//! Two replicas: one leads and writes, the other knows everything and takes over.

mod frozen;

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ApiResource, DynamicObject, ListParams, PostParams};
use kube::{Api, Client};

use crate::harness::replica::{LEASE, RENEW_DEADLINE, RETRY_PERIOD, start_two, writes_without_the_lease};
use crate::harness::scenario_mixed_world::create_namespaces;
use crate::harness::scenario_policies::{ALLOWANCES, POLICIES};
use crate::harness::scenario_tiers::{apply_tier, eventually_governed, eventually_ready, selecting};
use crate::harness::{ControlPlane, ControlPlaneOptions, Observer, OwnControlPlane, Replica};

/// What a loaded machine may add to the bound of a failover: an API server and two controllers share two processors with
/// other scenarios.
const NOISE: Duration = Duration::from_secs(3);

/// A new namespace, protected by whoever leads.
async fn protects_a_namespace(control_plane: &ControlPlane, name: &str) -> Vec<String> {
    let admin = control_plane.admin().await;
    apply_tier(&admin, name, &selecting(name, ALLOWANCES)).await;
    let names = create_namespaces(&admin, name, &[("scenario", name)], 1).await;
    eventually_governed(&admin, &names[0], name, &POLICIES).await;
    eventually_ready(&admin, name).await;
    names
}

async fn holder(admin: &Client) -> String {
    let leases: Api<Lease> = Api::namespaced(admin.clone(), "cofferdam-system");
    let lease = leases.get("cofferdam").await.expect("the lease, as the admin");
    lease.spec.and_then(|spec| spec.holder_identity).unwrap_or_default()
}

/// Every write so far was made by who held the lease.
async fn only_leaders_wrote(control_plane: &ControlPlane) {
    let events = control_plane.audit_log().settled(control_plane).await;
    let late = writes_without_the_lease(&events);
    assert!(late.is_empty(), "written without the lease:\n{}", late.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_leads_and_the_other_takes_over_at_once_when_it_is_asked_to_end() {
    let control_plane = OwnControlPlane::start(ControlPlaneOptions::default()).await;
    let (leader, standby) = start_two(&control_plane).await;
    let mut names = protects_a_namespace(&control_plane, "before").await;
    stands_by(&control_plane, &standby).await;
    let lists = |events: &[std::sync::Arc<crate::harness::AuditEvent>]| {
        events
            .iter()
            .filter(|event| standby.sent(event) && event.verb == "list")
            .count()
    };
    let lists_before = lists(&control_plane.audit_log().settled(&control_plane).await);

    let asked = Instant::now();
    let former = leader.identity.clone();
    assert_eq!(leader.controller.sigterm().await, 0);
    let admin = control_plane.admin().await;
    assert_ne!(holder(&admin).await, former, "it was not released");
    standby.eventually_leads().await;
    let took = asked.elapsed();
    eprintln!("took over {took:?} after SIGTERM");
    assert!(took < RETRY_PERIOD + NOISE, "{took:?}");

    looks_at_everything_and_writes_nothing(&control_plane, &standby).await;
    names.extend(protects_a_namespace(&control_plane, "after").await);
    let events = control_plane.audit_log().settled(&control_plane).await;
    // But for what the former leader wrote into the tiers in its last moments.
    assert_eq!(lists(&events), lists_before + 1, "it knew everything already");
    let metrics = standby.controller.metrics();
    assert!(
        metrics.sum("cofferdam_drift_detected_total", &[]) < 0.5,
        "nobody changed anything"
    );
    // What the former leader protected is not counted a second time.
    assert_eq!(
        metrics.sum("cofferdam_time_to_protection_seconds_count", &[]) as usize,
        1
    );
    only_leaders_wrote(&control_plane).await;
    Observer::of(names).verdict(&control_plane).await;
}

/// Everything was in place when it took over.
async fn looks_at_everything_and_writes_nothing(control_plane: &ControlPlane, replica: &Replica) {
    let namespaces: Api<Namespace> = Api::all(control_plane.admin().await);
    let count = namespaces
        .list_metadata(&ListParams::default())
        .await
        .unwrap()
        .items
        .len() as f64;
    replica
        .controller
        .eventually_metrics("every namespace was looked at, and is counted", |metrics| {
            let looks = metrics.sum("cofferdam_reconcile_total", &[("controller", "namespace")]);
            let counted = metrics.sum("cofferdam_namespaces", &[]);
            if looks >= count && counted >= count {
                Ok(())
            } else {
                Err(format!("{looks} looks at {count} namespaces, {counted} counted"))
            }
        })
        .await;
    assert_eq!(writes_of(control_plane, replica).await, [""; 0]);
}

/// What a replica wrote so far, but for the Lease.
async fn writes_of(control_plane: &ControlPlane, replica: &Replica) -> Vec<String> {
    let events = control_plane.audit_log().settled(control_plane).await;
    let writes = events
        .iter()
        .filter(|event| replica.sent(event) && event.is_write() && !event.is_of_own_lease());
    writes.map(|event| event.summary()).collect()
}

/// Ready, with nothing to say of the cluster, and without a single write.
async fn stands_by(control_plane: &ControlPlane, standby: &Replica) {
    assert_eq!(standby.controller.get("/readyz").unwrap(), (200, "ok\n".into()));
    let metrics = standby.controller.metrics();
    assert_eq!(metrics.value("cofferdam_leader", &[]), Some(0.0));
    assert_eq!(metrics.count("cofferdam_build_info", &[]), 1);
    assert_eq!(metrics.sum("cofferdam_cache_synced", &[]) as usize, 7);
    for of_the_cluster in [
        "cofferdam_namespaces",
        "cofferdam_tier_namespaces",
        "cofferdam_policies",
        "cofferdam_tier_condition",
    ] {
        assert_eq!(metrics.count(of_the_cluster, &[]), 0, "{of_the_cluster}");
    }
    for counted in [
        "cofferdam_drift_detected_total",
        "cofferdam_reconcile_total",
        "cofferdam_time_to_protection_seconds_count",
    ] {
        assert!(metrics.sum(counted, &[]) < 0.5, "{counted}");
    }
    let events = control_plane.audit_log().settled(control_plane).await;
    let writes = events.iter().filter(|event| standby.sent(event) && event.is_write());
    assert_eq!(writes.map(|event| event.summary()).collect::<Vec<_>>(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_leader_is_replaced_within_a_lease_and_a_look() {
    let control_plane = OwnControlPlane::start(ControlPlaneOptions::default()).await;
    let (leader, standby) = start_two(&control_plane).await;
    let mut names = protects_a_namespace(&control_plane, "before").await;
    let killed = Instant::now();
    leader.controller.kill9();
    standby.eventually_leads().await;
    let took = killed.elapsed();
    eprintln!("took over {took:?} after SIGKILL");
    assert!(took < LEASE + RETRY_PERIOD + NOISE, "{took:?}");
    names.extend(protects_a_namespace(&control_plane, "after").await);
    only_leaders_wrote(&control_plane).await;
    Observer::of(names).verdict(&control_plane).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_cannot_renew_ends_by_itself() {
    let mut control_plane = OwnControlPlane::start(ControlPlaneOptions::default()).await;
    let (mut leader, standby) = start_two(&control_plane).await;
    let mut names = protects_a_namespace(&control_plane, "before").await;
    // Away, as behind a cut cable: nobody answers, and nobody refuses.
    control_plane.api_server().signal(nix::sys::signal::Signal::SIGSTOP);
    let away = Instant::now();
    let code = leader.controller.ends_by_itself().await;
    let took = away.elapsed();
    eprintln!("ended {took:?} after the API server was gone");
    assert_eq!(code, 2);
    assert!(took < RENEW_DEADLINE + NOISE, "{took:?}");
    assert!(leader.controller.log().contains("could not renew its lease in time"));
    assert!(!standby.leads());
    control_plane.api_server().signal(nix::sys::signal::Signal::SIGCONT);
    standby.eventually_leads().await;
    names.extend(protects_a_namespace(&control_plane, "after").await);
    only_leaders_wrote(&control_plane).await;
    Observer::of(names).verdict(&control_plane).await;
}

/// What our types hold no time for, the API server takes.
const BEYOND_EVERY_TIME: &str = "9999-12-31T23:59:59.000000Z";

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_whose_times_nobody_can_read_stopped_the_elections_until_somebody_deleted_it() {
    let control_plane = OwnControlPlane::start(ControlPlaneOptions::default()).await;
    let admin = control_plane.admin().await;
    let resource = ApiResource::erase::<Lease>(&());
    let mut lease = DynamicObject::new("cofferdam", &resource);
    lease.data = serde_json::json!({"spec": {
        "holderIdentity": "somebody-else",
        "leaseDurationSeconds": 1,
        "acquireTime": BEYOND_EVERY_TIME,
        "renewTime": BEYOND_EVERY_TIME,
    }});
    let leases: Api<DynamicObject> = Api::namespaced_with(admin.clone(), "cofferdam-system", &resource);
    leases
        .create(&PostParams::default(), &lease)
        .await
        .expect("the API server takes such a time");
    let replica = Replica::start(&control_plane).await;
    replica.eventually_leads().await;
    assert_eq!(holder(&admin).await, replica.identity);
    let names = protects_a_namespace(&control_plane, "after").await;
    only_leaders_wrote(&control_plane).await;
    Observer::of(names).verdict(&control_plane).await;
}
