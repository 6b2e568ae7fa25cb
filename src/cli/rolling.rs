//! `restart --rolling`: restarts tenants in waves, and halts at the first wave that does not get
//! ready.
//!
//! The waves are this program's: if it is interrupted, no further wave begins, and what was
//! restarted stays restarted.

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
        let mut interrupts = Interrupts::listen().context("cannot listen to signals")?;
        let mut connection = Connection::open(app).await?;
        let mut out = anstream::stdout();
        let asked = connection.status(&what.act.which.names).await?.tenants;
        // Those that somebody stopped stay stopped: a roll restarts what runs.
        let (up, down): (Vec<_>, Vec<_>) = asked.iter().partition(|t| t.want == Want::Up);
        for tenant in down {
            writeln!(out, "{}: left alone: it is wanted down", tenant.name)?;
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
            // A program that gets ready and then fails shows while the waves after it start.
            let fallen = now[..done].iter().filter(|tenant| !is_ready(tenant));
            let fallen: Vec<&TenantName> = fallen.map(|tenant| &tenant.name).collect();
            let why = match good && fallen.is_empty() {
                false => format!("for not all of it is ready: {}", list(fallen.into_iter())),
                true if interrupts.asked && number < waves => "for it was interrupted".to_owned(),
                true => continue,
            };
            writeln!(out, "halted after wave {number}, {why}")?;
            say_where(&mut out, &now, done)?;
            return Ok(End::NotAsWanted);
        }
        writeln!(out, "all {} are up and ready", names.len())?;
        Ok(End::Done)
    })
}

/// SIGINT and SIGTERM: the first makes the wave that is under way the last, the second ends the roll
/// without waiting for it.
struct Interrupts {
    coming: UnixStream,
    /// Whether one has come.
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

    /// Waits for a wave; nothing comes of it if that is interrupted twice.
    async fn may_end<T>(&mut self, number: usize, wave: impl Future<Output = T>) -> Option<T> {
        let mut wave = pin!(wave);
        loop {
            tokio::select! {
                done = &mut wave => return Some(done),
                _ = self.coming.read_u8() => {}
            }
            if self.asked {
                eprintln!(
                    "wave {number} is left to itself: `tenantd status` shows what comes of it"
                );
                return None;
            }
            self.asked = true;
            eprintln!("wave {number} is the last: it is waited for (interrupt again: it is not)");
        }
    }
}

/// Restarts one wave, and says whether every tenant of it got ready.
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

/// Says where a roll stands that goes no further: who runs what, and who runs nothing.
fn say_where(out: &mut impl Write, tenants: &[TenantStatus], done: usize) -> io::Result<()> {
    let runs = |program| {
        let those = tenants.iter().filter(move |t| t.program == Some(program));
        list(those.map(|tenant| &tenant.name))
    };
    let nothing = tenants.iter().filter(|tenant| tenant.program.is_none());
    let lines = [
        ("run the program on disk", runs(Program::Current)),
        ("run an older program", runs(Program::Older)),
        ("run nothing", list(nothing.map(|tenant| &tenant.name))),
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
