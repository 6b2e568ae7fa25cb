//! A client that sends anything, for the fuzzer.

use std::os::fd::AsFd;
use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::watch::channel;
use tokio::task::{LocalSet, spawn_local};

use super::deputies::Deputies;
use super::{Admission, Readers, Service, serve};
use crate::audit::Audit;
use crate::requests::queue;
use tenantd_host::inbox;

/// Serves a client that sends these bytes, and reads its answers to their end. Requests are not carried
/// out: each is answered as by a supervisor that ends.
///
/// # Panics
/// If the connection is not served to its end, or an answer is not JSON.
pub fn requests(bytes: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let answers = LocalSet::new().block_on(&runtime, conversation(bytes.to_vec()));
    for answer in answers.split(|byte| *byte == 0) {
        if !answer.is_empty() {
            serde_json::from_slice::<serde_json::Value>(answer).expect("an answer is JSON");
        }
    }
}

async fn conversation(bytes: Vec<u8>) -> Vec<u8> {
    let (client, served) = UnixStream::pair().expect("a pair of sockets");
    let (queue, mut asked) = queue::open();
    let app = "fuzz".parse().expect("a valid name");
    let admission = Admission::new(Readers::of(Path::new("/nonexistent")), Audit::default());
    inbox::name_senders(served.as_fd()).expect("a socket");
    let admitted = admission.admit(&served).await.expect("a place");
    let (_open, closed) = channel(());
    let service = Service::new(app, queue, Deputies::default()).of(&admitted, &closed);
    let serving = spawn_local(serve(served, service, admitted, closed));
    let ignoring = spawn_local(async move { while asked.recv().await.is_some() {} });
    let (mut read, mut write) = client.into_split();
    let sending = spawn_local(async move {
        // It fails if the connection was closed because of what it sent.
        let _sent = write.write_all(&bytes).await;
        let _ended = write.shutdown().await;
    });
    let mut answers = Vec::new();
    let _closed = read.read_to_end(&mut answers).await;
    sending.await.expect("the client's task ends");
    serving.await.expect("the connection's task ends");
    ignoring.abort();
    answers
}
