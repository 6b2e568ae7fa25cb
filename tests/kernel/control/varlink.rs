//! Clients that send varlink by hand, some of it invalid.

use super::*;

#[test]
fn a_client_that_shut_down_its_sending_side_is_answered() {
    with_server(|app, mut incoming| async move {
        let bytes = call("io.tenantd.Supervisor.Reload", &json!({}));
        let asked = app.clone();
        let answer = tokio::task::spawn_local(async move { raw(&asked, bytes, true).await });
        let Some(Request::Reload { reply, .. }) = incoming.recv().await else {
            panic!("a reload was sent");
        };
        reply.send(Ok(changes(&tenant("acme")))).unwrap();
        assert_eq!(answer.await.unwrap()[0]["parameters"]["unchanged"], 7);
    });
}

#[test]
fn requests_in_plain_varlink_work() {
    with_server(|app, incoming| async move {
        tokio::task::spawn_local(answer_all(app.clone(), incoming));
        let mut bytes = call("org.varlink.service.GetInfo", &json!({}));
        bytes.extend(call(
            "org.varlink.service.GetInterfaceDescription",
            &json!({"interface": wire::INTERFACE}),
        ));
        // Without parameters, all tenants are meant.
        bytes.extend(b"{\"method\":\"io.tenantd.Supervisor.Status\"}\0");
        let unknown = json!({"tenants": ["typo"]});
        bytes.extend(call("io.tenantd.Supervisor.Stop", &json!({"tenants": []})));
        bytes.extend(call("io.tenantd.Supervisor.Status", &unknown));
        bytes.extend(call("io.tenantd.Supervisor.Signal", &json!({"signal": 1})));
        bytes.extend(call("io.tenantd.Supervisor.ReloadApp", &json!({})));
        bytes.extend(b"{\"method\":\"io.tenantd.Supervisor.Nonsense\"}\0");
        let answers = raw(&app, bytes, true).await;
        let [info, description, all, stop, typo, signal, reload, nonsense] = &answers[..] else {
            panic!("{answers:#?}");
        };
        let interfaces = info["parameters"]["interfaces"].as_array().unwrap();
        assert!(interfaces.contains(&json!(wire::INTERFACE)), "{info}");
        describes(
            description["parameters"]["description"].as_str().unwrap(),
            &all["parameters"],
            [signal, reload].map(|it| &it["parameters"]["tenants"][0]),
        );
        let stopped = &stop["parameters"]["answers"][0];
        assert_eq!(
            stopped,
            &json!({"tenant": "acme", "answer": "already_so", "reason": null, "unkept": null})
        );
        let error = json!({
            "error": "io.tenantd.Supervisor.UnknownTenant",
            "parameters": {"tenant": "typo"},
        });
        assert_eq!(typo, &error);
        assert_eq!(nonsense["error"], "org.varlink.service.MethodNotFound");
    });
}

#[test]
fn a_call_that_wants_no_answer_gets_none() {
    with_server(|app, incoming| async move {
        tokio::task::spawn_local(answer_all(app.clone(), incoming));
        let mut bytes = Vec::new();
        for (method, parameters) in [
            ("Status", json!({})),
            ("Status", json!({"tenants": ["typo"]})),
            ("Stop", json!({"tenants": []})),
            ("Stop", json!({"tenants": ["typo"]})),
            ("Watch", json!({})),
            ("Manifest", json!({})),
        ] {
            let method = format!("{}.{method}", wire::INTERFACE);
            let call = json!({"method": method, "parameters": parameters, "oneway": true});
            bytes.extend(serde_json::to_vec(&call).unwrap());
            bytes.push(0);
        }
        // The next one on the same connection is answered.
        bytes.extend(call("io.tenantd.Supervisor.Stop", &json!({"tenants": []})));
        let answers = raw(&app, bytes, true).await;
        let [answer] = &answers[..] else {
            panic!("{answers:#?}");
        };
        assert!(answer["parameters"]["answers"].is_array(), "{answer}");
    });
}

/// The processor time that this thread has used.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.try_into().unwrap(),
        time.tv_nsec.try_into().unwrap(),
    )
}

#[test]
fn a_long_answer_is_written_once() {
    with_server(|app, mut incoming| async move {
        let mut long = changes(&tenant("acme"));
        long.tenants = vec![long.tenants.remove(0); 1000];
        let begun = processor_time();
        let written = serde_json::to_vec(&long).unwrap();
        let floor = processor_time() - begun;
        let bytes = call("io.tenantd.Supervisor.Diff", &json!({}));
        let answer = tokio::task::spawn_local(async move { raw(&app, bytes, true).await });
        let Some(Request::Diff { reply }) = incoming.recv().await else {
            panic!("a diff was sent");
        };
        let begun = processor_time();
        reply.send(Ok(long)).unwrap();
        let answer = answer.await.unwrap();
        let spent = processor_time() - begun;
        assert_eq!(
            answer[0]["parameters"]["tenants"].as_array().unwrap().len(),
            1000
        );
        // The answer is written and sent. With a buffer that grows by 256 bytes, it is written
        // again for each of them.
        let again = u32::try_from(written.len() / 256).unwrap();
        assert!(again > 400, "{again}");
        assert!(spent < 20 * floor, "{spent:?} for what takes {floor:?}");
    });
}

