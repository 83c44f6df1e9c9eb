//! Which namespaces a verb tells of.

use clap::Args;

use super::columns::printable;
use super::input::ReadError;
use super::input::live::Scope;
use super::input::snapshot::Snapshot;

/// The flags for it.
#[derive(Args, Clone, Debug)]
pub struct SelectionArgs {
    /// One namespace alone; that takes no permission on others [default: all namespaces]
    #[arg(short = 'n', long, value_name = "NAME", conflicts_with = "all_namespaces")]
    namespace: Option<String>,
    /// All namespaces, which is the default too
    #[arg(short = 'A', long)]
    all_namespaces: bool,
}

impl SelectionArgs {
    /// What has to be read of a cluster.
    pub fn scope(&self) -> Scope<'_> {
        self.namespace.as_deref().map_or(Scope::Cluster, Scope::Namespace)
    }

    /// Whether a namespace is told of.
    pub fn selects(&self, namespace: &str) -> bool {
        self.namespace.as_deref().is_none_or(|wanted| wanted == namespace)
    }

    /// Holds that the namespace that was named is there: a mistyped one must not pass for one that is fine.
    ///
    /// # Errors
    /// When it is not.
    pub fn require_in(&self, snapshot: &Snapshot) -> Result<(), ReadError> {
        match &self.namespace {
            Some(name) if !snapshot.namespaces.contains_key(name) => Err(ReadError::NoNamespace(printable(name))),
            _ => Ok(()),
        }
    }
}
