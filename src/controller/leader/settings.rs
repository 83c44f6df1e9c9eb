//! The three times of an election, and what must hold between them.

use std::time::Duration;

/// How long a lease is valid, how long its holder trusts it, and how often both sides ask.
///
/// The difference between the first two is the margin: from the moment at which the holder stops to the first at which
/// another may begin. It covers what a write may take to arrive, and clocks that do not run equally fast.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LeaseSettings {
    lease_duration: Duration,
    renew_deadline: Duration,
    retry_period: Duration,
}

/// Why these times cannot be used together.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LeaseSettingsError {
    /// The Lease object holds whole seconds.
    #[error("--lease-duration is {0:?}; expected whole seconds, at least 2s, since that is what a Lease can hold")]
    NotWholeSeconds(Duration),
    /// Two would lead at once.
    #[error(
        "--lease-duration is {lease_duration:?} and --renew-deadline {renew_deadline:?}; expected the lease to last at least 1s longer, \
         so that the leader has stopped before another begins"
    )]
    NoMargin {
        /// As given.
        lease_duration: Duration,
        /// As given.
        renew_deadline: Duration,
    },
    /// One slow answer would end the leadership.
    #[error(
        "--renew-deadline is {renew_deadline:?} and --retry-period {retry_period:?}; expected the deadline to be at least twice the period, \
         so that a renewal that fails can be tried again"
    )]
    NoSecondTry {
        /// As given.
        renew_deadline: Duration,
        /// As given.
        retry_period: Duration,
    },
}

/// No time of an election is longer.
pub const LONGEST_TIME: Duration = Duration::from_secs(3600);
/// The least margin.
const MARGIN: Duration = Duration::from_secs(1);

impl LeaseSettings {
    /// Checks the times against each other.
    ///
    /// # Errors
    /// When a leader could not be sure to have stopped before another begins, or could not renew twice.
    pub fn new(
        lease_duration: Duration,
        renew_deadline: Duration,
        retry_period: Duration,
    ) -> Result<Self, LeaseSettingsError> {
        if lease_duration.subsec_nanos() != 0 || lease_duration < 2 * MARGIN {
            return Err(LeaseSettingsError::NotWholeSeconds(lease_duration));
        }
        if renew_deadline + MARGIN > lease_duration {
            return Err(LeaseSettingsError::NoMargin {
                lease_duration,
                renew_deadline,
            });
        }
        if retry_period.is_zero() || 2 * retry_period > renew_deadline {
            return Err(LeaseSettingsError::NoSecondTry {
                renew_deadline,
                retry_period,
            });
        }
        Ok(Self {
            lease_duration,
            renew_deadline,
            retry_period,
        })
    }

    /// How long others wait after the last sign of the holder.
    pub(super) fn lease_duration(&self) -> Duration {
        self.lease_duration
    }

    /// How long the holder writes after it sent the last request that renewed its claim.
    pub(super) fn renew_deadline(&self) -> Duration {
        self.renew_deadline
    }

    /// How long to wait between two requests.
    pub(super) fn retry_period(&self) -> Duration {
        self.retry_period
    }

    /// How long one request may take: half of what there is, so that another on a fresh connection may follow.
    pub(super) fn request_deadline(&self) -> Duration {
        self.renew_deadline / 2
    }

    /// From the holder's last write to the first of another.
    pub(super) fn margin(&self) -> Duration {
        self.lease_duration.saturating_sub(self.renew_deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_leave_no_margin_are_refused() {
        let cases = [
            (15_000, 10_000, 2_000, ""),
            (3_000, 2_000, 500, ""),
            (3_000, 2_000, 1_000, ""),
            (2_500, 1_000, 500, "expected whole seconds"),
            (1_000, 500, 100, "expected whole seconds, at least 2s"),
            (15_000, 15_000, 2_000, "expected the lease to last at least 1s longer"),
            (
                10_000,
                15_000,
                2_000,
                "--lease-duration is 10s and --renew-deadline 15s",
            ),
            (15_000, 14_500, 2_000, "expected the lease to last at least 1s longer"),
            (15_000, 10_000, 6_000, "at least twice the period"),
            (15_000, 10_000, 0, "at least twice the period"),
        ];
        for (lease, renew, retry, expected) in cases {
            let [lease, renew, retry] = [lease, renew, retry].map(Duration::from_millis);
            let message = match LeaseSettings::new(lease, renew, retry) {
                Ok(_) => String::new(),
                Err(error) => error.to_string(),
            };
            assert_eq!(
                message.is_empty(),
                expected.is_empty(),
                "{lease:?} {renew:?} {retry:?}: {message}"
            );
            assert!(message.contains(expected), "{message}");
        }
    }
}
