//! The type and reason words of conditions and problems: others match on them.

/// The summary condition.
pub const READY: &str = "Ready";
/// Present while work is under way (kstatus).
pub const RECONCILING: &str = "Reconciling";
/// Present while only a person can help (kstatus).
pub const STALLED: &str = "Stalled";
/// Everything is in place.
pub const RECONCILE_SUCCEEDED: &str = "ReconcileSucceeded";
/// Namespaces are still to be written.
pub const PROGRESSING: &str = "Progressing";
/// A write failed and is tried again.
pub const PROGRESSING_WITH_RETRY: &str = "ProgressingWithRetry";
/// The tier does not parse.
pub const INVALID_SPEC: &str = "InvalidSpec";
/// A preset could not be resolved.
pub const ALLOWANCE_UNRESOLVED: &str = "AllowanceUnresolved";
/// A policy would be larger than what is written.
pub const POLICY_TOO_LARGE: &str = "PolicyTooLarge";
/// An allowance names a direction that is not isolated.
pub const ALLOWANCE_HAS_NO_EFFECT: &str = "AllowanceHasNoEffect";
/// Two Enforce tiers of one precedence select a namespace.
pub const PRECEDENCE_TIE: &str = "PrecedenceTie";
/// More would be opened at once than the brake lets pass without a confirmation.
pub const HELD: &str = "Held";
/// The tier is being deleted: its namespaces are handed over, and released where nobody takes them.
pub const HANDING_OVER: &str = "HandingOver";
/// Somebody changed what we wrote, and it is not healed yet.
pub const DRIFTED: &str = "Drifted";
/// Somebody undoes what we write as often as we write it.
pub const CONTESTED: &str = "Contested";
/// Somebody else's policy allows what the tier does not.
pub const WIDENED: &str = "Widened";
/// An Observe tier would change something.
pub const WOULD_CHANGE: &str = "WouldChange";

/// An admission plugin or webhook refused a write.
pub const ADMISSION_DENIED: &str = "AdmissionDenied";
/// The role lacks a permission, or something forbids the write.
pub const FORBIDDEN: &str = "Forbidden";
/// The API server found the object wrong.
pub const INVALID: &str = "Invalid";
/// The namespace may not hold more policies.
pub const QUOTA_EXCEEDED: &str = "QuotaExceeded";
/// A request came to no answer, or to one that says that the server is in trouble or keeps something else.
pub const REQUEST_FAILED: &str = "RequestFailed";
/// The API server asked to wait.
pub const TOO_MANY_REQUESTS: &str = "TooManyRequests";
/// Why a write failed: a closed set, since these are label values too.
pub const WRITE_FAILURES: [&str; 6] = [
    ADMISSION_DENIED,
    FORBIDDEN,
    INVALID,
    QUOTA_EXCEEDED,
    REQUEST_FAILED,
    TOO_MANY_REQUESTS,
];
