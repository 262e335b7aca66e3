//! An operation with its operands resolved: what it is, but not for how many rows.

use crate::attention::Attention;
use crate::driver::{Args, Entry, Geometry, Launch};
use crate::linear::Product;
use echo_core::DeviceError;

/// An operation, equal to another if both do the same to the same operands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Op {
    /// One launch with a block of the grid's first direction for each row.
    Rows(Launch),
    Linear(Product),
    Attention(Attention),
}

/// What chooses the launches of an operation, never a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    /// Rows that there are blocks for.
    pub(crate) rows: usize,
    pub(crate) reach: Reach,
}

/// How the rows of a forward lie, as far as it matters to attention.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reach {
    /// Some sequence has more rows than a small block takes.
    pub(crate) wide: bool,
    /// Some row sees more positions than one split has.
    pub(crate) long: bool,
}

impl Reach {
    pub(crate) const ALL: [Reach; 4] = [
        Reach { wide: false, long: false },
        Reach { wide: true, long: false },
        Reach { wide: false, long: true },
        Reach { wide: true, long: true },
    ];
}

impl Op {
    /// A launch with `grid_y` blocks of `threads` threads for each row.
    pub(crate) fn rows(
        entry: Entry,
        grid_y: usize,
        threads: u32,
        shared_bytes: u32,
        args: impl Into<Args>,
    ) -> Op {
        let geometry = Geometry { grid: [0, grid_y as u32, 1], threads, shared_bytes };
        Op::Rows(Launch { entry, geometry, args: args.into() })
    }

    /// Calls `each` with the launches for `form`, in order.
    pub(crate) fn launches(
        &self,
        form: Form,
        each: &mut dyn FnMut(Launch) -> Result<(), DeviceError>,
    ) -> Result<(), DeviceError> {
        match self {
            Op::Rows(launch) => {
                let mut launch = *launch;
                launch.geometry.grid[0] = form.rows as u32;
                each(launch)
            }
            Op::Linear(product) => product.launches(form.rows, each),
            Op::Attention(attention) => attention.launches(form, each),
        }
    }
}
