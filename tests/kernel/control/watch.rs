//! Subscriptions: the real server and the real client, with a model of the loop. Its tenants only
//! count their restarts, so that a missing or repeated event shows.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use tenantd_api::client::watch::{Subscription, Until, Watched, wait};
use tenantd_api::wire::watch::{EndReason, EventKind, TenantEvent};
use tenantd_daemon::subscriptions::{DRAIN_LIMIT, Scope};
use tokio::task::{spawn_local, yield_now};

use super::*;

/// Tenants that count.
pub(super) struct Model {
    app: AppName,
    order: Vec<TenantName>,
    counts: BTreeMap<TenantName, u32>,
    pub(super) subscriptions: Subscriptions,
    /// Removed as soon as a client has subscribed.
    to_remove: Option<TenantName>,
}

pub(super) type Shared = Rc<RefCell<Model>>;

impl Model {
    pub(super) fn new(app: &AppName, count: usize) -> Shared {
        let order: Vec<TenantName> = (0..count).map(|n| tenant(&format!("t{n}"))).collect();
        Rc::new(RefCell::new(Self {
            app: app.clone(),
            counts: order.iter().map(|name| (name.clone(), 0)).collect(),
            order,
            subscriptions: Subscriptions::default(),
            to_remove: None,
        }))
    }

    /// The model of the loop.
    async fn answer_all(model: Shared, mut incoming: mpsc::Receiver<Request>) {
        while let Some(ask) = incoming.recv().await {
            model.borrow_mut().answer(ask);
        }
    }

    /// One iteration of the loop.
    pub(super) fn answer(&mut self, ask: Request) {
        // The client may have disconnected.
        match ask {
            Request::Names { tenants, reply } => drop(reply.send(self.names(&tenants))),
            Request::Part {
                tenants,
                watch,
                reply,
            } => {
                let tenants = self.subscriptions.part_of(watch, tenants);
                drop(reply.send(Part::without_programs(self.status(&tenants))));
            }
            Request::Watch {
                tenants,
                requests,
                pid,
                reply,
            } => {
                let all = tenants.is_empty();
                let scope = Scope { all, requests };
                let names = self.names(&tenants);
                let feed = names.map(|names| self.subscriptions.subscribe(names, scope, pid));
                drop(reply.send(feed));
                if let Some(tenant) = self.to_remove.take() {
                    self.remove(&tenant);
                }
            }
            other => unreachable!("{other:?}"),
        }
    }

    fn names(&self, tenants: &[TenantName]) -> Result<Vec<TenantName>, Unknown> {
        let known = |name: &&TenantName| !self.counts.contains_key(*name);
        match tenants.iter().find(known).cloned() {
            Some(tenant) => Err(Unknown { tenant }),
            None if tenants.is_empty() => Ok(self.order.clone()),
            None => Ok(tenants.to_vec()),
        }
    }

    fn status(&self, tenants: &[TenantName]) -> AppStatus {
        let there: Vec<_> = tenants
            .iter()
            .filter(|t| self.counts.contains_key(*t))
            .collect();
        let names: Vec<_> = there.into_iter().cloned().collect();
        let mut status = super::status(&self.app, &names);
        for tenant in &mut status.tenants {
            tenant.restarts = self.counts[&tenant.name];
            tenant.applying = false;
        }
        status
    }

    /// Restarts one tenant and publishes the event.
    pub(super) fn restart(&mut self, name: &TenantName) {
        *self.counts.get_mut(name).unwrap() += 1;
        let status = self.status(std::slice::from_ref(name)).tenants.remove(0);
        self.publish(EventKind::Transition, name, Some(status));
    }

    fn publish(&mut self, kind: EventKind, name: &TenantName, status: Option<TenantStatus>) {
        if self.subscriptions.watches(name) {
            self.subscriptions.publish(TenantEvent {
                tenant: name.clone(),
                kind,
                from: Some(StateWord::Waiting),
                state: StateWord::Up,
                reason: Some("its restart delay is over".to_owned()),
                exit: None,
                time: jiff::Timestamp::UNIX_EPOCH,
                status,
            });
        }
    }

    fn remove(&mut self, name: &TenantName) {
        self.counts.remove(name);
        self.order.retain(|other| other != name);
        self.publish(EventKind::Removed, name, None);
        self.subscriptions.remove_pending(name);
    }
}

/// Runs `test` with a server of this many tenants.
fn with_model<F>(count: usize, test: impl FnOnce(AppName, Shared) -> F)
where
    F: Future<Output = ()>,
{
    with_server(|app, incoming| async move {
        let model = Model::new(&app, count);
        spawn_local(Model::answer_all(Rc::clone(&model), incoming));
        test(app, model).await;
    });
}

