//! The JSON, whole.

use super::*;

#[test]
#[allow(clippy::too_many_lines, reason = "the form is seen whole")]
fn the_form_of_the_json_is_stable() {
    insta::assert_json_snapshot!(select::chosen(sample(), &["acme".parse().unwrap()]).unwrap(), @r#"
    {
      "app": "wiki",
      "pid": 99,
      "tracking": "cgroup",
      "logs": "files",
      "unwatched": null,
      "network": {
        "mended": 0,
        "drift": null
      },
      "manifest": null,
      "tenants": [
        {
          "name": "acme",
          "want": "up",
          "permanent": null,
          "state": "up",
          "phase": null,
          "pid": 4711,
          "address": "10.77.0.11",
          "addresses": [
            "10.77.0.11"
          ],
          "restarts": 12,
          "since": "2026-11-22T09:56:48Z",
          "ready": true,
          "program": "current",
          "awaits": [],
          "until": null,
          "why": null,
          "failure": null,
          "applying": false,
          "unapplied": null,
          "lid": "landlock 7",
          "refused": [],
          "misfit": null,
          "exit": null,
          "killed": null,
          "main": null,
          "status_text": null,
          "reloading": null,
          "confined": "landlock 7",
          "offline": null,
          "paused": false,
          "network": {
            "mended": 0,
            "drift": null
          },
          "cgroup": null,
          "link": null,
          "last_failure": null,
          "starved": null,
          "probe": null,
          "by_hand": [],
          "reached": [],
          "engine": null
        }
      ]
    }
    "#);
}

#[test]
fn the_form_of_a_failure_in_json_is_stable() {
    insta::assert_json_snapshot!(sample().tenants[1], @r#"
    {
      "name": "big-customer",
      "want": "up",
      "permanent": null,
      "state": "waiting",
      "phase": null,
      "pid": null,
      "address": "10.77.0.11",
      "addresses": [
        "10.77.0.11"
      ],
      "restarts": 0,
      "since": "2026-11-22T09:56:48Z",
      "ready": null,
      "program": null,
      "awaits": [],
      "until": "2026-11-22T10:00:08Z",
      "why": "cannot execute the program /opt/wiki/bin/wiki: Exec format error (ENOEXEC) [the file is not a program: a script needs #! in its first line]",
      "failure": {
        "stage": "exec",
        "object": "/opt/wiki/bin/wiki",
        "errno": 8,
        "detail": ""
      },
      "applying": false,
      "unapplied": null,
      "lid": null,
      "refused": [],
      "misfit": null,
      "exit": null,
      "killed": null,
      "main": null,
      "status_text": null,
      "reloading": null,
      "confined": "landlock 7",
      "offline": null,
      "paused": false,
      "network": {
        "mended": 0,
        "drift": null
      },
      "cgroup": null,
      "link": null,
      "last_failure": null,
      "starved": null,
      "probe": null,
      "by_hand": [],
      "reached": [],
      "engine": null
    }
    "#);
}
