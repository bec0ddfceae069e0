//! How single arguments are read.

use std::str::FromStr as _;
use std::time::Duration;

use clap::builder::{OsStringValueParser, PossibleValuesParser, TypedValueParser};
use rdb_client::{Bytes, Durability, Key, MAX_TTL, Version};

use crate::duration;
use crate::value::{Value, parse_key};

pub(super) fn key() -> impl TypedValueParser<Value = Key> {
    OsStringValueParser::new().try_map(parse_key)
}

pub(super) fn value() -> impl TypedValueParser<Value = Value> {
    OsStringValueParser::new().try_map(Value::parse)
}

pub(super) fn bytes() -> impl TypedValueParser<Value = Bytes> {
    OsStringValueParser::new().map(|text| Bytes::from(text.into_encoded_bytes()))
}

pub(super) fn durability() -> impl TypedValueParser<Value = Durability> {
    PossibleValuesParser::new(Durability::ALL.map(Durability::name))
        .try_map(|name| Durability::from_str(&name))
}

/// The version of a record.
pub(super) fn version(text: &str) -> Result<Version, String> {
    Version::new(number(text)?).ok_or_else(|| "a version is never 0; for no record, use --absent".to_owned())
}

/// The version of a view or a commit.
pub(super) fn point(text: &str) -> Result<Version, String> {
    Version::new(number(text)?).ok_or_else(|| "a version is never 0".to_owned())
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "a version is a number".to_owned())
}

/// A time to live: what an engine takes for one.
pub(super) fn ttl(text: &str) -> Result<Duration, String> {
    match duration::parse(text)? {
        ttl if ttl < Duration::from_millis(1) => Err("is less than 1ms".to_owned()),
        ttl if ttl > MAX_TTL => Err(format!("is more than {}d, a hundred years", MAX_TTL.as_secs() / 86_400)),
        ttl => Ok(ttl),
    }
}

/// How often to tell the progress of a watch.
pub(super) fn progress(text: &str) -> Result<Duration, String> {
    const DAY: Duration = Duration::from_secs(86_400);
    match duration::parse(text)? {
        every if every < Duration::from_millis(1) || every > DAY => Err("is not from 1ms to 1d".to_owned()),
        every => Ok(every),
    }
}
