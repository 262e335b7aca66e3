//! Kernels on the CPU, the slow reference of each, and the conformance suite of every backend
