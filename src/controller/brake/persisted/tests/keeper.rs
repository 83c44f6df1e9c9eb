//! An API server that is as good as a real one about one tier.

use std::sync::Mutex;

use http::Method;
use serde_json::Value;

use super::*;

/// An API server that keeps tier `t` as a real one does: a patch on another revision, or of another object, is refused.
#[derive(Clone, Default)]
pub struct Keeper(Arc<Mutex<Kept>>);

#[derive(Default)]
pub struct Kept {
    pub version: u64,
    pub uid: String,
    pub status: Value,
    pub asked: Vec<Asked>,
    /// The next that is asked for a change keeps it to itself.
    pub holds_back: bool,
    /// Somebody else changes the tier before so many changes.
    pub edits: usize,
    /// It drops that of a status without a word.
    pub prunes: Option<(&'static str, &'static str)>,
}

impl Kept {
    pub fn patch(&mut self, body: &Value) -> (u16, Value) {
        let metadata = &body["metadata"];
        let version = metadata["resourceVersion"].as_str();
        let same = metadata["uid"] == self.uid.as_str() && version.is_none_or(|it| it == self.version.to_string());
        if !same {
            return (
                409,
                json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 409, "message": "modified"}),
            );
        }
        self.version += 1;
        self.status = body["status"].clone();
        if let Some((parent, field)) = self.prunes {
            let parent = self.status.pointer_mut(parent).and_then(Value::as_object_mut);
            parent.and_then(|parent| parent.remove(field));
        }
        (200, self.tier())
    }

    fn tier(&self) -> Value {
        let metadata = json!({"name": "t", "uid": self.uid, "resourceVersion": self.version.to_string()});
        json!({"kind": "IsolationTier", "apiVersion": "cofferdam.dev/v1alpha1", "metadata": metadata, "status": self.status})
    }
}

impl Keeper {
    /// At the revision that the cache knows.
    pub fn new() -> Self {
        let keeper = Self::default();
        keeper.with(|kept| (kept.version, kept.uid) = (1, String::from("uid-t")));
        keeper
    }

    pub fn with<T>(&self, change: impl FnOnce(&mut Kept) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }

    async fn answer(self, request: Request<Body>) -> Result<Response<Body>, tower::BoxError> {
        let asked = Asked::of(request).await?;
        let held_back = self.with(|kept| {
            kept.asked.push(asked.clone());
            asked.method == Method::PATCH && std::mem::take(&mut kept.holds_back)
        });
        if held_back {
            std::future::pending::<()>().await;
        }
        let (code, answer) = self.with(|kept| match asked.method {
            Method::PATCH => {
                if kept.edits > 0 {
                    (kept.edits, kept.version) = (kept.edits - 1, kept.version + 1);
                }
                kept.patch(&asked.body)
            }
            _ => (
                200,
                json!({"kind": "IsolationTierList", "metadata": {}, "items": [kept.tier()]}),
            ),
        });
        Ok(Response::builder()
            .status(code)
            .body(Body::from(answer.to_string().into_bytes()))?)
    }

    pub fn tier_writer(&self) -> TierWriter {
        let keeper = self.clone();
        let client = Client::new(service_fn(move |request| keeper.clone().answer(request)), "default");
        let metrics = Metrics::new(KnownSeries::default()).unwrap();
        TierWriter::new(client, Arc::new(metrics))
    }

    pub fn methods(&self) -> Vec<Method> {
        self.with(|kept| kept.asked.drain(..).map(|asked| asked.method).collect())
    }
}
