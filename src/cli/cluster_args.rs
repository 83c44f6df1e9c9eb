//! The flags that say what has to be known of a cluster to plan for it: the same for every verb that plans.

use clap::Args;

use crate::api::names::DEFAULT_NAMESPACE;
use crate::policy::Exemptions;

/// What has to be known of a cluster to plan for it.
#[derive(Args, Clone, Debug)]
pub struct ClusterArgs {
    /// Namespace that the controller runs in: never touched [default: $POD_NAMESPACE, then cofferdam-system]
    #[arg(long, env = "COFFERDAM_NAMESPACE", value_name = "NAME")]
    namespace: Option<String>,
    /// A namespace that is never touched, with a trailing * for any ending; repeatable
    #[arg(
        long = "exempt-namespace",
        env = "COFFERDAM_EXEMPT_NAMESPACE",
        value_name = "NAME",
        value_delimiter = ','
    )]
    exempt_namespaces: Vec<String>,
    /// The Service of the cluster's DNS
    #[arg(long, env = "COFFERDAM_DNS_SERVICE", value_name = "NAMESPACE/NAME", default_value = "kube-system/kube-dns", value_parser = parse_service)]
    pub dns_service: (String, String),
}

impl ClusterArgs {
    /// Namespaces that are never touched.
    pub fn exemptions(&self) -> Exemptions {
        Exemptions::new(&self.own_namespace(), self.exempt_namespaces.iter().map(String::as_str))
    }

    /// Where the controller runs.
    pub fn own_namespace(&self) -> String {
        let from_pod = || {
            std::env::var("POD_NAMESPACE")
                .ok()
                .filter(|namespace| !namespace.is_empty())
        };
        let told = self.namespace.clone().or_else(from_pod);
        told.unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned())
    }
}

fn parse_service(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok((namespace.to_owned(), name.to_owned()))
        }
        _ => Err(String::from("write NAMESPACE/NAME, for example kube-system/kube-dns")),
    }
}
