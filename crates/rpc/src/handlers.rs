//! The methods of the protocol, one file each.
//!
//! A handler checks its parameters, calls the background manager, and converts the result. It keeps no state and
//! makes changes only through one call of the background manager, so dropping it at any time leaves no partial
//! change.

pub(crate) mod ack;
pub(crate) mod check;
pub(crate) mod drain;
pub(crate) mod places;
pub(crate) mod read;
pub(crate) mod remove;
pub(crate) mod resize;
pub(crate) mod restart;
pub(crate) mod session;
pub(crate) mod signal;
pub(crate) mod sources;
pub(crate) mod spawn;
pub(crate) mod stop;
pub(crate) mod subscribe;
pub(crate) mod timeline;
pub(crate) mod unsubscribe;
pub(crate) mod wait;
pub(crate) mod write;

use crate::convert::error;
use crate::wire::Error;

pub(crate) type Result<T> = std::result::Result<T, Error>;

/// Converts an error of the background manager.
fn refused(why: meanwhile_core::Error) -> Error {
    error::from_core(&why)
}
