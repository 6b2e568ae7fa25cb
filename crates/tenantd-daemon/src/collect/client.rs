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
use tenantd_core::supervisor::event::Exit;
use tenantd_host::{children, fifo, want};

use crate::collect::link::{LIMIT, Link};
use crate::collect::{Answer, Ask, Files, NUMBER, VARIABLE};
use crate::executor::exit;
use crate::logs::{Ends, Held};

/// How long to wait before the collector is started again, if it has just been started.
const AGAIN: Duration = Duration::from_secs(1);

/// A request with the place for its answer.
pub(super) type Asked = (Ask, oneshot::Sender<io::Result<Answer>>);

/// Starts a collector of an application, or takes over that of an earlier supervisor. One of another program is
/// replaced, and no message is lost meanwhile. A task of the current `LocalSet` then sends the requests. Returns
/// also which tenants it has.
///
/// # Errors
/// If it cannot be started.
pub(super) async fn take_over(
    app: &AppName,
    number: u16,
    ends: Ends,
) -> io::Result<(mpsc::UnboundedSender<Asked>, Vec<TenantName>)> {
    let mut link = open(app, number).await?;
    let tenants = link.ask(&Ask::List, &[]).await?.tenants;
    let (asks, asked) = mpsc::unbounded_channel();
    spawn_local(Client::new((app.clone(), number), link, ends).run(asked));
    Ok((asks, tenants))
}

/// A task of the current `LocalSet` starts a collector with the first request.
pub(super) fn begin(app: &AppName, number: u16, ends: Ends) -> mpsc::UnboundedSender<Asked> {
    let (asks, mut asked) = mpsc::unbounded_channel::<Asked>();
    let app = app.clone();
    spawn_local(async move {
        while let Some((ask, reply)) = asked.recv().await {
            if !matches!(ask, Ask::Add { .. }) {
                let _cancelled = reply.send(Ok(Answer::default()));
                continue;
            }
            match start(&app, number).await {
                Ok(link) => {
                    let mut client = Client::new((app, number), link, ends);
                    client.answer(ask, reply).await;
                    return client.run(asked).await;
                }
                Err(error) => {
                    let _cancelled = reply.send(Err(error));
                }
            }
        }
    });
    asks
}

pub(super) fn add(tenant: &TenantName, told: Option<Told>, since: Option<SystemTime>) -> Ask {
    let (files, rate) = told.map(|told| (told.files, told.rate)).unzip();
    Ask::Add {
        tenant: tenant.clone(),
        files,
        since,
        rate,
    }
}

/// What the collector is told of a tenant.
#[derive(Debug, Clone)]
pub(super) struct Told {
    /// Its log files.
    pub(super) files: Vec<Files>,
    /// How many bytes to pass on a second.
    pub(super) rate: u64,
}

/// The connection to the collector, and what it was told.
struct Client {
    app: AppName,
    /// The number of the collector.
    number: u16,
    link: Link,
    /// The tenants' pipes, which the collector holds.
    ends: Ends,
    tenants: BTreeMap<TenantName, Told>,
    /// Those whose pipes the collector does not hold yet, because something failed.
    later: BTreeSet<TenantName>,
    /// When that was last tried again.
    tried: Instant,
}

impl Client {
    fn new((app, number): (AppName, u16), link: Link, ends: Ends) -> Self {
        Self {
            app,
            number,
            link,
            ends,
            tenants: BTreeMap::new(),
            later: BTreeSet::new(),
            tried: Instant::now(),
        }
    }

    async fn run(mut self, mut asked: mpsc::UnboundedReceiver<Asked>) {
        loop {
            tokio::select! {
                next = asked.recv() => {
                    let Some((ask, reply)) = next else { return };
                    if !self.answer(ask, reply).await {
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

    /// Carries out a request. Returns whether the collector continues.
    async fn answer(&mut self, ask: Ask, reply: oneshot::Sender<io::Result<Answer>>) -> bool {
        let ends = ask == Ask::End;
        let answer = self.ask(ask).await;
        let _cancelled = reply.send(answer);
        !ends
    }

    async fn ask(&mut self, ask: Ask) -> io::Result<Answer> {
        match &ask {
            Ask::Add {
                tenant,
                files: Some(files),
                rate: Some(rate),
                ..
            } => {
                let (files, rate) = (files.clone(), *rate);
                self.tenants.insert(tenant.clone(), Told { files, rate });
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
            Ask::Add { .. } | Ask::List => {}
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

/// Ends a collector that a supervisor left, if there is one. The lines that nobody reads any more are
/// lost.
pub(super) async fn end_left(app: &AppName, number: u16) {
    if let Ok(mut link) = Link::connect(app, number).await {
        link.kill();
        link.reap().await;
    }
}

async fn open(app: &AppName, number: u16) -> io::Result<Link> {
    let mut old = match Link::connect(app, number).await {
        Ok(link) if link.is_same_program() => return Ok(link),
        Ok(link) => link,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return start(app, number).await;
        }
        Err(error) => return Err(error),
    };
    // Messages to the old sockets are refused once there are new ones, and programs connect again.
    let tenants = old.ask(&Ask::List, &[]).await.map(|answer| answer.tenants);
    let mut link = start(app, number).await?;
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

async fn start(app: &AppName, number: u16) -> io::Result<Link> {
    let name = app.to_string();
    let spawned = spawn_blocking(move || {
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0("tenantd")
            .args(["collect-logs", name.as_str()])
            .args((number > 0).then(|| number.to_string()))
            .env_clear()
            .env(VARIABLE, &name)
            .env(NUMBER, number.to_string())
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
        return Link::connect(app, number).await;
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