/// The tenants as a subscriber knows them.
async fn follow(
    subscription: &mut Subscription,
    until: impl Fn(&BTreeMap<TenantName, u32>) -> bool,
) {
    let mut counts: BTreeMap<TenantName, u32> = BTreeMap::new();
    while !until(&counts) || counts.is_empty() {
        match subscription.next().await.unwrap() {
            Watched::Snapshot(snapshot) => {
                assert!(counts.is_empty(), "there is one snapshot");
                for tenant in snapshot.tenants {
                    let before = counts.insert(tenant.name, tenant.restarts);
                    assert_eq!(before, None, "each tenant is in it once");
                }
            }
            Watched::Request(request) => panic!("nobody asked for it: {request:?}"),
            Watched::Event(event) => {
                let now = event.status.unwrap().restarts;
                let before = counts.insert(event.tenant.clone(), now);
                assert_eq!(before, Some(now - 1), "{}", event.tenant);
            }
        }
    }
}

#[test]
fn events_are_complete_and_not_repeated() {
    with_model(100, |app, model| async move {
        let last = |counts: &BTreeMap<TenantName, u32>| counts.values().all(|count| *count == 5);
        let followers: Vec<_> = (0..20)
            .map(|_| {
                let app = app.clone();
                spawn_local(async move {
                    let mut subscription = Subscription::open(&app, &[]).await.unwrap();
                    follow(&mut subscription, last).await;
                })
            })
            .collect();
        // Events begin before the clients have connected, and continue while they take their
        // snapshots.
        for round in 0..5 {
            for number in 0..100 {
                model
                    .borrow_mut()
                    .restart(&tenant(&format!("t{}", (number * 7 + round) % 100)));
                if number % 3 == 0 {
                    yield_now().await;
                }
            }
        }
        for follower in followers {
            follower.await.unwrap();
        }
    });
}

#[test]
fn a_subscriber_that_does_not_read_is_disconnected_alone() {
    with_model(2, |app, model| async move {
        let mut silent = UnixStream::connect(wire::control_socket(&app)).unwrap();
        let mut bytes = call("io.tenantd.Supervisor.Watch", &json!({}));
        bytes.truncate(bytes.len() - 2);
        bytes.extend(b",\"more\":true}\0");
        silent.write_all(&bytes).unwrap();
        let mut good = Subscription::open(&app, &[]).await.unwrap();
        assert!(matches!(good.next().await.unwrap(), Watched::Snapshot(_)));
        // Until the queue and the kernel's buffers are full, and beyond.
        for count in 1..5000 {
            model.borrow_mut().restart(&tenant("t0"));
            let Watched::Event(event) = good.next().await.unwrap() else {
                panic!("an event");
            };
            assert_eq!(event.status.unwrap().restarts, count);
        }
        // Reading ends the connection now; a client that never reads is disconnected all the same.
        let begun = std::time::Instant::now();
        let mut subscriptions = std::mem::take(&mut model.borrow_mut().subscriptions);
        subscriptions.flushed().await;
        model.borrow_mut().subscriptions = subscriptions;
        assert!(begun.elapsed() < DRAIN_LIMIT + Duration::from_secs(5));
        let read = tokio::task::spawn_blocking(move || {
            silent.set_read_timeout(Some(LIMIT)).unwrap();
            let mut bytes = Vec::new();
            let _cut = silent.read_to_end(&mut bytes);
            bytes.iter().filter(|byte| **byte == 0).count()
        });
        let read = read.await.unwrap();
        assert!((1..5000).contains(&read), "{read}");
        model.borrow_mut().restart(&tenant("t1"));
        assert!(matches!(good.next().await.unwrap(), Watched::Event(_)));
    });
}

#[test]
fn a_slow_reader_gets_the_reason_too_slow() {
    with_model(2, |app, model| async move {
        let mut slow = Subscription::open(&app, &[]).await.unwrap();
        // All at once, so that the client cannot read in between.
        for _ in 0..5000 {
            model.borrow_mut().restart(&tenant("t0"));
        }
        let error = loop {
            if let Err(error) = slow.next().await {
                break error;
            }
        };
        let reason = EndReason::TooSlow;
        assert!(
            matches!(&error, ClientError::SubscriptionEnded { reason: r, .. } if *r == reason),
            "{error:?}"
        );
        assert!(
            error.to_string().contains("faster than they were read"),
            "{error}"
        );
    });
}

