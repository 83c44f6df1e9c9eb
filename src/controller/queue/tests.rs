use proptest::prelude::*;

use super::*;

fn ready(key: &'static str, class: Class, queued_since: Instant) -> Popped<&'static str> {
    Popped::Ready {
        key,
        class,
        queued_since,
    }
}

fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[test]
fn serves_by_class_then_by_turn() {
    use Class::{Change, Drift, Unprotected};
    type Pushes = &'static [(&'static str, Class)];
    let cases: [(&str, Pushes, &[&str]); 6] = [
        ("turn", &[("b", Change), ("a", Change), ("c", Change)], &["b", "a", "c"]),
        (
            "class",
            &[("a", Change), ("b", Drift), ("c", Unprotected)],
            &["c", "b", "a"],
        ),
        (
            "again, same class",
            &[("a", Change), ("b", Change), ("a", Change)],
            &["a", "b"],
        ),
        (
            "again, worse class",
            &[("a", Drift), ("b", Drift), ("a", Change)],
            &["a", "b"],
        ),
        (
            "again, better class",
            &[("a", Change), ("b", Change), ("a", Drift)],
            &["a", "b"],
        ),
        (
            "a better class is entered at its end",
            &[("a", Change), ("b", Drift), ("a", Drift)],
            &["b", "a"],
        ),
    ];
    for (name, pushes, expected) in cases {
        let now = Instant::now();
        let mut queue = Queue::default();
        for (key, class) in pushes {
            queue.push(*key, *class, now, now);
        }
        let mut served = Vec::new();
        while let Popped::Ready { key, .. } = queue.pop(now) {
            served.push(key);
        }
        assert_eq!(served, expected, "{name}");
        assert_eq!(queue.pop(now), Popped::Empty, "{name}");
    }
}

#[test]
fn what_is_not_due_blocks_nothing_and_is_never_made_later() {
    let now = Instant::now();
    let mut queue = Queue::default();
    queue.push("later", Class::Unprotected, now + milliseconds(20), now);
    queue.push("now", Class::Change, now, now);
    assert_eq!(queue.next_due(now), Some(now));
    assert_eq!(queue.pop(now), ready("now", Class::Change, now));
    assert_eq!(queue.pop(now), Popped::NotBefore(now + milliseconds(20)));

    queue.push("later", Class::Change, now + milliseconds(5), now + milliseconds(1));
    queue.push("later", Class::Change, now + milliseconds(90), now + milliseconds(2));
    assert_eq!(queue.next_due(now), Some(now + milliseconds(5)));
    assert_eq!(
        queue.pop(now + milliseconds(4)),
        Popped::NotBefore(now + milliseconds(5))
    );
    let popped = queue.pop(now + milliseconds(5));
    assert_eq!(popped, ready("later", Class::Unprotected, now + milliseconds(5)));
    assert_eq!(queue.next_due(now), None);
}

#[test]
fn a_push_during_a_flight_waits_for_its_end() {
    let now = Instant::now();
    let later = now + milliseconds(7);
    let mut queue = Queue::default();
    queue.push("a", Class::Change, now, now);
    queue.pop(now);
    queue.push("a", Class::Change, later, later);
    queue.push("a", Class::Drift, later + milliseconds(1), later + milliseconds(1));
    assert_eq!(queue.pop(later), Popped::Empty);

    queue.succeeded(&"a");
    assert_eq!(queue.pop(later), ready("a", Class::Drift, later));
    queue.succeeded(&"a");
    assert_eq!(queue.pop(later), Popped::Empty);
}

#[test]
fn back_off_doubles_up_to_its_cap() {
    let cases: [(u32, u64); 7] = [
        (1, 50),
        (2, 100),
        (3, 200),
        (10, 25_600),
        (11, 30_000),
        (40, 30_000),
        (u32::MAX, 30_000),
    ];
    for (failures, longest) in cases {
        let delay = back_off(&"namespace", failures);
        assert!(delay <= milliseconds(longest), "{failures}: {delay:?}");
        assert!(delay >= milliseconds(longest * 3 / 4), "{failures}: {delay:?}");
    }
    assert_ne!(back_off(&"a", 4), back_off(&"b", 4), "keys that failed together spread");
}

