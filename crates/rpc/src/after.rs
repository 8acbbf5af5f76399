//! What a handler leaves to be done once its reply is on its way.
//!
//! Two guarantees of the contract hang on the order of a reply and something else: a task's pushes
//! come after the reply that names it, and what a drain returned is acknowledged once the client
//! has it. A handler cannot do either itself, because it ends before its reply is sent; so it says
//! what is to follow, and the loop does it.

use std::cell::RefCell;

use meanwhile_core::background::{Hold, Lease};
use tokio::sync::{OwnedRwLockReadGuard, oneshot};

use crate::outbox::{Mark, Outbox};
use crate::progress::{Follow, Progresses};

/// What is to follow a reply.
#[derive(Debug)]
pub(crate) enum After {
    /// Once the reply is queued: report the task's progress.
    Follow(Follow),
    /// Once the reply is queued: let the task's pushes flow.
    Release(Hold),
    /// Once the reply is queued: let the pushes of output flow.
    Flow(OwnedRwLockReadGuard<()>),
    /// Once the reply is queued: let a session's updates flow, by its end.
    Begin(oneshot::Sender<()>),
    /// Once the reply is written: acknowledge.
    Ack(Lease),
}

tokio::task_local! {
    static LEFT: RefCell<Vec<After>>;
}

/// Leaves something to follow the reply of the request that is being handled. Outside of a request
/// there is no reply, and it is dropped: a hold is released, a lease is not acknowledged.
pub(crate) fn leave(action: After) {
    // The error says that there is no request; the action was dropped with the closure.
    let _ = LEFT.try_with(|left| left.borrow_mut().push(action));
}

/// Runs a handler and returns what it left to be done beside its output.
pub(crate) async fn collect<T>(handler: impl Future<Output = T>) -> (T, Vec<After>) {
    LEFT.scope(RefCell::default(), async {
        let output = handler.await;
        (output, LEFT.with(RefCell::take))
    })
    .await
}

/// Does what was left, after a reply that succeeded.
pub(crate) fn run(left: Vec<After>, reply: Mark, outbox: &Outbox, progresses: &Progresses) {
    for action in left {
        match action {
            After::Follow(follow) => progresses.follow(follow, outbox),
            After::Release(hold) => drop(hold),
            After::Flow(held) => drop(held),
            After::Begin(replied) => drop(replied),
            After::Ack(lease) => outbox.when_written(reply, lease),
        }
    }
}
