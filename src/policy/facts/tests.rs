use serde_json::{Value, json};

use super::*;
use crate::api::Protocol::{TCP, UDP};

fn service(spec: Value) -> Service {
    serde_json::from_value(json!({"spec": spec})).unwrap()
}

fn slice(ports: Value, addresses: &[&str]) -> EndpointSlice {
    serde_json::from_value(json!({"addressType": "IPv4", "ports": ports, "endpoints": [{"addresses": addresses}]}))
        .unwrap()
}

/// The Service that kubeadm makes.
fn kube_dns() -> Service {
    service(
        json!({"selector": {"k8s-app": "kube-dns"}, "clusterIP": "10.0.0.10", "clusterIPs": ["10.0.0.10"], "ports": [
        {"name": "dns", "protocol": "UDP", "port": 53, "targetPort": 53},
        {"name": "dns-tcp", "protocol": "TCP", "port": 53, "targetPort": 53},
        {"name": "metrics", "protocol": "TCP", "port": 9153, "targetPort": 9153}]}),
    )
}

fn dns_slice(dns: u16) -> EndpointSlice {
    let ports = json!([{"name": "dns", "protocol": "UDP", "port": dns}, {"name": "dns-tcp", "protocol": "TCP", "port": dns},
        {"name": "metrics", "protocol": "TCP", "port": 9153}]);
    slice(ports, &["10.1.0.2"])
}

fn read_dns(service: Option<&Service>, slices: &[EndpointSlice]) -> Fact<DnsFacts> {
    Fact::<DnsFacts>::read("kube-system", "kube-dns", service, slices)
}

fn known<T: std::fmt::Debug>(fact: Fact<T>) -> T {
    match fact {
        Fact::Known(known) => known,
        Fact::Unknown(looked_for) => panic!("{looked_for}"),
    }
}

/// Asserts that the fact is unknown, and that what is said of it has those words.
fn assert_unknown<T: std::fmt::Debug>(fact: Fact<T>, words: &[&str]) {
    let Fact::Unknown(said) = fact else { panic!("{fact:?}") };
    assert!(
        words.iter().all(|word| said.contains(word)),
        "{said:?} lacks one of {words:?}"
    );
}

#[test]
fn the_metrics_port_of_kube_dns_is_left_out() {
    let dns = known(read_dns(Some(&kube_dns()), &[dns_slice(53)]));
    assert_eq!(dns.pod_ports, [(UDP, 53), (TCP, 53)].into());
    assert_eq!(dns.service_ports, [(UDP, 53), (TCP, 53)].into());
    assert_eq!(dns.cluster_ips, ["10.0.0.10".parse().unwrap()].into());
    assert_eq!(dns.pod_labels, [("k8s-app".to_owned(), "kube-dns".to_owned())].into());
    assert_eq!((dns.endpoints.len(), dns.namespace.as_str()), (0, "kube-system"));
}

#[test]
fn a_named_target_port_gets_its_number_from_the_slices() {
    let mut service = kube_dns();
    for port in service.spec.iter_mut().flat_map(|spec| spec.ports.iter_mut().flatten()) {
        port.target_port = serde_json::from_value(json!("dns")).unwrap();
    }
    // Two generations of pods during a roll-out: both numbers.
    let dns = known(read_dns(Some(&service), &[dns_slice(5353), dns_slice(1053)]));
    assert_eq!(
        dns.pod_ports,
        [(UDP, 5353), (TCP, 5353), (UDP, 1053), (TCP, 1053)].into()
    );
    assert_eq!(dns.service_ports, [(UDP, 53), (TCP, 53)].into());
}

#[test]
fn a_port_that_no_slice_has_yet_makes_dns_unknown_rather_than_half_known() {
    let mut service = kube_dns();
    let ports = service.spec.as_mut().unwrap().ports.as_mut().unwrap();
    ports[0].name = Some("dns-udp".into());
    assert_unknown(
        read_dns(Some(&service), &[dns_slice(53)]),
        &["found none named dns-udp"],
    );
}

#[test]
fn openshift_maps_53_to_5353() {
    let service = service(
        json!({"selector": {"dns.operator.openshift.io/daemonset-dns": "default"},
        "clusterIPs": ["172.30.0.10"], "ports": [{"name": "dns", "protocol": "UDP", "port": 53, "targetPort": "dns"},
        {"name": "dns-tcp", "port": 53, "targetPort": "dns-tcp"}, {"name": "metrics", "port": 9154}]}),
    );
    let dns = known(Fact::<DnsFacts>::read(
        "openshift-dns",
        "dns-default",
        Some(&service),
        &[dns_slice(5353)],
    ));
    assert_eq!(dns.pod_ports, [(UDP, 5353), (TCP, 5353)].into());
    assert_eq!(dns.namespace, "openshift-dns");
}

#[test]
fn a_headless_service_has_no_address_of_its_own() {
    let service = service(
        json!({"selector": {"a": "b"}, "clusterIP": "None", "clusterIPs": ["None"],
        "ports": [{"protocol": "UDP", "port": 53}]}),
    );
    let dns = known(read_dns(
        Some(&service),
        &[slice(json!([{"protocol": "UDP", "port": 53}]), &["10.1.0.2"])],
    ));
    assert_eq!((dns.cluster_ips.len(), dns.pod_ports), (0, [(UDP, 53)].into()));
}