#[test]
fn a_retry_backs_off_and_a_success_forgets_it() {
    let start = Instant::now();
    let mut now = start;
    let mut queue = Queue::default();
    queue.push("a", Class::Drift, now, now);
    for failures in 1..=12 {
        assert_eq!(
            queue.pop(now),
            ready("a", Class::Drift, start),
            "the wait is one, from the start"
        );
        queue.retry(&"a", Class::Drift, Duration::ZERO, now);
        now += back_off(&"a", failures);
        assert_eq!(queue.next_due(start), Some(now));
    }
    queue.pop(now);
    queue.succeeded(&"a");
    queue.push("a", Class::Drift, now, now);
    queue.pop(now);
    queue.retry(&"a", Class::Drift, Duration::ZERO, now);
    assert_eq!(queue.next_due(now), Some(now + back_off(&"a", 1)));
}

#[test]
fn what_failed_is_due_at_once_when_told_so_and_its_failures_still_count() {
    let (mut queue, start) = (Queue::default(), Instant::now());
    for key in ["fails", "is asked for in advance"] {
        queue.push(key, Class::Drift, start, start);
    }
    for _ in 0..2 {
        let _ = queue.pop(start);
    }
    queue.retry(&"fails", Class::Drift, Duration::ZERO, start);
    queue.succeeded(&"is asked for in advance");
    let in_advance = start + milliseconds(9_000);
    queue.push("is asked for in advance", Class::Drift, in_advance, start);
    assert!(matches!(queue.pop(start), Popped::NotBefore(_)));

    let now = start + milliseconds(1);
    queue.retry_now(now);
    assert_eq!(queue.pop(now), ready("fails", Class::Drift, start));
    assert_eq!(queue.pop(now), Popped::NotBefore(in_advance));
    queue.retry(&"fails", Class::Drift, Duration::ZERO, now);
    assert_eq!(queue.next_due(now), Some(now + back_off(&"fails", 2)));
    // In flight it is at work already; what never failed is left alone.
    queue.retry_now(now);
    assert_eq!(queue.next_due(now), Some(now));
}

#[test]
fn a_push_during_a_failing_flight_is_not_held_back() {
    let now = Instant::now();
    let mut queue = Queue::default();
    queue.push("a", Class::Drift, now, now);
    queue.pop(now);
    queue.push("a", Class::Change, now, now);
    queue.retry(&"a", Class::Drift, Duration::ZERO, now);
    assert_eq!(queue.pop(now), ready("a", Class::Drift, now));
}

/// What the queue is meant to be, by linear search.
#[derive(Default)]
struct Model {
    waiting: Vec<(u8, Request, u64)>,
    flying: Vec<(u8, Instant, Option<Request>)>,
    failures: HashMap<u8, u32>,
    turns: u64,
}

impl Model {
    fn push(&mut self, key: u8, asked: Request) {
        if let Some((_, _, again)) = self.flying.iter_mut().find(|flight| flight.0 == key) {
            *again = Some(again.map_or(asked, |again| again.merged(asked)));
            return;
        }
        self.turns += 1;
        match self.waiting.iter_mut().find(|waiting| waiting.0 == key) {
            None => self.waiting.push((key, asked, self.turns)),
            Some((_, request, turn)) => {
                if asked.class < request.class {
                    *turn = self.turns;
                }
                *request = request.merged(asked);
            }
        }
    }

    fn pop(&mut self, now: Instant) -> Popped<u8> {
        let due = self.waiting.iter().filter(|(_, request, _)| request.due <= now);
        let Some((key, request, _)) = due.min_by_key(|(_, request, turn)| (request.class, *turn)).copied() else {
            let first = self.waiting.iter().map(|(_, request, _)| request.due).min();
            return first.map_or(Popped::Empty, Popped::NotBefore);
        };
        self.waiting.retain(|waiting| waiting.0 != key);
        self.flying.push((key, request.since, None));
        Popped::Ready {
            key,
            class: request.class,
            queued_since: request.since,
        }
    }

