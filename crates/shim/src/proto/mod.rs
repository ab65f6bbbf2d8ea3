//! Messages of containerd's interfaces, as far as the shim reads or writes them; the numbers are those of containerd's
//! `.proto` files.

pub(crate) mod bootstrap;
pub(crate) mod events;
pub(crate) mod metrics;
pub(crate) mod options;
pub(crate) mod sandbox;
pub(crate) mod task;

use std::time::{SystemTime, UNIX_EPOCH};

/// `google.protobuf.Any`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Any {
    /// Name of the message's type, with or without a prefix up to the last slash.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// The message, or JSON for types of the runtime specification.
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

impl Any {
    /// Packs a message.
    pub(crate) fn pack(name: &str, message: &impl prost::Message) -> Any {
        Any { type_url: name.to_owned(), value: message.encode_to_vec() }
    }

    /// Returns whether the message is of the type `name`.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.type_url.rsplit('/').next() == Some(name)
    }
}

/// `google.protobuf.Timestamp`
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct Timestamp {
    /// Seconds since 1970.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// Nanoseconds of the second.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

impl Timestamp {
    /// Returns the present time.
    pub(crate) fn now() -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp { seconds: since.as_secs() as i64, nanos: since.subsec_nanos() as i32 }
    }
}

/// `google.protobuf.Empty`
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct Empty {}

/// `ttrpc.KeyValue`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct KeyValue {
    /// Name.
    #[prost(string, tag = "1")]
    pub key: String,
    /// Value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// `ttrpc.Request`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Request {
    /// Name of the service.
    #[prost(string, tag = "1")]
    pub service: String,
    /// Name of the method.
    #[prost(string, tag = "2")]
    pub method: String,
    /// Message of the method.
    #[prost(bytes = "vec", tag = "3")]
    pub payload: Vec<u8>,
    /// Time for the answer.
    #[prost(int64, tag = "4")]
    pub timeout_nano: i64,
    /// Metadata, such as the namespace.
    #[prost(message, repeated, tag = "5")]
    pub metadata: Vec<KeyValue>,
}

/// `google.rpc.Status`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Status {
    /// Code of gRPC.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// Message.
    #[prost(string, tag = "2")]
    pub message: String,
}

/// `ttrpc.Response`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Response {
    /// The error, if there is one.
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
    /// Message of the method.
    #[prost(bytes = "vec", tag = "2")]
    pub payload: Vec<u8>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use prost::Message as _;

    use super::*;

    #[test]
    fn messages_have_the_bytes_of_the_protocol() {
        let request = Request { service: "a".to_owned(), method: "b".to_owned(), ..Request::default() };
        assert_eq!(request.encode_to_vec(), [10, 1, b'a', 18, 1, b'b']);
        let any = Any { type_url: "types.containerd.io/x.Y".to_owned(), value: Vec::new() };
        assert!(any.is("x.Y") && !any.is("Y"));
        let kill = task::KillRequest::decode(&[10, 1, b'c', 24, 15, 32, 1][..]).unwrap();
        assert_eq!((kill.id.as_str(), kill.signal, kill.all), ("c", 15, true));
    }
}
