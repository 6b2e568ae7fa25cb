//! What other programs of the host took from the application's network: how often it was mended, and what
//! differs from the plan and could not be.
//!
//! The net thread notices and mends, see [`tenantd_host::network`]. Here it is counted, logged and shown. A
//! tenant without a link is a matter of the supervisor, which provisions it again.

use std::collections::{BTreeMap, VecDeque};

use tokio::sync::mpsc;

use tenantd_api::wire::NetworkState;
use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan::derive;
use tenantd_core::stage::Failure;
use tenantd_core::supervisor::Transition;
use tenantd_core::supervisor::event::Event;
use tenantd_core::supervisor::view::StateWord;
use tenantd_host::network::{News, Note};

use crate::history;
use crate::input::Input;

/// The state of the network, as far as it was ever different from the plan.
pub(crate) struct Drifts {
    app: AppName,
    notes: mpsc::UnboundedReceiver<Note>,
    shared: NetworkState,
    of: BTreeMap<TenantName, NetworkState>,
    pending: VecDeque<Input>,
}

impl Drifts {
    /// Those that these notes tell of.
    pub(crate) fn new(app: AppName, notes: mpsc::UnboundedReceiver<Note>) -> Self {
        Self {
            app,
            notes,
            shared: NetworkState::default(),
            of: BTreeMap::new(),
            pending: VecDeque::new(),
        }
    }

    /// Of what all tenants share.
    pub(crate) fn shared(&self) -> &NetworkState {
        &self.shared
    }

    /// Of one tenant.
    pub(crate) fn of_tenant(&self, tenant: &TenantName) -> NetworkState {
        self.of.get(tenant).cloned().unwrap_or_default()
    }

    /// The next note. Cancelling this loses nothing.
    pub(crate) async fn next(&mut self) -> Note {
        match self.notes.recv().await {
            Some(note) => note,
            // The net thread has ended.
            None => std::future::pending().await,
        }
    }

    /// Counts, logs and keeps what a note tells.
    pub(crate) fn on_note(&mut self, Note { mark, news }: Note) {
        if mark == derive::hub_mark(&self.app) {
            return note_shared(&mut self.shared, news);
        }
        let Some(tenant) = derive::tenant_of_mark(&self.app, &mark) else {
            return;
        };
        let state = self.of.entry(tenant.clone()).or_default();
        match news {
            News::Mended(what) => {
                state.mended += 1;
                let what = what.join(", ");
                history::drift(Some(&tenant), &format!("mended: {what}"));
                tracing::warn!(
                    %tenant,
                    "{tenant}: mended what another program of the host had changed: {what}"
                );
            }
            News::Drift(drift) => {
                history::drift(Some(&tenant), &differs(drift.as_ref()));
                match &drift {
                    Some(why) => tracing::warn!(
                        %tenant,
                        "{tenant}: the host's network differs from the plan: {why}"
                    ),
                    None => tracing::info!(
                        %tenant,
                        "{tenant}: the host's network is as planned again"
                    ),
                }
                state.drift = drift;
            }
            News::Lost(why) => {
                let tenant = tenant.clone();
                let event = Event::LinkLost { tenant, why };
                return self.pending.push_back(Input::Event(event));
            }
        }
        self.pending.push_back(Input::Changed(tenant));
    }

    /// Forgets the drift of a tenant whose network is removed or made.
    pub(crate) fn on_transition(&mut self, transition: &Transition) {
        if matches!(
            transition.to,
            StateWord::Provisioning | StateWord::Releasing | StateWord::Down
        ) && let Some(state) = self.of.get_mut(&transition.tenant)
        {
            state.drift = None;
        }
    }

    /// Forgets a tenant that was removed from the manifest.
    pub(crate) fn on_removed(&mut self, tenant: &TenantName) {
        self.of.remove(tenant);
    }

    /// The next input for the loop.
    pub(crate) fn poll(&mut self) -> Option<Input> {
        self.pending.pop_front()
    }
}

fn differs(drift: Option<&Failure>) -> String {
    match drift {
        Some(why) => format!("the host's network differs from the plan: {why}"),
        None => "the host's network is as planned again".to_owned(),
    }
}

fn note_shared(state: &mut NetworkState, news: News) {
    match news {
        News::Mended(what) => {
            state.mended += 1;
            let what = what.join(", ");
            history::drift(None, &format!("mended: {what}"));
            tracing::warn!("mended what another program of the host had changed: {what}");
        }
        News::Drift(drift) => {
            history::drift(None, &differs(drift.as_ref()));
            match &drift {
                Some(why) => {
                    tracing::warn!(
                        "the network that all tenants share differs from the plan: {why}"
                    );
                }
                None => tracing::info!("the network that all tenants share is as planned again"),
            }
            state.drift = drift;
        }
        // It is made again.
        News::Lost(_) => {}
    }
}
