//! A tenant who does everything that a role `edit` allows, as fast as it goes: whose heals are slowed, and what grows?
//!
//! A thousand creations a minute load the API server and its two processors, for everybody: a loop of one watch event and one
//! PUT, which does nothing else, is several times as slow, too. What the controller adds is what its heals are slowed beyond
//! that loop's, in the same phases on the same server, and that is what the bound of twice is held to: for the whole heal, and
//! for its part before the PUT, which is where our queue, our locks and our share of the processors would show. What the
//! tenant costs us is counted beside it: requests for each of theirs, by the audit log, and time on a processor.

mod shares;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use self::shares::{Heal, heals, processor_time, requests, strange_requests};
use crate::harness::eventually::{PATIENCE, eventually};
use crate::harness::own_control_plane::OwnControlPlane;
use crate::harness::scenario_namespaces::{create_namespace, let_tenant_edit};
use crate::harness::scenario_tiers::{BOTH_BASES, apply_tier, eventually_governed, selecting};
use crate::harness::{ControlPlane, ControlPlaneOptions, Controller, Identity, Metrics, Observer};

const TIER: &str = "everybody";
const HOSTILE: &str = "hostile";
/// Nobody governs it: a loop of one watch event and one PUT heals it.
const RAW: &str = "raw";
const RAW_POLICY: &str = "raw-ingress";
/// Each of their policies is edited once in two phases, four times in all: more would be a fight of its own.
const VICTIMS: usize = 20;
/// Whether the tenant is loud. Calm and noise by turns, so that a machine that becomes slower slows both.
const PHASES: [bool; 8] = [false, true, true, false, false, true, true, false];
/// How long the tenant is loud in each loud phase, a minute in all.
const NOISE: Duration = Duration::from_secs(15);
const BETWEEN_EDITS: Duration = Duration::from_millis(100);
const POLICIES_OF_THEIRS: usize = 1000;
/// The most that they may slow the heals of others.
const MOST: f64 = 2.0;

fn victim(number: usize) -> String {
    format!("victim-{number:02}")
}

/// A name as long as the API server takes.
fn longest_name(prefix: &str, number: usize) -> String {
    format!("{prefix}{number:0>width$}", width = 253 - prefix.len())
}

fn policies(client: &Client, namespace: &str) -> Api<NetworkPolicy> {
    Api::namespaced(client.clone(), namespace)
}

fn open_policy(name: &str) -> NetworkPolicy {
    let spec = json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{}]});
    serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap()
}

async fn merge(policies: &Api<NetworkPolicy>, policy: &str, change: &Value) -> NetworkPolicy {
    let parameters = PatchParams {
        field_manager: Some("somebody".into()),
        ..PatchParams::default()
    };
    let merged = policies.patch(policy, &parameters, &Patch::Merge(change)).await;
    merged.unwrap_or_else(|error| panic!("{policy}: {error}"))
}

/// What any controller could do at best.
async fn heal_raw(client: Client, wanted: NetworkPolicy) {
    let policies = policies(&client, RAW);
    let version = wanted.metadata.resource_version.clone().unwrap_or_default();
    let mut events = policies.watch(&WatchParams::default(), &version).await.unwrap().boxed();
    while let Some(event) = events.try_next().await.expect("the watch goes on") {
        if let WatchEvent::Modified(mut found) = event
            && found.spec != wanted.spec
        {
            found.spec.clone_from(&wanted.spec);
            let healed = policies.replace(RAW_POLICY, &PostParams::default(), &found).await;
            healed.expect("nobody else heals it");
        }
    }
}

/// The loud tenant: edits of both bases ten times a second, and policies under reserved names with the longest names.
struct Noise {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Noise {
    fn begin(tenant: &Client, created: &Arc<AtomicUsize>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (told, theirs) = (Arc::clone(&stop), policies(tenant, HOSTILE));
        let edits = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(BETWEEN_EDITS);
            for number in 0_usize.. {
                ticks.tick().await;
                if told.load(Ordering::Relaxed) {
                    return;
                }
                let change = match number % 3 {
                    0 => json!({"spec": {"ingress": [{}], "egress": null}}),
                    1 => json!({"metadata": {"labels": null}}),
                    _ => json!({"metadata": {"annotations": {"a": "x".repeat(10_000)}}}),
                };
                merge(&theirs, BOTH_BASES[1], &change).await;
            }
        });
        let (told, theirs, created) = (Arc::clone(&stop), policies(tenant, HOSTILE), Arc::clone(created));
        let creations = tokio::spawn(async move {
            while !told.load(Ordering::Relaxed) {
                let number = created.fetch_add(1, Ordering::Relaxed);
                let policy = open_policy(&longest_name("cofferdam-allow-", number));
                theirs
                    .create(&PostParams::default(), &policy)
                    .await
                    .expect("a new name");
            }
        });
        let tasks = vec![edits, creations];
        Self { stop, tasks }
    }

    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("the tenant goes on to the end");
        }
    }
}

