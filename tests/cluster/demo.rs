//! `make demo`, as a person runs it: to the end, and into Ctrl-C. The README shows what it prints.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::harness::server_processes::require_binaries;

// Cargo builds what lacks; it is the cargo that runs this test, and its build lock is free while tests run.
fn start_demo() -> Child {
    require_binaries();
    let mut cargo = Command::new(env!("CARGO"));
    // What cargo tells a test about its package looks to build scripts like another build, and half of it is made again.
    let of_this_package =
        |name: &str| name.starts_with("CARGO_") && !["CARGO_HOME", "CARGO_TARGET_DIR"].contains(&name);
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(of_this_package) {
            cargo.env_remove(name);
        }
    }
    cargo
        .args(["test", "--locked", "--quiet", "--test", "demo"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // A group of its own, as a shell gives it: Ctrl-C signals the group.
        .process_group(0)
        .spawn()
        .expect("the cargo that runs this test")
}

#[test]
fn the_demo_runs_to_the_end_and_the_readme_shows_it() {
    let output = start_demo().wait_with_output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{printed}");
    assert!(!printed.contains('\u{1b}'), "colours in a pipe:\n{printed}");
    expect_that_all_end(&printed);

    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let transcripts: Vec<&str> = readme
        .split("```console\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert!(!transcripts.is_empty(), "expected a transcript in README.md");
    let mut lines = printed.lines().map(comparable);
    for shown in transcripts.iter().flat_map(|transcript| transcript.lines()) {
        let shown = comparable(shown);
        // `...` stands for any number of lines.
        assert!(
            shown.is_empty() || shown == "..." || lines.any(|line| line == shown),
            "expected the demo to print this line of README.md, after those before it: {shown}\nit printed:\n{printed}"
        );
    }
}

#[test]
fn ctrl_c_stops_the_demo_and_all_that_it_started() {
    let mut demo = start_demo();
    let mut stdout = BufReader::new(demo.stdout.take().unwrap());
    let mut printed = String::new();
    while !printed.contains("=> ready") {
        assert_ne!(stdout.read_line(&mut printed).unwrap(), 0, "it ended early:\n{printed}");
    }
    assert_ne!(
        processes_of(&printed),
        Vec::<String>::new(),
        "what runs has to be seen here"
    );
    killpg(Pid::from_raw(demo.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    // Until the demo itself has ended: cargo, which the signal reached too, ends before it.
    stdout.read_to_string(&mut printed).unwrap();
    demo.wait().unwrap();
    assert!(
        printed.ends_with("=> interrupted: everything that this started has ended\n"),
        "{printed}"
    );
    expect_that_all_end(&printed);
}

// The last process to end is the one that removes the directory, and it begins only once the demo itself is gone.
fn expect_that_all_end(printed: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let left = processes_of(printed);
        if left.is_empty() {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "expected nothing of the demo to run 30 s after its end, found {left:?}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Command lines of the running processes of the demo that printed this: all of them name its directory.
fn processes_of(printed: &str) -> Vec<String> {
    let kubeconfig = printed
        .split("export KUBECONFIG=")
        .nth(1)
        .and_then(|rest| rest.lines().next());
    let directory = kubeconfig
        .and_then(|path| path.strip_suffix("/admin.kubeconfig"))
        .unwrap();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let command_lines = processes.filter_map(|process| std::fs::read_to_string(process.path().join("cmdline")).ok());
    command_lines.filter(|line| line.contains(directory)).collect()
}

/// A line without what differs from run to run: numbers and the widths that they take.
fn comparable(line: &str) -> String {
    let mut without_numbers = String::new();
    for character in line.chars() {
        match character {
            '0'..='9' if without_numbers.ends_with('#') => {}
            '0'..='9' => without_numbers.push('#'),
            other => without_numbers.push(other),
        }
    }
    without_numbers.split_whitespace().collect::<Vec<_>>().join(" ")
}
