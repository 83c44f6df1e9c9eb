//! Watches into caches, and what changed into the queue. Every watch decodes what it needs and drops the rest.

mod broken;
mod definition;
mod follow;
mod list_watch;
mod page_size;
mod relist;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Event;
use kube::{Client, ResourceExt};
use tokio::sync::watch;

use self::definition::definition_ends;
use self::list_watch::Selection;
use super::cache::{Cache, EndpointSlices, FactSources, NamespaceNews, Watched};
use super::client::readable::Readable;
use super::queue::Class;
use super::report::Reporter;
use super::tasks::Tasks;
use super::widening::GATHERING;
use super::work::WorkQueue;
use crate::api::IsolationTier;
use crate::api::names::{API_SERVER_SERVICE, SERVICE_NAME_LABEL};
use crate::telemetry::metrics::Metrics;

/// A namespace that just appeared is written to only after this: requests that follow its creation at once
/// stall for 50 ms in the API server about one time in twenty, because the admission plugin NamespaceLifecycle
/// has not seen it yet (measured: 2 ms makes the 99th percentile 6 ms instead of 53 ms).
const SETTLING_TIME: Duration = Duration::from_millis(2);

/// How long it is believed at most that the definition of tiers ends.
const DOUBT_AFTER: Duration = Duration::from_secs(10);

/// What the watches feed.
#[derive(Clone)]
pub(super) struct Watches {
    /// Where to watch.
    pub(super) client: Client,
    /// What is known.
    pub(super) cache: Arc<Cache>,
    /// Namespaces that need a look.
    pub(super) namespaces: WorkQueue<String>,
    /// Namespaces whose foreign policies are to be audited.
    pub(super) widening: WorkQueue<String>,
    /// Writes the tiers' statuses.
    pub(super) reporter: Arc<Reporter>,
    /// Is told which tiers are live: only those may be a label value.
    pub(super) metrics: Arc<Metrics>,
    /// Namespace and name of the cluster's DNS Service.
    pub(super) dns_service: (String, String),
    /// How often all policies are listed beside their watch.
    pub(super) relist_interval: Duration,
    /// Is told when a list shows that the watches go on from what is yet to come.
    pub(super) went_back: watch::Sender<()>,
}

