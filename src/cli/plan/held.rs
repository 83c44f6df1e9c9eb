//! What the controller's brake on mass changes would hold, told before it does.

use std::collections::BTreeMap;
use std::time::Duration;

use super::outlook::Outlook;
use crate::api::Direction;
use crate::cli::wording::{count, listed};
use crate::policy::brake::{Brake, Census, Held, MaxUnprotected, WINDOW, stands};
use crate::policy::{World, words};

/// Which namespaces would not be opened although the plan says so, by tier. What the controller opened of late, and what
/// was confirmed to it, is not known here.
pub fn held_releases(world: &World, outlooks: &[Outlook<'_>], limit: MaxUnprotected) -> Vec<String> {
    let mut census = Census::of(world);
    // One that is used up looks like one that is meant.
    census.confirmations.clear();
    for Outlook {
        namespace, observed, ..
    } in outlooks
    {
        let (wanted, isolated) = stands(world, namespace, observed, None);
        census.set(&namespace.name, wanted, isolated);
    }
    let held = Brake::new(limit).held(&census, Duration::ZERO);
    let living = world.tiers().iter().map(|ranked| &ranked.tier);
    let tiers = living.chain(world.departing()).map(|tier| tier.identity());
    let sentences = tiers.filter_map(|tier| Some(sentence(&tier.name, held.get(&tier.uid)?, limit)));
    sentences.collect()
}

fn sentence(tier: &str, held: &Held, limit: MaxUnprotected) -> String {
    let mut namespaces = BTreeMap::<Direction, Vec<&str>>::new();
    for release in &held.releases {
        namespaces
            .entry(release.direction)
            .or_default()
            .push(&release.namespace);
    }
    let held_in =
        |(direction, namespaces): (Direction, Vec<&str>)| format!("{} of {}", direction.as_str(), listed(&namespaces));
    let lists: Vec<_> = namespaces.into_iter().map(held_in).collect();
    format!(
        "warning: tier {tier}: {}: the controller would not open {} before somebody confirms it, for which the tier's status \
         will have the command: at most {} may open within {} minutes (--max-unprotected={limit})",
        words::HELD,
        lists.join(", nor "),
        count(usize::try_from(held.limit).unwrap_or(usize::MAX)),
        WINDOW.as_secs() / 60,
    )
}
