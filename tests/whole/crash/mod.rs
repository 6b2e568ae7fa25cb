//! The supervisor is killed at each of its crash points (`src/crash.rs`), one after another, and
//! the next one must reach the wanted state from there: every tenant up and answering, one launch
//! of each on its datastore, whoever was not concerned never interrupted, and nothing left at the
//! end. So is whoever collects residue, beside a supervisor and alone.

mod collect;
mod drive;
mod points;
mod scene;
