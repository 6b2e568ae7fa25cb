//! The supervisor's side: starts the collector, or continues to use the one of an earlier supervisor, and
//! sends it requests. If the collector ends unexpectedly, it is started again, with the same tenants.

mod reopen;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{spawn_blocking, spawn_local};
use tokio::time::{Instant, sleep_until, timeout};

use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan::model::TenantPlan;
use tenantd_core::stage::{Failure, Stage};
use tenantd_core::supervisor::event::Exit;
use tenantd_host::{children, fifo, want};

use crate::collect::link::{LIMIT, Link};
use crate::collect::{Answer, Ask, Files, VARIABLE};
use crate::executor::exit;
use crate::logs::{Ends, Held};

/// How long to wait before the collector is started again, if it has just been started.
const AGAIN: Duration = Duration::from_secs(1);

/// A handle of the collector.
#[derive(Debug, Clone)]
pub(crate) struct Collector {
    asks: mpsc::UnboundedSender<Asked>,
}

type Asked = (Ask, oneshot::Sender<io::Result<Answer>>);

type Reply = oneshot::Receiver<io::Result<Answer>>;

impl Collector {
    /// Starts the collector of an application, or takes over that of an earlier supervisor. One of another
    /// program is replaced, and no message is lost meanwhile. A task of the current `LocalSet` then sends
    /// the requests.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(crate) async fn start(app: &AppName, ends: Ends) -> io::Result<Self> {
        let link = open(app).await?;
        let (asks, asked) = mpsc::unbounded_channel();
        let client = Client {
            app: app.clone(),
            link,
            ends,
            tenants: BTreeMap::new(),
            later: BTreeSet::new(),
            tried: Instant::now(),
        };
        spawn_local(client.run(asked));
        Ok(Self { asks })
    }

    /// Makes a tenant's socket, and follows its log files.
    ///
    /// # Errors
    /// The stage [`Stage::Log`].
    pub(crate) async fn add(&self, plan: &TenantPlan) -> Result<(), Failure> {
        let ask = add(&plan.name, Some(Files::of(plan)), Some(SystemTime::now()));
        self.tell(ask).await.map_err(|error| failed(&error))
    }

    /// Does the same for a tenant that runs already, and does not wait for it. What exists stays.
    pub(crate) fn adopt(&self, plan: &TenantPlan) {
        let tenant = plan.name.clone();
        // In the order of the calls.
        let ask = add(&tenant, Some(Files::of(plan)), Some(SystemTime::now()));
        let answer = self.post(ask);
        spawn_local(async move {
            if let Err(failure) = answered(answer).await {
                tracing::error!(%tenant, "{tenant}: cannot make the socket at its /dev/log: {failure}");
            }
        });
    }

    /// Closes a tenant's socket. What was sent to it is in the FIFO then.
    ///
    /// # Errors
    /// The stage [`Stage::Log`]. Without a descriptor to read the last output, nothing is closed.
    pub(crate) async fn remove(&self, tenant: &TenantName) -> Result<(), Failure> {
        let ask = Ask::Remove {
            tenant: tenant.clone(),
        };
        self.tell(ask).await.map_err(|error| failed(&error))
    }

    /// Waits until the collector has what it was asked for before.
    pub(crate) async fn settle(&self) {
        if let Err(error) = self.tell(Ask::List).await {
            tracing::warn!(%error, "no answer from the log collector");
        }
    }

    /// Ends the collector. What was sent to all sockets is in the FIFO then.
    ///
    /// # Errors
    /// If it does not end.
    pub(crate) async fn end(&self) -> io::Result<()> {
        self.tell(Ask::End).await
    }

    async fn tell(&self, ask: Ask) -> io::Result<()> {
        answered(self.post(ask)).await
    }

    /// Sends a request. Those after it are sent later.
    fn post(&self, ask: Ask) -> Reply {
        let (reply, answer) = oneshot::channel();
        // If it is not used any more, this drops the sender of the answer.
        let _gone = self.asks.send((ask, reply));
        answer
    }
}

