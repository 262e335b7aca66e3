//! Gates: where in the super-tree drafting goes on
