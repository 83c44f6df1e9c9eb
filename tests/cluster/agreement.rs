//! Every number that Cofferdam tells, in `/metrics`, in the status of tiers and in `cofferdam status`, against a count from
//! the API and its audit log, again and again through a random life of a cluster.

mod bounded;
mod counters;
mod drive;
mod exported;
mod held;
mod log;
mod looks;
mod off_by_one;
mod released;
mod reported;
mod seen;
mod statuses;
mod stuck;
mod tenant;

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cofferdam::api::Direction;
use serde_json::Value;

use self::counters::{Counters, Moment, unix_now};
use self::drive::{Drive, Round};
use self::exported::wrong_metrics;
use self::released::wrong_releases;
use self::reported::wrong_report;
use self::seen::{Seen, name};
use self::statuses::{Troubles, wrong_statuses};
use crate::harness::controller::binary;
use crate::harness::observer::baseline_name;
use crate::harness::{
    AuditEvent, ControlPlane, ControlPlaneOptions, Controller, Identity, Metrics, Observer, OwnControlPlane, eventually,
};

/// `COFFERDAM_AGREEMENT_SEED=7 cargo test --test cluster -- agreement::` plays that life again.
const SEED: &str = "COFFERDAM_AGREEMENT_SEED";
const ROUNDS: &str = "COFFERDAM_AGREEMENT_ROUNDS";
const EXEMPT: [&str; 2] = ["--exempt-namespace", "vault-*"];
/// A counter that starts anew must tell nothing of what was before.
const RESTART_EVERY: u64 = 16;
/// A status is up to a second behind, and the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(90);

/// For which nothing is looked at before a round begins.
const QUIET: Duration = Duration::from_millis(200);

/// A cluster, its controller, and what was counted of them so far.
struct Life {
    control_plane: OwnControlPlane,
    controller: Controller,
    seen: Seen,
    counters: Counters,
    /// How much the API server had written down before the present round.
    mark: usize,
    /// The same before what is healed in the present round was done.
    changed_since: usize,
    namespaces: BTreeSet<String>,
    releases: Vec<(String, Direction)>,
    heals: usize,
    /// Rounds that ended with a policy that somebody fights over.
    fights: usize,
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
            (restarted(), String::from("restarted the controller"))
        } else {
            drive.round(&life.seen).await
        };
        println!("round {number}: {words}");
        life.agrees(&round, &format!("after round {number} of {SEED}={seed}, {words}"))
            .await;
    }
    life.with_drift_that_stands().await;
    let mut life = life.with_a_mistake_that_is_held().await;
    life.with_a_fight_that_ends().await;
    life.every_lie_is_found().await;
    println!(
        "{rounds} rounds, {} namespaces, {} heals, {} rounds with a fight",
        life.namespaces.len(),
        life.heals,
        life.fights
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
            changed_since: 0,
            namespaces: BTreeSet::new(),
            releases: Vec::new(),
            heals: 0,
            fights: 0,
            control_plane,
        }
    }

    /// Once nothing is left to be looked at of what was before.
    async fn round_begins(&mut self) {
        self.mark = self.control_plane.audit_log().settled(&self.control_plane).await.len();
        self.changed_since = self.mark;
        let looks = || {
            self.controller
                .metrics()
                .sum("cofferdam_reconcile_total", &[("controller", "namespace")])
        };
        self.counters.looks = eventually("nothing is looked at any more", PATIENCE, || async {
            let before = looks();
            tokio::time::sleep(QUIET).await;
            let after = looks();
            match before == after {
                true => Ok(after),
                false => Err(format!("{before} looks, then {after}")),
            }
        })
        .await;
        self.counters.round_began = unix_now();
    }

    /// Ends the controller and starts it with more `arguments`: it counts from 0.
    async fn restarted(mut self, arguments: &[&str]) -> Self {
        self.controller.sigterm().await;
        let mark = self.control_plane.audit_log().settled(&self.control_plane).await.len();
        self.counters = Counters {
            started: unix_now().floor(),
            round_began: unix_now(),
            requests_from: mark,
            ..Counters::default()
        };
        let arguments: Vec<&str> = EXEMPT.iter().chain(arguments).copied().collect();
        let controller = Controller::start(&self.control_plane, &arguments).await;
        Self {
            controller,
            mark,
            changed_since: mark,
            ..self
        }
    }

    /// Waits until every number is of what stands.
    async fn agrees(&mut self, round: &Round, when: &str) {
        let (now, counted, fights) =
            eventually(&format!("all numbers agree {when}"), PATIENCE, || self.agreement(round)).await;
        let releases = released(&self.seen, &now);
        let releases: Vec<_> = releases
            .filter(|(namespace, _)| !round.tampered.contains(namespace))
            .collect();
        self.releases.extend(releases);
        self.namespaces.extend(now.names().into_iter().map(str::to_owned));
        self.heals += counted.heals.len() - self.counters.heals.len();
        self.fights += usize::from(fights);
        (self.seen, self.counters) = (now, counted);
    }

    /// What stands and what happened, and whether somebody fights, once every number is of it.
    async fn agreement(&self, round: &Round) -> Result<(Seen, Counters, bool), String> {
        let seen = Seen::now(&self.control_plane.admin().await).await?;
        let events = self.control_plane.audit_log().settled(&self.control_plane).await;
        let mut counters = self.counters.clone();
        counters.count(round, &self.seen, &seen, &events[self.changed_since..]);
        if let Some(gone) = seen.names().iter().find(|name| round.deleted.contains(**name)) {
            return Err(format!("{gone} is still being deleted"));
        }
        let held = seen.tiers.iter().map(|tier| seen.held(tier)).sum::<usize>();
        if held != round.held {
            return Err(format!(
                "{held} directions of namespaces that nobody selects are isolated, expected {}",
                round.held
            ));
        }
        let wrong = self.wrong(&seen, &counters, &events, round, &self.controller.metrics(), None)?;
        let fights = !counters.fights.contested(unix_now())?.is_empty();
        match wrong.is_empty() {
            true => Ok((seen, counters, fights)),
            false => Err(format!("\n{}", wrong.join("\n"))),
        }
    }

    /// Everything that is not as it was counted. What `cofferdam status` says is asked for where it is not given.
    fn wrong(
        &self,
        seen: &Seen,
        counters: &Counters,
        events: &[Arc<AuditEvent>],
        round: &Round,
        metrics: &Metrics,
        told: Option<&Value>,
    ) -> Result<Vec<String>, String> {
        let troubles = Troubles {
            contested: counters.fights.contested(unix_now())?,
            standing: &counters.standing,
        };
        let moment = Moment {
            metrics,
            before: &self.seen,
            seen,
            counters,
            troubles: &troubles,
            events: &events[counters.requests_from..],
            of_the_round: &events[self.mark..],
            restarted: round.restarted,
        };
        let mut wrong = wrong_statuses(seen, &troubles);
        wrong.extend(wrong_releases(seen, events));
        wrong.extend(wrong_metrics(&moment));
        match told {
            Some(told) => wrong.extend(wrong_report(told, seen, &troubles)),
            None if wrong.is_empty() => wrong = wrong_report(&report(&self.control_plane)?, seen, &troubles),
            None => {}
        }
        Ok(wrong)
    }
}

fn restarted() -> Round {
    Round {
        restarted: true,
        ..Round::default()
    }
}

/// What `cofferdam status` says.
fn report(control_plane: &ControlPlane) -> Result<Value, String> {
    let output = Command::new(binary())
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
