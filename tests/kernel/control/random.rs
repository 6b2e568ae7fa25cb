//! Clients that send random bytes.

use super::{AppName, RequestQueue, answer_all, control, queue, with_app};
use proptest::prelude::{Just, Strategy, any, prop, prop_oneof};
use proptest::strategy::ValueTree;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Bytes close to what a client would send: a valid request, truncated, changed or joined to
/// others.
fn requests() -> impl Strategy<Value = Vec<u8>> {
    let words = prop_oneof![
        Just("{\"method\":\"io.tenantd.Supervisor.Status\"}\0".to_owned()),
        Just("{\"method\":\"io.tenantd.Supervisor.Enter\",\"parameters\":{}}\0".to_owned()),
        Just("\"parameters\":{\"tenants\":[\"acme\"]}".to_owned()),
        Just("\"oneway\":true,\"more\":true,\"upgrade\":true".to_owned()),
        "[\\[\\]{}:,\"\\\\\0a-z0-9]{0,12}",
    ];
    let glued = prop::collection::vec(words, 0..6).prop_map(|words| words.concat().into());
    prop_oneof![glued, prop::collection::vec(any::<u8>(), 0..300)]
}

async fn server_survives(app: &AppName, bytes: &[u8]) {
    let path = tenantd_api::wire::control_socket(app);
    let mut peer = tokio::net::UnixStream::connect(&path).await.unwrap();
    // The server may close at the first invalid byte.
    let _ = peer.write_all(bytes).await;
    let _ = peer.shutdown().await;
    let mut answer = Vec::new();
    let _ = peer.read_to_end(&mut answer).await;
    for message in answer.split(|byte| *byte == 0).filter(|m| !m.is_empty()) {
        let message: serde_json::Value = serde_json::from_slice(message).unwrap();
        assert!(message.is_object(), "{message}");
    }
}

#[test]
fn random_bytes_do_not_stop_the_server() {
    with_app(|app| async move {
        let listener = control::bind(&app).unwrap();
        let (queue, incoming): (RequestQueue, _) = queue::open();
        let serving = tokio::task::spawn_local(listener.serve(queue));
        tokio::task::spawn_local(answer_all(app.clone(), incoming));
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        for _ in 0..256 {
            let bytes = requests().new_tree(&mut runner).unwrap().current();
            server_survives(&app, &bytes).await;
        }
        assert!(!serving.is_finished());
        let mut good = tenantd_api::client::Connection::open(&app).await.unwrap();
        good.status(&[]).await.unwrap();
    });
}
