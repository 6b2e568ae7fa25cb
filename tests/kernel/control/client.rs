//! The real client, and the errors that it reports for supervisors that do not run.

use super::*;

#[test]
fn client_and_server_understand_each_other() {
    with_server(|app, incoming| async move {
        tokio::task::spawn_local(answer_all(app.clone(), incoming));
        let mut connection = Connection::open(&app).await.unwrap();
        let acme = [tenant("acme")];
        assert_eq!(connection.status(&acme).await.unwrap(), status(&app, &acme));
        assert_eq!(connection.status(&[]).await.unwrap(), status(&app, &acme));
        assert_eq!(connection.enter(&acme[0]).await.unwrap(), exec_target());
        for (verb, expected) in [
            (Verb::Start, Answer::Accepted),
            (Verb::Stop, Answer::AlreadySo),
            (
                Verb::Restart,
                Answer::Refused {
                    reason: "no".into(),
                },
            ),
        ] {
            let answers = connection.act(verb, &acme, false).await.unwrap();
            assert_eq!(answers[0].answer, expected);
        }
        for main in [true, false] {
            let sent = connection.signal(&acme, 1, main).await.unwrap();
            assert_eq!(sent, [signalled(main)]);
        }
        for how in [(true, true), (true, false), (false, false)] {
            let done = connection.freeze(&acme, how.0, how.1).await.unwrap();
            assert_eq!(done, [frozen(how)]);
        }
        let limits = ["memory.max=1GiB".to_owned()];
        let set = connection.set(&acme[0], &limits, true).await.unwrap();
        assert_eq!(set, set_by_hand());
        assert_eq!(
            connection.reload_app(&acme).await.unwrap(),
            [app_reloaded()]
        );
    });
}

#[test]
fn errors_are_typed_and_leave_the_connection_usable() {
    with_server(|app, incoming| async move {
        tokio::task::spawn_local(answer_all(app.clone(), incoming));
        let mut connection = Connection::open(&app).await.unwrap();
        let error = connection.status(&[tenant("typo")]).await.unwrap_err();
        assert!(
            matches!(&error, ClientError::UnknownTenant { tenant, .. } if tenant == "typo"),
            "{error:?}"
        );
        let error = connection.enter(&tenant("down")).await.unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("down: not running (state: waiting): start it"),
            "{text}"
        );
        assert!(connection.status(&[]).await.is_ok());
    });
}

#[test]
fn a_waiting_request_does_not_delay_others() {
    with_server(|app, mut incoming| async move {
        let asked = app.clone();
        let waiting = tokio::task::spawn_local(async move {
            let mut connection = Connection::open(&asked).await.unwrap();
            connection.reload(None).await
        });
        // The reload is in the request queue, and stays there.
        let Some(Request::Reload { reply: held, .. }) = incoming.recv().await else {
            panic!("a reload was sent");
        };
        tokio::task::spawn_local(answer_all(app.clone(), incoming));
        let mut second = Connection::open(&app).await.unwrap();
        assert!(second.status(&[]).await.is_ok());
        assert!(!waiting.is_finished());
        held.send(Ok(Changes::default())).unwrap();
        assert_eq!(waiting.await.unwrap().unwrap(), Changes::default());
    });
}

#[test]
fn a_request_of_a_disconnected_client_is_dropped() {
    with_server(|app, mut incoming| async move {
        let mut peer = UnixStream::connect(wire::control_socket(&app)).unwrap();
        peer.write_all(&call("io.tenantd.Supervisor.Reload", &json!({})))
            .unwrap();
        let Some(Request::Reload { mut reply, .. }) = incoming.recv().await else {
            panic!("a reload was sent");
        };
        assert!(!reply.is_closed());
        drop(peer);
        reply.closed().await;
    });
}

#[test]
fn the_number_of_connections_is_bounded() {
    with_server(|app, incoming| async move {
        tokio::task::spawn_local(answer_all(app.clone(), incoming));
        let mut held = Vec::new();
        for _ in 0..OPERATORS.connections {
            let mut connection = Connection::open(&app).await.unwrap();
            connection.status(&[]).await.unwrap();
            held.push(connection);
        }
        let answers = raw(&app, Vec::new(), false).await;
        assert_eq!(
            answers[0]["error"],
            "io.tenantd.Supervisor.TooManyConnections"
        );
        let error = Connection::open(&app)
            .await
            .unwrap()
            .status(&[])
            .await
            .unwrap_err();
        assert!(error.to_string().contains("64 are the maximum"), "{error}");
        assert!(held.pop().unwrap().status(&[]).await.is_ok());
        // The connection is free for another client once the server has seen its end.
        while Connection::open(&app)
            .await
            .unwrap()
            .status(&[])
            .await
            .is_err()
        {}
    });
}

#[test]
fn a_stale_socket_is_reported_and_replaced() {
    with_app(|app| async move {
        let path = wire::control_socket(&app);
        let text = Connection::open(&app).await.unwrap_err().to_string();
        assert!(
            text.contains("supervisor not running: start it with"),
            "{text}"
        );
        assert!(text.ends_with("(no supervisor is running)"), "{text}");

        // Closed without being removed, as by SIGKILL.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let error = Connection::open(&app).await.unwrap_err();
        assert!(matches!(error, ClientError::Dead { .. }), "{error:?}");
        let other: AppName = "other".parse().unwrap();
        let text = Connection::open(&other).await.unwrap_err().to_string();
        assert!(text.ends_with(&format!("(running: {app})")), "{text}");

        let listener = control::bind(&app).unwrap();
        assert!(std::fs::metadata(&path).unwrap().file_type().is_socket());
        let (queue, incoming) = queue::open();
        let serving = tokio::task::spawn_local(listener.serve(queue));
        tokio::task::spawn_local(answer_all(app.clone(), incoming));
        let mut connection = Connection::open(&app).await.unwrap();
        connection.status(&[]).await.unwrap();
        serving.abort();
        serving.await.unwrap_err();
        assert!(!path.exists(), "the socket is removed with its listener");
    });
}

