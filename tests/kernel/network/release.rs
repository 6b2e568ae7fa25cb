//! Releases: what they prove, and what they report if they fail.

use std::process::{Child, Command, Stdio};

use futures_util::future::join_all;
use tenantd_core::plan::model::Mode;
use tenantd_core::stage::Stage;
use tenantd_host::netns::{ClosedNetns, Netns};
use tenantd_host::network::Network;

use crate::network::adopted::transactions;
use crate::network::host::{block_on, everything, inside, link, plan, show};
use crate::support;

fn sleeper() -> Child {
    let mut sleep = Command::new("sleep");
    sleep.arg("60").stdin(Stdio::null()).spawn().unwrap()
}

#[test]
fn a_release_leaves_nothing() {
    support::enter();
    for mode in [Mode::Routed, Mode::Bridge] {
        block_on(async {
            let bare = everything();
            let network = Network::open(plan(mode)).await.unwrap();
            let with_hub = everything();
            let tenants: Vec<_> = (2..32).map(|n| link(mode, n)).collect();
            let made = join_all(
                tenants
                    .iter()
                    .map(|tenant| network.provision(tenant.clone())),
            );
            let made: Vec<_> = made.await.into_iter().map(Result::unwrap).collect();
            let inodes: std::collections::BTreeSet<_> = made.iter().map(Netns::inode).collect();
            assert_eq!(inodes.len(), 30);
            let before = transactions();
            let released = tenants.into_iter().zip(made).map(|(tenant, netns)| {
                let closed = netns.close();
                network.release(tenant, closed)
            });
            for released in join_all(released).await {
                released.unwrap();
            }
            let needed = transactions() - before;
            assert!(needed <= 30, "not two for each of the thirty: {needed}");
            assert_eq!(everything(), with_hub);
            network.close().await.unwrap();
            assert_eq!(everything(), bare);
        });
    }
}

#[test]
fn a_release_fails_while_another_process_holds_the_namespace() {
    support::enter();
    block_on(async {
        let network = Network::open(plan(Mode::Routed)).await.unwrap();
        let tenant = link(Mode::Routed, 2);
        let netns = network.provision(tenant.clone()).await.unwrap();
        let mut foreign = inside(&netns, sleeper);
        let closed = netns.close();
        // The wait does not delay another tenant.
        let other = async {
            let tenant = link(Mode::Routed, 3);
            let netns = network.provision(tenant.clone()).await.unwrap();
            network.release(tenant, netns.close()).await.unwrap();
            std::time::Instant::now()
        };
        let stuck = async {
            let why = network.release(tenant.clone(), closed).await.unwrap_err();
            (why, std::time::Instant::now())
        };
        let (other, (why, stuck)) = futures_util::join!(other, stuck);
        assert!(other < stuck);
        assert_eq!(why.stage, Stage::Release);
        assert_eq!(why.object, "tenantd:wiki/t2");
        assert_eq!(
            why.detail,
            format!(
                "a process outside the tenant's cgroup is still in it: pid {}",
                foreign.id()
            )
        );
        assert_eq!(
            show("vt-2")["ifalias"],
            "tenantd:wiki/t2",
            "it is still there"
        );
        foreign.kill().unwrap();
        foreign.wait().unwrap();
        network.release(tenant, closed).await.unwrap();
        network.close().await.unwrap();
    });
}

#[test]
fn a_release_reports_a_descriptor_that_holds_the_namespace() {
    use std::os::fd::AsFd;
    support::enter();
    block_on(async {
        let network = Network::open(plan(Mode::Bridge)).await.unwrap();
        let tenant = link(Mode::Bridge, 2);
        let netns = network.provision(tenant.clone()).await.unwrap();
        let held = netns.as_fd().try_clone_to_owned().unwrap();
        let closed = netns.close();
        let why = network.release(tenant.clone(), closed).await.unwrap_err();
        assert!(why.detail.contains("no process is in it"), "{why}");
        drop(held);
        network.release(tenant, closed).await.unwrap();
        network.close().await.unwrap();
    });
}

#[test]
fn a_second_release_succeeds() {
    support::enter();
    block_on(async {
        let network = Network::open(plan(Mode::Routed)).await.unwrap();
        let tenant = link(Mode::Routed, 2);
        let unknown = ClosedNetns::from_inode(1);
        network.release(tenant.clone(), unknown).await.unwrap();
        let netns = network.provision(tenant.clone()).await.unwrap();
        let closed = netns.close();
        network.release(tenant.clone(), closed).await.unwrap();
        network.release(tenant, closed).await.unwrap();
        network.close().await.unwrap();
    });
}
