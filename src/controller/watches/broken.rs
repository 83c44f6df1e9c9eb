//! What is said of a watch that broke, and when it is opened again.

use std::time::Duration;

use super::list_watch::Broken;
use crate::controller::cache::Watched;
use crate::controller::error::{chain, retry_after};

impl Broken {
    /// For people: the API server's message, not the whole Status.
    pub(super) fn describe(&self, watched: Watched) -> String {
        let what = watched.label();
        let (doing, cause) = match self {
            Self::List(cause) => ("list", cause),
            Self::Open(cause) => ("start watching", cause),
            Self::Watch(cause) => ("go on watching", cause),
            Self::Ended(status) => return format!("{what}: the watch ended: {}", status.message),
            Self::EndedEarly => return format!("{what}: the watch ended before its time; it is opened again"),
            Self::Silent => return format!("{what}: the watch is silent and does not end; it is opened again"),
            Self::WentBack => {
                return format!(
                    "{what}: the watch went back in time, as after a restored backup; all are listed again"
                );
            }
            Self::WithoutVersion => {
                return format!("{what}: an answer without a resource version; all are listed again");
            }
        };
        match cause {
            kube::Error::Api(status) if status.code == 404 && watched == Watched::Tiers => String::from(
                "the CustomResourceDefinition isolationtiers.cofferdam.dev is not installed; apply it: cofferdam crd | kubectl apply --server-side -f -",
            ),
            kube::Error::Api(status) => format!("cannot {doing} {what}: {}", status.message),
            cause => format!("cannot {doing} {what}: {}", chain(cause)),
        }
    }

    /// How long the API server asks us to wait before we ask again.
    pub(super) fn wait_asked_for(&self) -> Option<Duration> {
        match self {
            Self::List(kube::Error::Api(status)) | Self::Open(kube::Error::Api(status)) | Self::Ended(status) => {
                retry_after(status)
            }
            _ => None,
        }
    }
}
