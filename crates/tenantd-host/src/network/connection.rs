//! The netlink socket of a thread, and the task that sends and receives on it.
//!
//! The task ends with the first error of the socket: the kernel may have no memory for a message, for
//! example. The request that met it fails, and the next one gets a new socket.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use rtnetlink::Handle;
use rtnetlink::sys::AsyncSocket;
use tokio::task::JoinHandle;

use super::link::Links;

/// A socket, and its task.
pub(super) struct Connected {
    handle: Handle,
    task: JoinHandle<()>,
    /// The socket's address: the kernel names it in what it reports of a change.
    port: u32,
}

impl Connected {
    fn open() -> io::Result<Self> {
        let (mut connection, handle, _) = rtnetlink::new_connection_with_strict_check()?;
        let socket = connection.socket_mut().socket_mut();
        // An error then includes the kernel's message, see netlink(7).
        socket.set_cap_ack(true)?;
        socket.set_ext_ack(true)?;
        let port = socket.bind_auto()?.port_number();
        Ok(Self {
            handle,
            task: tokio::spawn(connection),
            port,
        })
    }
}

impl Links {
    /// Opens a socket in the network namespace of this thread, and a task of the current runtime.
    ///
    /// # Errors
    /// Those of socket(2) and setsockopt(2).
    pub(super) fn connect() -> io::Result<Self> {
        Ok(Self(Rc::new(RefCell::new(Connected::open()?))))
    }

    /// The address of the socket, see netlink(7).
    pub(super) fn port(&self) -> u32 {
        self.0.borrow().port
    }

    /// The outcome of a request that is acknowledged. One that the socket could not send, or whose answer it could not
    /// read, ends like one that is done: the task has ended then.
    ///
    /// # Errors
    /// That of the request; [`rtnetlink::Error::RequestFailed`] if it may be lost.
    pub(super) fn done(
        &self,
        outcome: Result<(), rtnetlink::Error>,
    ) -> Result<(), rtnetlink::Error> {
        match outcome {
            Ok(()) if self.0.borrow().task.is_finished() => Err(rtnetlink::Error::RequestFailed),
            outcome => outcome,
        }
    }

    /// The handle for one request. After an error of the socket it is that of a new one.
    pub(super) fn handle(&self) -> Handle {
        let mut connected = self.0.borrow_mut();
        if connected.task.is_finished() {
            match Connected::open() {
                Ok(new) => *connected = new,
                // The request fails. The next one is another try.
                Err(error) => tracing::warn!(%error, "cannot open the netlink socket again"),
            }
        }
        connected.handle.clone()
    }
}
