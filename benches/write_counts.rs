//! Writes, as the API server counts them.

use std::ops::Sub;

use http::Method;

use crate::connection::Server;
use crate::harness::Metrics;

/// How many of each there were since the server started.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WriteCounts {
    /// NetworkPolicies: POST, PUT, PATCH, DELETE, whatever the answer.
    pub policies: f64,
    /// Everything else that the controller may write: statuses and Events.
    pub others: f64,
}

impl WriteCounts {
    /// As of now.
    pub async fn read(server: &Server) -> Self {
        let page = server.ask(Method::GET, "/metrics", "").await;
        let page = String::from_utf8_lossy(&page);
        let lines = page.lines().filter(|line| line.starts_with("apiserver_request_total{"));
        let metrics = Metrics::parse(lines.map(|line| format!("{line}\n")).collect());
        let writes = |resource: &str| -> f64 {
            let verbs = ["POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"];
            let of = |verb| metrics.sum("apiserver_request_total", &[("verb", verb), ("resource", resource)]);
            verbs.into_iter().map(of).sum()
        };
        Self {
            policies: writes("networkpolicies"),
            others: writes("isolationtiers") + writes("events"),
        }
    }

    /// All of them.
    pub fn total(self) -> f64 {
        self.policies + self.others
    }
}

impl Sub for WriteCounts {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            policies: self.policies - before.policies,
            others: self.others - before.others,
        }
    }
}