#[test]
fn names_select_the_tenants_of_a_subscription() {
    with_model(100, |app, model| async move {
        let names = [tenant("t7"), tenant("t70")];
        let mut some = Subscription::open(&app, &names).await.unwrap();
        let Watched::Snapshot(snapshot) = some.next().await.unwrap() else {
            panic!("a snapshot");
        };
        let watched: Vec<_> = snapshot.tenants.into_iter().map(|t| t.name).collect();
        assert_eq!(watched, names);
        for number in 0..100 {
            model.borrow_mut().restart(&tenant(&format!("t{number}")));
        }
        for name in names {
            let Watched::Event(event) = some.next().await.unwrap() else {
                panic!("an event");
            };
            assert_eq!(event.tenant, name);
        }
        let error = Subscription::open(&app, &[tenant("t7"), tenant("typo")]).await;
        let error = error.unwrap_err();
        assert!(
            matches!(&error, ClientError::UnknownTenant { tenant, .. } if tenant.as_str() == "typo"),
            "{error:?}"
        );
    });
}

#[test]
fn the_end_is_sent_after_all_earlier_events() {
    with_model(1, |app, model| async move {
        let mut subscription = Subscription::open(&app, &[]).await.unwrap();
        assert!(matches!(
            subscription.next().await.unwrap(),
            Watched::Snapshot(_)
        ));
        model.borrow_mut().restart(&tenant("t0"));
        model.borrow_mut().subscriptions.end(EndReason::Detached);
        assert!(matches!(
            subscription.next().await.unwrap(),
            Watched::Event(_)
        ));
        let text = subscription.next().await.unwrap_err().to_string();
        assert!(text.ends_with("its tenants keep running"), "{text}");
    });
}

#[test]
fn a_watch_continues_through_an_upgrade() {
    with_model(1, |app, model| async move {
        let mut subscription = Subscription::open(&app, &[]).await.unwrap();
        assert!(matches!(
            subscription.next().await.unwrap(),
            Watched::Snapshot(_)
        ));
        model.borrow_mut().subscriptions.end(EndReason::Upgrading);
        model.borrow_mut().restart(&tenant("t0"));
        // Earlier changes are in the next snapshot.
        let Watched::Snapshot(snapshot) = subscription.next().await.unwrap() else {
            panic!("a snapshot");
        };
        assert_eq!(snapshot.tenants[0].restarts, 1);
    });
}

#[test]
fn a_removed_tenant_is_not_waited_for() {
    with_model(3, |app, model| async move {
        // All of them are failed, so they are settled.
        let names = [tenant("t2"), tenant("t0")];
        let outcome = wait(&app, &names, Until::Settled).await.unwrap();
        let reached: Vec<_> = outcome.reached.into_iter().map(|t| t.name).collect();
        assert_eq!(reached, names);
        model.borrow_mut().remove(&tenant("t2"));
        let outcome = wait(&app, &names, Until::Settled).await.unwrap();
        assert_eq!(outcome.gone, [tenant("t2")]);
        assert_eq!(outcome.reached.len(), 1);
        // Between the begin of the subscription and its part of the snapshot.
        model.borrow_mut().to_remove = Some(tenant("t0"));
        let names = [tenant("t0"), tenant("t1")];
        let outcome = wait(&app, &names, Until::Settled).await.unwrap();
        assert_eq!(outcome.gone, [tenant("t0")]);
        assert_eq!(outcome.reached.len(), 1);
    });
}

#[test]
fn a_status_comes_in_parts_to_callers_with_more() {
    with_model(100, |app, _model| async move {
        let single = call("io.tenantd.Supervisor.Status", &json!({}));
        let answers = raw(&app, single.clone(), true).await;
        let [whole] = &answers[..] else {
            panic!("{answers:#?}");
        };
        let mut more = single;
        more.truncate(more.len() - 2);
        more.extend(b",\"more\":true}\0");
        let parts = raw(&app, more, true).await;
        assert_eq!(parts.len(), 100usize.div_ceil(control::PART));
        let (last, before) = parts.split_last().unwrap();
        assert!(before.iter().all(|part| part["continues"] == true));
        assert_eq!(last["continues"], false);
        let tenants = |reply: &Value| reply["parameters"]["tenants"].as_array().unwrap().clone();
        let joined: Vec<Value> = parts.iter().flat_map(tenants).collect();
        assert_eq!(joined, tenants(whole));
        // Without `more` there is no subscription.
        let refused = raw(&app, call("io.tenantd.Supervisor.Watch", &json!({})), true).await;
        assert_eq!(refused[0]["error"], "io.tenantd.Supervisor.OnlyMore");
    });
}
