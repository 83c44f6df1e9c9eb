use super::*;

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("namespace-{number}")).collect()
}

#[test]
fn it_is_complete_once_every_namespace_was_planned() {
    let (audit, now) = (Audit::default(), Instant::now());
    audit.begins(&names(2), now);
    audit.planned("namespace-0", now);
    audit.planned("namespace-0", now);
    audit.planned("of-another", now);
    assert_eq!(audit.last_complete(), None);
    audit.planned("namespace-1", now);
    assert!(audit.last_complete().is_some());
}

#[test]
fn what_was_seen_before_it_began_does_not_count() {
    let audit = Audit::default();
    let before = Instant::now();
    let began = before + Duration::from_secs(1);
    audit.begins(&names(1), began);
    audit.planned("namespace-0", before);
    assert_eq!(audit.last_complete(), None);
    audit.planned("namespace-0", began);
    assert!(audit.last_complete().is_some());
}

#[test]
fn a_cluster_without_namespaces_is_audited_at_once() {
    let audit = Audit::default();
    assert_eq!(audit.last_complete(), None);
    audit.begins(&[], Instant::now());
    assert!(audit.last_complete().is_some());
}

#[test]
fn what_one_did_not_come_to_is_left_to_the_next() {
    let (audit, now) = (Audit::default(), Instant::now());
    audit.begins(&names(2), now);
    audit.planned("namespace-0", now);
    audit.begins(&names(2), now);
    audit.planned("namespace-1", now);
    assert_eq!(audit.last_complete(), None);
}

#[test]
fn it_takes_its_time_and_never_more_than_half_of_the_interval() {
    let now = Instant::now();
    let last = |count: usize, interval: Duration| spread(names(count), now, interval).last().unwrap().1 - now;
    assert_eq!(last(1, Duration::from_secs(60)), Duration::ZERO);
    assert_eq!(last(10_001, Duration::from_secs(600)), Duration::from_secs(10));
    assert!(last(100_000, Duration::from_secs(60)) <= Duration::from_secs(30));
    assert_eq!(spread(names(100_000), now, Duration::from_secs(60)).count(), 100_000);
}

#[tokio::test(start_paused = true)]
async fn every_interval_it_asks_for_every_namespace() {
    let cache = Arc::new(Cache::new(
        crate::policy::Exemptions::new("cofferdam-system", []),
        (String::from("kube-system"), String::from("kube-dns")),
    ));
    for name in names(3) {
        let namespace: kube::core::PartialObjectMeta<k8s_openapi::api::core::v1::Namespace> =
            serde_json::from_value(serde_json::json!({"metadata": {"name": name, "uid": name}})).unwrap();
        cache.namespace_applied(namespace, None);
    }
    let (audit, queue) = (Arc::new(Audit::default()), WorkQueue::new());
    let interval = Duration::from_secs(3600);
    let running = {
        let (audit, queue) = (Arc::clone(&audit), queue.clone());
        tokio::spawn(async move { audit.run(cache, queue, interval).await })
    };
    let began = tokio::time::Instant::now();
    for round in 1..=3_u32 {
        let mut asked = HashSet::new();
        for _ in 0..3 {
            let ticket = queue.next().await.unwrap();
            assert_eq!(ticket.class(), Class::Audit);
            asked.insert(ticket.key().clone());
            audit.planned(ticket.key(), Instant::now());
            ticket.succeeded();
        }
        assert_eq!(asked.len(), 3);
        let elapsed = began.elapsed();
        assert!(elapsed >= interval * (round - 1), "{elapsed:?}");
        assert!(
            elapsed <= FIRST_AT_THE_LATEST + interval * (round - 1) + PACE * 3,
            "{elapsed:?}"
        );
    }
    assert!(audit.last_complete().is_some());
    running.abort();
}
