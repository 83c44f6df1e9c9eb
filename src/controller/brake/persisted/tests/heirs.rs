//! Tiers that are gone although the cache still shows them.

use super::*;
use crate::controller::canned_server::CannedServer;

// All that wait behind it would wait for a hundred answers, one after the other.
#[tokio::test]
async fn who_finds_one_tier_after_another_gone_asks_no_more_than_three() {
    let (brake, server) = (brake_with_a_tier(), CannedServer::answering(404));
    brake.cache.tiers_listed(&["t", "u", "v", "w", "x"].map(tier));
    let grants = grants(&brake, 1).remove(0);
    assert!(!lands(&brake, &server.tier_writer(), &grants).await);
    assert_eq!(server.asked().len(), 3);
}

// As long as the cache showed it, what it had told was taken for a word.
#[tokio::test(start_paused = true)]
async fn a_tier_that_is_found_gone_tells_of_nothing() {
    let brake = brake_with_a_tier();
    let grants = grants(&brake, 1).remove(0);
    assert!(lands(&brake, &server(200), &grants).await);
    let mut persisted = brake.persisted.lock().await;
    assert!(brake.is_told(&persisted, &grants[0]));
    let tier = brake.cache.tier_of_uid("uid-t").unwrap();
    let written = brake.write(&mut persisted, &server(404), &tier).await;
    assert_eq!(written.unwrap(), Landed::Gone);
    assert!(!brake.is_told(&persisted, &grants[0]));
}
