//! `events`: prints the state of each tenant, and then each event and each request, one per line, as text or as
//! JSON.

mod asked;

use std::collections::BTreeMap;
use std::io::{self, Write};

use jiff::Timestamp;
use serde::Serialize;

use super::{End, outcome, select, status};
use tenantd_api::client::Connection;
use tenantd_api::client::pattern::Pattern;
use tenantd_api::client::watch::{Subscription, Watched};
use tenantd_api::wire::watch::{EventKind, ProgramExit, TenantEvent};
use tenantd_api::wire::{StateWord, TenantStatus};
use tenantd_core::name::{AppName, TenantName};

pub(super) fn events(
    app: &AppName,
    names: &[Pattern],
    follow: bool,
    json: bool,
) -> anyhow::Result<End> {
    super::converse(async {
        let names = select::ask(&mut Connection::open(app).await?, names).await?;
        let mut subscription = Subscription::with_requests(app, &names).await?;
        let mut out = anstream::stdout();
        let mut known: Option<Known> = None;
        loop {
            let lines = match subscription.next().await? {
                Watched::Event(event) => {
                    if let Some(known) = &mut known {
                        known.note(&event);
                    }
                    vec![Line::of_event(*event)]
                }
                Watched::Request(request) => {
                    asked::write(&mut out, app, &request, json)?;
                    Vec::new()
                }
                Watched::Snapshot(snapshot) => {
                    let lines = match &known {
                        None => snapshot.tenants.iter().map(Line::of_status).collect(),
                        Some(known) => {
                            eprintln!("{app}: supervisor {} has taken over", snapshot.pid);
                            known.missed(&snapshot.tenants)
                        }
                    };
                    known = Some(Known::new(snapshot.tenants));
                    lines
                }
            };
            for line in lines {
                write(&mut out, app, &line, json)?;
            }
            if !follow {
                return Ok(End::Done);
            }
        }
    })
}

fn write(out: &mut impl Write, app: &AppName, line: &Line, json: bool) -> io::Result<()> {
    if json {
        serde_json::to_writer(&mut *out, &Json { app, line })?;
        writeln!(out)
    } else {
        writeln!(out, "{}", line.text())
    }
}

/// The last known status of each tenant. During an upgrade of the supervisor no events arrive; the
/// snapshot of the next one is compared with this.
struct Known(BTreeMap<TenantName, TenantStatus>);

impl Known {
    fn new(tenants: Vec<TenantStatus>) -> Self {
        Self(tenants.into_iter().map(|t| (t.name.clone(), t)).collect())
    }

    fn note(&mut self, event: &TenantEvent) {
        match &event.status {
            Some(status) => self.0.insert(event.tenant.clone(), status.clone()),
            None => self.0.remove(&event.tenant),
        };
    }

    /// A line for each tenant that is not as last known.
    fn missed(&self, now: &[TenantStatus]) -> Vec<Line> {
        let seen = |tenant: &TenantStatus| (tenant.state, tenant.want, tenant.ready, tenant.pid);
        let is_new = |tenant: &&TenantStatus| {
            let before = self.0.get(&tenant.name);
            before.is_none_or(|before| seen(before) != seen(tenant))
        };
        let changed = now.iter().filter(is_new).map(Line::of_status);
        let gone = self
            .0
            .keys()
            .filter(|name| now.iter().all(|t| t.name != **name));
        changed.chain(gone.map(Line::removed)).collect()
    }
}

/// One line: an event, or the state of a tenant at the beginning of the subscription.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    tenant: TenantName,
    kind: &'static str,
    from: Option<StateWord>,
    state: StateWord,
    reason: Option<String>,
    exit: Option<ProgramExit>,
    time: Timestamp,
    status: Option<TenantStatus>,
}

/// A line as `--json` prints it.
#[derive(Serialize)]
struct Json<'a> {
    app: &'a AppName,
    #[serde(flatten)]
    line: &'a Line,
}

/// The kind of a line that shows a state, not an event.
const SNAPSHOT: &str = "snapshot";

impl Line {
    pub(super) fn of_event(event: TenantEvent) -> Self {
        Self {
            tenant: event.tenant,
            kind: event.kind.word(),
            from: event.from,
            state: event.state,
            reason: event.reason,
            exit: event.exit,
            time: event.time,
            status: event.status,
        }
    }

