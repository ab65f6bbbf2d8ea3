//! Whole documents: what callers write, what must be refused, and what must be let through.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bad;
mod good;
mod recorded;
mod typed;

use serde_json::{Map, Value};

/// A valid configuration with `value` at `place`, a path such as `linux.resources.memory`; objects on the way are created.
fn with(place: &str, value: Value) -> Value {
    let mut config = super::default_config(None, true);
    set(&mut config, place, value);
    config
}

fn set(config: &mut Value, place: &str, value: Value) {
    let mut slot = config;
    for name in place.split('.') {
        if !slot.is_object() {
            *slot = Value::Object(Map::new());
        }
        slot = slot.as_object_mut().unwrap().entry(name).or_insert(Value::Null);
    }
    *slot = value;
}

fn without(place: &str) -> Value {
    let mut config = super::default_config(None, true);
    let (parent, name) = place.rsplit_once('.').unwrap_or(("", place));
    let parent = parent.split('.').filter(|name| !name.is_empty()).fold(&mut config, |slot, name| &mut slot[name]);
    parent.as_object_mut().unwrap().remove(name).expect("the default configuration has it");
    config
}

fn parse(config: &Value) -> anyhow::Result<super::Config> {
    super::parse(config.to_string().as_bytes())
}
