//! The engine: batch, KV slots, the decode step and its handle
