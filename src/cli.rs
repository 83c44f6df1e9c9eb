//! The command line: one file a verb, each a thin shell around the library. stdout is data, stderr is talk.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub mod cluster_args;
mod columns;
pub mod crd;
mod duration;
mod input;
pub mod plan;
pub mod report;
pub mod run;
mod selection;
pub mod status;
mod stdout;
mod wording;

/// Keeps every Kubernetes namespace watertight: isolation tiers in, NetworkPolicies kept in place, drift measured.
#[derive(Debug, Parser)]
#[command(
    version,
    propagate_version = true,
    after_help = "Examples:
  cofferdam crd | kubectl apply --server-side -f -    # install or upgrade the resource definition
  cofferdam help crd                                  # every command has an example"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// One verb of the command line.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print the CustomResourceDefinition as YAML
    #[command(after_help = "Examples:
  cofferdam crd | kubectl apply --server-side -f -    # install or upgrade it
  cofferdam crd > isolationtiers.yaml                 # keep it in git, for Argo CD or Flux")]
    Crd,
    /// Show what would change: from files, or on a live cluster without writing to it
    #[command(
        long_about = PLAN_ABOUT,
        after_help = "Examples:
  cofferdam plan -f tiers/ -f namespaces.yaml         # from files alone; no cluster is asked
  kubectl get namespaces,networkpolicies -A -o yaml | cofferdam plan -f tiers/ -f -
  cofferdam plan                                      # what the controller would do in the cluster of KUBECONFIG
  cofferdam plan -f tiers/ --live                     # what applying these tiers would change there
  cofferdam plan -f tiers/ -f namespaces.yaml -o table
  cofferdam plan -f tiers/ -f namespaces.yaml -o yaml > policies.yaml"
    )]
    Plan(plan::PlanArgs),
    /// Show how every namespace stands, and who changed what; exit code 1 if one is not protected
    #[command(
        long_about = STATUS_ABOUT,
        after_help = "Examples:
  cofferdam status                                    # every namespace of the cluster of KUBECONFIG
  cofferdam status -n payments -o yaml                # one, with who changed which field from what to what
  cofferdam status --tier restricted || echo 'not watertight'
  kubectl get isolationtiers,namespaces,networkpolicies -A --show-managed-fields -o yaml | cofferdam status -f -"
    )]
    Status(status::StatusArgs),
    /// Print evidence for auditors; exit code 1 if a namespace fails
    #[command(
        long_about = REPORT_ABOUT,
        after_help = "Examples:
  cofferdam report --cis                              # every namespace of the cluster of KUBECONFIG
  cofferdam report --cis -o markdown > evidence.md
  kubectl get namespaces,networkpolicies -A --show-managed-fields -o yaml | cofferdam report --cis -f - -o json"
    )]
    Report(report::ReportArgs),
    /// Run the controller
    #[command(after_help = "Examples:
  cofferdam run                                       # in a pod, or against the cluster of KUBECONFIG
  cofferdam run --dns-service openshift-dns/dns-default --exempt-namespace 'openshift-*'
  cofferdam run --max-unprotected 5                   # more than 5 namespaces opened at once wait for a confirmation
  cofferdam run --audit-interval 5m                   # look at every namespace more often")]
    Run(run::RunArgs),
}

const PLAN_ABOUT: &str = "Show what would change: from files, or on a live cluster without writing to it

The plan is the controller's own. It goes to stdout; what a person must know before enforcing goes to stderr: what is
about to be cut, what opens, allowances that cannot be resolved or have no effect, ties.

Exit codes, as for kubectl diff: 0 nothing would change, 1 something would, 2 there is no plan. What a tier in mode
Observe would change is shown, marked as its shadow, and does not count: nothing is written for it.

Files are read strictly: a tier with an unknown field is refused, where a server may drop the field and so widen an
allowance. A tier or namespace without a uid is taken for the one of its name that owns the policies given; one without a
creationTimestamp does not exist yet.";