/// Opens a policy and waits until somebody closed it.
async fn is_opened_and_healed(client: &Client, namespace: &str, policy: &str) {
    let policies = policies(client, namespace);
    let closed = policies.get(policy).await.expect("it stands").spec;
    merge(&policies, policy, &json!({"spec": {"ingress": [{}], "egress": null}})).await;
    eventually("it is healed", PATIENCE, || async {
        let live = policies.get(policy).await.map_err(|error| error.to_string())?;
        if live.spec == closed {
            Ok(())
        } else {
            Err(format!("{:?}", live.spec))
        }
    })
    .await;
}

/// One edit of each victim, and as many of the raw loop's policy; returns from when to when.
async fn phase(admin: &Client, policy: &str, lasts: Duration) -> (Timestamp, Timestamp) {
    let (since, started) = (Timestamp::now(), Instant::now());
    for number in 0..VICTIMS {
        is_opened_and_healed(admin, &victim(number), policy).await;
        is_opened_and_healed(admin, RAW, RAW_POLICY).await;
        let share = lasts * u32::try_from(number + 1).unwrap() / u32::try_from(VICTIMS).unwrap();
        // Edits come all through the phase.
        tokio::time::sleep(share.saturating_sub(started.elapsed())).await;
    }
    (since, Timestamp::now())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    assert!(values.len() >= 4 * VICTIMS * 9 / 10, "{} values", values.len());
    values[values.len() / 2]
}

/// Medians of the calm and of the loud phases.
fn by_noise(heals: &[Heal], phases: &[(bool, (Timestamp, Timestamp))], part: impl Fn(&Heal) -> f64) -> [f64; 2] {
    [false, true].map(|loud| {
        let of_kind = |at: Timestamp| {
            phases
                .iter()
                .any(|(is, (from, to))| *is == loud && (*from..=*to).contains(&at))
        };
        median(heals.iter().filter(|heal| of_kind(heal.edited_at)).map(&part).collect())
    })
}

/// How many times as slow our heals and those of the raw loop are in the loud phases.
fn slowed(
    what: &str,
    ours: &[Heal],
    raw: &[Heal],
    phases: &[(bool, (Timestamp, Timestamp))],
    part: impl Fn(&Heal) -> f64,
) -> [f64; 2] {
    let [ours, raw] = [ours, raw].map(|heals| by_noise(heals, phases, &part));
    let slowed = [ours, raw].map(|[calm, loud]| loud / calm);
    println!("{what}, ms, calm and loud: ours {ours:.1?}, a raw loop {raw:.1?}; slowed {slowed:.2?}");
    slowed
}

/// Names and labels, without values. How the API server answers is another count that starts when it first happens:
/// [`strange_requests`] has those.
fn series(metrics: &Metrics) -> BTreeSet<String> {
    let lines = metrics.text().lines().filter(|line| !line.starts_with('#'));
    let series = lines.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned()));
    series
        .filter(|series| !series.starts_with("cofferdam_api_requests_total"))
        .collect()
}

