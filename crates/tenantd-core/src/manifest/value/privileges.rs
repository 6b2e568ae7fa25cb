//! Privileges of processes as the manifest writes them.

use super::{At, Decode, one_of};
use crate::capability::{self, Capabilities, Capability};
use crate::manifest::problem::Problems;
use crate::system_calls::Preset;

/// Stands for [`Capabilities::SERVICE`] in a list.
const SERVICE: &str = "@service";

impl Decode for Capabilities {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let Some(array) = at.value.get_ref().as_array() else {
            at.wrong_type(problems, "an array of names of capabilities");
            return None;
        };
        // The others too, so that each problem is reported.
        let valid = array
            .iter()
            .filter_map(|value| one(At { value, ..at }, problems));
        Some(valid.fold(Self::NONE, Self::and))
    }
}

fn one(at: At<'_, '_>, problems: &mut Problems) -> Option<Capabilities> {
    let text = at.text(problems, "the name of a capability")?;
    if text == SERVICE {
        return Some(Capabilities::SERVICE);
    }
    let Some(capability) = Capability::named(text) else {
        let problem = at.wrong(problems, format!("{text:?} is not a capability"));
        problem.help(match capability::nearest(text) {
            Some(near) => format!("did you mean `{near:?}`?"),
            None => {
                "capabilities(7) lists them; `\"@service\"` stands for the usual ones".to_owned()
            }
        });
        return None;
    };
    if let Some(why) = capability.danger() {
        problems
            .report(&at.span(), format!("no tenant can have {capability}"))
            .note(format!(
                "with this capability a program is not separate from the host: {why}"
            ))
            .help("remove it");
        return None;
    }
    Some(Capabilities::NONE.with(capability))
}

impl Decode for Preset {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        Preset::named(one_of(at, problems)?)
    }
}
