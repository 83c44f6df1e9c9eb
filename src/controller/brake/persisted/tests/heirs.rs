//! Tiers that are gone although the cache still shows them.

use super::*;
use crate::controller::canned_server::CannedServer;

// All that wait behind it would wait for a hundred answers, one after the other.
#[tokio::test]
async fn who_finds_one_tier_after_another_gone_asks_no_more_than_three() {
    let (brake, server) = (brake_with_a_tier(), CannedServer::answering(404));
    let tier = |name: &str| {
        let metadata = json!({"name": name, "uid": format!("uid-{name}")});
        let spec = json!({"namespaceSelector": {}, "mode": "Enforce"});
        serde_json::from_value::<DynamicObject>(json!({"metadata": metadata, "spec": spec})).unwrap()
    };
    brake.cache.tiers_listed(&["t", "u", "v", "w", "x"].map(tier));
    let result = brake.write_down(&server.tier_writer(), &grants(1).remove(0)).await;
    let failure = result.unwrap_err();
    assert!(failure.message.contains("3 of them are gone"), "{failure:?}");
    assert_eq!(server.asked().len(), 3);
}
