//! Changes of what all tenants share.

use tenantd_core::plan::model::{ControlPlan, NetworkPlan};

use super::{Reloads, Todo};
use crate::input::Input;

impl Reloads {
    /// Queues them. They come before the changes of tenants, which may need them.
    pub(super) fn change_shared(&mut self, network: NetworkPlan, control: ControlPlan) {
        if self.control != control {
            self.control = control.clone();
            self.todo.push_back(Todo::Apply(Input::Control(control)));
        }
        if self.network != network {
            self.network = network.clone();
            let network = Input::Network(Box::new(network));
            self.todo.push_back(Todo::Apply(network));
        }
    }
}
