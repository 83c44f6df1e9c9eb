//! How the demo looks: a heading a step, the command as a person would type it, what it printed, and what that means.

use std::io::{IsTerminal, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

const HEADING: &str = "1;36";
const PROMPT: &str = "2";
const COMMAND: &str = "1";
const RESULT: &str = "32";

static STEP: AtomicU8 = AtomicU8::new(1);

/// Writes to standard output, in colours where a person looks.
#[derive(Clone, Copy)]
pub struct Narrator {
    colours: bool,
}

/// Where commands run: a shell that finds our commands and our cluster, and nothing of the user's.
pub struct Shell {
    /// Who types.
    pub person: &'static str,
    /// The commands that they have beside those of the machine.
    pub tools: [PathBuf; 2],
    /// Whose credentials.
    pub kubeconfig: PathBuf,
    /// kubectl's cache goes there, not into the user's `~/.kube`.
    pub home: PathBuf,
}

impl Narrator {
    /// Colours on a terminal, unless <https://no-color.org> is asked for.
    pub fn for_stdout() -> Self {
        Self {
            colours: std::io::stdout().is_terminal()
                && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        }
    }

    /// A new step.
    pub fn step(self, title: &str) {
        let number = STEP.fetch_add(1, Ordering::Relaxed);
        self.line(&format!("\n{}", self.painted(HEADING, &format!("{number}. {title}"))));
    }

    /// A sentence about what comes.
    pub fn say(self, text: &str) {
        self.line(&format!("# {text}"));
    }

    /// What came of it.
    pub fn result(self, text: &str) {
        self.line(&self.painted(RESULT, &format!("=> {text}")));
    }

    /// Text as a program printed it.
    pub fn quote(self, text: &str) {
        if !text.is_empty() {
            self.line(text.trim_end());
        }
    }

    /// Shows a command, runs exactly that, and shows what it printed. What it must not do is fail.
    pub async fn run(self, shell: &Shell, command: &str) {
        self.line(&format!(
            "{}{}",
            self.painted(PROMPT, &format!("{}$ ", shell.person)),
            self.painted(COMMAND, command)
        ));
        let mut process = shell.command(command);
        // Not on the task itself, so that an interrupt is heard while a command runs.
        let output = tokio::task::spawn_blocking(move || process.output())
            .await
            .expect("the thread of the command")
            .expect("a POSIX sh on PATH");
        self.quote(&String::from_utf8_lossy(&output.stdout));
        self.quote(&String::from_utf8_lossy(&output.stderr));
        assert!(
            output.status.success(),
            "expected `{command}` to succeed, found {}",
            output.status
        );
    }

    fn painted(self, style: &str, text: &str) -> String {
        if self.colours {
            format!("\u{1b}[{style}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }

    fn line(self, text: &str) {
        // A reader who has seen enough (`make demo | head`) is no failure; what was started still has to be stopped.
        let _ = writeln!(std::io::stdout().lock(), "{text}");
    }
}

impl Shell {
    fn command(&self, text: &str) -> Command {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let tools = self.tools.iter().filter_map(|tool| tool.parent()).map(PathBuf::from);
        let directories = tools.chain(std::env::split_paths(&path));
        let mut command = Command::new("sh");
        command
            .args(["-c", text])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env_clear()
            .env("PATH", std::env::join_paths(directories).expect("a PATH of PATHs"))
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", &self.home)
            .stdin(Stdio::null())
            // Ctrl-C is for the demo, which lets the running command end.
            .process_group(0);
        command
    }
}