#[test]
fn a_dual_stack_service_has_both_addresses() {
    let mut service = kube_dns();
    service.spec.as_mut().unwrap().cluster_ips = Some(vec!["10.0.0.10".into(), "fd00::10".into()]);
    let dns = known(read_dns(Some(&service), &[dns_slice(53)]));
    assert_eq!(
        dns.cluster_ips,
        ["10.0.0.10".parse().unwrap(), "fd00::10".parse().unwrap()].into()
    );
}

#[test]
fn a_service_without_a_selector_stands_for_its_addresses() {
    let service = service(json!({"clusterIPs": ["10.0.0.10"], "ports": [{"protocol": "UDP", "port": 53}]}));
    let ports = json!([{"protocol": "UDP", "port": 53}]);
    let dns = known(read_dns(Some(&service), &[slice(ports.clone(), &["192.0.2.9"])]));
    assert_eq!(
        (dns.endpoints, dns.pod_labels.len()),
        (["192.0.2.9".parse().unwrap()].into(), 0)
    );
    assert_unknown(read_dns(Some(&service), &[slice(ports, &[])]), &["EndpointSlices"]);
}

#[test]
fn dns_that_is_not_there_is_unknown_and_says_what_was_looked_for() {
    assert_unknown(
        read_dns(None, &[dns_slice(53)]),
        &["kube-system/kube-dns", "found none", "--dns-service"],
    );
    let slices = ["kubernetes.io/service-name=kube-dns", "found none"];
    assert_unknown(read_dns(Some(&kube_dns()), &[]), &slices);
    // What the control plane makes while no pod is there.
    assert_unknown(read_dns(Some(&kube_dns()), &[slice(json!([]), &[])]), &slices);
    assert_unknown(read_dns(Some(&kube_dns()), &[slice(json!(null), &[])]), &slices);
    assert_unknown(
        read_dns(
            Some(&kube_dns()),
            &[slice(json!([{"name": "metrics", "port": 9153}]), &["10.1.0.2"])],
        ),
        &slices,
    );
    let other = service(json!({"selector": {"a": "b"}, "ports": [{"port": 80}]}));
    assert_unknown(
        read_dns(Some(&other), &[dns_slice(53)]),
        &["port 53", "kube-system/kube-dns"],
    );
}

#[test]
fn a_number_that_is_no_port_is_not_one() {
    let ports = json!([{"name": "dns", "protocol": "UDP", "port": 0}, {"name": "dns-tcp", "port": 70000}]);
    assert_unknown(
        read_dns(Some(&kube_dns()), &[slice(ports, &["10.1.0.2"])]),
        &["EndpointSlices"],
    );
}

#[test]
fn the_api_server_may_have_slices_of_different_ports() {
    let kubernetes = service(json!({"clusterIPs": ["10.0.0.1", "fd00::1"], "ports": [{"name": "https", "port": 443}]}));
    let https = |port: u16, addresses: &[&str]| slice(json!([{"name": "https", "port": port}]), addresses);
    let slices = [
        https(6443, &["192.0.2.1", "192.0.2.2"]),
        https(443, &["198.51.100.1"]),
        https(6443, &["2001:db8::1"]),
    ];
    let api_server = known(Fact::<ApiServerFacts>::read(Some(&kubernetes), &slices));
    let addresses = |all: &[&str]| {
        all.iter()
            .map(|address| address.parse().unwrap())
            .collect::<BTreeSet<IpAddr>>()
    };
    let expected = [
        ([(TCP, 443)].into(), addresses(&["198.51.100.1"])),
        (
            [(TCP, 6443)].into(),
            addresses(&["192.0.2.1", "192.0.2.2", "2001:db8::1"]),
        ),
    ];
    assert_eq!(api_server.endpoints, expected.into());
    assert_eq!(api_server.cluster_ips, addresses(&["10.0.0.1", "fd00::1"]));
    assert_eq!(api_server.service_ports, [(TCP, 443)].into());
}

#[test]
fn an_api_server_that_is_restarting_stays_in() {
    let kubernetes = service(json!({"clusterIPs": ["10.0.0.1"], "ports": [{"port": 443}]}));
    let mut slice = slice(json!([{"port": 6443}]), &["192.0.2.1"]);
    slice.endpoints[0].conditions = serde_json::from_value(json!({"ready": false})).unwrap();
    assert_eq!(
        known(Fact::<ApiServerFacts>::read(Some(&kubernetes), &[slice]))
            .endpoints
            .len(),
        1
    );
}

#[test]
fn an_api_server_that_is_not_there_is_unknown() {
    let kubernetes = service(json!({"clusterIPs": ["10.0.0.1"], "ports": [{"port": 443}]}));
    let slices = [slice(json!([{"port": 6443}]), &["192.0.2.1"])];
    let read = Fact::<ApiServerFacts>::read;
    assert_unknown(read(None, &slices), &["default/kubernetes", "found none"]);
    assert_unknown(
        read(Some(&kubernetes), &[]),
        &["default/kubernetes", "EndpointSlices", "found none"],
    );
    assert_unknown(
        read(Some(&kubernetes), &[slice(json!([{"port": 6443}]), &[])]),
        &["EndpointSlices"],
    );
    assert_unknown(
        read(Some(&kubernetes), &[slice(json!([{"port": 0}]), &["192.0.2.1"])]),
        &["EndpointSlices"],
    );
    // A rule without ports would be one for every port.
    let portless = service(json!({"clusterIPs": ["10.0.0.1"]}));
    assert_unknown(read(Some(&portless), &slices), &["ports", "default/kubernetes"]);
}
