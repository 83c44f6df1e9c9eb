//! A write that was given up is carried out all the same, when another has told more.

use std::collections::BTreeSet;
use std::sync::Arc;

use kube::Client;
use serde_json::json;

use super::held_or_released::{are_held_or_released, both_directions, verdict};
use crate::harness::eventually::PATIENCE;
use crate::harness::fault_proxy::{Fault, Nth, RequestRule, Requests};
use crate::harness::scenario_mixed_world::create_namespaces;
use crate::harness::scenario_tiers::{
    BOTH_BASES, apply_tier, eventually_governed, eventually_ready, policies_of, selecting, set_labels,
};
use crate::harness::{ControlPlaneOptions, Controller, FaultProxy, OwnControlPlane, eventually};

const LIMIT: usize = 5;
const BRAKE: [&str; 1] = ["--max-unprotected=5"];

struct Stage {
    control_plane: OwnControlPlane,
    proxy: FaultProxy,
    admin: Client,
    names: Vec<String>,
}

impl Stage {
    /// Twice as many namespaces under tier `floor` as one process may open, and the process.
    async fn with_a_controller() -> (Self, Controller) {
        let options = ControlPlaneOptions {
            controller_manager: false,
            ..ControlPlaneOptions::default()
        };
        let control_plane = OwnControlPlane::start(options).await;
        let proxy = FaultProxy::start(&control_plane).await;
        let controller = Controller::start_through(&proxy, &BRAKE).await;
        let admin = control_plane.admin().await;
        apply_tier(&admin, "floor", &selecting("floor", "mode: Enforce")).await;
        let names = create_namespaces(&admin, "n", &[("scenario", "floor")], 2 * LIMIT).await;
        for name in &names {
            eventually_governed(&admin, name, "floor", &BOTH_BASES).await;
        }
        eventually_ready(&admin, "floor").await;
        let stage = Self {
            control_plane,
            proxy,
            admin,
            names,
        };
        (stage, controller)
    }

    async fn leave(&self, names: &[String]) {
        for name in names {
            set_labels(&self.admin, name, json!({"scenario": null})).await;
        }
    }

    /// The bases that are gone.
    async fn released(&self) -> BTreeSet<(String, String)> {
        let mut released = both_directions(&self.names);
        for name in &self.names {
            let left = policies_of(&self.admin, name).await.expect("a list");
            released.retain(|(namespace, policy)| namespace != name || !left.contains_key(policy));
        }
        released
    }

    /// What the controller has to say of releases, and what it reports at the same time, hangs.
    async fn hold_back_two(&self) -> Arc<RequestRule> {
        let statuses = Requests::with(&["patch"]).of_subresource("isolationtiers", "status");
        let rule = self.proxy.on(statuses.named("floor"), Nth::first(2), Fault::HoldBack);
        self.leave(&self.names[..1]).await;
        eventually("two statuses hang", PATIENCE, || async {
            let struck = rule.struck();
            (struck == 2).then_some(()).ok_or(format!("{struck}"))
        })
        .await;
        rule
    }

    /// What was held back is carried out.
    async fn lands_late(&self, rule: &RequestRule) {
        rule.lift();
        eventually("the statuses that hung are answered", PATIENCE, || async {
            let late: Vec<_> = self
                .proxy
                .story()
                .into_iter()
                .filter(|line| line.contains("<== late"))
                .collect();
            (late.len() == 2).then_some(()).ok_or(format!("{late:?}"))?;
            late.iter().for_each(|line| eprintln!("{line}"));
            assert!(late.iter().any(|line| line.contains("releases")), "{late:?}");
            Ok(())
        })
        .await;
    }
}

// Its number stood there for the next process, which opened as many more as had been told since.
#[tokio::test(flavor = "multi_thread")]
async fn a_word_that_lands_late_undid_what_was_told_since() {
    let (stage, mut controller) = Stage::with_a_controller().await;
    let held_back = stage.hold_back_two().await;
    stage.leave(&stage.names[1..LIMIT]).await;
    let first = both_directions(&stage.names[..LIMIT]);
    eventually("as many are released as may be", PATIENCE * 2, || async {
        let released = stage.released().await;
        (released == first).then_some(()).ok_or(format!("{released:?}"))
    })
    .await;
    controller.signal_kill9();
    stage.lands_late(&held_back).await;

    controller = Controller::start(&stage.control_plane, &BRAKE).await;
    stage.leave(&stage.names[LIMIT..]).await;
    let all = 2 * stage.names.len();
    are_held_or_released(&controller, "floor", all, || stage.released()).await;
    assert_eq!(stage.released().await, first);
    verdict(&stage.control_plane, &stage.names, &first).await;
}
