use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::super::Word;
use super::super::persisted::tests::{brake_with_a_tier, grants, later, tier};
use super::*;
use crate::api::Direction;
use crate::controller::canned_server::CannedServer;
use crate::controller::handover::Handover;
use crate::controller::patience::Patience;

const FINALIZER: &str = "cofferdam.dev/handover";

/// As [`tier`], deleted, and with a finalizer.
fn going(name: &str, finalizer: &str) -> DynamicObject {
    let mut going = tier(name);
    going.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    going.metadata.finalizers = Some(vec![finalizer.to_owned()]);
    going.data["spec"]["deletionPolicy"] = json!("Remove");
    going
}

/// As [`tier`], with a status that tells of so many namespaces.
fn telling(mut tier: DynamicObject, egress: u64) -> DynamicObject {
    let now = k8s_openapi::jiff::Timestamp::now().to_string();
    tier.data["status"] = json!({"releases": {"ingress": 0, "egress": egress, "latestTime": now}});
    tier
}

fn egress(count: u64) -> std::collections::BTreeMap<Direction, u64> {
    [(Direction::Egress, count)].into()
}

/// What tiers were asked to take: the name, and how many releases or which finalizers.
fn written(server: &CannedServer) -> Vec<(String, Value)> {
    let asked = server.asked().into_iter().map(|asked| {
        let path = asked.path.split_once("/isolationtiers/").unwrap().1.to_owned();
        let egress = &asked.body["status"]["releases"]["egress"];
        let finalizers = &asked.body["metadata"]["finalizers"];
        (path, if egress.is_null() { finalizers } else { egress }.clone())
    });
    asked.collect()
}

struct Scene {
    brake: Arc<ReleaseBrake>,
    handover: Handover,
    patience: Patience,
    server: CannedServer,
}

impl Scene {
    fn of(tiers: &[DynamicObject]) -> Self {
        let brake = brake_with_a_tier();
        brake.cache.tiers_listed(tiers);
        let handover = Handover {
            cache: Arc::clone(&brake.cache),
            ledger: Arc::default(),
            brake: Arc::clone(&brake),
        };
        Self {
            brake,
            handover,
            patience: Patience::default(),
            server: CannedServer::answering(200),
        }
    }

    async fn settles(&mut self) -> Vec<(String, Value)> {
        let before = self.server.asked().len();
        let tiers = self.server.tier_writer();
        self.handover.settle(&tiers, &mut self.patience).await;
        written(&self.server).split_off(before)
    }
}

// The finalizer came off as soon as nothing was to be done: who ended then left nobody who told of what the tier had released.
#[tokio::test(start_paused = true)]
async fn a_tier_went_before_another_told_what_it_had_released() {
    let tiers = [telling(going("t", FINALIZER), 2), telling(tier("u"), 1), tier("v")];
    let mut scene = Scene::of(&tiers);
    assert_eq!(scene.settles().await, [], "it is not known yet what was released");
    scene.brake.inherit_from(&tiers).await;
    scene.server.answer_under("/u/status", 403);
    scene.server.answer_under("/v/status", 500);
    let asked = [("u/status".to_owned(), json!(3)), ("v/status".to_owned(), json!(2))];
    assert_eq!(scene.settles().await, asked);
    let recent_of = |tier: &str| scene.brake.state().brake.recent_of(tier);
    assert_eq!(
        (recent_of("uid-t"), recent_of("uid-u"), recent_of("uid-v")),
        (egress(2), egress(1), [].into()),
        "what its status is to tell it tells until another does"
    );
    assert_eq!(scene.settles().await, [], "it waits");
    tokio::time::advance(scene.patience.longest()).await;
    scene.server.answer_under("/v/status", 200);
    // Who was refused as often is asked again; it is the other that takes it.
    let asked = [
        ("u/status".to_owned(), json!(3)),
        ("v/status".to_owned(), json!(2)),
        ("t".to_owned(), json!([])),
    ];
    assert_eq!(scene.settles().await, asked);
    let state = scene.brake.state();
    assert_eq!(state.brake.recent_of("uid-v"), egress(2));
    assert_eq!(state.brake.recent_of("uid-t"), [].into());
}

#[tokio::test(start_paused = true)]
async fn a_tier_goes_at_once_where_it_released_nothing_or_no_other_can_tell() {
    let other = [telling(going("t", FINALIZER), 0), telling(tier("u"), 1)];
    let alone = [telling(going("t", FINALIZER), 2), telling(going("u", "f"), 1)];
    for tiers in [&other[..], &alone] {
        let mut scene = Scene::of(tiers);
        scene.brake.inherit_from(tiers).await;
        assert_eq!(scene.settles().await, [("t".to_owned(), json!([]))]);
    }
}

// Each of them went untold while the others stood: who crashed then let the next open as many more.
#[tokio::test(start_paused = true)]
async fn of_tiers_that_all_go_those_that_still_stand_tell() {
    let tiers = [telling(going("t", FINALIZER), 2), going("u", FINALIZER)];
    let mut scene = Scene::of(&tiers);
    scene.brake.inherit_from(&tiers).await;
    // The watch shows it yet: what nobody can read any more is no word on which the last may go.
    scene.server.answer_under("/t/status", 404);
    let asked = [
        ("u/status".to_owned(), json!(2)),
        ("t".to_owned(), json!([])),
        ("t/status".to_owned(), json!(2)),
    ];
    assert_eq!(scene.settles().await, asked);
    // The last one has nobody left.
    scene.brake.cache.tiers_listed(&tiers[1..]);
    tokio::time::advance(scene.patience.longest()).await;
    assert_eq!(scene.settles().await, [("u".to_owned(), json!([]))]);
}

