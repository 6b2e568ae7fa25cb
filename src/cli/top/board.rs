//! What `top` shows: the tenants, what they use, and what of it is on the screen. Pure: it takes events,
//! readings and keys, and `draw` makes lines of it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::order::Column;
use super::request::Request;
use super::usage::{Reading, Usage};
use tenantd_api::wire::watch::{EventKind, TenantEvent};
use tenantd_api::wire::{AppStatus, StateWord, TenantStatus};
use tenantd_core::name::TenantName;

/// The lines of the screen that are not for tenants: two above, two below.
const AROUND: usize = 4;

/// What `top` shows.
#[derive(Debug)]
pub(super) struct Board {
    pub(super) status: AppStatus,
    pub(super) usage: BTreeMap<TenantName, Usage>,
    pub(super) sort: Column,
    pub(super) is_inverted: bool,
    /// Only tenants with this text in their name or state.
    pub(super) filter: String,
    /// Only tenants that are not as wanted.
    pub(super) only_bad: bool,
    pub(super) mode: Mode,
    /// The tenant that the keys concern.
    pub(super) chosen: Option<TenantName>,
    /// The result of the last key.
    pub(super) said: Option<Said>,
    /// Why the supervisor is not heard.
    pub(super) lost: Option<String>,
    /// The time between two readings.
    pub(super) interval: Duration,
    /// The first tenant on the screen, and where the chosen one is, among those that are shown.
    pub(super) first: usize,
    at: usize,
    /// How many tenants the screen has room for.
    pub(super) page: usize,
}

/// A message, and whether it is about something that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) text: String,
    pub(super) is_bad: bool,
}

/// What the keys mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mode {
    /// The table is shown.
    Table,
    /// The filter is typed. It was this before.
    Filter(String),
    /// This is to be confirmed.
    Confirm(Request, TenantName),
    /// A text is shown, from this line on.
    Text(Vec<String>, usize),
}

impl Board {
    pub(super) fn new(status: AppStatus, sort: Column, interval: Duration) -> Self {
        Self {
            status,
            usage: BTreeMap::new(),
            sort,
            is_inverted: false,
            filter: String::new(),
            only_bad: false,
            mode: Mode::Table,
            chosen: None,
            said: None,
            lost: None,
            interval,
            first: 0,
            at: 0,
            page: 1,
        }
    }

    /// Takes the state of all tenants, of the first or of the next supervisor.
    pub(super) fn begin(&mut self, status: AppStatus) {
        if self.lost.take().is_some() {
            let pid = status.pid;
            self.say(format!("the supervisor answers again, pid {pid}"), false);
        }
        self.status = status;
        let tenants = &self.status.tenants;
        let is_there = |name: &TenantName| tenants.iter().any(|tenant| tenant.name == *name);
        self.usage.retain(|name, _| is_there(name));
    }

    /// Takes an event.
    pub(super) fn apply(&mut self, event: TenantEvent) {
        let tenants = &mut self.status.tenants;
        let place = tenants.iter().position(|it| it.name == event.tenant);
        match (place, event.status) {
            (Some(place), Some(now)) => tenants[place] = now,
            (None, Some(now)) => tenants.push(now),
            // It is shown while it is stopped and released, until it is removed.
            (Some(place), None) if event.kind == EventKind::Removed => {
                tenants.remove(place);
                self.usage.remove(&event.tenant);
            }
            (_, None) => {}
        }
    }

    /// Takes a reading of each tenant.
    pub(super) fn measured(&mut self, readings: BTreeMap<TenantName, Reading>) {
        for (name, reading) in readings {
            self.usage.entry(name).or_default().take(&reading);
        }
    }

    /// The subscription ended.
    pub(super) fn lose(&mut self, why: String) {
        self.lost = Some(why);
    }

    pub(super) fn say(&mut self, text: String, is_bad: bool) {
        self.said = Some(Said { text, is_bad });
    }

    /// Shows a text instead of the table.
    pub(super) fn show(&mut self, lines: Vec<String>) {
        self.mode = Mode::Text(lines, 0);
    }

    /// The tenants that are shown, in their order, with what they use.
    pub(super) fn shown(&self) -> Vec<(&TenantStatus, &Usage)> {
        static NONE: Usage = Usage::NONE;
        let tenants = self.status.tenants.iter().filter(|it| self.is_shown(it));
        let mut shown: Vec<_> = tenants
            .map(|tenant| (tenant, self.usage.get(&tenant.name).unwrap_or(&NONE)))
            .collect();
        shown.sort_by(|one, other| {
            let order = self.sort.compare(*one, *other);
            if self.is_inverted {
                order.reverse()
            } else {
                order
            }
        });
        shown
    }

    fn is_shown(&self, tenant: &TenantStatus) -> bool {
        let is_found = self.filter.is_empty()
            || tenant.name.as_str().contains(&self.filter)
            || state(tenant) == self.filter;
        is_found && !(self.only_bad && tenant.is_as_wanted())
    }

    /// Fits what is shown to a screen of this height: the chosen tenant is on it.
    pub(super) fn fit(&mut self, height: usize) {
        self.page = height.saturating_sub(AROUND).max(1);
        let shown: Vec<TenantName> = self.names();
        if let Some(chosen) = &self.chosen {
            let place = shown.iter().position(|name| name == chosen);
            // The next one, if it is not shown any more.
            self.at = place.unwrap_or(self.at.min(shown.len().saturating_sub(1)));
            self.chosen = shown.get(self.at).cloned();
        }
        let last = shown.len().saturating_sub(self.page);
        self.first = self.first.min(last);
        if self.chosen.is_some() {
            let least = (self.at + 1).saturating_sub(self.page);
            self.first = self.first.clamp(least, self.at);
        }
    }

    /// Whether the chosen tenant is paused.
    pub(super) fn is_paused(&self) -> bool {
        let chosen = self.chosen.as_ref();
        let mut tenants = self.status.tenants.iter();
        tenants.any(|tenant| Some(&tenant.name) == chosen && tenant.paused)
    }

    /// A request was accepted. The answer to a pause is that it is done.
    pub(super) fn carried_out(&mut self, request: Request, name: &TenantName) {
        let mut tenants = self.status.tenants.iter_mut();
        if let Some(tenant) = tenants.find(|tenant| tenant.name == *name) {
            match request {
                Request::Act(_) => {}
                Request::Pause => tenant.paused = true,
                Request::Resume => tenant.paused = false,
            }
        }
    }

    fn names(&self) -> Vec<TenantName> {
        let shown = self.shown().into_iter();
        shown.map(|(tenant, _)| tenant.name.clone()).collect()
    }

    /// Chooses the tenant this far from the chosen one; the first one on the screen if none is.
    pub(super) fn step(&mut self, by: isize) {
        let shown = self.names();
        let last = shown.len().saturating_sub(1);
        self.at = match self.chosen {
            Some(_) => self.at.saturating_add_signed(by).min(last),
            None => self.first.min(last),
        };
        self.chosen = shown.get(self.at).cloned();
    }

    /// Chooses none, and shows the beginning.
    pub(super) fn choose_none(&mut self) {
        self.chosen = None;
        self.first = 0;
    }
}

/// The state of a tenant in a word. One that is up may be paused.
pub(super) fn state(tenant: &TenantStatus) -> &'static str {
    match tenant.paused {
        true if tenant.state == StateWord::Up => "paused",
        _ => tenant.state_word(),
    }
}

#[cfg(test)]
pub(super) mod tests;
