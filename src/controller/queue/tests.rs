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
    use Class::{Audit, Change, Drift, Unprotected};
    type Pushes = &'static [(&'static str, Class)];
    let cases: [(&str, Pushes, &[&str]); 6] = [
        (
            "turn",
            &[("b", Change), ("a", Change), ("c", Change)],
            &["b", "a", "c"],
        ),
        (
            "class",
            &[
                ("a", Audit),
                ("b", Change),
                ("c", Drift),
                ("d", Unprotected),
            ],
            &["d", "c", "b", "a"],
        ),
        (
            "again, same class",
            &[("a", Change), ("b", Change), ("a", Change)],
            &["a", "b"],
        ),
        (
            "again, worse class",
            &[("a", Drift), ("b", Drift), ("a", Audit)],
            &["a", "b"],
        ),
        (
            "again, better class",
            &[("a", Audit), ("b", Change), ("a", Drift)],
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
    queue.push("now", Class::Audit, now, now);
    assert_eq!(queue.next_due(now), Some(now));
    assert_eq!(queue.pop(now), ready("now", Class::Audit, now));
    assert_eq!(queue.pop(now), Popped::NotBefore(now + milliseconds(20)));

    queue.push(
        "later",
        Class::Audit,
        now + milliseconds(5),
        now + milliseconds(1),
    );
    queue.push(
        "later",
        Class::Audit,
        now + milliseconds(90),
        now + milliseconds(2),
    );
    assert_eq!(queue.next_due(now), Some(now + milliseconds(5)));
    assert_eq!(
        queue.pop(now + milliseconds(4)),
        Popped::NotBefore(now + milliseconds(5))
    );
    let popped = queue.pop(now + milliseconds(5));
    assert_eq!(popped, ready("later", Class::Unprotected, now));
    assert_eq!(queue.next_due(now), None);
}

#[test]
fn a_push_during_a_flight_waits_for_its_end() {
    let now = Instant::now();
    let later = now + milliseconds(7);
    let mut queue = Queue::default();
    queue.push("a", Class::Change, now, now);
    queue.pop(now);
    queue.push("a", Class::Audit, later, later);
    queue.push(
        "a",
        Class::Drift,
        later + milliseconds(1),
        later + milliseconds(1),
    );
    assert_eq!(queue.pop(later), Popped::Empty);
    assert_eq!(queue.in_flight(), 1);

    queue.succeeded(&"a");
    assert_eq!(queue.pop(later), ready("a", Class::Drift, later));
    queue.succeeded(&"a");
    assert_eq!(queue.pop(later), Popped::Empty);
    assert_eq!(queue.in_flight(), 0);
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
        assert!(
            delay >= milliseconds(longest * 3 / 4),
            "{failures}: {delay:?}"
        );
    }
    assert_ne!(
        back_off(&"a", 4),
        back_off(&"b", 4),
        "keys that failed together spread"
    );
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
        queue.retry(&"a", Class::Drift, now);
        now += back_off(&"a", failures);
        assert_eq!(queue.next_due(start), Some(now));
    }
    queue.pop(now);
    queue.succeeded(&"a");
    queue.push("a", Class::Drift, now, now);
    queue.pop(now);
    queue.retry(&"a", Class::Drift, now);
    assert_eq!(queue.next_due(now), Some(now + back_off(&"a", 1)));
}

#[test]
fn a_push_during_a_failing_flight_is_not_held_back() {
    let now = Instant::now();
    let mut queue = Queue::default();
    queue.push("a", Class::Drift, now, now);
    queue.pop(now);
    queue.push("a", Class::Change, now, now);
    queue.retry(&"a", Class::Drift, now);
    assert_eq!(queue.pop(now), ready("a", Class::Drift, now));
}

#[test]
fn a_removed_key_is_forgotten_wherever_it_is() {
    let now = Instant::now();
    let mut queue = Queue::default();
    queue.push("delayed", Class::Drift, now + milliseconds(9), now);
    queue.push("ready", Class::Drift, now, now);
    queue.push("behind", Class::Drift, now, now);
    queue.push("flying", Class::Unprotected, now, now);
    assert_eq!(queue.pop(now), ready("flying", Class::Unprotected, now));
    queue.push("flying", Class::Drift, now, now);
    for key in ["delayed", "ready", "flying", "unknown"] {
        queue.remove(&key);
    }
    queue.retry(&"flying", Class::Drift, now);
    queue.retry(&"unknown", Class::Drift, now);
    assert_eq!(queue.pop(now), ready("behind", Class::Drift, now));
    assert_eq!(queue.pop(now), Popped::Empty);

    // A namespace of the same name that comes back during the flight is a new one.
    queue.remove(&"behind");
    queue.push("behind", Class::Change, now, now);
    queue.retry(&"behind", Class::Unprotected, now);
    assert_eq!(queue.pop(now), ready("behind", Class::Change, now));
}

