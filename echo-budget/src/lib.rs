//! Solvers and cost models: which drafted nodes the target verifies
