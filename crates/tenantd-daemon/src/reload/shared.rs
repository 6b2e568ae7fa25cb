//! Changes of what all tenants share.

use tenantd_core::plan::model::Plan;

use super::{Reloads, Todo};
use crate::input::Input;

impl Reloads {
    /// Queues them. They come before the changes of tenants, which may need them.
    pub(super) fn change_shared(&mut self, new: &Plan) {
        if self.control != new.control {
            self.control = new.control.clone();
            let control = Input::Control(new.control.clone());
            self.todo.push_back(Todo::Apply(control));
        }
        if self.network != new.network {
            self.network = new.network.clone();
            let network = Input::Network(Box::new(new.network.clone()));
            self.todo.push_back(Todo::Apply(network));
        }
    }
}
