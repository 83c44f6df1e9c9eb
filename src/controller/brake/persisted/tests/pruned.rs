//! An API server whose definition of tiers is of another release.

use super::keeper::Keeper;
use super::*;

// The image was new and the definition old: nobody was told, and releases were made on it.
#[tokio::test(start_paused = true)]
async fn a_status_that_the_api_server_prunes_was_taken_for_told() {
    for (parent, field) in [
        ("", "releases"),
        ("/releases", "egress"),
        ("/releases", "latestTime"),
        ("/releases", "confirmed"),
        ("/releases/confirmed", "remaining"),
    ] {
        let (brake, keeper) = (brake_with_a_tier(), Keeper::new());
        let (tiers, grants) = (keeper.tier_writer(), confirmed(&brake, 1).remove(0));
        keeper.with(|kept| kept.prunes = Some((parent, field)));
        let Word::Refused(failure) = brake.write_down(&tiers, &grants, later()).await else {
            panic!("{parent}/{field} was told")
        };
        let words = [
            "IsolationTier t: ",
            "expected status",
            field,
            "CustomResourceDefinition of this release",
        ];
        let all = words.iter().all(|word| failure.message.contains(word));
        assert!(all, "{failure:?}");
        assert!(!brake.is_told(&*brake.persisted.lock().await, &grants[0]));
        // It was applied.
        keeper.with(|kept| kept.prunes = None);
        tokio::time::sleep(REFUSED_AT_MOST).await;
        assert!(lands(&brake, &tiers, &grants).await);
    }
}
