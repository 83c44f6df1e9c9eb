//! Control planes of single scenarios, a few at a time: each takes 500 MB and, while it starts, all processors.

use std::ops::{Deref, DerefMut};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::control_plane::{ControlPlane, ControlPlaneOptions};

static PLACES: Semaphore = Semaphore::const_new(2);

/// A control plane that gives its place to the next scenario when it ends.
pub struct OwnControlPlane {
    control_plane: ControlPlane,
    // After the servers, so that they have ended when the next ones start.
    _place: Option<SemaphorePermit<'static>>,
}

impl OwnControlPlane {
    /// Waits for a place, then starts one.
    pub async fn start(options: ControlPlaneOptions) -> Self {
        let place = PLACES.acquire().await.expect("nobody closes the semaphore");
        Self {
            control_plane: ControlPlane::start(options).await,
            _place: Some(place),
        }
    }

    /// Starts one at once, for a run of the tests in which nobody else starts any.
    pub async fn start_beyond_the_places(options: ControlPlaneOptions) -> Self {
        Self {
            control_plane: ControlPlane::start(options).await,
            _place: None,
        }
    }
}

impl Deref for OwnControlPlane {
    type Target = ControlPlane;

    fn deref(&self) -> &ControlPlane {
        &self.control_plane
    }
}

impl DerefMut for OwnControlPlane {
    fn deref_mut(&mut self) -> &mut ControlPlane {
        &mut self.control_plane
    }
}
