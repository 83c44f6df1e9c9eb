//! Every number that Cofferdam tells, in `/metrics`, in the status of tiers and in `cofferdam status`, against a count from
//! the API and its audit log, again and again through a random life of a cluster.

mod count;
mod drive;
mod exported;
mod released;
mod told;

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cofferdam::api::Direction;
use serde_json::{Value, json};

use self::count::{Rule, Seen, name};
use self::drive::{Drive, Round};
use self::exported::{Counters, unix_now, wrong_metrics};
use self::released::wrong_releases;
use self::told::{wrong_report, wrong_statuses};
use crate::harness::observer::baseline_name;
use crate::harness::scenario_namespaces::create_namespace;
use crate::harness::scenario_tiers::{apply_tier, set_labels};
use crate::harness::{ControlPlane, ControlPlaneOptions, Controller, Identity, Observer, OwnControlPlane, eventually};

/// `COFFERDAM_AGREEMENT_SEED=7 cargo test --test cluster -- agreement::` plays that life again.
const SEED: &str = "COFFERDAM_AGREEMENT_SEED";
const ROUNDS: &str = "COFFERDAM_AGREEMENT_ROUNDS";
const EXEMPT: [&str; 2] = ["--exempt-namespace", "vault-*"];
/// A counter that starts anew must tell nothing of what was before.
const RESTART_EVERY: u64 = 16;
/// A status is up to a second behind, and the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(90);

/// A cluster, its controller, and what was counted of them so far.
struct Life {
    control_plane: OwnControlPlane,
    controller: Controller,
    seen: Seen,
    counters: Counters,
    /// What the API server wrote down before the present round.
    mark: usize,
    namespaces: BTreeSet<String>,
    releases: Vec<(String, Direction)>,
    heals: u64,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_number_is_what_the_api_says() {
    let seed = number_from(SEED).unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        u64::from(now.subsec_nanos())
    });
    let rounds = number_from(ROUNDS).unwrap_or(40);
    println!("{SEED}={seed} {ROUNDS}={rounds}");
    let mut life = Life::begin().await;
    let mut drive = Drive::new(seed, life.control_plane.admin().await);
    for number in 1..=rounds {
        life.round_begins().await;
        let (round, words) = if number % RESTART_EVERY == 0 {
            life = life.restarted(&[]).await;
            (Round::Restarted, String::from("restarted the controller"))
        } else {
            drive.round(&life.seen).await
        };
        println!("round {number}: {words}");
        life.agrees(&round, &format!("after round {number} of {SEED}={seed}, {words}"))
            .await;
    }
    let life = life.with_a_mistake_that_is_held().await;
    println!(
        "{rounds} rounds, {} namespaces, {} heals",
        life.namespaces.len(),
        life.heals
    );
    let observer = Observer::of(life.namespaces);
    let releases = life.releases.iter();
    let observer = releases.fold(observer, |observer, (namespace, direction)| {
        observer.expect_release(namespace, *direction)
    });
    observer.verdict(&life.control_plane).await;
}

impl Life {
    async fn begin() -> Self {
        let control_plane = OwnControlPlane::start(ControlPlaneOptions::default()).await;
        let counters = Counters {
            started: unix_now().floor(),
            ..Counters::default()
        };
        let controller = Controller::start(&control_plane, &EXEMPT).await;
        let seen = Seen::now(&control_plane.admin().await).await;
        Self {
            controller,
            seen: seen.expect("lists as the admin"),
            counters,
            mark: 0,
            namespaces: BTreeSet::new(),
            releases: Vec::new(),
            heals: 0,
            control_plane,
        }
    }

    async fn round_begins(&mut self) {
        self.mark = self.control_plane.audit_log().settled(&self.control_plane).await.len();
    }

    /// Ends the controller and starts it with more `arguments`: it counts from 0.
    async fn restarted(mut self, arguments: &[&str]) -> Self {
        self.controller.sigterm().await;
        let mark = self.control_plane.audit_log().settled(&self.control_plane).await.len();
        self.counters = Counters {
            started: unix_now().floor(),
            requests_from: mark,
            ..Counters::default()
        };
        let arguments: Vec<&str> = EXEMPT.iter().chain(arguments).copied().collect();
        let controller = Controller::start(&self.control_plane, &arguments).await;
        Self {
            controller,
            mark,
            ..self
        }
    }

