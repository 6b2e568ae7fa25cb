//! Lists the tenants of an application, watches them, and restarts one.
//!
//! Run it with `cargo run -p tenantd-api --example watch -- APP [TENANT]`.
//!
//! It prints the tenants of APP and then every event until it is interrupted. With TENANT it
//! restarts that tenant, and exits once the tenant is ready again or has failed. It must run
//! as root or as the supervisor's user.

use std::error::Error;

use tenantd_api::client::watch::{Subscription, Watched};
use tenantd_api::client::{ClientError, Connection};
use tenantd_api::wire::watch::EventKind;
use tenantd_api::wire::{Answer, StateWord, Verb};
use tenantd_api::{AppName, TenantName};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let app: AppName = arguments
        .next()
        .ok_or("usage: watch APP [TENANT]")?
        .parse()?;
    let tenant = arguments.next().map(|name| name.parse()).transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(watch(&app, tenant.as_ref()))?;
    Ok(())
}

async fn watch(app: &AppName, restarted: Option<&TenantName>) -> Result<(), ClientError> {
    // Subscribe before the restart, so that none of its events is missed.
    let mut subscription = Subscription::open(app, &[]).await?;
    if let Watched::Snapshot(snapshot) = subscription.next().await? {
        for tenant in snapshot.tenants {
            println!(
                "{}: {}, {}",
                tenant.name,
                tenant.state.word(),
                tenant.addresses.first()
            );
        }
    }
    if let Some(tenant) = restarted {
        let which = std::slice::from_ref(tenant);
        let mut connection = Connection::open(app).await?;
        for answer in connection.act(Verb::Restart, which, false).await? {
            match answer.answer {
                Answer::Accepted | Answer::AlreadySo => println!("{tenant}: restarting"),
                Answer::Refused { reason } => {
                    println!("{tenant}: restart refused: {reason}");
                    return Ok(());
                }
            }
        }
    }
    // True until the restart takes effect. Events before that do not count.
    let mut awaited = restarted.is_some();
    loop {
        let event = match subscription.next().await? {
            Watched::Event(event) => event,
            // Not asked for.
            Watched::Request(_) => continue,
            Watched::Snapshot(_) => {
                println!("a new supervisor has taken over");
                continue;
            }
        };
        let reason = event.reason.unwrap_or_default();
        match event.kind {
            EventKind::Transition => {
                println!("{}: {}: {reason}", event.tenant, event.state.word());
            }
            EventKind::Added | EventKind::Ready | EventKind::Changed | EventKind::Removed => {
                println!("{}: {}", event.tenant, event.kind.word());
            }
        }
        if Some(&event.tenant) != restarted {
            continue;
        }
        awaited &= event.state == StateWord::Up;
        let is_settled = event.status.is_none_or(|status| status.is_settled());
        if !awaited && is_settled {
            return Ok(());
        }
    }
}
