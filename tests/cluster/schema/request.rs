//! Dry runs as kubectl makes them: unknown fields are refused. kube's own calls cannot ask for that on a POST.

use kube::Client;
use serde_json::Value;

const TIERS: &str = "/apis/cofferdam.dev/v1alpha1/isolationtiers";
const POLICIES: &str = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies";
const STRICT_DRY_RUN: &str = "dryRun=All&fieldValidation=Strict";

/// What the API server would store for a POST of this tier or NetworkPolicy, or why it refuses.
pub async fn create(client: &Client, object: &Value) -> Result<Value, String> {
    let path = match object["kind"].as_str() {
        Some("NetworkPolicy") => POLICIES,
        _ => TIERS,
    };
    let request = http::Request::post(format!("{path}?{STRICT_DRY_RUN}")).header("Content-Type", "application/json");
    send(client, request, object.to_string()).await
}

/// What the API server would store for a server-side apply of this tier, or why it refuses.
pub async fn apply(client: &Client, tier: &Value) -> Result<Value, String> {
    let name = tier["metadata"]["name"].as_str().unwrap();
    let request = http::Request::patch(format!("{TIERS}/{name}?{STRICT_DRY_RUN}&fieldManager=schema-test"))
        .header("Content-Type", "application/apply-patch+yaml");
    send(client, request, tier.to_string()).await
}

/// The tiers as the table that `kubectl get` prints.
pub async fn get_table(client: &Client) -> Value {
    let request = http::Request::get(TIERS).header("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
    send(client, request, String::new()).await.unwrap()
}

async fn send(client: &Client, request: http::request::Builder, body: String) -> Result<Value, String> {
    match client.request(request.body(body.into_bytes()).unwrap()).await {
        Ok(answer) => Ok(answer),
        Err(kube::Error::Api(status)) => Err(status.message),
        Err(error) => panic!("expected an answer of the API server, found: {error}"),
    }
}
