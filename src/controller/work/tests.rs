use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt;

use super::*;

fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[tokio::test(start_paused = true)]
async fn hands_out_what_is_due_and_waits_for_the_rest() {
    let queue = WorkQueue::new();
    let start = now();
    queue.push("soon", Class::Change, start + milliseconds(20));
    queue.push("now", Class::Change, start);
    let ticket = queue.next().await.unwrap();
    assert_eq!(
        (*ticket.key(), ticket.class(), ticket.queued_since()),
        ("now", Class::Change, start)
    );
    ticket.succeeded();
    assert_eq!(now(), start);
    let ticket = queue.next().await.unwrap();
    assert_eq!(*ticket.key(), "soon");
    assert!(now() >= start + milliseconds(20) && now() < start + milliseconds(23));
    ticket.succeeded();
    assert!(queue.next().now_or_never().is_none());
}

/// A worker that takes one key and works on it for so long; gives the key and when it got it.
fn worker(queue: &WorkQueue<&'static str>, work: Duration) -> tokio::task::JoinHandle<(&'static str, Instant)> {
    let queue = queue.clone();
    tokio::spawn(async move {
        let ticket = queue.next().await.unwrap();
        let got = (*ticket.key(), now());
        tokio::time::sleep(work).await;
        ticket.succeeded();
        got
    })
}

