//! The values of labels, where they are ours.

/// Label values that are known at the start: their series are exported as 0 before anything happens,
/// so that a rate over the first event is right.
#[derive(Clone, Copy, Debug, Default)]
pub struct KnownSeries {
    /// Values of `controller`.
    pub controllers: &'static [&'static str],
    /// Values of `reason` in the count of errors, for each controller.
    pub error_reasons: &'static [&'static str],
    /// Values of `resource` in `cache_synced`.
    pub caches: &'static [&'static str],
}

/// How a reconcile ended, as others count it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReconcileResult {
    /// All is as it should be.
    Success,
    /// Nothing failed, and there is more to do later.
    Requeue,
    /// Something failed and is retried.
    Error,
}

/// Why an Event was not published.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DroppedEvent {
    /// So much was said about its namespace already.
    Namespace,
    /// So much was said about all namespaces together.
    Total,
    /// Too many wait to be published.
    Waiting,
    /// The API server did not take it.
    Refused,
}

impl ReconcileResult {
    pub(super) const ALL: [Self; 3] = [Self::Success, Self::Requeue, Self::Error];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Requeue => "requeue",
            Self::Error => "error",
        }
    }
}

impl DroppedEvent {
    pub(super) const ALL: [Self; 4] = [Self::Namespace, Self::Total, Self::Waiting, Self::Refused];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Namespace => "namespace",
            Self::Total => "total",
            Self::Waiting => "waiting",
            Self::Refused => "refused",
        }
    }
}
