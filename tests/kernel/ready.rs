//! Readiness of tenants on the real kernel.

use crate::support;

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::time::Duration;

use tenantd_core::name::AppName;
use tenantd_daemon::ready;
use tenantd_daemon::ready::notice::{self, Notify};

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

/// Sends a notification from a new network namespace. Returns the namespace's inode and the
/// process, which waits at its standard input until it may exit.
fn send(app: &AppName, text: &str) -> (u64, std::process::Child) {
    let script = format!("systemd-notify --no-block {text} && echo && read -r _");
    let mut child = Command::new("unshare")
        .args(["--net", "sh", "-c", &script])
        .env("NOTIFY_SOCKET", notice::path(app))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = [0];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut said)
        .unwrap();
    let netns = format!("/proc/{}/ns/net", child.id());
    (std::fs::metadata(netns).unwrap().ino(), child)
}

#[test]
fn two_tenants_are_distinguished_by_their_namespaces() {
    support::enter();
    let app: AppName = "wiki".parse().unwrap();
    std::fs::create_dir_all("/run/tenantd/wiki").unwrap();
    run(async {
        let mut notify = Notify::bind(&app).unwrap();
        let mode = std::fs::metadata(notice::path(&app)).unwrap().mode();
        assert_eq!(mode & 0o777, 0o666);
        let (netns, mut child) = send(&app, "--ready --status=one");
        let (other_netns, mut other) = send(&app, "STATUS=two");
        let first = notify.next().await.unwrap();
        assert_eq!((first.ready, first.status.as_deref()), (true, Some("one")));
        let second = notify.next().await.unwrap();
        assert_eq!(
            (second.ready, second.status.as_deref()),
            (false, Some("two"))
        );
        assert_eq!(
            (first.netns_inode, second.netns_inode),
            (netns, other_netns)
        );
        assert_ne!(netns, other_netns);
        for child in [&mut child, &mut other] {
            drop(child.stdin.take());
            child.wait().unwrap();
        }
    });
}
