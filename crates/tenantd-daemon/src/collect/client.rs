//! The supervisor's side: starts the collector, or continues to use the one of an earlier supervisor, and
//! sends it requests. If the collector ends unexpectedly, it is started again, with the same tenants.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{spawn_blocking, spawn_local};
use tokio::time::{Instant, sleep_until, timeout};

use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan::model::TenantPlan;
use tenantd_core::stage::{Failure, Stage};
use tenantd_core::supervisor::event::Exit;
use tenantd_host::children;

use crate::collect::{Answer, Ask, Files, VARIABLE, control};
use crate::executor::exit;

/// How long the collector may take to start, or to answer.
const LIMIT: Duration = Duration::from_secs(10);

/// How long to wait before the collector is started again, if it has just been started.
const AGAIN: Duration = Duration::from_secs(1);

/// A handle of the collector.
#[derive(Debug, Clone)]
pub(crate) struct Collector {
    asks: mpsc::UnboundedSender<Asked>,
}

type Asked = (Ask, oneshot::Sender<io::Result<Answer>>);

impl Collector {
    /// Starts the collector of an application, or takes over that of an earlier supervisor. One of another
    /// program is replaced, and no message is lost meanwhile. A task of the current `LocalSet` then sends
    /// the requests.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(crate) async fn start(app: &AppName) -> io::Result<Self> {
        let link = open(app).await?;
        let (asks, asked) = mpsc::unbounded_channel();
        let client = Client {
            app: app.clone(),
            link,
            tenants: BTreeMap::new(),
        };
        spawn_local(client.run(asked));
        Ok(Self { asks })
    }

    /// Makes a tenant's socket, and follows its log files.
    ///
    /// # Errors
    /// The stage [`Stage::Log`].
    pub(crate) async fn add(&self, plan: &TenantPlan) -> Result<(), Failure> {
        let ask = add(&plan.name, Some(Files::of(plan)));
        self.tell(ask).await.map_err(|error| failed(&error))
    }

    /// Does the same for a tenant that runs already, and does not wait for it. What exists stays.
    pub(crate) fn adopt(&self, plan: &TenantPlan) {
        let (collector, tenant) = (self.clone(), plan.name.clone());
        let ask = add(&tenant, Some(Files::of(plan)));
        spawn_local(async move {
            if let Err(failure) = collector.tell(ask).await {
                tracing::error!(%tenant, "{tenant}: cannot make the socket at its /dev/log: {failure}");
            }
        });
    }

    /// Closes a tenant's socket. What was sent to it is in the FIFO then.
    ///
    /// # Errors
    /// The stage [`Stage::Log`].
    pub(crate) async fn remove(&self, tenant: &TenantName) -> Result<(), Failure> {
        let ask = Ask::Remove {
            tenant: tenant.clone(),
        };
        self.tell(ask).await.map_err(|error| failed(&error))
    }

    /// Ends the collector. What was sent to all sockets is in the FIFO then.
    ///
    /// # Errors
    /// If it does not end.
    pub(crate) async fn end(&self) -> io::Result<()> {
        self.tell(Ask::End).await
    }

    async fn tell(&self, ask: Ask) -> io::Result<()> {
        let (reply, answer) = oneshot::channel();
        let gone = || io::Error::other("the log collector is not used any more");
        self.asks.send((ask, reply)).map_err(|_| gone())?;
        match answer.await.map_err(|_| gone())??.error {
            None => Ok(()),
            Some(why) => Err(io::Error::other(why)),
        }
    }
}

fn add(tenant: &TenantName, files: Option<Vec<Files>>) -> Ask {
    Ask::Add {
        tenant: tenant.clone(),
        files,
    }
}

fn failed(error: &io::Error) -> Failure {
    Failure::detail(Stage::Log, "of the log collector", error.to_string())
}

/// The connection to the collector, and what it was told.
struct Client {
    app: AppName,
    link: Link,
    tenants: BTreeMap<TenantName, Vec<Files>>,
}

impl Client {
    async fn run(mut self, mut asked: mpsc::UnboundedReceiver<Asked>) {
        loop {
            tokio::select! {
                next = asked.recv() => {
                    let Some((ask, reply)) = next else { return };
                    let ends = ask == Ask::End;
                    let answer = self.ask(ask).await;
                    let _cancelled = reply.send(answer);
                    if ends {
                        return;
                    }
                }
                () = self.link.closed() => {
                    tracing::warn!("the log collector has ended: starting another one");
                    if let Err(error) = self.again().await {
                        tracing::error!(%error, "cannot start the log collector");
                    }
                }
            }
        }
    }

    async fn ask(&mut self, ask: Ask) -> io::Result<Answer> {
        match &ask {
            Ask::Add { tenant, files } => {
                let files = files.clone().unwrap_or_default();
                self.tenants.insert(tenant.clone(), files);
            }
            Ask::Remove { tenant } => drop(self.tenants.remove(tenant)),
            Ask::End => return self.end().await,
            Ask::List => {}
        }
        match self.link.ask(&ask).await {
            Ok(answer) => Ok(answer),
            Err(error) => {
                tracing::warn!(%error, "no answer from the log collector: starting another one");
                self.again().await?;
                self.link.ask(&ask).await
            }
        }
    }

    async fn end(&mut self) -> io::Result<Answer> {
        let answer = self.link.ask(&Ask::End).await;
        if answer.is_err() {
            self.link.kill();
        }
        self.link.reap().await;
        answer
    }

