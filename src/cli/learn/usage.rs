//! The course of a scratch run: the tenant starts, is used, and stops.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::calls::{Observer, user_name};
use super::order::{ENOUGH, Order, Said, Tree, say};
use super::scratch::{itself, output_of_supervisor};
use super::sockets;
use super::syslog::Syslog;
use tenantd_core::learn::{Client, Seen};
use tenantd_host::cgroup::Leaf;
use tenantd_host::scratch::Scratch;

/// How often the program is looked at.
const INTERVAL: Duration = Duration::from_millis(100);

/// A program that has changed nothing for so many looks has started.
const QUIET: u32 = 10;

/// The limit for a client to end.
const CLIENT: Duration = Duration::from_secs(120);

/// The limit for its output to end, after it has.
const PIPE: Duration = Duration::from_secs(2);

/// How much of a line of an output is shown.
const WIDTH: usize = 160;

/// How many lines of an output are shown.
const LINES: usize = 8;

/// A scratch run with what it needs.
pub(super) struct ScratchRun<'a> {
    order: &'a Order,
    leaf: &'a Leaf,
    supervisor: Child,
    observer: &'a Observer,
    socket: Option<Syslog>,
    scratch: Option<&'a Scratch>,
    /// What the command says; closed when it is gone.
    commands: Receiver<String>,
    syslog: Vec<String>,
}

/// What a tenant's status says.
struct Status {
    is_up: bool,
    is_ready: bool,
    is_over: bool,
    why: Option<String>,
}