const REPORT_ABOUT: &str = "Print evidence for auditors; exit code 1 if a namespace fails

--cis: CIS Kubernetes Benchmark 5.3.2, \"Ensure that all Namespaces have NetworkPolicies defined\", for each namespace and
direction. It passes where a policy, whoever wrote it, isolates every pod of the namespace in that direction, and no
policies let everyone through all the same. No coverage is: a policy that selects only some pods; one that lets
everyone through on most ports of TCP, UDP or SCTP, where everyone is any pod of the cluster, or at least half of the
addresses that a family uses. System namespaces, Cofferdam's own and those of --exempt-namespace are exempt by name.

The report shows what the Kubernetes API says. Whether the network plugin enforces it does not show there.

Exit codes: 0 no namespace fails, 1 one does, 2 there is no report.";

const STATUS_ABOUT: &str = "Show how every namespace stands, and who changed what; exit code 1 if one is not protected

What stands is compared with the plan of the controller itself; nothing is written. Give --exempt-namespace and
--dns-service as the controller has them.

STATE is one of:
  protected    a tier governs it, and every policy is there and as rendered
  contested    so it is at this moment, but somebody undoes it as often as it is healed
  drifted      somebody else changed what was written, and it is not healed: DRIFT says how and who
  failed       the controller could not write what has to be written
  pending      something is still to be written
  left         no tier selects it any more: it is about to lose its policies
  retained     no tier selects it; policies of a tier that is gone stand there, and nobody heals them
  observed     only Observe tiers select it: it keeps what it has, and nobody heals it
  ungoverned   no tier selects it
  exempt       it is never touched, by name
  terminating  it is being deleted

WIDENED-BY names other people's policies that allow more than the tier, the worst first. SINCE is empty where the API
does not tell. Whether the network plugin enforces any of it does not show in the Kubernetes API.

Exit codes: 0 every namespace shown is protected, exempt or terminating, 1 one is not, 2 there is no status.";

/// Exit code of a check that found something, and of a plan with changes.
const CHANGES: u8 = 1;
/// Exit code of a command that could not do its work; 1 is left to commands that found a difference, as in `kubectl diff`.
const FAILED: u8 = 2;

impl Cli {
    /// Runs the command; a failure is said on stderr.
    #[must_use]
    pub fn run(self) -> ExitCode {
        match self.command {
            Command::Run(arguments) => run::run(&arguments).map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS),
            Command::Plan(arguments) => match plan::run(&arguments) {
                Ok(plan::Verdict::NoChange) => ExitCode::SUCCESS,
                Ok(plan::Verdict::Changes) => ExitCode::from(CHANGES),
                Err(error) => failed(&error),
            },
            Command::Status(arguments) => match status::run(&arguments) {
                Ok(status::Verdict::Protected) => ExitCode::SUCCESS,
                Ok(status::Verdict::Unprotected) => ExitCode::from(CHANGES),
                Err(error) => failed(&error),
            },
            Command::Report(arguments) => match report::run(&arguments) {
                Ok(report::Verdict::Pass) => ExitCode::SUCCESS,
                Ok(report::Verdict::Fail) => ExitCode::from(CHANGES),
                Err(error) => failed(&error),
            },
            Command::Crd => crd::run().map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS),
        }
    }
}

/// Writes talk. `eprintln!` would panic, and so change the exit code, where nobody reads any more
/// (`cofferdam plan 2>&1 | head`).
fn say(text: &impl fmt::Display) {
    _ = writeln!(io::stderr(), "{text}");
}

fn failed(error: &dyn std::error::Error) -> ExitCode {
    say(&format_args!("error: {error}"));
    ExitCode::from(FAILED)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(
                help.contains(&format!("cofferdam {}", command.get_name())),
                "`{}` has no example in its help",
                command.get_name()
            );
        }
    }
}