    fn land(&mut self, key: u8, failed: Option<(Class, Instant)>) {
        let Some(index) = self.flying.iter().position(|flight| flight.0 == key) else {
            return;
        };
        let (_, since, again) = self.flying.remove(index);
        if let Some((class, now)) = failed {
            let failures = self.failures.entry(key).or_insert(0);
            *failures += 1;
            let due = now + back_off(&key, *failures);
            self.push(key, Request { class, due, since });
        }
        if let Some(again) = again {
            self.push(key, again);
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Push(u8, Class, u64),
    Pop,
    Wait(u64),
    Succeeded(u8),
    Retry(u8, Class),
}

fn a_step() -> impl Strategy<Value = Step> {
    let key = || 0..6_u8;
    let class = || prop::sample::select(Class::ALL.to_vec());
    prop_oneof![
        5 => (key(), class(), 0..40_u64).prop_map(|(key, class, delay)| Step::Push(key, class, delay)),
        5 => Just(Step::Pop),
        2 => (0..120_u64).prop_map(Step::Wait),
        2 => key().prop_map(Step::Succeeded),
        2 => (key(), class()).prop_map(|(key, class)| Step::Retry(key, class)),
    ]
}

proptest! {
    #[test]
    fn does_what_a_linear_search_would(steps in prop::collection::vec(a_step(), 1..120)) {
        let mut now = Instant::now() + Duration::from_secs(1);
        let (mut queue, mut model) = (Queue::default(), Model::default());
        for step in steps {
            match step {
                Step::Push(key, class, delay) => {
                    // Some due times lie in the past already.
                    let due = now + milliseconds(delay) - milliseconds(10);
                    queue.push(key, class, due, now);
                    model.push(key, Request { class, due, since: due.max(now) });
                }
                Step::Pop => prop_assert_eq!(queue.pop(now), model.pop(now)),
                Step::Wait(delay) => now += milliseconds(delay),
                Step::Succeeded(key) => {
                    queue.succeeded(&key);
                    model.failures.remove(&key);
                    model.land(key, None);
                }
                Step::Retry(key, class) => {
                    queue.retry(&key, class, Duration::ZERO, now);
                    model.land(key, Some((class, now)));
                }
            }
            let first = model.waiting.iter().map(|(_, request, _)| request.due.max(now)).min();
            prop_assert_eq!(queue.next_due(now), first);
        }
    }
}

/// Ten thousand namespaces and a tenth of them drifting: work that grows with the square of the
/// number would take minutes here.
#[test]
fn serves_ten_thousand_keys() {
    let now = Instant::now();
    let mut queue = Queue::default();
    for round in [Class::Change, Class::Drift] {
        for key in 0..10_000_u32 {
            queue.push(key, round, now + milliseconds(u64::from(key % 7)), now);
        }
    }
    let mut served = BTreeMap::<u32, u32>::new();
    while let Popped::Ready { key, .. } = queue.pop(now + milliseconds(7)) {
        let times = served.entry(key).or_default();
        *times += 1;
        if key % 10 == 0 && *times == 1 {
            queue.push(key, Class::Drift, now, now);
        }
        queue.succeeded(&key);
    }
    assert_eq!(served.len(), 10_000);
    assert_eq!(served.values().sum::<u32>(), 11_000);
}

// Otherwise a look that was asked for an hour ago would say of a drift of now that it took an hour to heal.
#[test]
fn what_is_asked_for_in_advance_waits_since_its_time() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    let later = now + milliseconds(500);
    queue.push("a", Class::Drift, later, now);
    assert_eq!(queue.pop(later), ready("a", Class::Drift, later));
    queue.succeeded(&"a");
    queue.push("a", Class::Drift, later + milliseconds(500), later);
    queue.push("a", Class::Drift, later, later);
    assert_eq!(queue.pop(later), ready("a", Class::Drift, later));
}

#[test]
fn what_a_server_asks_to_wait_is_waited_and_a_little_more() {
    let start = Instant::now();
    let mut queue = Queue::default();
    let mut due_after = |key: u32, at_least: Duration| {
        queue.push(key, Class::Drift, start, start);
        assert!(matches!(queue.pop(start), Popped::Ready { .. }));
        queue.retry(&key, Class::Drift, at_least, start);
        let Popped::NotBefore(due) = queue.pop(start) else {
            panic!("it waits");
        };
        queue = Queue::default();
        due - start
    };
    let asked = Duration::from_secs(7);
    let waits: Vec<Duration> = (0..50).map(|key| due_after(key, asked)).collect();
    assert!(
        waits.iter().all(|wait| *wait >= asked && *wait <= asked + asked / 4),
        "{waits:?}"
    );
    assert!(
        waits.iter().any(|wait| *wait != waits[0]),
        "they do not come all at once: {waits:?}"
    );
    assert!(due_after(1, Duration::ZERO) <= BACK_OFF_BASE);
}