/// The description names exactly the fields that are sent.
fn describes(description: &str, sent: &Value, others: [&Value; 2]) {
    // A comment goes from its # to the end of the line.
    let description: String = description
        .split('\n')
        .map(|line| line.split_once('#').map_or(line, |(before, _)| before))
        .map(|line| format!("{line}\n"))
        .collect();
    let line = |start: &str| {
        let found = description
            .find(start)
            .unwrap_or_else(|| panic!("{start}: {description}"));
        let line = &description[found + start.len()..];
        let end = line.find("\n\n").unwrap_or(line.len());
        line[..end].to_owned()
    };
    let fields = |text: &str| {
        let mut names: Vec<String> = text
            .split([',', '('])
            .filter_map(|field| field.split_once(':'))
            .map(|(name, _)| name.trim().to_owned())
            .collect();
        names.sort();
        names
    };
    let keys = |value: &Value| {
        let mut keys: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
        keys.sort();
        keys
    };
    let tenant = &sent["tenants"][0];
    assert_eq!(fields(&line("type TenantStatus ")), keys(tenant));
    assert_eq!(fields(&line("type Failure ")), keys(&tenant["failure"]));
    assert_eq!(fields(&line("type Signalled ")), keys(others[0]));
    assert_eq!(fields(&line("type AppReloaded ")), keys(others[1]));
    let (_, answer) = description
        .split_once("method Status(tenants: ?[]string) -> ")
        .unwrap();
    assert_eq!(fields(answer.split_once(')').unwrap().0), keys(sent));
    for error in ["UnknownTenant", "TenantDown", "ShuttingDown", "NotAllowed"] {
        assert!(
            description.contains(&format!("error {error}")),
            "{error}: {description}"
        );
    }
}

#[test]
fn invalid_requests_close_only_their_own_connection() {
    with_server(|app, incoming| async move {
        tokio::task::spawn_local(answer_all(app.clone(), incoming));
        let mut good = Connection::open(&app).await.unwrap();
        let junk: [&[u8]; 6] = [
            b"\0",
            b"GET / HTTP/1.1\r\n\r\n\0",
            b"{\"method\":7}\0",
            b"[[[[\0",
            b"{\"method\":\"io.tenantd.Supervisor.Status\",\"parameters\":{\"tenants\":3}}\0",
            b"\xff\xfe\x00",
        ];
        for bytes in junk {
            for answer in raw(&app, bytes.to_vec(), false).await {
                assert!(answer.get("error").is_some(), "{answer}");
            }
            assert!(good.status(&[]).await.is_ok());
        }
        // A request with an invalid name reaches no owner.
        let name = json!({"tenants": ["../../etc"]});
        for answer in raw(&app, call("io.tenantd.Supervisor.Stop", &name), true).await {
            assert!(answer.get("error").is_some(), "{answer}");
        }
    });
}

#[test]
fn an_endless_request_is_cut_off() {
    with_server(|app, incoming| async move {
        tokio::task::spawn_local(answer_all(app.clone(), incoming));
        let endless = vec![b' '; wire::REQUEST_MAX + 1];
        assert!(raw(&app, endless, false).await.is_empty());
        // Several requests on one connection may be longer than that together.
        let one = call(
            "io.tenantd.Supervisor.Status",
            &json!({"tenants": ["acme"]}),
        );
        let count = 3 * wire::REQUEST_MAX / 2 / one.len();
        let answers = raw(&app, one.repeat(count), true).await;
        assert_eq!(answers.len(), count);
        assert!(
            Connection::open(&app)
                .await
                .unwrap()
                .status(&[])
                .await
                .is_ok()
        );
    });
}

#[test]
fn another_user_is_refused() {
    with_server(|app, incoming| async move {
        tokio::task::spawn_local(answer_all(app.clone(), incoming));
        let path = wire::control_socket(&app);
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        // The permissions alone keep other users out; this test is about the check behind them.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        let answers = std::thread::spawn(move || {
            let nobody = rustix::process::Uid::from_raw(65534);
            // Of this thread only, see setuid(2), "C library/kernel differences".
            rustix::thread::set_thread_uid(nobody).unwrap();
            exchange(
                &path,
                &call("io.tenantd.Supervisor.Stop", &json!({})),
                false,
            )
        });
        let answers = tokio::task::spawn_blocking(|| answers.join().unwrap())
            .await
            .unwrap();
        let error = json!({
            "error": "io.tenantd.Supervisor.NotAllowed",
            "parameters": {"uid": 65534},
        });
        assert_eq!(answers, [error]);
    });
}