    /// Waits until every number is of what stands.
    async fn agrees(&mut self, round: &Round, when: &str) {
        let (now, counted) = eventually(&format!("all numbers agree {when}"), PATIENCE, || async {
            let Self { counters, mark, .. } = &self;
            agreement(
                &self.control_plane,
                &self.controller,
                &self.seen,
                round,
                counters,
                *mark,
            )
            .await
        })
        .await;
        let released = released(&self.seen, &now).filter(|_| *round != Round::Tampered);
        self.releases.extend(released);
        self.namespaces
            .extend(now.namespaces.iter().map(|namespace| name(namespace).to_owned()));
        self.heals += counted.heals.values().sum::<u64>() - self.counters.heals.values().sum::<u64>();
        (self.seen, self.counters) = (now, counted);
    }

    /// Three namespaces lose their label under a controller that lets nothing go without a confirmation.
    async fn with_a_mistake_that_is_held(mut self) -> Self {
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
            &Round::Created(names.map(str::to_owned).into()),
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
        self.agrees(&Round::Changed, "on what is to be held").await;
        self = self.restarted(&["--max-unprotected=0"]).await;
        self.agrees(&Round::Restarted, "on a controller that opens nothing")
            .await;
        self.round_begins().await;
        labels_them(json!({"team": null})).await;
        self.agrees(&Round::Held(2 * names.len()), "on what is held").await;
        self.round_begins().await;
        let status = &self.seen.tier("brake")["status"];
        let message = status["conditions"][0]["message"].as_str().expect("a message");
        let (_, command) = message.split_once("kubectl ").expect("a command");
        let command: Vec<&str> = command.split(' ').collect();
        self.control_plane.kubectl(&command).expect_success();
        self.agrees(&Round::Changed, "on what was confirmed").await;
        self
    }
}

/// What stands and what happened, once every number is of it.
async fn agreement(
    control_plane: &ControlPlane,
    controller: &Controller,
    before: &Seen,
    round: &Round,
    counters: &Counters,
    mark: usize,
) -> Result<(Seen, Counters), String> {
    let seen = Seen::now(&control_plane.admin().await).await?;
    let events = control_plane.audit_log().settled(control_plane).await;
    let mut counters = counters.clone();
    match round {
        Round::Tampered => counters.count_heals(before, &events[mark..]),
        Round::TierDeleted(tier) => counters.forget(tier),
        Round::Created(names) => {
            let created = seen
                .namespaces
                .iter()
                .filter(|namespace| names.iter().any(|created| created == name(namespace)));
            for namespace in created {
                if let Rule::Tier(tier) = seen.rule(namespace) {
                    *counters.protected.entry(name(tier).to_owned()).or_default() += 1;
                }
            }
        }
        Round::Deleted(gone) if seen.namespaces.iter().any(|namespace| name(namespace) == gone) => {
            return Err(format!("{gone} is still being deleted"));
        }
        _ => {}
    }
    let held = seen.tiers.iter().map(|tier| seen.held(tier)).sum::<usize>();
    let right = if let Round::Held(held) = round { *held } else { 0 };
    if held != right {
        return Err(format!(
            "{held} directions of namespaces that nobody selects are isolated, expected {right}"
        ));
    }
    let mut wrong = wrong_statuses(&seen);
    wrong.extend(wrong_releases(&seen, &events));
    wrong.extend(wrong_metrics(
        &controller.metrics(),
        &seen,
        &counters,
        &events[counters.requests_from..],
    ));
    if wrong.is_empty() {
        wrong = wrong_report(&report(control_plane)?, &seen);
    }
    match wrong.is_empty() {
        true => Ok((seen, counters)),
        false => Err(format!("\n{}", wrong.join("\n"))),
    }
}

/// What `cofferdam status` says.
fn report(control_plane: &ControlPlane) -> Result<Value, String> {
    let output = Command::new(env!("CARGO_BIN_EXE_cofferdam"))
        .args(["status", "-o", "json"])
        .args(EXEMPT)
        .env("KUBECONFIG", control_plane.kubeconfig(Identity::Admin))
        .output()
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).map_err(|error| format!("{error}: {text}"))
}

/// The bases that stood before and stand no more, where the namespace does.
fn released<'a>(before: &'a Seen, after: &'a Seen) -> impl Iterator<Item = (String, Direction)> + 'a {
    let namespaces = after.namespaces.iter().map(name);
    namespaces.flat_map(move |namespace| {
        let gone = Direction::ALL.into_iter().filter(move |direction| {
            let base = baseline_name(*direction);
            before.reserved_in(namespace).contains_key(base) && !after.reserved_in(namespace).contains_key(base)
        });
        gone.map(move |direction| (namespace.to_owned(), direction))
    })
}

fn number_from(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|error| panic!("{variable}={text}: {error}")),
    )
}
