//! The one loop between the two wings, and what it needs around it.

pub mod logs;
pub mod outflow;
pub mod ready;
pub mod tell;
