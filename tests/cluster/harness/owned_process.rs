//! Child processes that cannot outlive the test process, however it ends: return, panic, Ctrl-C or SIGKILL.
//!
//! One *reaper*, a shell, holds the read end of a pipe whose write end only this process has. It is told each child's
//! process id; when the pipe closes, whatever is left on its list is killed. The kernel closes the pipe in every kind of
//! death, which a `Drop`, an `atexit` or a signal handler does not survive; and unlike `PR_SET_PDEATHSIG` it is not tied
//! to the thread that forked, which in a test binary ends with its test.

use std::fs::File;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const REAPER: &str = r#"
pids=" "
while read -r verb what; do
  case $verb in
    own) pids="$pids$what " ;;
    forget) case $pids in *" $what "*) pids="${pids%% $what *} ${pids#* $what }" ;; esac ;;
    remove) set -- "$@" "$what" ;;
  esac
done
for pid in $pids; do kill -KILL "$pid" 2>/dev/null; done
for directory in "$@"; do rm -rf -- "$directory"; done
"#;

// The child waits for a line before it becomes the program, so that the reaper knows it first: a test process killed in
// between leaves a shell that reads end-of-file and exits.
const GATE: &str = r#"read -r _ && exec "$@" </dev/null"#;

static REAPER_INPUT: OnceLock<Mutex<ChildStdin>> = OnceLock::new();

fn tell_reaper(line: &str) {
    let input = REAPER_INPUT.get_or_init(|| {
        #[expect(
            clippy::zombie_processes,
            reason = "it outlives this process: that is what it is for"
        )]
        let mut reaper = Command::new("sh")
            .args(["-c", REAPER, "cofferdam-test-reaper"])
            .stdin(Stdio::piped())
            // Else whoever reads the output of the tests would wait for the reaper too.
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C goes to the foreground process group; the reaper has to outlive it.
            .process_group(0)
            .spawn()
            .expect("a POSIX sh on PATH");
        Mutex::new(reaper.stdin.take().expect("a piped stdin"))
    });
    let mut input = input.lock().expect("no test panics while it holds this lock");
    input
        .write_all(format!("{line}\n").as_bytes())
        .expect("the reaper lives as long as this process");
}

/// Has `directory` removed once this process is gone and its children are dead.
pub fn remove_directory_at_exit(directory: &Path) {
    tell_reaper(&format!("remove {}", directory.display()));
}

/// A running child with its log in a file; killed and waited for on drop.
pub struct OwnedProcess {
    name: &'static str,
    child: Child,
    log: PathBuf,
    exit: Option<ExitStatus>,
}

impl OwnedProcess {
    /// Starts `command` (its program, arguments and environment) with stdout and stderr in `log`.
    pub fn spawn(name: &'static str, command: &Command, log: PathBuf) -> Self {
        let output = File::create(&log).unwrap_or_else(|error| panic!("cannot write {}: {error}", log.display()));
        let mut gated = Command::new("sh");
        gated
            .args(["-c", GATE, "cofferdam-test-gate"])
            .arg(command.get_program())
            .args(command.get_args());
        // A developer's KUBECONFIG, proxies and COFFERDAM_* variables would change what is tested.
        gated
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        gated.envs(
            command
                .get_envs()
                .filter_map(|(key, value)| value.map(|value| (key, value))),
        );
        gated
            .stdin(Stdio::piped())
            .stderr(output.try_clone().expect("a second handle of the log"))
            .stdout(output);
        gated.process_group(0);
        let mut child = gated
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        tell_reaper(&format!("own {}", child.id()));
        let mut gate = child.stdin.take().expect("a piped stdin");
        gate.write_all(b"go\n").expect("the gate reads one line");
        Self {
            name,
            child,
            log,
            exit: None,
        }
    }

    /// Sends a signal; an error only if the process is gone.
    pub fn signal(&self, signal: Signal) {
        if self.exit.is_none() {
            let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("process ids fit i32"));
            kill(pid, signal).unwrap_or_else(|error| panic!("cannot send {signal} to {}: {error}", self.name));
        }
    }

    /// How the process ended, if it has.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        if self.exit.is_none() {
            self.exit = self.child.try_wait().expect("waiting for our own child");
            if self.exit.is_some() {
                tell_reaper(&format!("forget {}", self.child.id()));
            }
        }
        self.exit
    }

    /// Waits for the process to end by itself.
    pub async fn wait(&mut self, timeout: Duration) -> ExitStatus {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.exit_status() {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "expected {} to end within {timeout:?}, found it running\n{}",
                self.name,
                self.log_tail(40)
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Kills it with SIGKILL and waits until it is gone.
    pub fn kill9(&mut self) {
        if self.exit_status().is_none() {
            self.child.kill().expect("killing our own child");
            // Told before the wait: until then the kernel keeps the process id from being used again.
            tell_reaper(&format!("forget {}", self.child.id()));
            self.exit = Some(self.child.wait().expect("waiting for our own child"));
        }
    }

    /// Process id, for `/proc`.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything that it wrote so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The last lines of the log under a line that names its file.
    pub fn log_tail(&self, lines: usize) -> String {
        let log = self.log();
        let lines_from_end: Vec<&str> = log.lines().rev().take(lines).collect();
        let tail: Vec<&str> = lines_from_end.into_iter().rev().collect();
        format!("--- {} ({})\n{}", self.name, self.log.display(), tail.join("\n"))
    }
}

impl Drop for OwnedProcess {
    fn drop(&mut self) {
        self.kill9();
    }
}
