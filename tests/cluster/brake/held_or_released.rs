//! What a mass release comes to: what of it is held, what is released, and that it was meant to be.

use std::collections::BTreeSet;

use kube::Client;

use cofferdam::api::{Direction, IsolationTierStatus};

use crate::harness::eventually::PATIENCE;
use crate::harness::observer::baseline_name;
use crate::harness::scenario_tiers::{condition, eventually_status};
use crate::harness::{ControlPlane, Controller, Observer, eventually};

/// The bases of these namespaces, by namespace and name.
pub fn both_directions(names: impl IntoIterator<Item = impl AsRef<str>>) -> BTreeSet<(String, String)> {
    let policies = Direction::ALL.map(baseline_name);
    let of = |name: &str| policies.map(|policy| (name.to_owned(), policy.to_owned()));
    names.into_iter().flat_map(|name| of(name.as_ref())).collect()
}

/// Waits until the tier says that so many namespaces wait, and gives back its status.
pub async fn are_held(admin: &Client, tier: &str, count: usize) -> IsolationTierStatus {
    let plural = if count == 1 { "" } else { "s" };
    let held = format!("{count} namespace{plural} would lose isolation");
    eventually_status(admin, tier, &held, |status| {
        condition(status, "Ready").is_some_and(|ready| ready.reason == "Held" && ready.message.starts_with(&held))
    })
    .await
}

/// How many releases of the tier wait, as the metrics say.
pub fn held_releases(controller: &Controller, tier: &str) -> Option<f64> {
    let of_tier = [("tier", tier)];
    controller.metrics().value("cofferdam_held_releases", &of_tier)
}

/// Waits until so many bases, and no fewer, are released or held for the tier.
pub async fn are_held_or_released(
    controller: &Controller,
    tier: &str,
    bases: usize,
    released: impl AsyncFn() -> BTreeSet<(String, String)>,
) {
    eventually("all of them are held or released", PATIENCE, || async {
        let released = released().await.len();
        let held = held_releases(controller, tier).unwrap_or_default() as usize;
        if released + held == bases {
            Ok(())
        } else {
            Err(format!("{released} released, {held} held"))
        }
    })
    .await;
}

/// Runs the command that the condition's message ends with.
pub fn run_the_command_of(control_plane: &ControlPlane, status: &IsolationTierStatus) {
    let message = &condition(status, "Ready").unwrap().message;
    let (_, command) = message.split_once("kubectl ").expect("a command");
    let arguments: Vec<&str> = command.split(' ').collect();
    control_plane.kubectl(&arguments).expect_success();
}

/// Fails if more namespaces than that are open in one direction.
pub fn are_within_the_limit(released: &BTreeSet<(String, String)>, limit: usize) {
    for direction in Direction::ALL {
        let base = baseline_name(direction);
        let opened = released.iter().filter(|(_, name)| *name == base).count();
        assert!(opened <= limit, "{opened} released for {}", direction.as_str());
    }
}

/// The observer's verdict on these namespaces, of which those bases were to be released.
pub async fn verdict(control_plane: &ControlPlane, names: &[String], released: &BTreeSet<(String, String)>) {
    let mut observer = Observer::of(names.iter().cloned());
    for (namespace, name) in released {
        let of_name = |direction: &Direction| baseline_name(*direction) == *name;
        let direction = Direction::ALL.into_iter().find(of_name).expect("a base");
        observer = observer.expect_release(namespace, direction);
    }
    observer.verdict(control_plane).await;
}
