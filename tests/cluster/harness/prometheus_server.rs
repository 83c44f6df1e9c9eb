//! A real Prometheus that scrapes one controller. Debian's package `prometheus` has it, and promtool.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Deserialize;
use serde_json::Value;

use super::controller::http_get;
use super::eventually::{PATIENCE, eventually};
use super::free_port::free_port;
use super::owned_process::OwnedProcess;

/// The job that the controller is scraped as.
pub const JOB: &str = "cofferdam-metrics";

/// A running Prometheus; killed on drop.
pub struct PrometheusServer {
    process: OwnedProcess,
    port: u16,
}

/// An alert that is pending or firing.
#[derive(Clone, Debug, Deserialize)]
pub struct ActiveAlert {
    /// With `alertname` and `severity`.
    pub labels: BTreeMap<String, String>,
    /// As people read them.
    pub annotations: BTreeMap<String, String>,
    /// `pending` or `firing`.
    pub state: String,
}

impl PrometheusServer {
    /// Starts one with its files in `directory`, which scrapes `controller_port` and evaluates `rules` four times a second.
    pub async fn start(directory: &Path, controller_port: u16, rules: &str) -> Self {
        let port = free_port();
        let write = |name: &str, content: &str| {
            std::fs::write(directory.join(name), content).expect("a file beside those of the control plane");
        };
        write("rules.yaml", rules);
        let configuration = serde_json::json!({
            "global": {"scrape_interval": "250ms", "scrape_timeout": "250ms", "evaluation_interval": "250ms"},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [{"job_name": JOB, "static_configs": [{"targets": [format!("127.0.0.1:{controller_port}")]}]}],
        });
        write("prometheus.yaml", &configuration.to_string());
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", directory.join("prometheus.yaml").display()));
        command.arg(format!(
            "--storage.tsdb.path={}",
            directory.join("prometheus").display()
        ));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let process = OwnedProcess::spawn("prometheus", &command, directory.join("prometheus.log"));
        let mut server = Self { process, port };
        server.wait_until_ready().await;
        server
    }

    async fn wait_until_ready(&mut self) {
        let port = self.port;
        let process = std::sync::Mutex::new(&mut self.process);
        eventually("Prometheus is ready", PATIENCE, || async {
            let mut process = process.lock().expect("nobody else waits");
            let ended = process.exit_status();
            assert!(
                ended.is_none(),
                "{ended:?}, needs the package prometheus\n{}",
                process.log_tail(20)
            );
            match http_get(port, "/-/ready") {
                Ok((200, _)) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }

    /// Where its API is.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Pending and firing alerts of a name.
    pub fn alerts(&self, name: &str) -> Vec<ActiveAlert> {
        let alerts: Vec<ActiveAlert> =
            serde_json::from_value(self.api("/api/v1/alerts")["alerts"].clone()).expect("a list of alerts");
        alerts
            .into_iter()
            .filter(|alert| alert.labels.get("alertname").is_some_and(|found| found == name))
            .collect()
    }

    /// The rules that it loaded, by name, each with its health.
    pub fn rules(&self) -> BTreeMap<String, String> {
        let data = self.api("/api/v1/rules");
        let groups = data["groups"].as_array().expect("groups").iter();
        let rules = groups.flat_map(|group| group["rules"].as_array().expect("rules"));
        rules
            .map(|rule| {
                let text = |key: &str| rule[key].as_str().unwrap_or_default().to_owned();
                (text("name"), text("health"))
            })
            .collect()
    }

    /// Waits until an alert with this name and at least these labels is in a state, and gives it.
    pub async fn eventually_alert(&self, name: &str, labels: &[(&str, &str)], state: &str) -> ActiveAlert {
        eventually(&format!("{name} is {state}"), PATIENCE, || async {
            let alerts = self.alerts(name);
            let has_labels = |alert: &ActiveAlert| {
                labels
                    .iter()
                    .all(|(key, value)| alert.labels.get(*key).is_some_and(|found| found == value))
            };
            let found = alerts.iter().find(|alert| alert.state == state && has_labels(alert));
            found.cloned().ok_or_else(|| format!("{alerts:?}"))
        })
        .await
    }

    /// Waits until no alert of this name is pending or firing.
    pub async fn eventually_quiet(&self, name: &str) {
        eventually(&format!("{name} is over"), PATIENCE, || async {
            let alerts = self.alerts(name);
            if alerts.is_empty() {
                Ok(())
            } else {
                Err(format!("{alerts:?}"))
            }
        })
        .await;
    }

    fn api(&self, path: &str) -> Value {
        let (status, body) = http_get(self.port, path).expect("Prometheus answers");
        assert_eq!(status, 200, "{body}");
        serde_json::from_str::<Value>(&body).expect("JSON")["data"].take()
    }
}

/// What promtool finds wrong with a page of metrics; empty where nothing is.
pub fn check_metrics(page: &str) -> String {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool, from the package prometheus");
    let mut input = promtool.stdin.take().expect("a piped stdin");
    input.write_all(page.as_bytes()).expect("promtool reads the page");
    drop(input);
    let output = promtool.wait_with_output().expect("promtool ends");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    assert!(output.status.success() || !said.is_empty(), "{}", output.status);
    said
}