#[test]
fn counts_what_waits_by_class() {
    let now = Instant::now();
    let mut queue = Queue::default();
    queue.push("a", Class::Drift, now, now);
    queue.push("b", Class::Audit, now + milliseconds(1), now);
    queue.push("c", Class::Audit, now, now);
    queue.push("c", Class::Change, now, now);
    let expected = [
        (Class::Unprotected, 0),
        (Class::Drift, 1),
        (Class::Change, 1),
        (Class::Audit, 1),
    ];
    assert_eq!(queue.len_by_class(), expected);
    queue.pop(now);
    queue.remove(&"b");
    let left: usize = queue.len_by_class().iter().map(|(_, count)| count).sum();
    assert_eq!(left, 1);
}

/// What the queue is meant to be, by linear search.
#[derive(Default)]
struct Model {
    waiting: Vec<(u8, Request, u64)>,
    flying: Vec<(u8, Instant, Option<Request>, bool)>,
    failures: HashMap<u8, u32>,
    turns: u64,
}

impl Model {
    fn push(&mut self, key: u8, asked: Request) {
        if let Some((_, _, again, _)) = self.flying.iter_mut().find(|flight| flight.0 == key) {
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
        let due = self
            .waiting
            .iter()
            .filter(|(_, request, _)| request.due <= now);
        let Some((key, request, _)) = due
            .min_by_key(|(_, request, turn)| (request.class, *turn))
            .copied()
        else {
            let first = self.waiting.iter().map(|(_, request, _)| request.due).min();
            return first.map_or(Popped::Empty, Popped::NotBefore);
        };
        self.waiting.retain(|waiting| waiting.0 != key);
        self.flying.push((key, request.since, None, false));
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
        let (_, since, again, removed) = self.flying.remove(index);
        if let Some((class, now)) = failed.filter(|_| !removed) {
            let failures = self.failures.entry(key).or_insert(0);
            *failures += 1;
            let due = now + back_off(&key, *failures);
            self.push(key, Request { class, due, since });
        }
        if let Some(again) = again {
            self.push(key, again);
        }
    }

    fn remove(&mut self, key: u8) {
        self.waiting.retain(|waiting| waiting.0 != key);
        self.failures.remove(&key);
        for flight in self.flying.iter_mut().filter(|flight| flight.0 == key) {
            (flight.2, flight.3) = (None, true);
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Push(u8, Class, u64),
    Pop,
    Wait(u64),
    Succeeded(u8),
    Done(u8),
    Retry(u8, Class),
    Remove(u8),
}

fn a_step() -> impl Strategy<Value = Step> {
    let key = || 0..6_u8;
    let class = || prop::sample::select(Class::ALL.to_vec());
    prop_oneof![
        5 => (key(), class(), 0..40_u64).prop_map(|(key, class, delay)| Step::Push(key, class, delay)),
        5 => Just(Step::Pop),
        2 => (0..120_u64).prop_map(Step::Wait),
        2 => key().prop_map(Step::Succeeded),
        1 => key().prop_map(Step::Done),
        2 => (key(), class()).prop_map(|(key, class)| Step::Retry(key, class)),
        1 => key().prop_map(Step::Remove),
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
                    model.push(key, Request { class, due, since: now });
                }
                Step::Pop => prop_assert_eq!(queue.pop(now), model.pop(now)),
                Step::Wait(delay) => now += milliseconds(delay),
                Step::Succeeded(key) => {
                    queue.succeeded(&key);
                    model.failures.remove(&key);
                    model.land(key, None);
                }
                Step::Done(key) => {
                    queue.done(&key);
                    model.land(key, None);
                }
                Step::Retry(key, class) => {
                    queue.retry(&key, class, now);
                    model.land(key, Some((class, now)));
                }
                Step::Remove(key) => {
                    queue.remove(&key);
                    model.remove(key);
                }
            }
            let first = model.waiting.iter().map(|(_, request, _)| request.due.max(now)).min();
            prop_assert_eq!(queue.next_due(now), first);
            prop_assert_eq!(queue.in_flight(), model.flying.len());
            for (class, count) in queue.len_by_class() {
                let waiting = model.waiting.iter().filter(|(_, request, _)| request.class == class);
                prop_assert_eq!(count, waiting.count());
            }
        }
    }
}

/// Ten thousand namespaces and a tenth of them drifting: work that grows with the square of the
/// number would take minutes here.
#[test]
fn serves_ten_thousand_keys() {
    let now = Instant::now();
    let mut queue = Queue::default();
    for round in [Class::Audit, Class::Change, Class::Drift] {
        for key in 0..10_000_u32 {
            queue.push(key, round, now + milliseconds(u64::from(key % 7)), now);
        }
    }
    let mut served = 0;
    while let Popped::Ready { key, .. } = queue.pop(now + milliseconds(7)) {
        if key % 10 == 0 {
            queue.push(key, Class::Drift, now, now);
        }
        queue.succeeded(&key);
        served += 1;
        if key % 10 == 0 {
            queue.remove(&key);
        }
    }
    assert_eq!(served, 10_000);
}
