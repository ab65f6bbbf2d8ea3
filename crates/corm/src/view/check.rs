//! The check of a template's fields against its data, because Go refuses a field that a structure lacks and prints
//! `<no value>` for a key that a map lacks, and here both are JSON objects.

use gotmpl::parse::{Expr, ListNode, Node, PipeNode, Pos};
use serde_json::Value;

/// Fields that are maps with keys of the user.
const MAPS: [&str; 12] = [
    "Labels",
    "Annotations",
    "ExposedPorts",
    "Volumes",
    "Ports",
    "PortBindings",
    "Networks",
    "Options",
    "Sysctls",
    "Tmpfs",
    "Data",
    "NetworkOptions",
];

/// A field that does not exist, and where the template has it.
#[derive(Debug)]
pub(super) struct Missing {
    /// Position in the template.
    pub(super) pos: Pos,
    /// Name of the field.
    pub(super) name: String,
}

/// Checks all fields below `nodes`, where `dot` is the value of `.` and `top` that of `$`; what `.` is where it is not
/// known before the execution is not checked.
pub(super) fn fields(nodes: &ListNode, dot: Option<&Value>, top: &Value) -> Result<(), Missing> {
    nodes.nodes.iter().try_for_each(|node| of_node(node, dot, top))
}

fn of_node(node: &Node, dot: Option<&Value>, top: &Value) -> Result<(), Missing> {
    match node {
        Node::List(list) => fields(list, dot, top),
        Node::Action(action) => pipe(&action.pipe, dot, top),
        Node::If(branch) => {
            pipe(&branch.pipe, dot, top)?;
            fields(&branch.body, dot, top)?;
            branch.else_body.as_ref().map_or(Ok(()), |body| fields(body, dot, top))
        }
        Node::Range(branch) | Node::With(branch) => {
            pipe(&branch.pipe, dot, top)?;
            let value = value_of(&branch.pipe, dot, top);
            let inner = match (node, value) {
                (Node::Range(_), Some(Value::Array(items))) => items.first(),
                (Node::Range(_), Some(Value::Object(entries))) => entries.values().next(),
                (Node::Range(_), _) => None,
                (_, value) => value,
            };
            fields(&branch.body, inner, top)?;
            branch.else_body.as_ref().map_or(Ok(()), |body| fields(body, dot, top))
        }
        Node::Template(node) => node.pipe.as_ref().map_or(Ok(()), |inner| pipe(inner, dot, top)),
        Node::Text(_) | Node::Define(_) | Node::Break(_) | Node::Continue(_) => Ok(()),
    }
}

/// Adds the first name of each field below `nodes`.
pub(super) fn names(nodes: &ListNode, all: &mut Vec<String>) {
    for node in &nodes.nodes {
        match node {
            Node::List(list) => names(list, all),
            Node::Action(action) => names_of_pipe(&action.pipe, all),
            Node::If(branch) | Node::Range(branch) | Node::With(branch) => {
                names_of_pipe(&branch.pipe, all);
                names(&branch.body, all);
                if let Some(body) = &branch.else_body {
                    names(body, all);
                }
            }
            Node::Template(_) | Node::Text(_) | Node::Define(_) | Node::Break(_) | Node::Continue(_) => {}
        }
    }
}

fn names_of_pipe(node: &PipeNode, all: &mut Vec<String>) {
    for arg in node.commands.iter().flat_map(|command| &command.args) {
        match arg {
            Expr::Field(_, names) => all.extend(names.first().map(ToString::to_string)),
            Expr::Pipe(_, inner) => names_of_pipe(inner, all),
            _ => {}
        }
    }
}

fn pipe(node: &PipeNode, dot: Option<&Value>, top: &Value) -> Result<(), Missing> {
    node.commands.iter().flat_map(|command| &command.args).try_for_each(|arg| match arg {
        Expr::Field(pos, names) => dot.map_or(Ok(()), |dot| chain(*pos, dot, names).map(drop)),
        Expr::Variable(pos, variable, names) if variable == "$" => chain(*pos, top, names).map(drop),
        Expr::Pipe(_, inner) => pipe(inner, dot, top),
        Expr::Chain(_, inner, _) => match &**inner {
            Expr::Pipe(_, inner) => pipe(inner, dot, top),
            _ => Ok(()),
        },
        _ => Ok(()),
    })
}

/// Returns the value of a pipeline that is one field, `.` or `$`.
fn value_of<'a>(node: &PipeNode, dot: Option<&'a Value>, top: &'a Value) -> Option<&'a Value> {
    let [command] = node.commands.as_slice() else { return None };
    match command.args.as_slice() {
        [Expr::Dot(_)] => dot,
        [Expr::Field(pos, names)] => chain(*pos, dot?, names).ok()?,
        [Expr::Variable(pos, variable, names)] if variable == "$" => chain(*pos, top, names).ok()?,
        _ => None,
    }
}

/// Follows fields; `None` where a map or an absent value ends the check.
fn chain<'a>(pos: Pos, start: &'a Value, names: &[impl AsRef<str>]) -> Result<Option<&'a Value>, Missing> {
    let mut value = start;
    let mut in_map = false;
    for name in names.iter().map(AsRef::as_ref) {
        let Value::Object(object) = value else { return Ok(None) };
        match object.get(name) {
            Some(found) => value = found,
            None if in_map => return Ok(None),
            None => return Err(Missing { pos, name: name.to_owned() }),
        }
        in_map = MAPS.contains(&name);
    }
    Ok(Some(value))
}
