//! A mistake that the brake holds, counted while it is held.

use serde_json::{Value, json};

use super::drive::Round;
use super::{Life, restarted};
use crate::harness::scenario_namespaces::create_namespace;
use crate::harness::scenario_tiers::{apply_tier, set_labels};

impl Life {
    /// Three namespaces lose their label under a controller that lets nothing go without a confirmation.
    pub(super) async fn with_a_mistake_that_is_held(mut self) -> Self {
        let admin = self.control_plane.admin().await;
        let names = ["held-1", "held-2", "held-3"];
        let labels_them = async |labels: Value| {
            for name in names {
                set_labels(&admin, name, labels.clone()).await;
            }
        };
        self.round_begins().await;
        for name in names {
            create_namespace(&admin, name, &[]).await;
        }
        self.agrees(
            &Round {
                created: names.map(str::to_owned).into(),
                ..Round::default()
            },
            "on the namespaces to be held",
        )
        .await;
        self.round_begins().await;
        apply_tier(
            &admin,
            "brake",
            "namespaceSelector: {matchLabels: {team: held}}\nmode: Enforce\n",
        )
        .await;
        labels_them(json!({"team": "held"})).await;
        self.agrees(&Round::default(), "on what is to be held").await;
        self = self.restarted(&["--max-unprotected=0"]).await;
        self.agrees(&restarted(), "on a controller that opens nothing").await;
        self.round_begins().await;
        labels_them(json!({"team": null})).await;
        let held = Round {
            held: 2 * names.len(),
            ..Round::default()
        };
        self.agrees(&held, "on what is held").await;
        self.round_begins().await;
        let status = &self.seen.tier("brake")["status"];
        let message = status["conditions"][0]["message"].as_str().expect("a message");
        let (_, command) = message.split_once("kubectl ").expect("a command");
        let command: Vec<&str> = command.split(' ').collect();
        self.control_plane.kubectl(&command).expect_success();
        self.agrees(&Round::default(), "on what was confirmed").await;
        self
    }
}
