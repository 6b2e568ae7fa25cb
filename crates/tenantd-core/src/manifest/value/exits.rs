//! Ways in which a program ends.

use toml::Spanned;
use toml::de::DeValue;

use super::{At, Decode, Signal};
use crate::manifest::problem::Problems;

/// A way in which a program ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProgramExit {
    /// It exits with this status.
    Status(i32),
    /// This signal kills it.
    Signal(Signal),
}

impl Decode for ProgramExit {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let DeValue::Integer(integer) = at.value.get_ref() else {
            return Signal::decode(at, problems).map(Self::Signal);
        };
        let number = i128::from_str_radix(integer.as_str(), integer.radix()).ok();
        let status = number.and_then(|number| u8::try_from(number).ok());
        if status.is_none() {
            at.wrong(problems, "an exit status is a number from 0 to 255");
        }
        status.map(|status| Self::Status(status.into()))
    }
}

impl Decode for Vec<Spanned<ProgramExit>> {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let Some(array) = at.value.get_ref().as_array() else {
            at.wrong_type(problems, "an array of exit statuses and names of signals");
            return None;
        };
        // The others too, so that each problem is reported.
        let valid = array.iter().filter_map(|value| {
            let exit = ProgramExit::decode(At { value, ..at }, problems)?;
            Some(Spanned::new(value.span(), exit))
        });
        Some(valid.collect())
    }
}