async fn answered(answer: Reply) -> io::Result<()> {
    let gone = |_| io::Error::other("the log collector is not used any more");
    match answer.await.map_err(gone)??.error {
        None => Ok(()),
        Some(why) => Err(io::Error::other(why)),
    }
}

fn add(tenant: &TenantName, files: Option<Vec<Files>>, since: Option<SystemTime>) -> Ask {
    Ask::Add {
        tenant: tenant.clone(),
        files,
        since,
    }
}

fn failed(error: &io::Error) -> Failure {
    let what = "of the log collector";
    match error.raw_os_error() {
        Some(errno) => Failure::errno(Stage::Log, what, errno),
        None => Failure::detail(Stage::Log, what, error.to_string()),
    }
}

/// The connection to the collector, and what it was told.
struct Client {
    app: AppName,
    link: Link,
    /// The tenants' pipes, which the collector holds.
    ends: Ends,
    tenants: BTreeMap<TenantName, Vec<Files>>,
    /// Those whose pipes the collector does not hold yet, because something failed.
    later: BTreeSet<TenantName>,
    /// When that was last tried again.
    tried: Instant,
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
                () = sleep_until(self.tried + AGAIN), if !self.later.is_empty() => {
                    self.try_again().await;
                }
            }
        }
    }

    async fn ask(&mut self, ask: Ask) -> io::Result<Answer> {
        match &ask {
            Ask::Add { tenant, files, .. } => {
                let files = files.clone().unwrap_or_default();
                self.tenants.insert(tenant.clone(), files);
            }
            Ask::Remove { tenant } => {
                // What is in its pipes is read after this.
                match self.ends.take_back(tenant) {
                    Ok(()) => {}
                    // The collector would close them with the last output in them.
                    Err(error) if want::error_passes(&error) => return Err(error),
                    Err(error) => {
                        tracing::error!(%tenant, %error, "{tenant}: cannot open its output again");
                    }
                }
                self.tenants.remove(tenant);
                self.later.remove(tenant);
            }
            Ask::End => return self.end().await,
            Ask::List => {}
        }
        match self.exchange(&ask).await {
            Ok(answer) => Ok(answer),
            Err(error) => {
                tracing::warn!(%error, "no answer from the log collector: starting another one");
                self.again().await?;
                self.exchange(&ask).await
            }
        }
    }

    /// Sends a request. That for a tenant has its pipes with it, which the collector holds from then on.
    async fn exchange(&mut self, ask: &Ask) -> io::Result<Answer> {
        let tenant = match ask {
            Ask::Add { tenant, .. } => Some(tenant),
            Ask::Remove { .. } | Ask::List | Ask::End => None,
        };
        let held = tenant.and_then(|tenant| Some((tenant, self.held(tenant)?)));
        let fds = held.as_ref().map_or(&[][..], |(_, held)| &held.fds);
        let answer = self.link.ask(ask, fds).await?;
        match held {
            Some((tenant, held)) if answer.holds => {
                self.ends.handed(&held);
                self.later.remove(tenant);
            }
            Some((tenant, _)) => self.postpone(tenant, &"the log collector did not receive it"),
            None => {}
        }
        Ok(answer)
    }

    fn held(&mut self, tenant: &TenantName) -> Option<Held> {
        self.ends.held(tenant).unwrap_or_else(|error| {
            self.postpone(tenant, &error);
            None
        })
    }

    async fn end(&mut self) -> io::Result<Answer> {
        let answer = self.link.ask(&Ask::End, &[]).await;
        if answer.is_err() {
            self.link.kill();
        }
        self.link.reap().await;
        answer
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
    let tenants = old.ask(&Ask::List, &[]).await.map(|answer| answer.tenants);
    let mut link = start(app).await?;
    for tenant in tenants.unwrap_or_default() {
        // What the old one holds stays in the pipes.
        let held = match fifo::open_read_ends(app, &tenant) {
            Ok(ends) => vec![ends.stdout, ends.stderr],
            Err(error) => {
                tracing::warn!(%tenant, %error, "{tenant}: cannot keep its output");
                Vec::new()
            }
        };
        link.ask(&add(&tenant, None, None), &held).await?;
    }
    if old.ask(&Ask::End, &[]).await.is_err() {
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
