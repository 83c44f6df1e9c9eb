//! A random life of a small cluster. Changes of every kind happen in one round, at once and in any order, as long as none
//! decides what another means: each of them has a team, a namespace or a tier of its own.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{DeleteParams, PropagationPolicy};
use kube::{Api, Client};
use serde_json::json;

use super::seen::{Rule, Seen, name, team_of, team_of_tier};
use super::tenant::Tenant;
use crate::harness::scenario_namespaces::create_namespace;
use crate::harness::scenario_tiers::{apply_tier, delete_tier, set_labels};

const TIERS: [&str; 4] = ["alpha", "beta", "gamma", "delta"];
const TEAMS: [&str; 4] = ["a", "b", "c", "d"];

/// SplitMix64: the same seed, the same life.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }

    fn one_of<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// Namespace, policy and kind.
pub type Drifted = (String, String, &'static str);

/// What was done in a round, as far as the counts depend on it.
#[derive(Debug, Default)]
pub struct Round {
    /// Namespaces that appeared, with a tier that stays as it is.
    pub created: BTreeSet<String>,
    /// Namespaces that are being deleted.
    pub deleted: BTreeSet<String>,
    /// Tiers that are gone.
    pub tiers_deleted: BTreeSet<String>,
    /// Namespaces where a tenant changed policies, and nobody anything else.
    pub tampered: BTreeSet<String>,
    /// Drift that cannot be healed.
    pub stands: BTreeSet<Drifted>,
    /// The controller ended and started.
    pub restarted: bool,
    /// So many releases are wanted and none may be made.
    pub held: usize,
}

pub struct Drive {
    random: Random,
    admin: Client,
    created: usize,
}

/// Who has what in a round.
#[derive(Default)]
struct Taken {
    /// Teams whose tiers change.
    changing: BTreeSet<String>,
    /// Teams whose tiers must stay as they are.
    steady: BTreeSet<String>,
    tiers: BTreeSet<String>,
    namespaces: BTreeSet<String>,
    /// What a tenant did in each namespace, so that no policy is changed twice: which difference the controller saw would be
    /// chance.
    tenants: BTreeMap<String, Tenant>,
}

impl Taken {
    /// Whether these teams' tiers may change in this round; then nobody else may change them.
    fn may_change(&mut self, teams: &[String]) -> bool {
        let free = |team: &String| !self.changing.contains(team) && !self.steady.contains(team);
        let may = teams.iter().all(free);
        if may {
            self.changing.extend(teams.iter().cloned());
        }
        may
    }

    /// Whether a team's tiers stay as they are in this round; then they have to.
    fn stays(&mut self, team: Option<&str>) -> bool {
        let Some(team) = team else { return true };
        let stays = !self.changing.contains(team);
        if stays {
            self.steady.insert(team.to_owned());
        }
        stays
    }
}

impl Drive {
    pub fn new(seed: u64, admin: Client) -> Self {
        Self {
            random: Random(seed),
            admin,
            created: 0,
        }
    }

    /// Does some things, which `seen` decides with the dice, as fast as the API server takes them.
    pub async fn round(&mut self, seen: &Seen) -> (Round, String) {
        let (mut round, mut taken, mut done) = (Round::default(), Taken::default(), Vec::new());
        for _ in 0..=self.random.below(6) {
            let kind = self.random.below(16);
            let what = match kind {
                // Something to live with first.
                _ if seen.tiers.len() < 2 && round.tampered.is_empty() => self.apply(seen, &mut taken).await,
                0..=2 => self.create(&mut round, &mut taken).await,
                3 => self.delete(seen, &mut round, &mut taken).await,
                4 | 5 => self.relabel(seen, &mut taken).await,
                6 => self.delete_a_tier(seen, &mut round, &mut taken).await,
                7..=9 => self.apply(seen, &mut taken).await,
                _ => self.tamper(seen, &mut round, &mut taken).await,
            };
            done.extend(what);
        }
        (round, done.join("; "))
    }

    async fn create(&mut self, round: &mut Round, taken: &mut Taken) -> Option<String> {
        let mut created = Vec::new();
        for _ in 0..=self.random.below(3) {
            self.created += 1;
            let prefix = if self.random.below(8) == 0 { "vault" } else { "life" };
            let namespace = format!("{prefix}-{}", self.created);
            let team = self.team().filter(|team| taken.stays(Some(team)));
            let labels: Vec<_> = team.iter().map(|team| ("team", *team)).collect();
            create_namespace(&self.admin, &namespace, &labels).await;
            taken.namespaces.insert(namespace.clone());
            created.push(namespace);
        }
        round.created.extend(created.iter().cloned());
        Some(format!("created {}", created.join(", ")))
    }

    async fn delete(&mut self, seen: &Seen, round: &mut Round, taken: &mut Taken) -> Option<String> {
        let namespace = self.namespace(seen, taken).filter(|_| lives(seen).len() > 8)?;
        let gone = name(namespace).to_owned();
        // What the controller sees first of it, the end or the tier, is chance.
        if !taken.stays(team_of(namespace)) {
            return None;
        }
        taken.namespaces.insert(gone.clone());
        let namespaces: Api<Namespace> = Api::all(self.admin.clone());
        namespaces.delete(&gone, &DeleteParams::default()).await.unwrap();
        let words = format!("deleted {gone}");
        round.deleted.insert(gone);
        Some(words)
    }

    async fn relabel(&mut self, seen: &Seen, taken: &mut Taken) -> Option<String> {
        let namespace = self.namespace(seen, taken)?;
        let team = self.team();
        if !taken.stays(team_of(namespace)) || !taken.stays(team) {
            return None;
        }
        let namespace = name(namespace);
        taken.namespaces.insert(namespace.to_owned());
        set_labels(&self.admin, namespace, json!({"team": team})).await;
        Some(format!("moved {namespace} to {team:?}"))
    }

    async fn delete_a_tier(&mut self, seen: &Seen, round: &mut Round, taken: &mut Taken) -> Option<String> {
        let mut tiers: Vec<_> = seen.tiers.iter().collect();
        tiers.retain(|tier| !taken.tiers.contains(name(tier)));
        let tier = *tiers.get(self.random.below(tiers.len().max(1)))?;
        if !taken.may_change(&[team_of_tier(tier).to_owned()]) {
            return None;
        }
        let tier = name(tier).to_owned();
        taken.tiers.insert(tier.clone());
        delete_tier(&self.admin, &tier, PropagationPolicy::Background).await;
        let words = format!("deleted tier {tier}");
        round.tiers_deleted.insert(tier);
        Some(words)
    }

    async fn apply(&mut self, seen: &Seen, taken: &mut Taken) -> Option<String> {
        let tier = *self.random.one_of(&TIERS);
        let team = *self.random.one_of(&TEAMS);
        let before = seen.tiers.iter().find(|known| name(known) == tier);
        let mut teams = vec![team.to_owned()];
        teams.extend(before.map(|before| team_of_tier(before).to_owned()));
        if taken.tiers.contains(tier) || !taken.may_change(&teams) {
            return None;
        }
        taken.tiers.insert(tier.to_owned());
        let spec = self.spec(team);
        apply_tier(&self.admin, tier, &spec).await;
        Some(format!("applied tier {tier}: {}", spec.replace('\n', ", ")))
    }

    fn spec(&mut self, team: &str) -> String {
        let mode = if self.random.below(5) == 0 {
            "Observe"
        } else {
            "Enforce"
        };
        let isolate = *self.random.one_of(&["[Ingress]", "[Egress]", "[Ingress, Egress]"]);
        // Few values, so that ties occur.
        let precedence = self.random.below(3);
        let mut allow = Vec::new();
        for allowance in [
            "{name: in, from: [{ipBlock: {cidr: 10.0.0.0/8}}], ports: [{port: PORT}]}",
            "{name: out, to: [{ipBlock: {cidr: 192.0.2.0/24}}], ports: [{port: PORT}]}",
            "{name: web, from: [{ipBlock: {cidr: 10.1.0.0/16}}], ports: [{port: PORT}], podSelector: {matchLabels: {app: web}}}",
        ] {
            if self.random.below(2) == 0 {
                let port = 8000 + self.random.below(3);
                allow.push(allowance.replace("PORT", &port.to_string()));
            }
        }
        let allow = match allow.is_empty() {
            true => String::new(),
            false => format!("allow: [{}]\n", allow.join(", ")),
        };
        format!(
            "namespaceSelector: {{matchLabels: {{team: {team}}}}}\nmode: {mode}\nisolate: {isolate}\nprecedence: {precedence}\n{allow}"
        )
    }

    async fn tamper(&mut self, seen: &Seen, round: &mut Round, taken: &mut Taken) -> Option<String> {
        let lives = lives(seen);
        let namespace = lives.get(self.random.below(lives.len().max(1)))?;
        let of = name(namespace);
        let is_ours = round.tampered.contains(of) || !taken.namespaces.contains(of);
        if !is_ours || !taken.stays(team_of(namespace)) {
            return None;
        }
        taken.namespaces.insert(of.to_owned());
        round.tampered.insert(of.to_owned());
        let is_governed = matches!(seen.rule(namespace), Rule::Tier(_));
        let policies: Api<NetworkPolicy> = Api::namespaced(self.admin.clone(), of);
        let tenant = taken.tenants.entry(of.to_owned()).or_default();
        let mut done = Vec::new();
        for _ in 0..=self.random.below(4) {
            done.extend(tenant.act(&mut self.random, seen, of, is_governed, &policies).await);
        }
        (!done.is_empty()).then(|| format!("in {of}: {}", done.join(", ")))
    }

    fn team(&mut self) -> Option<&'static str> {
        let team = self.random.below(TEAMS.len() + 1);
        TEAMS.get(team).copied()
    }

    /// One that nothing happens to yet.
    fn namespace<'seen>(&mut self, seen: &'seen Seen, taken: &Taken) -> Option<&'seen serde_json::Value> {
        let mut free = lives(seen);
        free.retain(|namespace| !taken.namespaces.contains(name(namespace)));
        free.get(self.random.below(free.len().max(1))).copied()
    }
}

/// The namespaces that this life may do anything to.
fn lives(seen: &Seen) -> Vec<&serde_json::Value> {
    let namespaces = seen.namespaces.iter();
    namespaces
        .filter(|namespace| name(namespace).starts_with("life-"))
        .collect()
}
