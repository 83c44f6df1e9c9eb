//! The proxy can be wrong too: that each fault is what its name says, as a client sees it.

use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::io::AsyncBufReadExt;
use http::{Method, Uri};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::harness::eventually::{PATIENCE, eventually};
use crate::harness::fault_proxy::{Answer, ApiRequest, EventFault, Events, Fault, Moment, Nth, Requests};
use crate::harness::scenario_namespaces::{create_namespace, unique_name};
use crate::harness::{ControlPlane, Controller, FaultProxy, Identity};

const INGRESS: &str = "cofferdam-baseline-ingress";

// It sends each request once: a retry would hide what it tries again.
async fn client_through(proxy: &FaultProxy) -> Client {
    let file = kube::config::Kubeconfig::read_from(proxy.kubeconfig()).unwrap();
    let options = kube::config::KubeConfigOptions::default();
    let mut config = kube::Config::from_custom_kubeconfig(file, &options).await.unwrap();
    config.default_retry = false;
    config.read_timeout = Some(Duration::from_secs(2));
    Client::try_from(config).unwrap()
}

fn policy(name: &str) -> NetworkPolicy {
    serde_json::from_value(json!({"metadata": {"name": name}, "spec": {"podSelector": {}}})).unwrap()
}

fn label(value: usize) -> Patch<Value> {
    Patch::Merge(json!({"metadata": {"labels": {"turn": value.to_string()}}}))
}

fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

struct Bench {
    proxy: FaultProxy,
    namespace: String,
    through: Api<NetworkPolicy>,
    direct: Api<NetworkPolicy>,
    client: Client,
}

impl Bench {
    async fn start(prefix: &str) -> Self {
        let control_plane = ControlPlane::shared().await;
        let admin = control_plane.admin().await;
        let namespace = unique_name(prefix);
        create_namespace(&admin, &namespace, &[]).await;
        let proxy = FaultProxy::start(control_plane).await;
        let client = client_through(&proxy).await;
        Self {
            through: Api::namespaced(client.clone(), &namespace),
            direct: Api::namespaced(admin, &namespace),
            proxy,
            namespace,
            client,
        }
    }

    fn writes(&self) -> Requests {
        Requests::writes().of("networkpolicies").in_namespace(&self.namespace)
    }

    async fn create(&self, name: &str) -> kube::Result<NetworkPolicy> {
        self.through.create(&PostParams::default(), &policy(name)).await
    }

    async fn stands(&self, name: &str) -> bool {
        self.direct.get_opt(name).await.unwrap().is_some()
    }

    // The lines of a watch from here on, as `KIND turn`, until it ends or `count` came.
    async fn events_of(&self, make: impl AsyncFnOnce(), count: usize) -> (Vec<String>, bool) {
        let list = self.direct.list(&Default::default()).await.unwrap();
        let version = list.metadata.resource_version.unwrap();
        let path = format!(
            "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies?watch=true&resourceVersion={version}",
            self.namespace
        );
        let request = http::Request::get(path).body(Vec::new()).unwrap();
        let mut lines = self.client.request_stream(request).await.unwrap().lines();
        make().await;
        let mut events = Vec::new();
        while events.len() < count {
            match tokio::time::timeout(Duration::from_millis(1500), lines.next()).await {
                Ok(Some(Ok(line))) => {
                    let value: Value = serde_json::from_str(&line).unwrap_or_default();
                    let kind = value["type"].as_str().unwrap_or("unreadable");
                    let turn = value["object"]["metadata"]["labels"]["turn"].as_str();
                    let code = value["object"]["code"].as_u64().map(|code| code.to_string());
                    events.push(format!(
                        "{kind} {}",
                        turn.map(str::to_owned).or(code).unwrap_or_default()
                    ));
                }
                Ok(Some(Err(_)) | None) => return (events, true),
                Err(_) => return (events, false),
            }
        }
        (events, false)
    }

    async fn three_turns(&self) {
        for turn in 1..=3 {
            self.direct
                .patch(INGRESS, &PatchParams::default(), &label(turn))
                .await
                .unwrap();
        }
    }

    fn on_second(&self, fault: EventFault) {
        let watches = Requests::watches().of("networkpolicies");
        self.proxy
            .on_events(watches, Events::of_kind("MODIFIED"), Nth::only(2), fault);
    }
}