impl Watches {
    /// Starts every watch, and the list beside that of policies.
    pub(super) fn start(&self, tasks: &mut Tasks) {
        let mut spawn = |watched: Watched, watch: BoxFuture<'static, ()>| {
            tasks.spawn(format!("the watch of {}", watched.label()), watch);
        };
        spawn(Watched::Tiers, self.clone().watch_tiers().boxed());
        spawn(Watched::Namespaces, self.clone().watch_namespaces().boxed());
        spawn(Watched::Policies, self.clone().watch_policies().boxed());
        let api_server = (API_SERVER_SERVICE.0.to_owned(), API_SERVER_SERVICE.1.to_owned());
        let services = [
            (Watched::DnsService, Watched::DnsEndpoints, self.dns_service.clone()),
            (Watched::ApiServerService, Watched::ApiServerEndpoints, api_server),
        ];
        for (service, endpoints, (namespace, name)) in services {
            let watch = self.clone().watch_service(service, namespace.clone(), name.clone());
            spawn(service, watch.boxed());
            spawn(
                endpoints,
                self.clone().watch_endpoints(endpoints, namespace, name).boxed(),
            );
        }
        let relist = self.clone().relist_policies(self.relist_interval);
        tasks.spawn("the list beside the watch of policies", relist);
        let doubts = self.clone().doubt_the_end_of_the_definition();
        tasks.spawn("the doubts about the end of the definition", doubts);
    }

    /// While the definition of tiers is known to end nobody is governed, and where it was one wrong answer that said so no
    /// event may come that has it read again.
    async fn doubt_the_end_of_the_definition(self) {
        loop {
            tokio::time::sleep(DOUBT_AFTER).await;
            if self.cache.definition_ends() && definition_ends(&self.client).await.is_ok_and(|ends| !ends) {
                tracing::warn!("the definition of tiers stands, other than was read before");
                let concerned = self.cache.definition_stays();
                self.reporter.look();
                self.look_at(concerned, Class::Change);
            }
        }
    }

    /// Tiers are decoded object by object, so that one that does not parse stops nothing.
    async fn watch_tiers(self) {
        let api =
            Api::<Readable<DynamicObject>>::all_with(self.client.clone(), &ApiResource::erase::<IsolationTier>(&()));
        let mut listed = Vec::new();
        self.follow(api, Selection::default(), Watched::Tiers, |event| {
            let (concerned, complete) = match event {
                Event::Init => return listed.clear(),
                Event::InitApply(tier) => return listed.push(tier),
                Event::InitDone => (self.cache.tiers_listed(&std::mem::take(&mut listed)), true),
                Event::Apply(tier) => (self.cache.tier_applied(&tier), false),
                Event::Delete(tier) => (self.cache.tier_deleted(&tier.name_any()), false),
            };
            self.metrics.tiers_changed(&self.cache.tier_names());
            self.reporter.look();
            self.look_at(concerned, Class::Change);
            if complete {
                self.cache.synced(Watched::Tiers);
            }
        })
        .await;
    }

    async fn watch_namespaces(self) {
        let api = Api::<Readable<PartialObjectMeta<Namespace>>>::all(self.client.clone());
        let mut listed = BTreeSet::new();
        self.follow(api, Selection::default(), Watched::Namespaces, |event| match event {
            Event::Init => listed.clear(),
            Event::InitApply(namespace) => {
                let name = namespace.name_any();
                if self.cache.namespace_applied(namespace, None) != NamespaceNews::Nothing {
                    self.look_at(vec![name.clone()], Class::Change);
                }
                listed.insert(name);
            }
            Event::InitDone => {
                self.look_at(self.cache.namespaces_listed(&listed), Class::Change);
                self.cache.synced(Watched::Namespaces);
            }
            Event::Apply(namespace) => {
                let (name, now) = (namespace.name_any(), Instant::now());
                match self.cache.namespace_applied(namespace, Some(now)) {
                    NamespaceNews::Appeared => {
                        self.namespaces
                            .push(name.clone(), Class::Unprotected, now + SETTLING_TIME);
                        self.audit_widening([name]);
                    }
                    NamespaceNews::Changed => self.look_at(vec![name], Class::Change),
                    NamespaceNews::Nothing => {}
                }
            }
            Event::Delete(namespace) => {
                self.cache.namespace_deleted(&namespace.name_any());
                self.look_at(vec![namespace.name_any()], Class::Change);
            }
        })
        .await;
    }

    async fn watch_policies(self) {
        let api = Api::<Readable<NetworkPolicy>>::all(self.client.clone());
        self.follow(api, Selection::default(), Watched::Policies, |event| {
            self.audit_widening(self.cache.foreign_policies().see(&event));
            match event {
                Event::Init => self.cache.policies_list_begins(),
                Event::InitApply(policy) => self.cache.policy_listed(policy),
                Event::InitDone => {
                    self.look_at(self.cache.policies_list_ends(), Class::Change);
                    self.cache.synced(Watched::Policies);
                }
                Event::Apply(policy) => self.look_at(self.cache.policy_applied(policy), Class::Drift),
                Event::Delete(policy) => self.look_at(self.cache.policy_deleted(policy), Class::Drift),
            }
        })
        .await;
    }

    async fn watch_service(self, watched: Watched, namespace: String, name: String) {
        let api = Api::<Readable<Service>>::namespaced(self.client.clone(), &namespace);
        let selection = Selection {
            fields: Some(format!("metadata.name={name}")),
            ..Selection::default()
        };
        let mut listed = None;
        self.follow(api, selection, watched, |event| {
            let (service, complete) = match event {
                Event::Init => return listed = None,
                Event::InitApply(service) => return listed = Some(service),
                Event::InitDone => (listed.take(), true),
                Event::Apply(service) => (Some(service), false),
                Event::Delete(_) => (None, false),
            };
            self.facts_changed(|sources| match watched {
                Watched::DnsService => sources.dns_service = service,
                _ => sources.api_server_service = service,
            });
            if complete {
                self.cache.synced(watched);
            }
        })
        .await;
    }

    async fn watch_endpoints(self, watched: Watched, namespace: String, service: String) {
        let api = Api::<Readable<EndpointSlice>>::namespaced(self.client.clone(), &namespace);
        let selection = Selection {
            labels: Some(format!("{SERVICE_NAME_LABEL}={service}")),
            ..Selection::default()
        };
        let mut listed = BTreeMap::new();
        self.follow(api, selection, watched, |event| {
            let complete = matches!(event, Event::InitDone);
            let change = |slices: &mut EndpointSlices| match event {
                Event::Init => listed.clear(),
                Event::InitApply(slice) => _ = listed.insert(slice.name_any(), slice),
                Event::InitDone => {
                    *slices = std::mem::take(&mut listed);
                }
                Event::Apply(slice) => _ = slices.insert(slice.name_any(), slice),
                Event::Delete(slice) => _ = slices.remove(&slice.name_any()),
            };
            self.facts_changed(|sources| {
                change(match watched {
                    Watched::DnsEndpoints => &mut sources.dns_endpoints,
                    _ => &mut sources.api_server_endpoints,
                });
            });
            if complete {
                self.cache.synced(watched);
            }
        })
        .await;
    }

    /// A fact changed: every tier may say something else of its allowances.
    fn facts_changed(&self, change: impl FnOnce(&mut FactSources)) {
        let concerned = self.cache.fact_source_changed(change);
        self.reporter.look();
        self.look_at(concerned, Class::Change);
    }

    pub(super) fn audit_widening(&self, namespaces: impl IntoIterator<Item = String>) {
        let due = Instant::now() + GATHERING;
        for namespace in namespaces {
            self.widening.push(namespace, Class::Change, due);
        }
    }

    pub(super) fn look_at(&self, namespaces: impl IntoIterator<Item = String>, class: Class) {
        let now = Instant::now();
        for namespace in namespaces {
            // What changes who governs, and by what, changes what widens.
            if class == Class::Change {
                self.audit_widening([namespace.clone()]);
            }
            let bare = self.cache.is_bare(&namespace);
            if !bare && !self.namespaces.is_served() {
                // Another replica protected it: who takes over has no part in how long that took.
                self.cache.settled(&namespace);
            }
            let class = if bare { Class::Unprotected } else { class };
            self.namespaces.push(namespace, class, now);
        }
    }
}
