use std::collections::HashMap;

use rdb_proto::Call;

/// A method of a service: what the server knows of a request before its service sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Method {
    /// The path of its requests, such as `/flaredb.pd.v1.Pd/Cluster`.
    pub path: &'static str,
    /// Its name in metrics, such as `cluster`.
    pub name: &'static str,
    /// Whether it may change something, which decides what a request is told that is cut off (C10).
    pub call: Call,
    /// How its requests are received.
    pub reception: Reception,
    /// Whether its answer lasts for as long as its client likes: such a request ends when the server begins to
    /// drain. A [`Reception::Dialogue`] always does.
    pub lasts: bool,
}

/// How the requests of a method are received, and what bounds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reception {
    /// One message, which the service sees once all of it is there.
    Whole,
    /// A stream of messages that the service answers at its end. It is bound by the deadline of its client, and by
    /// [`NodeConfig::stall_timeout`](crate::NodeConfig::stall_timeout) for each message; when the server drains it
    /// may still come to its end.
    Upload,
    /// A stream of messages that is answered while it goes on, for as long as its client likes. It is bound by
    /// the deadline of its client, and by [`NodeConfig::stall_timeout`](crate::NodeConfig::stall_timeout) in the
    /// middle of a message, and ends when the server begins to drain. A connection has at most 64 of them.
    Dialogue,
}

impl Method {
    /// A method that changes nothing.
    pub const fn read(path: &'static str, name: &'static str) -> Self {
        Self { path, name, call: Call::Read, reception: Reception::Whole, lasts: false }
    }

    /// A method that may change something.
    pub const fn write(path: &'static str, name: &'static str) -> Self {
        Self { path, name, call: Call::Write, reception: Reception::Whole, lasts: false }
    }

    /// The method, with requests that are received in this way.
    #[must_use]
    pub const fn received(mut self, reception: Reception) -> Self {
        self.reception = reception;
        self
    }

    /// The method, with answers that last.
    #[must_use]
    pub const fn lasting(mut self) -> Self {
        self.lasts = true;
        self
    }
}

/// The methods of a server, each with a place that counters go by.
#[derive(Debug)]
pub(crate) struct Methods {
    all: Vec<Method>,
    places: HashMap<&'static str, usize>,
}

impl Methods {
    pub(crate) fn new(all: Vec<Method>) -> Self {
        let places = all.iter().enumerate().map(|(place, method)| (method.path, place)).collect();
        Self { all, places }
    }

    /// The place of the method that a request asks for.
    pub(crate) fn at(&self, path: &str) -> Option<usize> {
        self.places.get(path).copied()
    }

    pub(crate) fn get(&self, place: usize) -> &Method {
        &self.all[place]
    }

    pub(crate) fn all(&self) -> &[Method] {
        &self.all
    }
}
