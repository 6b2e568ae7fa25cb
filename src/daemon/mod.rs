//! The daemon: the one loop between the two wings.

pub mod control;
pub mod desk;
pub mod logs;
pub mod notify;
mod outflow;
pub mod ready;
pub mod signals;
pub mod tell;