    /// Starts another collector, with the same tenants.
    async fn again(&mut self) -> io::Result<()> {
        self.link.kill();
        self.link.reap().await;
        sleep_until(self.link.begun + AGAIN).await;
        self.link.begun = Instant::now();
        self.link = start(&self.app).await?;
        for (tenant, files) in &self.tenants {
            let again = add(tenant, Some(files.clone()));
            let answer = self.link.ask(&again).await?;
            if let Some(why) = answer.error {
                tracing::error!(%tenant, "{tenant}: cannot make the socket at its /dev/log: {why}");
            }
        }
        Ok(())
    }
}

/// A connection to a collector.
struct Link {
    stream: BufReader<UnixStream>,
    /// Its process, if it lives.
    process: Option<(i32, OwnedFd)>,
    begun: Instant,
}

impl Link {
    async fn connect(app: &AppName) -> io::Result<Self> {
        let stream = UnixStream::connect(control(app)).await?;
        let process = stream.peer_cred()?.pid().and_then(|number| {
            let pidfd = pidfd_open(Pid::from_raw(number)?, PidfdFlags::empty());
            Some((number, pidfd.ok()?))
        });
        Ok(Self {
            stream: BufReader::new(stream),
            process,
            begun: Instant::now(),
        })
    }

    async fn ask(&mut self, ask: &Ask) -> io::Result<Answer> {
        let mut text = serde_json::to_vec(ask)?;
        text.push(b'\n');
        let exchange = async {
            self.stream.write_all(&text).await?;
            let mut line = String::new();
            self.stream.read_line(&mut line).await?;
            Ok(serde_json::from_str(&line)?)
        };
        timeout(LIMIT, exchange).await?
    }

    /// Waits until the collector closes the connection, which it only does when it ends.
    async fn closed(&mut self) {
        // It sends nothing that was not asked for.
        let _ = self.stream.fill_buf().await;
    }

    /// Whether it runs the same program as this process.
    fn is_same_program(&self) -> bool {
        let identity = |path: &str| {
            fs::metadata(path)
                .map(|found| (found.dev(), found.ino()))
                .ok()
        };
        let Some((pid, _)) = &self.process else {
            return false;
        };
        identity(&format!("/proc/{pid}/exe")) == identity("/proc/self/exe")
    }

    /// Kills it, if it is still there.
    fn kill(&self) {
        if let Some((_, process)) = &self.process {
            let _gone = pidfd_send_signal(process, Signal::KILL);
        }
    }

    /// Waits for its end, also if an earlier supervisor started it: then it is no child of this one,
    /// and the unit's cgroup would outlive this process.
    async fn reap(&mut self) {
        self.closed().await;
        if let Some((_, process)) = self.process.take() {
            let wait = move || {
                let mut ends = [PollFd::new(&process, PollFlags::IN)];
                let limit = Timespec::try_from(LIMIT).ok();
                if poll(&mut ends, limit.as_ref()).is_ok_and(|ready| ready > 0) {
                    let _no_child = waitid(WaitId::PidFd(process.as_fd()), WaitIdOptions::EXITED);
                }
            };
            // It cannot fail, unless it panics.
            let _ended = spawn_blocking(wait).await;
        }
    }
}

/// Ends the collector that a supervisor left, if there is one. The lines that nobody reads any more are
/// lost.
pub(crate) async fn end_left(app: &AppName) {
    if let Ok(mut link) = Link::connect(app).await {
        link.kill();
        link.reap().await;
    }
}

async fn open(app: &AppName) -> io::Result<Link> {
    let mut old = match Link::connect(app).await {
        Ok(link) if link.is_same_program() => return Ok(link),
        Ok(link) => link,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return start(app).await;
        }
        Err(error) => return Err(error),
    };
    // Messages to the old sockets are refused once there are new ones, and programs connect again.
    let tenants = old.ask(&Ask::List).await.map(|answer| answer.tenants);
    let mut link = start(app).await?;
    for tenant in tenants.unwrap_or_default() {
        link.ask(&add(&tenant, None)).await?;
    }
    if old.ask(&Ask::End).await.is_err() {
        old.kill();
    }
    old.reap().await;
    Ok(link)
}

async fn start(app: &AppName) -> io::Result<Link> {
    let name = app.to_string();
    let spawned = spawn_blocking(move || {
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0("tenantd")
            .args(["collect-logs", name.as_str()])
            .env_clear()
            .env(VARIABLE, &name)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        children::spawn(&mut command)
    });
    let mut child = spawned.await??;
    let Some(said) = child.stdout() else {
        return Err(io::ErrorKind::BrokenPipe.into());
    };
    let said = tokio::net::unix::pipe::Receiver::from_owned_fd(said.into())?;
    let mut line = String::new();
    let mut said = BufReader::new(said);
    let read = timeout(LIMIT, said.read_line(&mut line)).await;
    if line == "ready\n" {
        return Link::connect(app).await;
    }
    child.kill();
    let ended = spawn_blocking(move || child.ends_within(LIMIT)).await??;
    let why = match read {
        Err(_) => format!("it did not start within {} s", LIMIT.as_secs()),
        Ok(_) => {
            let how = ended.map_or(Exit::Unknown, exit);
            format!("it {how} at its start")
        }
    };
    Err(io::Error::other(why))
}