impl<'a> ScratchRun<'a> {
    pub(super) fn new(
        order: &'a Order,
        leaf: &'a Leaf,
        supervisor: Child,
        observer: &'a Observer,
        socket: Option<Syslog>,
        scratch: Option<&'a Scratch>,
    ) -> Self {
        let (send, commands) = channel();
        thread::spawn(move || {
            for line in io::stdin().lock().lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        Self {
            order,
            leaf,
            supervisor,
            observer,
            socket,
            scratch,
            commands,
            syslog: Vec::new(),
        }
    }

    /// Runs it to its end.
    pub(super) fn run(mut self) -> anyhow::Result<Seen> {
        let ended = self.start()?;
        let ended = match ended {
            Some(why) => Some(why),
            None => {
                self.observer.observed().seen.ready = true;
                say(&Said::Ready)?;
                self.is_used()?
            }
        };
        self.look();
        let daemonized = self.has_daemonized();
        let mut writes = BTreeMap::new();
        self.add_writes(&mut writes)?;
        let output = self.output();
        self.stop()?;
        self.add_writes(&mut writes)?;
        let mut seen = self.observer.observed().seen.clone();
        seen.writes = writes.into_values().collect();
        seen.daemonized = daemonized && ended.is_none();
        seen.output = output;
        if seen.output.is_empty() {
            seen.output = last(&self.syslog);
        }
        seen.syslog |= !self.syslog.is_empty();
        seen.ended = ended;
        Ok(seen)
    }

    /// Waits until the tenant is ready, or in a union until it has been quiet for a while. Returns why
    /// it ended, if it did.
    fn start(&mut self) -> anyhow::Result<Option<String>> {
        let begun = Instant::now();
        let mut quiet = 0;
        let mut last = None;
        loop {
            self.wait(INTERVAL)?;
            let status = self.status()?;
            if status.is_over {
                return Ok(Some(status.why.unwrap_or_else(|| "it ended".to_owned())));
            }
            self.observer.observed().seen.notified |= self.order.may_notify && status.is_ready;
            let now = Some(self.look());
            quiet = if status.is_up && now == last {
                quiet + 1
            } else {
                0
            };
            last = now;
            let is_started = match self.order.tree {
                Tree::Union => quiet >= QUIET && (status.is_ready || self.order.may_notify),
                Tree::Host => status.is_ready && quiet > 1,
            };
            if is_started {
                return Ok(None);
            }
            if begun.elapsed() > self.order.ready_within {
                return Ok(match (self.order.tree, status.is_up) {
                    (Tree::Union, true) => None,
                    _ => Some(
                        status
                            .why
                            .unwrap_or_else(|| "it does not become ready".to_owned()),
                    ),
                });
            }
        }
    }

    /// Lets it be used. Returns why it ended meanwhile, if it did.
    fn is_used(&mut self) -> anyhow::Result<Option<String>> {
        if let Some(client) = self.order.usage.client.clone() {
            let client = self.run_client(&client)?;
            self.observer.observed().seen.client = Some(client);
        }
        let begun = Instant::now();
        let span = self.order.usage.span.unwrap_or(INTERVAL * QUIET);
        loop {
            let status = self.status()?;
            if status.is_over {
                return Ok(Some(status.why.unwrap_or_else(|| "it ended".to_owned())));
            }
            self.look();
            let is_enough = self.wait(INTERVAL)?;
            if is_enough || !self.order.usage.asks && begun.elapsed() >= span {
                return Ok(None);
            }
        }
    }

    /// Waits, and says whether the use is to end.
    ///
    /// # Errors
    /// If the command is gone: then so is the scratch run.
    fn wait(&self, time: Duration) -> anyhow::Result<bool> {
        match self.commands.recv_timeout(time) {
            Ok(line) => Ok(line == ENOUGH),
            Err(RecvTimeoutError::Timeout) => Ok(false),
            Err(RecvTimeoutError::Disconnected) => anyhow::bail!("interrupted"),
        }
    }

    fn status(&mut self) -> anyhow::Result<Status> {
        if self.supervisor.try_wait()?.is_some() {
            let lines = output_of_supervisor().join("\n");
            anyhow::bail!("the supervisor of the scratch run has ended:\n{lines}");
        }
        let output = itself()
            .args(["status", "--json", "--app", self.order.app.as_str()])
            .stdin(Stdio::null())
            .output()
            .context("cannot ask the supervisor of the scratch run")?;
        // It does not answer yet.
        let status: Value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        let tenant = &status["tenants"][0];
        let state = tenant["state"].as_str().unwrap_or_default();
        Ok(Status {
            is_up: state == "up",
            is_ready: tenant["ready"] == Value::Bool(true),
            is_over: matches!(state, "failed" | "waiting" | "exited" | "stuck")
                || state == "down" && tenant["want"] == "down",
            why: tenant["why"].as_str().map(str::to_owned),
        })
    }

    /// The processes of the program.
    fn pids(&self) -> Vec<i32> {
        let part = format!("/tenantd/{}/{}", self.order.app, self.order.tenant);
        let path = format!("{}{part}", self.leaf.path().display());
        let text = fs::read_to_string(format!("{path}/program/cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Notes ports, users and messages. Returns a summary, which changes with the program.
    fn look(&mut self) -> (Vec<i32>, usize, usize) {
        let pids = self.pids();
        let bound = self.observer.observed().bound.clone();
        let ports = pids.first().map(|pid| sockets::ports(*pid, &bound));
        let users: Vec<String> = pids.iter().filter_map(|pid| user(*pid)).collect();
        if let Some(socket) = &self.socket {
            self.syslog.extend(socket.lines());
        }
        let mut observed = self.observer.observed();
        observed.seen.ports.extend(ports.unwrap_or_default());
        observed.seen.users.extend(users);
        (pids, observed.seen.ports.len(), observed.seen.sockets.len())
    }

    /// Whether the first process has ended while others live.
    fn has_daemonized(&self) -> bool {
        let pids = self.pids();
        let first = self.observer.observed().first;
        first.is_some_and(|first| !pids.contains(&first)) && !pids.is_empty()
    }

    /// Runs the client in the tenant.
    fn run_client(&mut self, client: &str) -> anyhow::Result<Client> {
        let mut child = itself()
            .args([
                "exec",
                "--app",
                self.order.app.as_str(),
                self.order.tenant.as_str(),
                "--",
            ])
            // Its own files are not the program's.
            .args([
                "sh",
                "-c",
                "export HOME=/tmp; cd /tmp; exec 2>&1; eval \"$0\"",
                client,
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the client")?;
        let stdout = child.stdout.take().context("it has no standard output")?;
        let (send, text) = channel();
        // Nobody may wait for it any more.
        thread::spawn(move || send.send(io::read_to_string(stdout)));
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status.code();
            }
            if self.wait(INTERVAL).is_err() || begun.elapsed() > CLIENT {
                child.kill()?;
                child.wait()?;
                break None;
            }
            self.look();
        };
        // A process that it left in the background may keep the pipe.
        let text = match text.recv_timeout(PIPE) {
            Ok(text) => text.context("cannot read what the client says")?,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => String::new(),
        };
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        Ok(Client {
            status,
            output: last(&lines),
        })
    }

    fn add_writes(
        &self,
        writes: &mut BTreeMap<std::path::PathBuf, tenantd_core::learn::Write>,
    ) -> anyhow::Result<()> {
        let found = self.scratch.map(Scratch::writes).transpose()?;
        for write in found.into_iter().flatten() {
            let ours = write.path == self.order.place || self.order.folders.contains(&write.path);
            if !ours {
                writes.insert(write.path.clone(), write);
            }
        }
        Ok(())
    }

    /// The last lines that the program has written.
    fn output(&self) -> Vec<String> {
        let output = itself()
            .args([
                "logs",
                "--app",
                self.order.app.as_str(),
                self.order.tenant.as_str(),
            ])
            .stdin(Stdio::null())
            .output();
        let text = output.map(|it| String::from_utf8_lossy(&it.stdout).into_owned());
        let text = text.unwrap_or_default();
        let streams = [" stdout ", " stderr ", " syslog ", " file "];
        let lines = text.lines().filter_map(|line| {
            let mut found = streams.iter().filter_map(|it| line.split_once(it));
            found.next().map(|(_, text)| text.trim_start().to_owned())
        });
        last(&lines.collect::<Vec<_>>())
    }

    /// Ends the supervisor, which stops the program as always.
    fn stop(&mut self) -> anyhow::Result<()> {
        let pid = i32::try_from(self.supervisor.id())
            .ok()
            .and_then(Pid::from_raw);
        if self.supervisor.try_wait()?.is_none() {
            kill_process(pid.context("no process ID")?, Signal::TERM)?;
        }
        let begun = Instant::now();
        while self.supervisor.try_wait()?.is_none() {
            let is_gone = matches!(
                self.commands.recv_timeout(INTERVAL),
                Err(RecvTimeoutError::Disconnected)
            );
            if is_gone || begun.elapsed() > self.order.stop_within {
                self.supervisor.kill()?;
            }
            self.look();
        }
        Ok(())
    }
}

/// The user of a process.
fn user(pid: i32) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    let uid: u32 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(user_name(uid))
}

/// The last lines, as they can be shown.
fn last(lines: &[String]) -> Vec<String> {
    let lines = &lines[lines.len().saturating_sub(LINES)..];
    let plain = |line: &String| {
        let line = line.replace(|c: char| c.is_control(), " ");
        // A message of syslog begins with its priority.
        let text = line.strip_prefix('<').and_then(|line| line.split_once('>'));
        let text = text.map_or(line.as_str(), |(_, text)| text);
        text.chars().take(WIDTH).collect()
    };
    lines.iter().map(plain).collect()
}
