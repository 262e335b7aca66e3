//! The super-tree of a batch: planting, growing, packing and walking it
