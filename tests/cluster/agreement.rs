//! Every number that Cofferdam tells, in `/metrics`, in the status of tiers and in `cofferdam status`, against a count from
//! the API and its audit log, again and again through a random life of a cluster.

mod count;
mod drive;
mod exported;
mod told;

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cofferdam::api::Direction;
use serde_json::Value;

use self::count::{Rule, Seen, name};
use self::drive::{Drive, Round};
use self::exported::{Counters, unix_now, wrong_metrics};
use self::told::{wrong_report, wrong_statuses};
use crate::harness::observer::baseline_name;
use crate::harness::{ControlPlane, ControlPlaneOptions, Controller, Identity, Observer, OwnControlPlane, eventually};

/// `COFFERDAM_AGREEMENT_SEED=7 cargo test --test cluster -- agreement::` plays that life again.
const SEED: &str = "COFFERDAM_AGREEMENT_SEED";
const ROUNDS: &str = "COFFERDAM_AGREEMENT_ROUNDS";
const EXEMPT: [&str; 2] = ["--exempt-namespace", "vault-*"];
/// A counter that starts anew must tell nothing of what was before.
const RESTART_EVERY: u64 = 16;
/// A status is up to a second behind, and the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread")]
async fn every_number_is_what_the_api_says() {
    let seed = number_from(SEED).unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        u64::from(now.subsec_nanos())
    });
    let rounds = number_from(ROUNDS).unwrap_or(40);
    println!("{SEED}={seed} {ROUNDS}={rounds}");
    let control_plane = OwnControlPlane::start(ControlPlaneOptions::default()).await;
    let mut counters = Counters {
        started: unix_now().floor(),
        ..Counters::default()
    };
    let mut controller = Controller::start(&control_plane, &EXEMPT).await;
    let admin = control_plane.admin().await;
    let mut drive = Drive::new(seed, admin.clone());
    let mut observer_of = BTreeSet::new();
    let (mut releases, mut heals) = (Vec::new(), 0);

    let mut seen = Seen::now(&admin).await.expect("lists as the admin");
    for number in 1..=rounds {
        let mut mark = control_plane.audit_log().settled(&control_plane).await.len();
        let (round, words) = match number % RESTART_EVERY {
            0 => (Round::Restarted, String::from("restarted the controller")),
            _ => drive.round(&seen).await,
        };
        if round == Round::Restarted {
            controller.sigterm().await;
            mark = control_plane.audit_log().settled(&control_plane).await.len();
            counters = Counters {
                started: unix_now().floor(),
                requests_from: mark,
                ..Counters::default()
            };
            controller = Controller::start(&control_plane, &EXEMPT).await;
        }
        println!("round {number}: {words}");
        let before = counters.clone();
        let description = format!("all numbers agree after round {number} of {SEED}={seed}, {words}");
        let (now, counted) = eventually(&description, PATIENCE, || async {
            agreement(&control_plane, &controller, &seen, &round, &before, mark).await
        })
        .await;
        releases.extend(released(&seen, &now).filter(|_| round != Round::Tampered));
        observer_of.extend(now.namespaces.iter().map(|namespace| name(namespace).to_owned()));
        heals += counted.heals.values().sum::<u64>() - counters.heals.values().sum::<u64>();
        (seen, counters) = (now, counted);
    }
    println!("{rounds} rounds, {} namespaces, {heals} heals", observer_of.len());
    let observer = releases
        .into_iter()
        .fold(Observer::of(observer_of), |observer, (namespace, direction)| {
            observer.expect_release(&namespace, direction)
        });
    observer.verdict(&control_plane).await;
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
    let mut wrong = wrong_statuses(&seen);
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
