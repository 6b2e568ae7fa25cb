//! `restart --rolling`: restarts tenants in waves, and halts at the first wave that does not become
//! ready.
//!
//! This process, not the supervisor, drives the waves: if it is interrupted, no further wave begins.
//! Tenants that were restarted stay so.

use std::io::{self, Write};
use std::os::unix::net;
use std::pin::pin;

use anyhow::Context;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

use super::End;
use super::act;
use super::args::Restart;
use tenantd_api::client::Connection;
use tenantd_api::client::watch::{Until, wait};
use tenantd_api::wire::{Program, TenantStatus, Verb, Want};
use tenantd_core::name::{AppName, TenantName};

pub(super) fn roll(app: &AppName, what: &Restart) -> anyhow::Result<End> {
    super::converse(async {
        let mut interrupts = Interrupts::listen().context("cannot catch signals")?;
        let mut connection = Connection::open(app).await?;
        let mut out = anstream::stdout();
        let asked = connection.status(&what.act.which.names).await?.tenants;
        // Tenants that an operator stopped stay stopped.
        let (up, down): (Vec<_>, Vec<_>) = asked.iter().partition(|t| t.want == Want::Up);
        for tenant in down {
            writeln!(out, "{}: skipped: wanted down", tenant.name)?;
        }
        let names: Vec<TenantName> = up.iter().map(|tenant| tenant.name.clone()).collect();
        let batch = what.batch.get();
        let waves = names.chunks(batch).len();
        let mut done = 0;
        for (number, wave) in (1..).zip(names.chunks(batch)) {
            writeln!(out, "wave {number} of {waves}: {}", list(wave.iter()))?;
            let restarted = restart(app, &mut connection, &mut out, wave);
            let Some(good) = interrupts.may_end(number, restarted).await else {
                return Ok(End::NotAsWanted);
            };
            let good = good?;
            done += wave.len();
            let now = connection.status(&names).await?.tenants;
            // A program may become ready and fail soon after: look at the earlier waves as well.
            let unready = now[..done].iter().filter(|tenant| !is_ready(tenant));
            let unready: Vec<&TenantName> = unready.map(|tenant| &tenant.name).collect();
            let why = match good && unready.is_empty() {
                false => format!("not ready: {}", list(unready.into_iter())),
                true if interrupts.asked && number < waves => "interrupted".to_owned(),
                true => continue,
            };
            writeln!(out, "halted after wave {number}: {why}")?;
            say_where(&mut out, &now, done)?;
            return Ok(End::NotAsWanted);
        }
        writeln!(out, "all {} tenants are up and ready", names.len())?;
        Ok(End::Done)
    })
}

/// SIGINT and SIGTERM: after the first, the wave that is under way is the last one; the second ends
/// the command without waiting for that wave.
struct Interrupts {
    coming: UnixStream,
    /// Whether one has been received.
    asked: bool,
}

impl Interrupts {
    fn listen() -> io::Result<Self> {
        let (read, write) = net::UnixStream::pair()?;
        for signal in [SIGINT, SIGTERM] {
            pipe::register(signal, write.try_clone()?)?;
        }
        read.set_nonblocking(true)?;
        Ok(Self {
            coming: UnixStream::from_std(read)?,
            asked: false,
        })
    }

    /// Waits for a wave. Returns `None` if it was interrupted twice.
    async fn may_end<T>(&mut self, number: usize, wave: impl Future<Output = T>) -> Option<T> {
        let mut wave = pin!(wave);
        loop {
            tokio::select! {
                done = &mut wave => return Some(done),
                _ = self.coming.read_u8() => {}
            }
            if self.asked {
                eprintln!(
                    "no longer waiting for wave {number}: `tenantd status` shows its progress"
                );
                return None;
            }
            self.asked = true;
            eprintln!("halting: waiting for wave {number} (interrupt again to stop waiting)");
        }
    }
}

/// Restarts one wave, and returns whether each of its tenants became ready.
async fn restart(
    app: &AppName,
    connection: &mut Connection,
    out: &mut impl Write,
    wave: &[TenantName],
) -> anyhow::Result<bool> {
    let answers = connection.act(Verb::Restart, wave, false).await?;
    let going = act::say_answers(out, Verb::Restart, &answers)?;
    if going.is_empty() {
        return Ok(false);
    }
    let tried = wait(app, &going, Until::Tried).await?;
    for tenant in &tried.reached {
        writeln!(out, "{}", act::outcome(tenant))?;
    }
    for tenant in &tried.gone {
        writeln!(out, "{}", act::gone(tenant))?;
    }
    Ok(tried.reached.len() == wave.len() && tried.reached.iter().all(is_ready))
}

fn is_ready(tenant: &TenantStatus) -> bool {
    act::reached(Verb::Restart, tenant)
}

/// Prints the state in which the roll halted: which tenants run which program, and which run none.
fn say_where(out: &mut impl Write, tenants: &[TenantStatus], done: usize) -> io::Result<()> {
    let runs = |program| {
        let those = tenants.iter().filter(move |t| t.program == Some(program));
        list(those.map(|tenant| &tenant.name))
    };
    let nothing = tenants.iter().filter(|tenant| tenant.program.is_none());
    let lines = [
        ("run the program on disk", runs(Program::Current)),
        ("run an older program", runs(Program::Older)),
        ("not running", list(nothing.map(|tenant| &tenant.name))),
        (
            "not restarted",
            list(tenants[done..].iter().map(|t| &t.name)),
        ),
    ];
    for (what, names) in lines.iter().filter(|(_, names)| !names.is_empty()) {
        writeln!(out, "  {what}: {names}")?;
    }
    Ok(())
}

fn list<'a>(names: impl Iterator<Item = &'a TenantName>) -> String {
    names.map(TenantName::as_str).collect::<Vec<_>>().join(", ")
}
