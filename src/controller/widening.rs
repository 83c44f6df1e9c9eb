//! What other people's policies allow beyond a tier: kept, judged beside the work, remembered.

mod audit;
mod foreign_policies;
mod ledger;

pub(super) use self::audit::{GATHERING, WideningAudit};
pub(super) use self::foreign_policies::ForeignPolicies;
pub(super) use self::ledger::WideningLedger;
