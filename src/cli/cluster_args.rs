//! The flags that say what has to be known of a cluster to plan for it: the same for every verb that plans.

use clap::Args;

use crate::api::names::DEFAULT_NAMESPACE;
use crate::policy::Exemptions;

/// What has to be known of a cluster to plan for it.
#[derive(Args, Clone, Debug)]
pub struct ClusterArgs {
    /// Namespace that the controller runs in: never touched [default: $POD_NAMESPACE, then cofferdam-system]
    #[arg(long, env = "COFFERDAM_NAMESPACE", value_name = "NAME", value_parser = parse_own_namespace)]
    namespace: Option<String>,
    #[command(flatten)]
    exempt: ExemptArgs,
    /// The DNS.
    #[command(flatten)]
    pub dns: DnsArgs,
}

/// As [`ClusterArgs`], without the DNS, for verbs whose `--namespace` is the one to look at.
#[derive(Args, Clone, Debug)]
pub struct LookedAtClusterArgs {
    /// Namespace that the controller runs in: never touched [default: cofferdam-system]
    #[arg(long, env = "COFFERDAM_NAMESPACE", value_name = "NAME", value_parser = parse_own_namespace)]
    controller_namespace: Option<String>,
    #[command(flatten)]
    exempt: ExemptArgs,
}

/// Which namespaces are never touched.
#[derive(Args, Clone, Debug)]
struct ExemptArgs {
    /// A namespace that is never touched, with a trailing * for any ending; repeatable
    #[arg(
        long = "exempt-namespace",
        env = "COFFERDAM_EXEMPT_NAMESPACE",
        value_name = "NAME",
        value_delimiter = ',',
        value_parser = parse_exempt_namespace
    )]
    exempt_namespaces: Vec<String>,
}

/// What the preset DNS resolves from.
#[derive(Args, Clone, Debug)]
pub struct DnsArgs {
    /// The Service of the cluster's DNS
    #[arg(long = "dns-service", env = "COFFERDAM_DNS_SERVICE", value_name = "NAMESPACE/NAME", default_value = "kube-system/kube-dns", value_parser = parse_service)]
    pub service: (String, String),
}

impl ClusterArgs {
    /// Namespaces that are never touched.
    pub fn exemptions(&self) -> Exemptions {
        self.exempt.exemptions(&self.own_namespace())
    }

    /// Where the controller runs.
    pub fn own_namespace(&self) -> String {
        own_namespace(self.namespace.as_ref())
    }
}

impl LookedAtClusterArgs {
    /// Namespaces that are never touched.
    pub fn exemptions(&self) -> Exemptions {
        self.exempt
            .exemptions(&own_namespace(self.controller_namespace.as_ref()))
    }
}

impl ExemptArgs {
    fn exemptions(&self, own_namespace: &str) -> Exemptions {
        Exemptions::new(own_namespace, self.exempt_namespaces.iter().map(String::as_str))
    }
}

fn own_namespace(told: Option<&String>) -> String {
    let from_pod = || {
        std::env::var("POD_NAMESPACE")
            .ok()
            .filter(|namespace| !namespace.is_empty())
    };
    // An empty variable says nothing, as an absent one.
    told.filter(|namespace| !namespace.is_empty())
        .cloned()
        .or_else(from_pod)
        .unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned())
}

/// One name: a pattern would exempt more than where the controller runs, `*` the whole cluster.
fn parse_own_namespace(text: &str) -> Result<String, String> {
    match parse_exempt_namespace(text) {
        Ok(name) if !name.ends_with('*') => Ok(name),
        _ => Err(String::from("expected the name of a namespace, as in cofferdam-system")),
    }
}

/// A pattern that can match no namespace would leave one closed that somebody meant to leave alone.
fn parse_exempt_namespace(text: &str) -> Result<String, String> {
    // What an empty variable, or a comma at the end, leaves.
    if text.is_empty() {
        return Ok(String::new());
    }
    let name = text.strip_suffix('*').unwrap_or(text);
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let ends_well = text.ends_with('*') || !name.ends_with('-');
    if name.is_empty() || name.len() > 63 || !name.bytes().all(is_allowed) || name.starts_with('-') || !ends_well {
        return Err(String::from(
            "expected the name of a namespace, or how its name begins and a * at the end: vault, openshift-*",
        ));
    }
    Ok(text.to_owned())
}

fn parse_service(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok((namespace.to_owned(), name.to_owned()))
        }
        _ => Err(String::from("write NAMESPACE/NAME, for example kube-system/kube-dns")),
    }
}