#[tokio::test(start_paused = true)]
async fn an_earlier_push_is_seen_whichever_worker_it_wakes() {
    let queue = WorkQueue::new();
    let workers = [worker(&queue, Duration::ZERO), worker(&queue, Duration::ZERO)];
    tokio::time::sleep(milliseconds(1)).await;
    let start = now();
    // Wakes the first worker, which keeps the time from now on, behind the other in the line.
    queue.push("late", Class::Change, start + milliseconds(1_000));
    tokio::time::sleep(milliseconds(1)).await;
    // Wakes the other one.
    queue.push("early", Class::Change, start + milliseconds(50));
    let mut served = Vec::new();
    for worker in workers {
        served.push(worker.await.unwrap());
    }
    served.sort_by_key(|(_, at)| *at);
    assert_eq!(
        served.iter().map(|(key, _)| *key).collect::<Vec<_>>(),
        ["early", "late"]
    );
    assert!(served[0].1 < start + milliseconds(60));
    assert!(served[1].1 < start + milliseconds(1_010));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_gets_work_hands_the_time_to_another() {
    let queue = WorkQueue::new();
    let start = now();
    queue.push("first", Class::Change, start + milliseconds(50));
    queue.push("second", Class::Change, start + milliseconds(50));
    queue.push("third", Class::Change, start + milliseconds(100));
    let workers = [(); 3].map(|()| worker(&queue, milliseconds(10_000)));
    for (worker, (key, due)) in workers.into_iter().zip([("first", 50), ("second", 50), ("third", 100)]) {
        let (got, at) = worker.await.unwrap();
        assert_eq!(got, key);
        assert!(at < start + milliseconds(due + 5), "{key} waited {:?}", at - start);
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_gives_up_hands_the_time_to_another() {
    let queue = WorkQueue::new();
    let start = now();
    queue.push("soon", Class::Change, start + milliseconds(100));
    let mut keeps_time = tokio::spawn({
        let queue = queue.clone();
        async move { queue.next().await.map(Ticket::succeeded) }
    });
    tokio::time::sleep(milliseconds(1)).await;
    let sleeps = tokio::spawn({
        let queue = queue.clone();
        async move { queue.next().await.map(Ticket::succeeded) }
    });
    tokio::time::sleep(milliseconds(1)).await;
    keeps_time.abort();
    assert!((&mut keeps_time).await.unwrap_err().is_cancelled());
    let served = tokio::time::timeout(milliseconds(10_000), sleeps).await;
    served.expect("nobody keeps the time").unwrap().unwrap();
    assert!(now() < start + milliseconds(105));
}

#[tokio::test(start_paused = true)]
async fn a_ticket_without_a_word_is_retried() {
    let queue = WorkQueue::new();
    let start = now();
    queue.push("a", Class::Drift, start);
    drop(queue.next().await.unwrap());
    let ticket = queue.next().await.unwrap();
    assert!(now() > start + milliseconds(30), "after a back-off");
    assert_eq!((ticket.class(), ticket.queued_since()), (Class::Drift, start));
    ticket.retry(Class::Change);
    let ticket = queue.next().await.unwrap();
    assert!(now() > start + milliseconds(100), "a longer one");
    assert_eq!(ticket.class(), Class::Change);
    ticket.succeeded();
    assert!(queue.next().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_push_during_a_flight_reaches_a_sleeping_worker() {
    let queue = WorkQueue::new();
    queue.push("a", Class::Change, now());
    let ticket = queue.next().await.unwrap();
    queue.push("a", Class::Drift, now());
    let sleeps = tokio::spawn({
        let queue = queue.clone();
        async move { queue.next().await.map(|ticket| ticket.class()) }
    });
    tokio::time::sleep(milliseconds(1)).await;
    ticket.succeeded();
    assert_eq!(sleeps.await.unwrap(), Some(Class::Drift));
}

#[tokio::test(start_paused = true)]
async fn closing_ends_every_worker() {
    let queue = WorkQueue::<&str>::new();
    queue.push("later", Class::Change, now() + milliseconds(1_000));
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let queue = queue.clone();
            tokio::spawn(async move { queue.next().await.is_none() })
        })
        .collect();
    tokio::time::sleep(milliseconds(1)).await;
    queue.close();
    for worker in workers {
        assert!(worker.await.unwrap());
    }
    queue.push("more", Class::Unprotected, now());
    assert!(queue.next().await.is_none());
}

/// Thirty-two workers on several threads, pushes from several more: every key is served, none twice
/// at a time, and the last push of each is seen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_workers_serve_every_push() {
    const KEYS: usize = 500;
    let queue = WorkQueue::<usize>::new();
    let pushed: Arc<Vec<AtomicUsize>> = Arc::new((0..KEYS).map(|_| AtomicUsize::new(0)).collect());
    let seen: Arc<Vec<AtomicUsize>> = Arc::new((0..KEYS).map(|_| AtomicUsize::new(0)).collect());
    let flying = Arc::new(Mutex::new(BTreeSet::new()));
    let workers: Vec<_> = (0..32)
        .map(|_| {
            let (queue, flying) = (queue.clone(), Arc::clone(&flying));
            let (pushed, seen) = (Arc::clone(&pushed), Arc::clone(&seen));
            tokio::spawn(async move {
                while let Some(ticket) = queue.next().await {
                    let key = *ticket.key();
                    assert!(flying.lock().unwrap().insert(key), "{key} is in flight already");
                    let version = pushed[key].load(Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    seen[key].store(version, Ordering::SeqCst);
                    flying.lock().unwrap().remove(&key);
                    ticket.succeeded();
                }
            })
        })
        .collect();
    for round in 1..=20_u64 {
        for (key, version) in pushed.iter().enumerate() {
            version.fetch_add(1, Ordering::SeqCst);
            queue.push(key, Class::Change, now() + milliseconds(round % 3));
        }
        tokio::task::yield_now().await;
    }
    let all_seen = async {
        let behind = |key: usize| seen[key].load(Ordering::SeqCst) != 20;
        while (0..KEYS).any(behind) || !flying.lock().unwrap().is_empty() {
            tokio::time::sleep(milliseconds(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), all_seen)
        .await
        .expect("a push was lost");
    queue.close();
    for worker in workers {
        worker.await.unwrap();
    }
}

// A replica that stands by for hours is told of everything that the leader does. Who takes over then has to tell what is new
// from what was done long ago.
#[tokio::test(start_paused = true)]
async fn as_long_as_nobody_works_the_last_push_counts() {
    let queue = WorkQueue::new();
    let start = now();
    for (key, class) in [
        ("healed", Class::Drift),
        ("protected", Class::Unprotected),
        ("left", Class::Change),
    ] {
        queue.push(key, class, start);
    }
    tokio::time::advance(Duration::from_secs(3600)).await;
    for (key, class) in [
        ("healed", Class::Change),
        ("protected", Class::Change),
        ("new", Class::Unprotected),
    ] {
        queue.push(key, class, now());
    }
    assert!(!queue.is_served());
    let mut served = Vec::new();
    while let Some(Some(ticket)) = queue.next().now_or_never() {
        served.push((*ticket.key(), ticket.class(), ticket.queued_since() - start));
        ticket.succeeded();
    }
    let (then, later) = (Duration::ZERO, Duration::from_secs(3600));
    let expected = [
        ("new", Class::Unprotected, later),
        ("left", Class::Change, then),
        ("healed", Class::Change, later),
        ("protected", Class::Change, later),
    ];
    assert_eq!(served, expected);
    assert!(queue.is_served());
}

#[tokio::test(start_paused = true)]
async fn what_is_due_and_not_taken_up_is_known_with_its_time() {
    let queue = WorkQueue::new();
    queue.push("early", Class::Change, now());
    assert_eq!(queue.due_since(), None, "nobody works here yet");
    queue.next().await.unwrap().succeeded();
    assert_eq!(queue.due_since(), None, "nothing waits");

    let (soon, began) = (Duration::from_secs(5), now());
    queue.push("late", Class::Unprotected, began + soon);
    assert_eq!(queue.due_since(), None, "nothing is due");
    tokio::time::advance(soon * 2).await;
    assert_eq!(queue.due_since(), Some(began + soon));
    queue.push("later", Class::Drift, now());
    assert_eq!(queue.due_since(), Some(began + soon));
    let flight = queue.next().await.unwrap();
    assert_eq!(
        queue.due_since(),
        Some(began + soon * 2),
        "one is taken up, the other waits"
    );
    queue.close();
    assert_eq!(queue.due_since(), None, "nobody works here any more");
    flight.succeeded();
}
