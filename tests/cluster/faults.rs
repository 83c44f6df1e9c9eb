//! What a fault must never do, and that all is well afterwards. Reading order: `plan` (which plans there are), `disturbance`
//! (what goes wrong, and where), `workload` (during what), `performance` (how one plan is played and judged), `stage` (on
//! what), `sweep` (all of them); `histories` (by chance), `servers_killed` and `stale_server` (faults of the servers).
//! `proxy_itself` and `judge_itself` test the tools.

mod disturbance;
mod end_state;
mod found;
mod histories;
mod history_step;
mod judge_itself;
mod performance;
mod plan;
mod proxy_itself;
mod restored_backup;
mod servers_killed;
mod stage;
mod stale_server;
mod sweep;
mod workload;
