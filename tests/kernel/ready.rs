//! Readiness of tenants on the real kernel.

use crate::support;

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use tenantd_daemon::ready;

const LIMIT: Duration = Duration::from_secs(10);

fn run<T>(test: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().unwrap();
    let limited = async { tokio::time::timeout(LIMIT, test).await };
    runtime.block_on(limited).expect("it hangs")
}

/// A port of the test host that no process listens on.
fn free_port() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}

#[test]
fn a_port_is_ready_once_a_process_listens_on_it() {
    support::enter();
    let address = free_port();
    run(async {
        let mut waiting = Box::pin(ready::tcp(address));
        // Long enough for several refused attempts.
        let early = tokio::time::timeout(Duration::from_millis(50), &mut waiting).await;
        assert!(early.is_err(), "it is ready before anything listens");
        let listener = TcpListener::bind(address).unwrap();
        waiting.await;
        // A connection was accepted, and it is closed in order although the server writes first.
        let ended = tokio::task::spawn_blocking(move || {
            let (mut stream, _) = listener.accept().unwrap();
            std::io::Write::write_all(&mut stream, b"220 ready\r\n").unwrap();
            stream.read(&mut [0; 8])
        });
        assert_eq!(
            ended.await.unwrap().unwrap(),
            0,
            "neither bytes nor a reset"
        );
    });
}

#[test]
fn a_thousand_tenants_are_waited_for_at_once() {
    support::enter();
    let address = free_port();
    run(async {
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..1_000 {
            waiting.spawn(ready::tcp(address));
        }
        tokio::task::yield_now().await;
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let accepting = async {
            loop {
                drop(listener.accept().await.unwrap());
            }
        };
        tokio::select! {
            () = accepting => {}
            all = waiting.join_all() => assert_eq!(all.len(), 1_000),
        }
    });
}
