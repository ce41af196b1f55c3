//! `xtask supervise` as `xtask cluster` uses it: orders go in, and the program ends with the input.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

struct Supervised {
    supervisor: Child,
    orders: Option<ChildStdin>,
    said: Lines<BufReader<ChildStdout>>,
    pid: u32,
}

impl Supervised {
    fn start(program: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(["supervise", "--"]).args(program);
        let mut supervisor =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("xtask starts");
        let orders = supervisor.stdin.take();
        let mut said = BufReader::new(supervisor.stdout.take().expect("it is piped")).lines();
        let first = said.next().expect("it says something").expect("it says text");
        let pid = first.strip_prefix("pid ").expect("the number comes first");
        Self { orders, said, pid: pid.parse().expect("a number"), supervisor }
    }

    fn order(&mut self, word: &str) {
        let orders = self.orders.as_mut().expect("its input is open");
        writeln!(orders, "{word}").expect("it reads orders");
    }

    /// The letter of the process's state; `None` once there is no such process.
    fn state(&self) -> Option<char> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok()?;
        stat.rsplit_once(") ")?.1.chars().next()
    }

    fn wait_for(&self, is_reached: impl Fn(Option<char>) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !is_reached(self.state()) {
            assert!(Instant::now() < deadline, "the state is {:?}", self.state());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn last_word(&mut self) -> String {
        self.said.next().expect("it says how the program ended").expect("it says text")
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        drop(self.orders.take());
        let _ = self.supervisor.wait();
    }
}

#[test]
fn a_program_is_paused_resumed_and_ended_on_order() {
    if !Path::new("/proc/self/stat").exists() {
        return;
    }
    let mut sleep = Supervised::start(&["sleep", "60"]);
    sleep.order("pause");
    sleep.wait_for(|state| state == Some('T'));
    sleep.order("resume");
    sleep.wait_for(|state| state == Some('S'));
    sleep.order("stop");
    assert_eq!(sleep.last_word(), "ended signal: 15 (SIGTERM)");
}

#[test]
fn a_program_ends_when_nobody_holds_the_other_end_of_the_pipe() {
    let mut sleep = Supervised::start(&["sleep", "60"]);
    // What the kernel does when the process at the other end is killed.
    drop(sleep.orders.take());
    assert_eq!(sleep.last_word(), "ended signal: 9 (SIGKILL)");
    assert_eq!(sleep.state(), None);
}

#[test]
fn the_end_of_a_program_is_told() {
    let mut short = Supervised::start(&["sh", "-c", "exit 3"]);
    assert_eq!(short.last_word(), "ended exit status: 3");
}
