//! The cluster facts that presets resolve to.

use super::control_plane::ControlPlane;

/// Service and EndpointSlice of the cluster DNS, EndpointSlice of the API server.
pub const MANIFEST: &str = include_str!("cluster-facts.yaml");

/// Creates them, or puts them back.
pub fn create(control_plane: &ControlPlane) {
    control_plane
        .kubectl_with_input(
            &["apply", "--server-side", "--force-conflicts", "--filename=-"],
            MANIFEST,
        )
        .expect_success();
}