#[test]
fn another_file_in_place_of_the_socket_is_kept() {
    with_app(|app| async move {
        let path = wire::control_socket(&app);
        std::fs::write(&path, "precious").unwrap();
        let error = control::bind(&app).unwrap_err();
        assert!(matches!(error, ControlError::Foreign { .. }), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    });
}

#[test]
fn a_supervisor_that_ends_tells_its_clients() {
    with_server(|app, mut incoming| async move {
        let asked = app.clone();
        let waiting = tokio::task::spawn_local(async move {
            let mut connection = Connection::open(&asked).await.unwrap();
            connection.reload(None).await
        });
        let Some(Request::Reload { reply, .. }) = incoming.recv().await else {
            panic!("a reload was sent");
        };
        // A second request gets no answer either.
        drop(reply);
        drop(incoming);
        let text = waiting.await.unwrap().unwrap_err().to_string();
        assert!(text.contains("is shutting down"), "{text}");
        let error = Connection::open(&app)
            .await
            .unwrap()
            .status(&[])
            .await
            .unwrap_err();
        assert!(error.to_string().contains("is shutting down"), "{error}");
    });
}

#[test]
fn a_supervisor_that_dies_is_distinguished_from_one_that_answers() {
    with_app(|app| async move {
        let path = wire::control_socket(&app);
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let dying = tokio::task::spawn_blocking(move || {
            let (mut peer, _) = listener.accept().unwrap();
            drop(listener);
            // The supervisor has read the request, and dies.
            let mut byte = [0; 256];
            assert!(peer.read(&mut byte).unwrap() > 0);
        });
        let mut connection = Connection::open(&app).await.unwrap();
        let error = connection.reload(None).await.unwrap_err();
        dying.await.unwrap();
        assert!(matches!(error, ClientError::Died { .. }), "{error:?}");
        assert!(
            error.to_string().contains("exited before it answered"),
            "{error}"
        );
    });
}

#[test]
fn a_connection_that_is_closed_does_not_mean_that_the_supervisor_has_exited() {
    with_app(|app| async move {
        let path = wire::control_socket(&app);
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let closing = tokio::task::spawn_blocking(move || {
            let (mut peer, _) = listener.accept().unwrap();
            assert!(peer.read(&mut [0; 256]).unwrap() > 0);
            listener
        });
        let mut connection = Connection::open(&app).await.unwrap();
        let error = connection.enter(&tenant("acme")).await.unwrap_err();
        drop(closing.await.unwrap());
        assert!(matches!(error, ClientError::Closed { .. }), "{error:?}");
        let said = "closed the connection before it answered";
        assert!(error.to_string().contains(said), "{error}");
    });
}

#[test]
fn a_reload_with_a_hash_sends_it() {
    with_server(|app, mut incoming| async move {
        let mut connection = Connection::open(&app).await.unwrap();
        let reload = tokio::task::spawn_local(async move {
            connection.reload(Some("3f86c1d09a24")).await.unwrap()
        });
        let Some(Request::Diff { reply }) = incoming.recv().await else {
            panic!("it asks first whether hashes are known");
        };
        reply.send(Ok(changes(&tenant("acme")))).unwrap();
        let Some(Request::Reload { expect, reply }) = incoming.recv().await else {
            panic!("a reload was sent");
        };
        assert_eq!(expect.as_deref(), Some("3f86c1d09a24"));
        reply.send(Ok(changes(&tenant("acme")))).unwrap();
        reload.await.unwrap();
    });
}

#[test]
fn an_older_supervisor_that_knows_no_hashes_is_not_asked_to_reload() {
    with_server(|app, mut incoming| async move {
        let mut connection = Connection::open(&app).await.unwrap();
        let reload = tokio::task::spawn_local(async move {
            connection.reload(Some("3f86c1d09a24")).await.unwrap_err()
        });
        let Some(Request::Diff { reply }) = incoming.recv().await else {
            panic!("it asks first whether hashes are known");
        };
        let hash = None;
        let old = Changes {
            hash,
            ..changes(&tenant("acme"))
        };
        reply.send(Ok(old)).unwrap();
        let error = reload.await.unwrap();
        assert!(matches!(error, ClientError::NoHashes { .. }), "{error:?}");
        assert!(error.to_string().contains("tenantd upgrade"), "{error}");
        assert!(incoming.try_recv().is_err(), "nothing else was sent");
    });
}

#[test]
fn a_client_that_is_not_root_gets_a_clear_error() {
    with_server(|app, incoming| async move {
        tokio::task::spawn_local(answer_all(app.clone(), incoming));
        let folder = wire::control_socket(&app);
        let folder = folder.parent().unwrap();
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o711)).unwrap();
        let asking = std::thread::spawn(move || {
            let nobody = rustix::process::Uid::from_raw(65534);
            rustix::thread::set_thread_uid(nobody).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_io()
                .build()
                .unwrap();
            runtime.block_on(Connection::open(&app)).unwrap_err()
        });
        let error = tokio::task::spawn_blocking(|| asking.join().unwrap())
            .await
            .unwrap();
        assert!(matches!(error, ClientError::NotAllowed { .. }), "{error:?}");
        assert!(error.to_string().contains("permission denied"), "{error}");
    });
}
