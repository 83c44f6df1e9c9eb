//! Waiting for RBAC: the authorizer reads roles through a cache, so a binding counts a moment after it is stored.

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};

use super::eventually::{PATIENCE, eventually};
use super::identity::Identity;

/// A verb on a resource of a group; in every namespace where `namespace` is empty.
#[derive(Clone, Copy, Debug)]
pub struct Permission<'a> {
    /// `create`, ...
    pub verb: &'a str,
    /// API group.
    pub group: &'a str,
    /// Plural.
    pub resource: &'a str,
    /// Namespace, or empty.
    pub namespace: &'a str,
}

/// Returns once `identity` may do this.
pub async fn wait_for_permission(admin: &Client, identity: Identity, permission: Permission<'_>) {
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(identity.user().into()),
            groups: Some(identity.groups().split(',').map(str::to_owned).collect()),
            resource_attributes: Some(ResourceAttributes {
                verb: Some(permission.verb.into()),
                group: Some(permission.group.into()),
                resource: Some(permission.resource.into()),
                namespace: Some(permission.namespace.into()),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let reviews: Api<SubjectAccessReview> = Api::all(admin.clone());
    eventually(&format!("{identity:?} has {permission:?}"), PATIENCE, || async {
        let answer = reviews
            .create(&PostParams::default(), &review)
            .await
            .map_err(|error| error.to_string())?;
        let status = answer.status.unwrap_or_default();
        if status.allowed {
            Ok(())
        } else {
            Err(format!("{status:?}"))
        }
    })
    .await;
}