// What another had released, that was gone at once, was told by the status of the first to go, and went with it.
#[tokio::test(start_paused = true)]
async fn a_tier_that_is_about_to_go_is_no_heir() {
    let tiers = [telling(going("t", FINALIZER), 2), going("u", FINALIZER)];
    let mut scene = Scene::of(&tiers);
    let all = [&tiers[..], &[telling(tier("v"), 1)]].concat();
    scene.brake.inherit_from(&all).await;
    let asked = [("u/status".to_owned(), json!(3)), ("t".to_owned(), json!([]))];
    assert_eq!(scene.settles().await[..2], asked);
}

// All that were gone and shown yet were taken for one that tells.
#[tokio::test(start_paused = true)]
async fn a_tier_whose_heirs_turn_out_to_be_gone_waits_for_the_watch_and_asks_the_next() {
    let all = ["u", "v", "w", "x"].map(tier);
    let tiers = [&[telling(going("t", FINALIZER), 2)], &all[..]].concat();
    let mut scene = Scene::of(&tiers);
    scene.brake.inherit_from(&tiers).await;
    scene.server.answer(404);
    assert_eq!(scene.settles().await.len(), TIERS_ASKED_AT_MOST);
    scene.brake.cache.tiers_listed(&tiers[..1]);
    scene.server.answer(200);
    tokio::time::advance(scene.patience.longest()).await;
    assert_eq!(scene.settles().await, [("t".to_owned(), json!([]))]);
}

// Those that refuse for good would be asked again and again, and it would stay for as long.
#[tokio::test(start_paused = true)]
async fn a_tier_goes_though_many_heirs_refuse_for_good() {
    let tiers = ["t", "u", "v", "w", "x"].map(|name| {
        if name == "t" {
            going(name, FINALIZER)
        } else {
            tier(name)
        }
    });
    let mut scene = Scene::of(&tiers);
    scene.brake.inherit_from(&[telling(tiers[0].clone(), 2)]).await;
    for refused in ["/u/status", "/v/status", "/w/status"] {
        scene.server.answer_under(refused, 403);
    }
    assert_eq!(scene.settles().await.len(), TIERS_ASKED_AT_MOST);
    tokio::time::advance(scene.patience.longest()).await;
    let asked = [("x/status".to_owned(), json!(2)), ("t".to_owned(), json!([]))];
    assert_eq!(scene.settles().await, asked);
}

// Only the first was ever asked, and what the tier had released was told by nobody.
#[tokio::test(start_paused = true)]
async fn a_status_that_is_refused_for_good_kept_the_next_from_telling() {
    let scene = Scene::of(&["t", "u"].map(tier));
    scene
        .brake
        .inherit_from(&[telling(tier("gone"), 2), telling(tier("t"), 1)])
        .await;
    scene.server.answer_under("/t/status", 403);
    let tiers = scene.server.tier_writer();
    scene.brake.tend(&tiers, &mut Patience::default()).await;
    let asked = [("t/status".to_owned(), json!(3)), ("u/status".to_owned(), json!(2))];
    assert_eq!(written(&scene.server), asked);
    scene.brake.tend(&tiers, &mut Patience::default()).await;
    assert_eq!(written(&scene.server).len(), 2, "nothing is owed");
}

// More was opened while nobody told of what had been.
#[tokio::test(start_paused = true)]
async fn what_a_tier_that_is_gone_released_is_told_before_more_is_released() {
    // One that stays tells itself of both; one that goes does not.
    for (own, heir_answers, asked) in [
        (tier("t"), 500, &[("t/status", 3)][..]),
        (going("t", "f"), 200, &[("u/status", 2), ("t/status", 1)]),
        (going("t", "f"), 500, &[("u/status", 2)]),
    ] {
        let scene = Scene::of(&[own, tier("u")]);
        let grants = grants(&scene.brake, 1).remove(0);
        scene.brake.inherit_from(&[telling(tier("gone"), 2)]).await;
        scene.server.answer_under("/u/status", heir_answers);
        let word = scene
            .brake
            .write_down(&scene.server.tier_writer(), &grants, later())
            .await;
        let lands = asked.last().unwrap().0 == "t/status";
        assert_eq!(matches!(word, Word::Told), lands, "{word:?}");
        let asked: Vec<_> = asked
            .iter()
            .map(|(path, count)| ((*path).to_owned(), json!(count)))
            .collect();
        assert_eq!(written(&scene.server), asked);
    }
}

// Each of them asked it, one after the other, and all other statuses waited for that.
#[tokio::test(start_paused = true)]
async fn an_heir_that_refuses_is_asked_once_for_all_that_go() {
    let tiers = [
        telling(going("t", FINALIZER), 2),
        telling(going("v", FINALIZER), 1),
        tier("u"),
    ];
    let mut scene = Scene::of(&tiers);
    scene.brake.inherit_from(&tiers).await;
    scene.server.answer_under("/u/status", 403);
    assert_eq!(scene.settles().await, [("u/status".to_owned(), json!(2))]);
}
