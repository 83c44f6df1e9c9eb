//! A namespace appears: how long until both its directions are protected, by us and by a loop that sends at once.

use std::time::Instant;

use crate::raw_loop::RawLoop;
use crate::scene::{GOVERNED, PATIENCE, RAW, Scene, create_namespaces};
use crate::sightings::{PolicySeen, Seen};
use crate::table::{Bar, Row, Table, median, progress, quantile};
use crate::watch_events::Kind;

/// Namespaces that come one by one, for each side.
const ONE_BY_ONE: usize = 300;
/// Namespaces that come at once.
const BURST: usize = 300;
/// Bursts for each side.
const BURSTS: usize = 5;

/// One by one, raw and ours by turns.
pub async fn measure_one_by_one(scene: &Scene, table: &mut Table) {
    let controller = scene.start_converged().await;
    let raw_loop = RawLoop::protecting(&scene.raw, scene.current_bytes().clone()).await;
    let (mut raw, mut ours) = (Vec::new(), Vec::new());
    for number in 0..ONE_BY_ONE {
        if number % 50 == 0 {
            progress(&format!("one new namespace: {number} of {ONE_BY_ONE}"));
        }
        raw.extend(appear(scene, vec![format!("raw-one-{number:04}")], RAW).await);
        ours.extend(appear(scene, vec![format!("new-one-{number:04}")], GOVERNED).await);
    }
    let answers = median(&raw_loop.round_trips());
    table.push(Row::raw("watch event to committed POST: ms, p50", answers));
    compare(
        table,
        "new namespace",
        0.5,
        (median(&raw), median(&ours)),
        Bar::RatioBelow(3.0),
    );
    let slowest = (quantile(&raw, 0.99), quantile(&ours, 0.99));
    compare(table, "new namespace", 0.99, slowest, Bar::RatioBelow(0.3));
    assert_eq!(controller.sigterm().await, 0, "the controller ends in order");
}

/// Many at once, raw and ours by turns.
pub async fn measure_burst(scene: &Scene, table: &mut Table) {
    let controller = scene.start_converged().await;
    let _raw_loop = RawLoop::protecting(&scene.raw, scene.current_bytes().clone()).await;
    let (mut raw, mut ours) = (Vec::new(), Vec::new());
    for round in 0..BURSTS {
        progress(&format!("{BURST} namespaces at once: round {} of {BURSTS}", round + 1));
        let names = |prefix| {
            (0..BURST)
                .map(|number| format!("{prefix}-burst-{round}-{number:04}"))
                .collect()
        };
        raw.push(appear(scene, names("raw"), RAW).await);
        ours.push(appear(scene, names("new"), GOVERNED).await);
    }
    let of_rounds = |rounds: &[Vec<f64>], part| {
        let parts: Vec<f64> = rounds.iter().map(|times| quantile(times, part)).collect();
        median(&parts)
    };
    let what = format!("{BURST} namespaces at once");
    compare(
        table,
        &what,
        0.5,
        (of_rounds(&raw, 0.5), of_rounds(&ours, 0.5)),
        Bar::None,
    );
    compare(
        table,
        &what,
        0.99,
        (of_rounds(&raw, 0.99), of_rounds(&ours, 0.99)),
        Bar::RatioBelow(2.0),
    );
    assert_eq!(controller.sigterm().await, 0, "the controller ends in order");
}

fn compare(table: &mut Table, what: &str, part: f64, (raw, ours): (f64, f64), bar: Bar) {
    let row = format!("{what}: ms until both directions stand, p{:.0}", part * 100.0);
    table.push(Row::compared(row, raw, ours, bar));
}

/// Creates namespaces and gives, for each, the milliseconds from its event to the event of its second policy.
async fn appear(scene: &Scene, names: Vec<String>, label: &str) -> Vec<f64> {
    let mark = scene.sightings.mark();
    create_namespaces(&scene.admin, &names, label).await;
    // Two watches: nothing says that the events of the one come before those of the other.
    let protected = |seen: &Seen| {
        let written = seen.events.len() >= mark + 2 * names.len();
        let appeared = || names.iter().all(|name| seen.namespaces.contains_key(name));
        (written && appeared()).then_some(())
    };
    scene
        .sightings
        .wait("both policies of each namespace", PATIENCE, protected)
        .await;
    scene.sightings.read(|seen| {
        let events = &seen.events[mark..];
        let foreign = |event: &&PolicySeen| event.kind != Kind::Added || !names.contains(&event.namespace);
        if let Some(event) = events.iter().find(foreign) {
            panic!("something else writes to {}: {:?}", event.namespace, event.kind);
        }
        let second = |name: &String| -> Instant {
            let own = events.iter().filter(|event| event.namespace == *name);
            own.map(|event| event.at)
                .nth(1)
                .expect("two policies in each namespace")
        };
        let took = |name: &String| {
            let appeared = seen.namespaces.get(name).expect("the observer sees every namespace");
            second(name).saturating_duration_since(*appeared).as_secs_f64() * 1000.0
        };
        names.iter().map(took).collect()
    })
}
