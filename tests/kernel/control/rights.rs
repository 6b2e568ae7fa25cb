//! Each method needs exactly the right that the manifest's reference names for it.

use std::collections::BTreeSet;

use tenantd_core::plan::model::{ControlPlan, Operator};
use tenantd_core::rights::Right;
use tenantd_daemon::requests::control::grants::Grants;

use super::readers::{GROUP, NOBODY, ask, connect_as, methods, watch, with_readers};
use super::*;

/// What a method needs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    Any,
    Right(Right),
    Root,
}

fn need(method: &str) -> Need {
    match method {
        "Manifest" | "Upgraded" => Need::Any,
        "Status" | "Watch" => Need::Right(Right::Status),
        "Start" => Need::Right(Right::Start),
        "Stop" => Need::Right(Right::Stop),
        "Restart" => Need::Right(Right::Restart),
        "ReloadApp" => Need::Right(Right::ReloadApp),
        "Signal" => Need::Right(Right::Kill),
        "Freeze" => Need::Right(Right::Pause),
        "Set" => Need::Right(Right::Set),
        "Logs" | "History" => Need::Right(Right::Logs),
        "Exec" => Need::Right(Right::Exec),
        "AllowTakeover" | "Collect" | "Detach" | "Diff" | "Enter" | "ExecOffline" | "Reload"
        | "Repair" | "Upgrade" => Need::Root,
        other => panic!("{other}: say which right it needs"),
    }
}

/// The call of a method for a tenant, or for all.
fn request(method: &str, tenant: Option<&str>) -> Vec<u8> {
    let tenants: Vec<&str> = tenant.into_iter().collect();
    let one = tenant.unwrap_or("acme");
    let parameters = match method {
        "Collect" => json!({"dry_run": true}),
        "Enter" | "Set" => json!({"tenant": one}),
        "Exec" => json!({"tenant": one, "command": ["id"]}),
        "ExecOffline" => json!({"tenant": one, "command": "fsck"}),
        "Signal" => json!({"tenants": tenants, "signal": 1}),
        "Freeze" => json!({"tenants": tenants, "frozen": true}),
        "Start" | "Stop" | "Restart" | "ReloadApp" | "Logs" | "History" | "Status" => {
            json!({"tenants": tenants})
        }
        _ => json!({}),
    };
    match method {
        "Watch" => {
            let bytes = String::from_utf8(watch()).unwrap();
            let parameters = format!("{{\"tenants\":{}}}", json!(tenants));
            bytes.replace("{}", &parameters).into_bytes()
        }
        _ => call(&format!("{}.{method}", wire::INTERFACE), &parameters),
    }
}

/// Whether the reply refuses the request for want of a right.
fn is_refused(reply: &Value) -> bool {
    let error = reply["error"].as_str().unwrap_or_default();
    ["ReadOnly", "NoRight"]
        .iter()
        .any(|kind| error.ends_with(kind))
}

#[test]
fn each_method_needs_the_right_of_its_name_and_no_other() {
    with_readers(|app, incoming, readers| async move {
        tokio::task::spawn_local(answer_all(app.clone(), incoming));
        let methods = methods(&app).await;
        for right in Right::EACH {
            let operator = Operator {
                group: GROUP.to_string(),
                gid: GROUP,
                rights: BTreeSet::from([right]),
                tenants: Some(BTreeSet::from([tenant("acme")])),
            };
            let plan = ControlPlan {
                operators: vec![operator],
                ..ControlPlan::default()
            };
            readers.set(Grants::from(&plan)).unwrap();
            for method in &methods {
                let need = need(method);
                let is_status = need == Need::Right(Right::Status);
                for of in [Some("acme"), Some("bolt"), None] {
                    let stream = connect_as(&app, NOBODY, &[GROUP]).unwrap();
                    let (reply, _) = ask(stream, request(method, of)).await;
                    let may = match (need, of) {
                        (Need::Any, _) => true,
                        (Need::Root, _) => false,
                        // Who asks for all sees those that it may see. Exec is for one.
                        (Need::Right(_), None) if is_status => true,
                        (Need::Right(needed), None) => {
                            needed == right && ["Exec", "Set"].contains(&method.as_str())
                        }
                        (Need::Right(needed), Some(of)) => {
                            (needed == right || is_status) && of == "acme"
                        }
                    };
                    assert_eq!(is_refused(&reply), !may, "{right} {method} {of:?}: {reply}");
                    assert!(reply.is_object(), "{right} {method} {of:?}: {reply}");
                }
            }
        }
    });
}
