//! The one loop between the two wings, and what it needs around it.

pub mod logs;
pub mod notify;
pub mod outflow;
pub mod ready;
pub mod signals;
pub mod tell;
