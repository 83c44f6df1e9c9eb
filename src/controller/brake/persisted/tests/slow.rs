//! An API server that takes its time.

use super::super::super::SELDOM_LOOK;
use super::*;

fn answering_after(round_trip: Duration) -> TierWriter {
    let answer = move |request: Request<Body>| async move {
        tokio::time::sleep(round_trip).await;
        let asked = Asked::of(request).await?;
        let answer = Body::from(answer_to(&asked, 200).to_string().into_bytes());
        Response::builder().body(answer).map_err(tower::BoxError::from)
    };
    let metrics = Metrics::new(KnownSeries::default()).unwrap();
    TierWriter::new(Client::new(service_fn(answer), "default"), Arc::new(metrics))
}

// One that took longer than a word holds landed, told of nothing any more, and was written again, for ever, without a word.
#[tokio::test(start_paused = true)]
async fn a_word_lands_while_it_holds_or_is_given_up_aloud() {
    for seconds in 0..25 {
        let (brake, tiers) = (brake_with_a_tier(), answering_after(Duration::from_secs(seconds)));
        let grants = grants(&brake, 1).remove(0);
        match brake.write_down(&tiers, &grants, later()).await {
            // For who looked away meanwhile, too.
            Word::Told => {
                tokio::time::sleep(SELDOM_LOOK).await;
                assert!(brake.is_told(&*brake.persisted.lock().await, &grants[0]), "{seconds}");
            }
            Word::Refused(failure) => assert!(seconds > 10, "{seconds}: {failure:?}"),
            Word::NotYet => panic!("{seconds}"),
        }
    }
}
