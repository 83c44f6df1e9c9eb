//! A list of everything beside the watch that goes on: finds what the watch did not show. It takes nothing back that the
//! watch or a write of ours showed meanwhile, and the index is whole at every moment.

use std::collections::HashSet;

use super::{Acknowledged, PolicyIndex};
use crate::controller::resource_version::{is_older, number};
use crate::policy::{ObservedPolicy, PolicyName};

/// What has to be remembered while such a list is under way.
#[derive(Debug, Default)]
pub(super) struct Relisting {
    /// What the list showed so far.
    listed: HashSet<(String, PolicyName)>,
    /// The uids of what went since it began: the list may have seen it yet.
    gone: HashSet<Box<str>>,
    /// What the watch had shown when it began. A list that is older is no consistent one.
    at_least: u128,
    /// The version that it was made at: every page of a list has the same.
    version: u128,
}

/// The list was made from an older state than the watch has shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::controller) struct OlderThanTheWatch;

impl Relisting {
    /// An object went, as the watch or a write of ours says.
    pub(super) fn went(&mut self, uid: &str) {
        self.gone.insert(uid.into());
    }
}

impl PolicyIndex {
    /// A list begins, to be asked for from now on.
    pub(in crate::controller) fn relist_begins(&mut self) {
        self.relisting = Some(Relisting {
            at_least: self.shown_until,
            ..Relisting::default()
        });
    }

    /// The next page of the list comes, of a list made at this version.
    ///
    /// # Errors
    /// When that is older than what the watch has shown: nothing of it may be believed.
    pub(in crate::controller) fn relist_continues(&mut self, version: &str) -> Result<(), OlderThanTheWatch> {
        let Some(relisting) = &mut self.relisting else {
            return Ok(());
        };
        let version = number(version).unwrap_or_default();
        if version < relisting.at_least {
            self.relisting = None;
            return Err(OlderThanTheWatch);
        }
        relisting.version = version;
        Ok(())
    }

    /// The list shows this revision of an object. Returns whether it is news, to be read and given to
    /// [`Self::relist_finds`].
    pub(in crate::controller) fn relist_shows(
        &mut self,
        namespace: &str,
        name: &PolicyName,
        uid: &str,
        resource_version: &str,
    ) -> bool {
        let key = (namespace.to_owned(), name.clone());
        let known = self.get(&key);
        let is_known = known.is_some_and(|known| {
            *known.resource_version == *resource_version || is_older(resource_version, &known.resource_version)
        });
        let Some(relisting) = &mut self.relisting else {
            return false;
        };
        relisting.listed.insert(key);
        !is_known && !relisting.gone.contains(uid)
    }

    /// What the list showed and nobody else did. The watch may be about to: what it shows of older revisions is dropped.
    pub(in crate::controller) fn relist_finds(&mut self, namespace: &str, name: PolicyName, policy: ObservedPolicy) {
        if self.relist_shows(namespace, &name, &policy.uid, &policy.resource_version) {
            let key = (namespace.to_owned(), name.clone());
            self.put(namespace.to_owned(), name, policy);
            self.acknowledged.insert(key, Acknowledged::Written);
        }
    }

    /// The list is complete. Returns the namespaces where something went without a word.
    pub(in crate::controller) fn relist_ends(&mut self) -> Vec<String> {
        // A list of the watch's own that began meanwhile knows better.
        let Some(relisting) = self.relisting.take() else {
            return Vec::new();
        };
        let known = self.namespaces.iter();
        let known = known.flat_map(|(namespace, policies)| policies.iter().map(move |known| (namespace, known)));
        // What is newer than the list was made since.
        let missing = known.filter(|(namespace, (name, policy))| {
            let key = ((*namespace).clone(), name.clone());
            let is_older = number(&policy.resource_version).is_some_and(|version| version <= relisting.version);
            is_older && !relisting.listed.contains(&key)
        });
        let missing: Vec<_> = missing
            .map(|(namespace, (name, policy))| (namespace.clone(), name.clone(), policy.uid.clone()))
            .collect();
        let mut concerned = Vec::new();
        for (namespace, name, uid) in missing {
            self.deleted(&namespace, name, &uid);
            concerned.push(namespace);
        }
        concerned.dedup();
        concerned
    }
}