    fn of_status(status: &TenantStatus) -> Self {
        Self {
            tenant: status.name.clone(),
            kind: SNAPSHOT,
            from: None,
            state: status.state,
            reason: status.why.clone(),
            exit: None,
            time: status.since,
            status: Some(status.clone()),
        }
    }

    fn removed(name: &TenantName) -> Self {
        Self {
            tenant: name.clone(),
            kind: EventKind::Removed.word(),
            from: None,
            state: StateWord::Down,
            reason: None,
            exit: None,
            time: Timestamp::now(),
            status: None,
        }
    }

    /// The line as text.
    pub(super) fn text(&self) -> String {
        let (time, tenant) = (self.time, &self.tenant);
        let reason = match &self.reason {
            Some(reason) => format!(": {reason}"),
            None => String::new(),
        };
        let what = match (self.kind, &self.status, self.from) {
            (SNAPSHOT, Some(status), _) => {
                let state = outcome::state(status);
                return format!("{time:.3} {}: {state}", status.name);
            }
            // `changed` is an event without a transition: of the want, or of a live change.
            ("changed", Some(status), _) => {
                let unapplied = status
                    .unapplied
                    .as_ref()
                    .map(|why| format!("; not applied: {why}"));
                let reloading = match status.reloading {
                    Some(true) => "; its program reloads",
                    Some(false) | None => "",
                };
                format!(
                    "wanted {}{}{reloading}",
                    status::want(status),
                    unapplied.unwrap_or_default()
                )
            }
            // A command before the program began or ended.
            ("transition", _, Some(from)) if from == self.state => {
                format!("{}{reason}", from.word())
            }
            ("transition", _, Some(from)) => {
                format!("{} → {}{reason}", from.word(), self.state.word())
            }
            (kind, _, _) => kind.to_owned(),
        };
        format!("{time:.3} {tenant}: {what}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenantd_api::wire::Want;

    fn status(name: &str, pid: u32) -> TenantStatus {
        TenantStatus {
            permanent: Some(Want::Up),
            pid: Some(pid),
            since: "2026-11-22T10:00:00.1Z".parse().unwrap(),
            ready: Some(true),
            ..TenantStatus::bare(
                name.parse().unwrap(),
                std::net::Ipv4Addr::new(10, 77, 0, 11).into(),
                StateWord::Up,
            )
        }
    }

    fn event(kind: EventKind) -> TenantEvent {
        TenantEvent {
            tenant: "acme".parse().unwrap(),
            kind,
            from: Some(StateWord::Up),
            state: StateWord::Stopping,
            reason: Some("its program was killed by SIGKILL".to_owned()),
            exit: None,
            time: "2026-11-22T10:00:00.25Z".parse().unwrap(),
            status: Some(status("acme", 1)),
        }
    }

    #[test]
    fn a_line_has_time_tenant_event_and_reason() {
        let text = |line: Line| line.text();
        assert_eq!(
            text(Line::of_status(&status("acme", 7))),
            "2026-11-22T10:00:00.100Z acme: up, ready, pid 7, 10.77.0.11"
        );
        assert_eq!(
            text(Line::of_event(event(EventKind::Transition))),
            "2026-11-22T10:00:00.250Z acme: up → stopping: its program was killed by SIGKILL"
        );
        assert_eq!(
            text(Line::of_event(event(EventKind::Ready))),
            "2026-11-22T10:00:00.250Z acme: ready"
        );
        assert_eq!(
            text(Line::of_event(event(EventKind::Changed))),
            "2026-11-22T10:00:00.250Z acme: wanted up (permanent)"
        );
    }

    #[test]
    fn changes_during_an_upgrade_are_shown() {
        let known = Known::new(vec![status("acme", 1), status("beta", 2), status("crm", 3)]);
        let now = [status("acme", 1), status("beta", 20), status("dune", 4)];
        let missed = known.missed(&now);
        let missed: Vec<_> = missed.iter().map(|l| (l.tenant.as_str(), l.kind)).collect();
        assert_eq!(
            missed,
            [
                ("beta", "snapshot"),
                ("dune", "snapshot"),
                ("crm", "removed")
            ]
        );
    }
}
