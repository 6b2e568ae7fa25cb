//! Clients of a tenant while its supervisor is replaced: no request may fail.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::guestbook::{TENANTS, three};
use crate::support::daemon::{Daemon, until};

/// The pause between two requests: 200 a second.
const EVERY: Duration = Duration::from_millis(5);

/// A request that takes longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(1);

/// The number of requests before and after the change.
const AROUND: u32 = 50;

#[test]
fn no_request_fails_while_a_killed_supervisor_is_replaced() {
    check_requests_during(|daemon| {
        for _ in 0..3 {
            daemon.kill();
            daemon.again();
            daemon.settles();
        }
    });
}

#[test]
fn no_request_fails_while_a_detached_supervisor_is_replaced() {
    check_requests_during(|daemon| {
        daemon.tell(&["detach"]).expect(0);
        daemon.wait();
        daemon.again();
        daemon.settles();
    });
}

#[test]
fn no_request_fails_during_an_upgrade() {
    check_requests_during(|daemon| {
        daemon.tell(&["upgrade"]).expect(0);
        daemon.settles();
    });
}

#[test]
fn no_request_fails_while_a_reload_changes_another_tenant() {
    check_requests_during(|daemon| {
        let manifest = fs::read_to_string(&daemon.manifest).unwrap();
        let added = format!("{manifest}newcomer = {{ ip = \"10.77.0.99\" }}\n");
        fs::write(&daemon.manifest, added).unwrap();
        daemon.tell(&["reload"]).expect(0);
        daemon.settles();
        fs::write(&daemon.manifest, manifest).unwrap();
        daemon.tell(&["reload"]).expect(0);
        daemon.settles();
    });
}

/// Calls a closure while a tenant gets requests, and counts those without an answer.
#[track_caller]
fn check_requests_during(what: impl FnOnce(&mut Daemon)) {
    let mut daemon = three();
    let before = daemon.status();
    let (came, over) = (AtomicU32::new(0), AtomicBool::new(false));
    let more_came = |more: u32| {
        let wanted = came.load(Ordering::Relaxed) + more;
        until("visitors come", || {
            (came.load(Ordering::Relaxed) >= wanted).then_some(())
        });
    };
    let turned_away = std::thread::scope(|scope| {
        let visitors = scope.spawn(|| visit_until(&over, &came));
        more_came(AROUND);
        what(&mut daemon);
        more_came(AROUND);
        over.store(true, Ordering::Relaxed);
        visitors.join().unwrap()
    });
    let came = came.into_inner();
    assert!(turned_away.is_empty(), "of {came}: {turned_away:?}");
    let pids = |status: &tenantd_api::wire::AppStatus| -> Vec<_> {
        status.tenants.iter().map(|tenant| tenant.pid).collect()
    };
    assert_eq!(pids(&daemon.status()), pids(&before));
    daemon.end();
}

/// Sends requests to a tenant, each over a new connection, and returns why requests failed. A slow
/// request is followed by the next one at once, so that none is left out.
fn visit_until(over: &AtomicBool, came: &AtomicU32) -> Vec<String> {
    let mut turned_away = Vec::new();
    let mut next = Instant::now();
    while !over.load(Ordering::Relaxed) {
        if let Err(error) = visit(TENANTS[0].1) {
            turned_away.push(error.to_string());
        }
        came.fetch_add(1, Ordering::Relaxed);
        next += EVERY;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    turned_away
}

fn visit(ip: &str) -> io::Result<()> {
    let address = SocketAddr::new(ip.parse().unwrap(), 80);
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /entries HTTP/1.1\r\nHost: it\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.starts_with("HTTP/1.1 200 ") {
        return Ok(());
    }
    Err(io::Error::other(answer))
}
