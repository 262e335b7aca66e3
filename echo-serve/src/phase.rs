//! The way a server ends.

/// How far a server was told to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// On.
    Serve,
    /// Take no more requests and let running ones end, as long as they may.
    Drain,
    /// End running requests.
    Stop,
}

/// How far a server has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ending {
    /// Not at all.
    NotYet,
    /// `/ready` says no; requests are still taken.
    Leaving,
    /// Requests are refused, running ones go on.
    Closed,
    /// Running requests are told that they end here.
    Cut,
}
