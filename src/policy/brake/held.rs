//! What waits, and what is said of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Release, WINDOW};
use crate::api::names::CONFIRM_ANNOTATION;

/// The releases of one tier that wait.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Held {
    /// What has to be written to the tier's annotation `cofferdam.dev/confirm` to let exactly these go.
    pub digest: String,
    /// Which.
    pub releases: BTreeSet<Release>,
    /// How many the limit lets pass at present, in the direction that has the smaller one.
    pub limit: u64,
    /// The tier whose status does not tell what earlier processes let go, if there is one: then none may pass.
    pub unreadable: Option<Arc<str>>,
}

impl Held {
    /// What waits, why, and how to say that it is meant. `tier` is the name of the tier.
    pub fn in_words(&self, tier: &str) -> String {
        let namespaces: BTreeSet<_> = self.releases.iter().map(|release| release.namespace.as_str()).collect();
        let examples: Vec<_> = namespaces.iter().take(3).copied().collect();
        let more = if namespaces.len() > examples.len() { ", ..." } else { "" };
        let minutes = WINDOW.as_secs() / 60;
        let why = match &self.unreadable {
            None => format!("and at most {} may within {minutes} minutes", self.limit),
            Some(tier) => format!(
                "and status.releases of IsolationTier {tier} does not tell how many did of late, so none may for up to {minutes} minutes"
            ),
        };
        format!(
            "{} would lose isolation ({}{more}), {why}: their policies stay, and are not healed. \
             If it is a mistake, put the tier or the labels right; if it is meant: kubectl annotate isolationtier {tier} \
             {CONFIRM_ANNOTATION}={} --overwrite",
            count_of_namespaces(namespaces.len()),
            examples.join(", "),
            self.digest,
        )
    }
}

fn count_of_namespaces(count: usize) -> String {
    format!("{count} namespace{}", if count == 1 { "" } else { "s" })
}
