//! Every plan, or some, by several stages at once; and a table of them.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::performance::{Outcome, play_plan, reference};
use super::plan::{Plan, all_plans};
use super::stage::Stage;
use super::workload::Workload;

/// How many stages play at once: each has a control plane, and a plan waits more than it computes.
const STAGES: usize = 3;
const STAGES_OF_THE_SPREAD: usize = 2;
/// Of how many plans one is played by `make test`.
const SPREAD: usize = 11;

/// A plan and what came of it.
struct Played {
    plan: Plan,
    result: Result<Duration, String>,
}

type References = Arc<Mutex<BTreeMap<Workload, Arc<Outcome>>>>;

#[test]
fn there_are_plans_enough_and_each_is_another() {
    let plans = all_plans();
    assert!(plans.len() >= 400, "{} plans", plans.len());
    let distinct: std::collections::BTreeSet<_> = plans.iter().map(|plan| format!("{plan}").split_off(4)).collect();
    assert_eq!(distinct.len(), plans.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spread_of_the_plans_ends_as_if_nothing_had_happened() {
    let plans = all_plans().into_iter().filter(|plan| plan.number % SPREAD == 1);
    judge(play_all(plans.collect(), STAGES_OF_THE_SPREAD, Beside::OtherTests).await);
}

// make faults, make faults PLAN=123, make faults PLAN=100-140
#[tokio::test(flavor = "multi_thread")]
#[ignore = "half an hour: make faults"]
async fn every_plan_ends_as_if_nothing_had_happened() {
    let wanted = std::env::var("COFFERDAM_FAULTS_PLAN").unwrap_or_default();
    let plans: Vec<Plan> = all_plans()
        .into_iter()
        .filter(|plan| is_wanted(&wanted, plan.number))
        .collect();
    assert!(
        !plans.is_empty(),
        "expected PLAN to be a number or a range like 100-140 up to {}, found {wanted}",
        all_plans().len()
    );
    let stages = STAGES.min(plans.len());
    judge(play_all(plans, stages, Beside::Nobody).await);
}

fn is_wanted(wanted: &str, number: usize) -> bool {
    wanted.is_empty()
        || wanted.split(',').any(|part| match part.split_once('-') {
            Some((first, last)) => {
                let bound = |text: &str| text.trim().parse::<usize>().ok();
                bound(first)
                    .zip(bound(last))
                    .is_some_and(|(first, last)| (first..=last).contains(&number))
            }
            None => part.trim() == number.to_string(),
        })
}

#[derive(Clone, Copy)]
enum Beside {
    OtherTests,
    Nobody,
}

async fn play_all(plans: Vec<Plan>, stages: usize, beside: Beside) -> Vec<Played> {
    let waiting = Arc::new(Mutex::new(plans.into_iter()));
    let references = References::default();
    let workers: Vec<_> = (0..stages)
        .map(|_| {
            tokio::spawn(play_while_any_waits(
                Arc::clone(&waiting),
                Arc::clone(&references),
                beside,
            ))
        })
        .collect();
    let mut played = Vec::new();
    for worker in workers {
        played.extend(worker.await.expect("a stage that played its plans"));
    }
    played.sort_by_key(|played| played.plan.number);
    played
}

async fn play_while_any_waits(
    waiting: Arc<Mutex<std::vec::IntoIter<Plan>>>,
    references: References,
    beside: Beside,
) -> Vec<Played> {
    let mut stage = match beside {
        Beside::OtherTests => Stage::start().await,
        Beside::Nobody => Stage::start_beyond_the_places().await,
    };
    let mut played = Vec::new();
    loop {
        let Some(plan) = waiting.lock().await.next() else {
            return played;
        };
        let start = Instant::now();
        let result = match reference_of(&mut stage, &references, plan.workload).await {
            Ok(reference) => play_plan(&mut stage, plan, &reference).await,
            Err(error) => Err(format!("the reference itself: {error}")),
        };
        let result = result
            .map(|_| start.elapsed())
            .map_err(|error| with_the_story(&stage, &error));
        report(&plan, &result);
        played.push(Played { plan, result });
    }
}

async fn reference_of(stage: &mut Stage, references: &References, workload: Workload) -> Result<Arc<Outcome>, String> {
    if let Some(known) = references.lock().await.get(&workload) {
        return Ok(Arc::clone(known));
    }
    let made = Arc::new(reference(stage, workload).await?);
    references.lock().await.insert(workload, Arc::clone(&made));
    Ok(made)
}

fn with_the_story(stage: &Stage, error: &str) -> String {
    let story = stage.proxy.story();
    let last = story.len().saturating_sub(60);
    format!(
        "{error}\n{}\n--- last requests\n{}",
        stage.controller_log_tail(),
        story[last..].join("\n")
    )
}

// Not println!, which waits until a failing test has ended.
fn report(plan: &Plan, result: &Result<Duration, String>) {
    let line = match result {
        Ok(took) => format!("{plan:<76} ok {:>5.1} s\n", took.as_secs_f64()),
        Err(error) => format!("{plan:<76} FAILED\n{error}\n"),
    };
    let _ = std::io::stderr().write_all(line.as_bytes());
}

fn judge(played: Vec<Played>) {
    let failed: Vec<String> = played
        .iter()
        .filter_map(|played| Some(format!("{}\n{}", played.plan, played.result.as_ref().err()?)))
        .collect();
    let _ = writeln!(std::io::stderr(), "{} plans, {} failed", played.len(), failed.len());
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}