#[test]
fn a_request_is_named_as_rbac_names_it() {
    let of = |method: Method, uri: &str| ApiRequest::of(&method, &uri.parse::<Uri>().unwrap()).to_string();
    let policies = "/apis/networking.k8s.io/v1/namespaces/a/networkpolicies";
    let cases = [
        (
            of(Method::POST, &format!("{policies}?fieldManager=x")),
            "create networkpolicies a/",
        ),
        (of(Method::PUT, &format!("{policies}/p")), "update networkpolicies a/p"),
        (of(Method::DELETE, policies), "deletecollection networkpolicies a/"),
        (of(Method::GET, "/api/v1/namespaces?watch=1&x=y"), "watch namespaces /"),
        (of(Method::GET, "/api/v1/namespaces/a"), "get namespaces /a"),
        (
            of(Method::PUT, "/api/v1/namespaces/a/finalize"),
            "update namespaces/finalize /a",
        ),
        (
            of(Method::GET, "/api/v1/namespaces/a/services?limit=5"),
            "list services a/",
        ),
        (
            of(Method::PATCH, "/apis/cofferdam.dev/v1alpha1/isolationtiers/t/status"),
            "patch isolationtiers/status /t",
        ),
        (of(Method::GET, "/readyz"), "list  /"),
    ];
    for (found, expected) in cases {
        assert_eq!(found, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_meets_the_fault_of_its_turn_and_no_other_does() {
    let bench = Bench::start("proxy-turns").await;
    let rule = bench
        .proxy
        .on(bench.writes(), Nth::from(2, 2), Fault::Answer(Answer::usual(429)));
    bench.create("first").await.unwrap();
    for _ in 0..2 {
        assert_eq!(code(&bench.create("second").await.unwrap_err()), Some(429));
    }
    assert!(!bench.stands("second").await);
    bench.create("second").await.unwrap();
    assert_eq!((rule.matched(), rule.struck()), (4, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_stands_whatever_the_answer_says() {
    let bench = Bench::start("proxy-moments").await;
    let never = [
        Fault::Answer(Answer::usual(503)),
        Fault::Reset(Moment::BeforeForwarding),
        Fault::Stall(Moment::BeforeForwarding),
    ];
    let though = [
        Fault::AnswerAfterCommit(Answer::usual(504)),
        Fault::Reset(Moment::AfterCommit),
        Fault::Reset(Moment::AfterAnswer),
        Fault::TruncatedJson,
        Fault::Stall(Moment::AfterCommit),
    ];
    let cases = never
        .map(|fault| (fault, false))
        .into_iter()
        .chain(though.map(|fault| (fault, true)));
    for (number, (fault, committed)) in cases.enumerate() {
        let name = format!("policy-{number}");
        let rule = bench.proxy.on(bench.writes(), Nth::only(1), fault.clone());
        bench.create(&name).await.expect_err(&format!("{fault:?}"));
        assert_eq!(bench.stands(&name).await, committed, "{fault:?}");
        assert_eq!(rule.struck(), 1);
        bench.proxy.lift_all();
        bench.through.delete(&name, &DeleteParams::default()).await.ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_request_goes_on_once_its_rule_is_lifted() {
    let bench = Bench::start("proxy-stall").await;
    let rule = bench
        .proxy
        .on(bench.writes(), Nth::only(1), Fault::Stall(Moment::BeforeForwarding));
    let lift = async {
        eventually("the request waits", PATIENCE, || async {
            if rule.struck() == 1 { Ok(()) } else { Err(String::new()) }
        })
        .await;
        assert!(!bench.stands("stalled").await);
        rule.lift();
    };
    let (created, ()) = tokio::join!(bench.create("stalled"), lift);
    created.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_held_back_is_carried_out_though_its_sender_gave_up() {
    let bench = Bench::start("proxy-late").await;
    let rule = bench.proxy.on(bench.writes(), Nth::only(1), Fault::HoldBack);
    bench.create("late").await.expect_err("no answer in time");
    assert!(!bench.stands("late").await);
    rule.lift();
    eventually("it is carried out", PATIENCE, || async {
        bench.stands("late").await.then_some(()).ok_or(String::new())
    })
    .await;
    let told = |line: &String| line.contains("late, answered 201") && line.contains("podSelector");
    eventually("the story tells", PATIENCE, || async {
        let story = bench.proxy.story();
        story.iter().any(told).then_some(()).ok_or(format!("{story:?}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_meets_the_fault_of_its_turn() {
    let cases: [(EventFault, &[&str], bool); 8] = [
        (EventFault::Swallow, &["MODIFIED 1", "MODIFIED 3"], false),
        (
            EventFault::Duplicate,
            &["MODIFIED 1", "MODIFIED 2", "MODIFIED 2", "MODIFIED 3"],
            false,
        ),
        (EventFault::Close, &["MODIFIED 1"], true),
        (EventFault::Reset, &["MODIFIED 1"], true),
        (EventFault::Silence, &["MODIFIED 1"], false),
        (EventFault::Truncate, &["MODIFIED 1", "unreadable "], true),
        (EventFault::Expired, &["MODIFIED 1", "ERROR 410"], true),
        (
            EventFault::Delay(Duration::from_millis(300)),
            &["MODIFIED 1", "MODIFIED 2", "MODIFIED 3"],
            false,
        ),
    ];
    let bench = Bench::start("proxy-events").await;
    bench.create(INGRESS).await.unwrap();
    for (fault, expected, ends) in cases {
        bench.on_second(fault);
        let start = Instant::now();
        let (events, ended) = bench
            .events_of(async || bench.three_turns().await, expected.len() + 1)
            .await;
        assert_eq!(events, expected, "{fault:?}");
        assert_eq!(ended, ends, "{fault:?}");
        if let EventFault::Delay(delay) = fault {
            assert!(start.elapsed() >= delay);
        }
        bench.proxy.lift_all();
    }
    let watches = Requests::watches().of("networkpolicies");
    let coalesce = EventFault::Coalesce(Duration::from_secs(1));
    bench
        .proxy
        .on_events(watches.clone(), Events::any(), Nth::every(), coalesce);
    let (events, _) = bench.events_of(async || bench.three_turns().await, 2).await;
    assert_eq!(events, ["MODIFIED 3"]);
    bench.proxy.lift_all();
    let close = async || bench.proxy.close_watches(watches);
    assert_eq!(bench.events_of(close, 1).await, (Vec::new(), true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_can_be_answered_with_what_stood_before() {
    let bench = Bench::start("proxy-replay").await;
    bench.create("older").await.unwrap();
    let path = format!(
        "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
        bench.namespace
    );
    let older = bench.proxy.list_now(&path).await;
    bench.create("newer").await.unwrap();
    let lists = Requests::with(&["list"]).of("networkpolicies");
    bench
        .proxy
        .on(lists, Nth::only(1), Fault::Answer(Answer::replay(older)));
    let names = async || {
        let list = bench.through.list(&Default::default()).await.unwrap();
        list.items
            .into_iter()
            .filter_map(|policy| policy.metadata.name)
            .collect::<Vec<_>>()
    };
    assert_eq!(names().await, ["older"]);
    assert_eq!(names().await, ["newer", "older"]);
}

// Of a controller's own requests none must be counted, so one that nothing else needs is made by hand.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_kills_the_process_at_its_moment_and_the_log_names_the_writer() {
    let bench = Bench::start("proxy-crash").await;
    let control_plane = ControlPlane::shared().await;
    for (moment, committed) in [
        (Moment::BeforeForwarding, false),
        (Moment::AfterCommit, true),
        (Moment::AfterAnswer, true),
    ] {
        // Another port of the API server would do as well: what counts is that it lives until then.
        let mut victim = Controller::spawn_with(
            &control_plane.kubeconfig(Identity::Tenant),
            control_plane.directory(),
            &[],
        );
        bench.proxy.threatens(victim.pid());
        bench.proxy.on(bench.writes(), Nth::only(1), Fault::Crash(moment));
        let name = format!("{moment:?}").to_lowercase();
        let answer = bench.create(&name).await;
        assert_eq!(answer.is_ok(), moment == Moment::AfterAnswer, "{answer:?}");
        let status = victim.wait_until_ended().await;
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
        assert_eq!(bench.stands(&name).await, committed);
        bench
            .create("afterwards")
            .await
            .expect_err("a dying process is not heard");
        let events = control_plane.audit_log().settled(control_plane).await;
        let writers = events
            .iter()
            .filter(|event| event.name == name && event.namespace == bench.namespace);
        let writers: Vec<_> = writers
            .filter(|event| event.verb == "create")
            .filter_map(|event| event.writer())
            .collect();
        assert_eq!(writers.len(), usize::from(committed));
        assert!(
            writers
                .iter()
                .all(|writer| *writer == format!("writer-{}", victim.pid()))
        );
        bench.proxy.lift_all();
    }
}
