//! Launches on the real kernel, each test in its own test host.

mod attributes;
mod bench;
mod converting;
mod descriptors;
mod files;
mod filesystems;
mod folders;
mod inherited;
mod inside;
mod limits;
mod locks;
mod machine;
mod many;
mod mounts;
mod older;
mod overlaid;
mod privileges;
mod rehearsal;
mod secrets;
mod stages;
mod sys;
mod unread;
mod view;
mod wall;
