//! Somebody opens a policy: how long until it is as it was.

use http::Method;
use serde_json::json;

use crate::policy_bytes::{BASES, path};
use crate::raw_loop::RawLoop;
use crate::scene::{PATIENCE, Scene, create_namespaces};
use crate::sightings::Seen;
use crate::table::{Bar, Row, Table, median, progress, quantile};

/// Edits in a row of one side: so many that what follows a heal, the Events about it, meets few edits of the other.
const BLOCK: usize = 20;
/// Such blocks for each side: a thousand edits, so that ten are slower than the 99th percentile.
const BLOCKS: usize = 50;

/// One edit after the other, raw and ours by turns.
pub async fn measure_heal(scene: &Scene, table: &mut Table) {
    let controller = scene.start_converged().await;
    let ungoverned = String::from("raw-heal");
    let mark = scene.sightings.mark();
    create_namespaces(&scene.admin, std::slice::from_ref(&ungoverned), "nobody").await;
    for request in scene.current_bytes().posts(&ungoverned) {
        scene.admin.ask(request.method, &request.path, request.body).await;
    }
    let stand = |seen: &Seen| (seen.events.len() >= mark + 2).then_some(());
    scene
        .sightings
        .wait("the raw loop's namespace is protected", PATIENCE, stand)
        .await;
    let raw_loop = RawLoop::healing(&scene.raw, scene.current_bytes().clone(), &ungoverned).await;
    // One namespace after the other: what is edited again and again is contested, and its heals wait.
    let mut governed = scene.namespaces.iter().cycle();
    let (mut raw, mut ours) = (Vec::new(), Vec::new());
    for block in 1..=BLOCKS {
        progress(&format!("{BLOCK} edits are healed, one by one: {block} of {BLOCKS}"));
        for _ in 0..BLOCK {
            raw.push(edited(scene, &ungoverned).await);
        }
        for _ in 0..BLOCK {
            let namespace = governed.next().expect("a cycle has no end");
            ours.push(edited(scene, namespace).await);
        }
    }
    table.push(Row::raw(
        "watch event to committed PUT: ms, p50",
        median(&raw_loop.round_trips()),
    ));
    let row = |part: &str| format!("an edit by another user is healed: ms, {part}");
    table.push(Row::compared(
        row("p50"),
        median(&raw),
        median(&ours),
        Bar::RatioBelow(2.0),
    ));
    let slowest = (quantile(&raw, 0.99), quantile(&ours, 0.99));
    table.push(Row::compared(row("p99"), slowest.0, slowest.1, Bar::RatioBelow(4.0)));
    assert_eq!(controller.sigterm().await, 0, "the controller ends in order");
}

/// Opens ingress and gives the milliseconds from the event of that to the event of the good state.
async fn edited(scene: &Scene, namespace: &str) -> f64 {
    let mark = scene.sightings.mark();
    let open = json!({"spec": {"ingress": [{}]}}).to_string();
    let path = format!("{}?fieldManager=somebody-else", path(namespace, Some(BASES[1])));
    scene.admin.ask(Method::PATCH, &path, open).await;
    let wanted = scene.current_bytes().specs();
    let healed = |seen: &Seen| {
        let mut own = seen.events[mark..].iter().filter(|event| event.namespace == namespace);
        let edited = own.find(|event| !wanted.contains(&event.spec))?;
        let healed = own.find(|event| wanted.contains(&event.spec))?;
        Some((healed.at - edited.at).as_secs_f64() * 1000.0)
    };
    scene.sightings.wait("the edit is healed", PATIENCE, healed).await
}
