//! The functions of templates that Podman and Docker add to those of Go: `json`, `join`, `split`, `lower`, `upper`,
//! `title`, `pad`, `truncate`.

use gotmpl::{FuncMap, Result, TemplateError, Value, ValueFunc};
use serde_json::{Map, Value as Json};
use std::sync::Arc;

/// Returns the functions for data.
pub(super) fn of_data() -> FuncMap {
    functions(&[
        ("json", json),
        ("join", join),
        ("split", split),
        ("lower", |args| changed("lower", args, |text| text.to_lowercase())),
        ("upper", |args| changed("upper", args, |text| text.to_uppercase())),
        ("title", |args| changed("title", args, title)),
        ("pad", pad),
        ("truncate", truncate),
    ])
}

/// Returns the functions for the line of headings: each returns the heading as it is, which has no structure.
pub(super) fn of_headings() -> FuncMap {
    let first: Function = |args| Ok(args.first().cloned().unwrap_or(Value::Nil));
    functions(&["json", "join", "split", "lower", "upper", "title", "pad", "truncate"].map(|name| (name, first)))
}

/// A function of templates.
type Function = fn(&[Value]) -> Result<Value>;

fn functions(list: &[(&str, Function)]) -> FuncMap {
    list.iter().map(|&(name, function)| (name.to_owned(), Arc::new(function) as ValueFunc)).collect()
}

fn wrong<T>(name: &str, text: &str) -> Result<T> {
    Err(TemplateError::Exec(format!("{name}: {text}")))
}

fn text<'a>(name: &str, value: Option<&'a Value>) -> Result<&'a str> {
    match value.map(Value::as_str) {
        Some(Some(text)) => Ok(text),
        Some(None) => wrong(name, "the argument is no text"),
        None => wrong(name, "an argument is missing"),
    }
}

fn number(name: &str, value: Option<&Value>) -> Result<usize> {
    match value.and_then(Value::as_int).and_then(|number| usize::try_from(number).ok()) {
        Some(number) => Ok(number),
        None => wrong(name, "a number, 0 or more, is missing"),
    }
}

fn count(name: &str, args: &[Value], want: usize) -> Result<()> {
    if args.len() == want { Ok(()) } else { wrong(name, &format!("takes {want} arguments, got {}", args.len())) }
}

fn changed(name: &str, args: &[Value], change: impl Fn(&str) -> String) -> Result<Value> {
    count(name, args, 1)?;
    Ok(Value::String(change(text(name, args.first())?).into()))
}

/// Formats a value as JSON on one line.
fn json(args: &[Value]) -> Result<Value> {
    count("json", args, 1)?;
    Ok(Value::String(args.first().map(to_json).unwrap_or_default().to_string().into()))
}

fn to_json(value: &Value) -> Json {
    match value {
        Value::Bool(value) => Json::from(*value),
        Value::Int(value) => Json::from(*value),
        Value::Uint(value) => Json::from(*value),
        Value::Float(value) => Json::from(*value),
        Value::String(value) => Json::from(&**value),
        Value::List(items) => items.iter().map(to_json).collect(),
        Value::Map(fields) => {
            Json::Object(fields.iter().map(|(name, value)| (name.to_string(), to_json(value))).collect::<Map<_, _>>())
        }
        Value::Nil | Value::Function(_) => Json::Null,
    }
}

/// Joins the texts of a list: `join .List ", "`.
fn join(args: &[Value]) -> Result<Value> {
    count("join", args, 2)?;
    let separator = text("join", args.get(1))?;
    match args.first() {
        Some(Value::List(items)) => {
            let items: Vec<&str> = items.iter().map(|item| text("join", Some(item))).collect::<Result<_>>()?;
            Ok(Value::String(items.join(separator).into()))
        }
        // an absent list is an empty one
        Some(Value::Nil) => Ok(Value::String("".into())),
        _ => wrong("join", "the first argument is no list"),
    }
}

/// Splits a text: `split .Text ","`.
fn split(args: &[Value]) -> Result<Value> {
    count("split", args, 2)?;
    let (whole, separator) = (text("split", args.first())?, text("split", args.get(1))?);
    Ok(Value::List(whole.split(separator).map(|part| Value::String(part.into())).collect()))
}

fn title(text: &str) -> String {
    let mut start = true;
    let letter = |c: char| {
        let upper = std::mem::replace(&mut start, !c.is_alphanumeric() && c != '_' && c != '\'');
        if upper { c.to_uppercase().collect::<String>() } else { c.to_string() }
    };
    text.chars().map(letter).collect()
}

/// Adds spaces around a text: `pad .Text BEFORE AFTER`.
fn pad(args: &[Value]) -> Result<Value> {
    const MAX_SPACES: usize = 1000;
    count("pad", args, 3)?;
    let [before, after] =
        [number("pad", args.get(1))?, number("pad", args.get(2))?].map(|spaces| " ".repeat(spaces.min(MAX_SPACES)));
    Ok(Value::String(format!("{before}{}{after}", text("pad", args.first())?).into()))
}

/// Cuts a text: `truncate .Text LENGTH`.
fn truncate(args: &[Value]) -> Result<Value> {
    count("truncate", args, 2)?;
    let length = number("truncate", args.get(1))?;
    Ok(Value::String(text("truncate", args.first())?.chars().take(length).collect::<String>().into()))
}