async fn set_the_scene(control_plane: &ControlPlane, admin: &Client) {
    apply_tier(admin, TIER, &selecting(TIER, "mode: Enforce\n")).await;
    let names: Vec<String> = (0..VICTIMS).map(victim).chain([HOSTILE.to_owned()]).collect();
    for name in &names {
        create_namespace(admin, name, &[("scenario", TIER)]).await;
    }
    create_namespace(admin, RAW, &[]).await;
    let mut closed = open_policy(RAW_POLICY);
    closed.spec.as_mut().unwrap().ingress = None;
    policies(admin, RAW)
        .create(&PostParams::default(), &closed)
        .await
        .unwrap();
    for name in &names {
        eventually_governed(admin, name, TIER, &BOTH_BASES).await;
    }
    let_tenant_edit(admin, HOSTILE).await;
    let theirs = policies(&control_plane.client(Identity::Tenant).await, HOSTILE);
    let create = |number| {
        let theirs = theirs.clone();
        async move {
            let policy = open_policy(&longest_name("of-the-tenant-", number));
            theirs.create(&PostParams::default(), &policy).await.unwrap();
        }
    };
    let created = stream::iter(0..POLICIES_OF_THEIRS).map(create).buffer_unordered(16);
    assert_eq!(created.count().await, POLICIES_OF_THEIRS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loud_tenant_slows_no_heal_of_others_and_grows_no_series() {
    let control_plane = OwnControlPlane::start(ControlPlaneOptions::default()).await;
    let controller = Controller::start(&control_plane, &["--audit-interval=10s"]).await;
    let admin = control_plane.admin().await;
    set_the_scene(&control_plane, &admin).await;
    let wanted = policies(&admin, RAW).get(RAW_POLICY).await.unwrap();
    let raw = tokio::spawn(heal_raw(control_plane.client(Identity::Controller).await, wanted));
    // Its series is there once the first audit is complete, which begins at some time within the interval.
    let audited = |metrics: &Metrics| match metrics.count("cofferdam_last_audit_timestamp_seconds", &[]) {
        0 => Err(String::from("not yet")),
        _ => Ok(()),
    };
    controller.eventually_metrics("a first audit has ended", audited).await;
    let before = series(&controller.metrics());

    let tenant = control_plane.client(Identity::Tenant).await;
    let (created, mut phases) = (Arc::new(AtomicUsize::new(0)), Vec::new());
    let mut spent = 0.0;
    for (loud, number) in PHASES.into_iter().zip(0..) {
        let noise = loud.then(|| Noise::begin(&tenant, &created));
        let spent_before = processor_time(controller.pid());
        let lasts = if loud { NOISE } else { NOISE / 5 };
        // Both kinds of phases come to both policies.
        let policy = BOTH_BASES[number / 2 % 2];
        phases.push((loud, phase(&admin, policy, lasts).await));
        if let Some(noise) = noise {
            noise.end().await;
            spent += processor_time(controller.pid()) - spent_before;
        }
    }

    let events = control_plane.audit_log().settled(&control_plane).await;
    let ours = heals(&events, &(0..VICTIMS).map(victim).collect());
    let theirs = heals(&events, &[RAW.to_owned()].into());
    // The tenant slows the API server, for anybody: that part is not ours.
    let whole = slowed("heals", &ours, &theirs, &phases, Heal::took);
    let before_the_write = slowed("of that until the PUT", &ours, &theirs, &phases, |heal| heal.reaction);
    let (asked, answered) = requests(&events, HOSTILE);
    println!(
        "{} policies created; {answered} requests of ours for {asked} writes of the tenant, {:.2} ms of processor time each",
        created.load(Ordering::Relaxed),
        spent / asked as f64
    );
    for slowed in [whole, before_the_write] {
        assert!(slowed[0] / slowed[1].max(1.0) < MOST, "slowed {slowed:?}");
    }
    // A heal, or a heal that met another edit, a look at that and a heal of it.
    assert!(answered <= 3 * asked, "{answered} requests for {asked} writes");

    raw.abort();
    eventually_governed_by_name(&admin).await;
    eventually("the series are those of before", PATIENCE, || async {
        let after = series(&controller.metrics());
        let changed: Vec<_> = before.symmetric_difference(&after).collect();
        if changed.is_empty() {
            Ok(())
        } else {
            Err(format!("{changed:#?}"))
        }
    })
    .await;
    let metrics = controller.metrics();
    assert_eq!(strange_requests(&metrics), Vec::<String>::new());
    assert!(!metrics.text().contains(HOSTILE), "{}", metrics.text());
    assert!(metrics.sum("cofferdam_events_dropped_total", &[("reason", "namespace")]) > 100.0);
    Observer::of((0..VICTIMS).map(victim).chain([HOSTILE.to_owned()]))
        .verdict(&control_plane)
        .await;
}

/// Nothing of the tenant's stands under a reserved name, and what must stand does.
async fn eventually_governed_by_name(admin: &Client) {
    eventually("the hostile namespace is as it must be", 2 * PATIENCE, || async {
        let ours = crate::harness::scenario_policies::ours_in(admin, HOSTILE).await?;
        let names: Vec<&str> = ours.keys().map(String::as_str).collect();
        let closed = ours.values().all(|policy| policy["spec"]["ingress"].is_null());
        if names == BOTH_BASES && closed {
            Ok(())
        } else {
            Err(format!("{names:?}"))
        }
    })
    .await;
}
