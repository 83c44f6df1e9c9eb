use super::*;

const NOW: Duration = Duration::from_secs(1_000);

fn said(budget: &mut TalkBudget, namespace: &str, words: u32, now: Duration) -> u32 {
    let spent = (0..words).filter(|_| budget.spend(namespace, now).is_ok());
    u32::try_from(spent.count()).unwrap()
}

#[test]
fn a_loud_namespace_is_cut_short_and_may_speak_again_later() {
    let mut budget = TalkBudget::default();
    assert_eq!(said(&mut budget, "loud", 10_000, NOW), OF_A_NAMESPACE.burst);
    assert_eq!(budget.spend("loud", NOW), Err(DroppedEvent::Namespace));
    assert_eq!(said(&mut budget, "quiet", 3, NOW), 3, "others are not");
    let later = NOW + 2 * OF_A_NAMESPACE.one_more_after;
    assert_eq!(said(&mut budget, "loud", 10, later), 2);
}

// Somebody who may create namespaces has as many buckets.
#[test]
fn a_crowd_of_loud_namespaces_cannot_silence_the_first_word_of_another() {
    let mut budget = TalkBudget::default();
    let mut all = 0;
    for number in 0..100 {
        all += said(&mut budget, &format!("loud-{number}"), 1_000, NOW);
    }
    assert!(all <= OF_ALL.burst, "{all}");
    assert_eq!(budget.spend("loud-0", NOW), Err(DroppedEvent::Namespace));
    for number in 0..300 {
        assert_eq!(budget.spend(&format!("victim-{number}"), NOW), Ok(()), "{number}");
    }
}

#[test]
fn a_thousand_policies_of_five_hundred_namespaces_are_all_announced() {
    let mut budget = TalkBudget::default();
    let namespaces: Vec<String> = (0..500).map(|number| format!("n-{number}")).collect();
    let each_once = namespaces.iter().filter(|name| budget.spend(name, NOW).is_ok()).count();
    let each_again = namespaces.iter().filter(|name| budget.spend(name, NOW).is_ok()).count();
    assert_eq!((each_once, each_again), (500, 0), "the rest is kept for others");
}

#[test]
fn what_is_remembered_and_what_is_said_in_an_hour_are_bounded() {
    let mut budget = TalkBudget::default();
    let mut said = 0_u32;
    for millisecond in (0..3_600_000_u64).step_by(10) {
        let now = NOW + Duration::from_millis(millisecond);
        said += u32::from(budget.spend(&format!("invented-{millisecond}"), now).is_ok());
        assert!(budget.namespaces.len() <= MOST_REMEMBERED);
    }
    assert!((7_200..8_300).contains(&said), "{said}");
}
