//! What is watched, and whether all of it is known.

use super::Cache;

/// What is watched, each with a cache of its own.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(in crate::controller) enum Watched {
    /// IsolationTiers.
    Tiers,
    /// Namespaces.
    Namespaces,
    /// NetworkPolicies.
    Policies,
    /// The Service of the cluster's DNS.
    DnsService,
    /// Its EndpointSlices.
    DnsEndpoints,
    /// The Service `default/kubernetes`.
    ApiServerService,
    /// Its EndpointSlices.
    ApiServerEndpoints,
}

impl Watched {
    /// Every cache.
    pub(in crate::controller) const ALL: [Self; 7] = [
        Self::Tiers,
        Self::Namespaces,
        Self::Policies,
        Self::DnsService,
        Self::DnsEndpoints,
        Self::ApiServerService,
        Self::ApiServerEndpoints,
    ];

    /// The name for `/readyz` and metrics.
    pub(in crate::controller) const fn label(self) -> &'static str {
        match self {
            Self::Tiers => "isolationtiers",
            Self::Namespaces => "namespaces",
            Self::Policies => "networkpolicies",
            Self::DnsService => "dns_service",
            Self::DnsEndpoints => "dns_endpointslices",
            Self::ApiServerService => "api_server_service",
            Self::ApiServerEndpoints => "api_server_endpointslices",
        }
    }
}

impl Cache {
    /// Whether a cache was complete once.
    pub(in crate::controller) fn is_synced(&self, watched: Watched) -> bool {
        self.state().synced.contains(&watched)
    }

    /// The caches that are not complete yet or whose watch fails, with why.
    pub(in crate::controller) fn not_current(&self) -> Vec<(Watched, String)> {
        let state = self.state();
        let reason = |watched: Watched| match state.failing.get(&watched) {
            Some(error) => Some(error.clone()),
            None if state.synced.contains(&watched) => None,
            None => Some(String::from("not listed yet")),
        };
        Watched::ALL
            .into_iter()
            .filter_map(|watched| Some((watched, reason(watched)?)))
            .collect()
    }

    /// A cache is complete.
    pub(in crate::controller) fn synced(&self, watched: Watched) {
        if self.state().synced.insert(watched) {
            self.completed.send_replace(());
        }
    }

    /// Waits until these caches were complete once.
    pub(in crate::controller) async fn wait_for(&self, caches: &[Watched]) {
        let mut completed = self.completed.subscribe();
        while !caches.iter().all(|watched| self.is_synced(*watched)) {
            // The sender lives in self, so this cannot fail; if it did, the next look decides.
            let _ = completed.changed().await;
        }
    }

    /// A watch fails.
    pub(in crate::controller) fn failing(&self, watched: Watched, error: String) {
        self.state().failing.insert(watched, error);
    }

    /// A watch works. Returns whether it did not before.
    pub(in crate::controller) fn recovered(&self, watched: Watched) -> bool {
        let mut state = self.state();
        !state.failing.is_empty() && state.failing.remove(&watched).is_some()
    }
}
