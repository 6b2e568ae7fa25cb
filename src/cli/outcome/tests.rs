//! What becomes of tenants, in words and in JSON.

use super::*;

/// A tenant in this state.
pub(in crate::cli) fn tenant(
    state: StateWord,
    ready: Option<bool>,
    why: Option<&str>,
) -> TenantStatus {
    TenantStatus {
        pid: ready.map(|_| 123),
        ready,
        why: why.map(Into::into),
        ..TenantStatus::bare(
            "acme".parse().unwrap(),
            std::net::Ipv4Addr::new(10, 77, 0, 11).into(),
            state,
        )
    }
}

#[test]
fn says_what_became_of_a_tenant() {
    let line = |tenant: &TenantStatus| Outcome::of(tenant, Became::Done).line();
    let up = tenant(StateWord::Up, Some(true), None);
    assert_eq!(line(&up), "acme: up, ready, pid 123, 10.77.0.11");
    let failed = tenant(StateWord::Failed, None, Some("cannot execute the program"));
    assert_eq!(line(&failed), "acme: failed: cannot execute the program");
    assert_eq!(line(&tenant(StateWord::Down, None, None)), "acme: down");
}

#[test]
fn a_stop_has_succeeded_only_if_proved() {
    let stuck = tenant(StateWord::Stuck, None, Some("2 processes are left"));
    assert!(!reached(Verb::Stop, &stuck));
    assert!(reached(Verb::Stop, &tenant(StateWord::Down, None, None)));
    let unready = tenant(StateWord::Up, Some(false), None);
    assert!(!reached(Verb::Start, &unready));
    let down = tenant(StateWord::Down, None, None);
    assert!(!reached(Verb::Restart, &down));
}

#[test]
fn a_line_lists_ten_names() {
    let names = |count: usize| -> Vec<TenantName> {
        let names = (0..count).map(|number| format!("t{number}").parse().unwrap());
        names.collect()
    };
    assert_eq!(list(&names(2)), "t0, t1");
    assert!(list(&names(10)).ends_with(", t9"));
    assert!(list(&names(200)).ends_with(", t9 and 190 more"));
}

#[test]
fn the_shape_of_the_json_is_a_promise() {
    let up = tenant(StateWord::Up, Some(true), None);
    let failed = tenant(StateWord::Failed, None, Some("no"));
    let tenants = [
        Outcome::of(&up, Became::NoChange),
        Outcome::of(&failed, Became::Failed),
        Outcome::refused(&up.name, "the supervisor is ending"),
    ];
    let outcomes = Outcomes {
        app: &"wiki".parse().unwrap(),
        verb: "start",
        ok: false,
        tenants: &tenants,
    };
    insta::assert_json_snapshot!(outcomes, @r#"
    {
      "app": "wiki",
      "verb": "start",
      "ok": false,
      "tenants": [
        {
          "tenant": "acme",
          "outcome": "no-change",
          "state": "up",
          "ready": true,
          "pid": 123,
          "addresses": [
            "10.77.0.11"
          ],
          "reason": null,
          "killed": null
        },
        {
          "tenant": "acme",
          "outcome": "failed",
          "state": "failed",
          "ready": null,
          "pid": null,
          "addresses": [
            "10.77.0.11"
          ],
          "reason": "no",
          "killed": null
        },
        {
          "tenant": "acme",
          "outcome": "refused",
          "state": null,
          "ready": null,
          "pid": null,
          "addresses": null,
          "reason": "the supervisor is ending",
          "killed": null
        }
      ]
    }
    "#);
}
