//! The server over real sockets, on the simulated model; one program, since each would link the
//! whole of it.

mod abuse;
mod ends;
mod http;
mod metrics;
mod overload;
mod page;
mod testkit;
