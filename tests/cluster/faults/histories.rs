//! Long random histories: edits come while the controller works, fails and dies, and after each batch of them all is as the
//! pure function says.

use std::io::Write as _;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use fastrand::Rng;

use super::history_step::{NAMESPACES, Step};
use super::stage::Stage;
use crate::harness::Observer;

/// Between two looks: long enough for edits to meet each other, short enough to tell what went wrong.
const STEPS_OF_A_BATCH: usize = 40;
const STEPS_OF_THE_SHORT_ONE: usize = 320;
const STEPS_OF_THE_LONG_ONE: usize = 10_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_short_random_history_ends_as_the_pure_function_says() {
    play(STEPS_OF_THE_SHORT_ONE).await;
}

// make histories, make histories SEED=123 STEPS=400
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a quarter of an hour: make histories"]
async fn a_long_random_history_ends_as_the_pure_function_says() {
    play(number_from("COFFERDAM_FAULTS_STEPS").map_or(STEPS_OF_THE_LONG_ONE, |steps| steps as usize)).await;
}

fn number_from(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok().filter(|text| !text.is_empty())?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("expected a number in {variable}, found {text}")),
    )
}

async fn play(steps: usize) {
    let from_the_clock = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs())
    };
    let seed = number_from("COFFERDAM_FAULTS_SEED").unwrap_or_else(from_the_clock);
    say(&format!(
        "history of {steps} steps: make histories SEED={seed} STEPS={steps}"
    ));
    let mut chance = Rng::with_seed(seed);
    let mut stage = Stage::start().await;
    let begin = stage.wipe().await;
    stage.start_controller(&[]).await;
    let start = Instant::now();
    // Each batch is judged together with the one before it: all of them every time would take the square of their number.
    let (mut before_last, mut last) = (begin, begin);
    for batch in 0..steps.div_ceil(STEPS_OF_A_BATCH) {
        let count = STEPS_OF_A_BATCH.min(steps - batch * STEPS_OF_A_BATCH);
        let batch_steps: Vec<Step> = (0..count).map(|_| Step::by_chance(&mut chance)).collect();
        let judged = play_batch(&mut stage, &batch_steps, before_last).await;
        (before_last, last) = (last, stage.control_plane.audit_log().mark());
        if let Err(error) = judged {
            let told: Vec<String> = batch_steps.iter().map(|step| format!("{step:?}")).collect();
            let story = stage.proxy.story();
            let latest = story.len().saturating_sub(150);
            panic!(
                "seed {seed}, batch {batch}: {error}\n--- steps\n{}\n{}\n--- last requests\n{}",
                told.join("\n"),
                stage.controller_log_tail(),
                story[latest..].join("\n")
            );
        }
        if batch % 10 == 9 {
            say(&format!(
                "{} of {steps} steps, {:.0?}",
                (batch + 1) * STEPS_OF_A_BATCH,
                start.elapsed()
            ));
        }
    }
    if let Err(violations) = judge(&stage, begin).await {
        panic!("seed {seed}, all of it: {violations}");
    }
    say(&format!(
        "{steps} steps in {:.0?}, seed {seed}: nothing violated",
        start.elapsed()
    ));
}

async fn play_batch(stage: &mut Stage, steps: &[Step], judged_from: usize) -> Result<(), String> {
    stage.proxy.forget_story();
    for step in steps {
        stage.bring_to_life().await?;
        step.take(stage).await;
    }
    stage.proxy.lift_all();
    stage.settle().await?;
    judge(stage, judged_from).await
}

async fn judge(stage: &Stage, begin: usize) -> Result<(), String> {
    let events = stage.control_plane.audit_log().settled(&stage.control_plane).await;
    let violations = Observer::of(NAMESPACES).since(begin).violations_in(&events);
    if violations.is_empty() {
        Ok(())
    } else {
        Err(violations.join("\n"))
    }
}

fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
