//! Writes that were given up, and carried out all the same; and others who write the same tier.

use http::Method;
use serde_json::Value;

use super::keeper::Keeper;
use super::*;

// Its number stood there for the next process: as many as were told in between were opened once more.
#[tokio::test(start_paused = true)]
async fn a_word_that_was_given_up_and_landed_late_undid_what_was_told_since() {
    let (brake, keeper) = (brake_with_a_tier(), Keeper::new());
    let (tiers, grants) = (keeper.tier_writer(), grants(&brake, 5));
    keeper.with(|kept| kept.holds_back = true);
    assert!(!lands(&brake, &tiers, &grants[0]).await);
    let late = keeper.with(|kept| kept.asked[0].body.clone());
    tokio::time::sleep(REFUSED_AT_MOST).await;
    for grants in &grants {
        assert!(lands(&brake, &tiers, grants).await);
    }
    let told = keeper.with(|kept| kept.status.clone());
    assert_eq!(told["releases"]["egress"], 5);
    assert_eq!(keeper.with(|kept| kept.patch(&late)).0, 409);
    assert_eq!(keeper.with(|kept| kept.status.clone()), told);
}

// Our own report on the tier changes it, too, and so does everybody who edits it.
#[tokio::test(start_paused = true)]
async fn a_conflict_costs_a_read_and_no_waiting_and_without_one_a_word_is_one_request() {
    let (brake, keeper) = (brake_with_a_tier(), Keeper::new());
    let (tiers, grants, started) = (keeper.tier_writer(), grants(&brake, 5), Instant::now());
    assert!(lands(&brake, &tiers, &grants[0]).await);
    assert_eq!(keeper.methods(), [Method::PATCH]);
    // The watch shows neither that word nor this report yet.
    let tier = brake.cache.tier_of_uid("uid-t").unwrap();
    let reported = tiers.write_status(&tier, json!({"observedGeneration": 1})).await;
    assert_eq!(reported.unwrap(), Landed::Yes);
    assert_eq!(keeper.methods(), [Method::PATCH]);
    let write = async || {
        let mut persisted = brake.persisted.lock().await;
        brake.write(&mut persisted, &tiers, &tier).await
    };
    assert_eq!(write().await.unwrap(), Landed::Yes);
    assert_eq!(keeper.methods(), [Method::PATCH]);
    let (patch, read) = (Method::PATCH, Method::GET);
    keeper.with(|kept| kept.edits = 2);
    assert_eq!(write().await.unwrap(), Landed::Yes);
    let twice = [&patch, &read, &patch, &read, &patch];
    assert_eq!(keeper.methods().iter().collect::<Vec<_>>(), twice);
    // Somebody edits it all the time.
    keeper.with(|kept| kept.edits = usize::MAX);
    let failure = write().await.unwrap_err();
    assert!(failure.message.contains("it was changed meanwhile"), "{failure:?}");
    // Six patches that meet a conflict, and a read before each of them but the first, which goes by what was written last.
    assert_eq!(keeper.methods().len(), 6 + 5);
    assert_eq!(started.elapsed(), Duration::ZERO);
}

// A backup was restored: what is known is a revision that is still to come.
#[tokio::test(start_paused = true)]
async fn a_word_on_a_revision_that_is_not_there_yet_is_written_on_what_is_there() {
    let (brake, keeper) = (brake_with_a_tier(), Keeper::new());
    let (tiers, grants) = (keeper.tier_writer(), grants(&brake, 1).remove(0));
    keeper.with(|kept| kept.version = 0);
    assert!(lands(&brake, &tiers, &grants).await);
}

#[tokio::test(start_paused = true)]
async fn a_tier_of_the_same_name_tells_of_nothing() {
    let (brake, keeper) = (brake_with_a_tier(), Keeper::new());
    let (tiers, grants) = (keeper.tier_writer(), grants(&brake, 1).remove(0));
    keeper.with(|kept| kept.uid = String::from("uid-of-another"));
    assert!(!lands(&brake, &tiers, &grants).await);
    assert_eq!(keeper.with(|kept| kept.status.clone()), Value::Null);
    assert_eq!(keeper.methods(), [Method::PATCH, Method::GET]);
}
