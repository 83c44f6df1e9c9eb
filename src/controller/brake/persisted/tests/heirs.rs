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
