//! Parser for `WWW-Authenticate` (RFC 9110 section 11, and the Bearer form of the distribution project).

/// A challenge of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User and password with every request.
    Basic,
    /// A token from a token server.
    Bearer {
        /// URL of the token server.
        realm: String,
        /// Service that the token is for.
        service: Option<String>,
        /// Scope of the token.
        scope: Option<String>,
    },
}

/// Chooses a challenge from the headers: Bearer before Basic, others are ignored.
pub(super) fn choose<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Challenge> {
    let mut chosen = None;
    for (scheme, parameters) in headers.flat_map(schemes) {
        let get = |name: &str| {
            let found = parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.clone())
        };
        if scheme.eq_ignore_ascii_case("bearer") {
            if let Some(realm) = get("realm") {
                return Some(Challenge::Bearer { realm, service: get("service"), scope: get("scope") });
            }
        } else if scheme.eq_ignore_ascii_case("basic") {
            chosen = Some(Challenge::Basic);
        }
    }
    chosen
}

type Scheme = (String, Vec<(String, String)>);

/// Splits a header into schemes: a scheme is a word without a following `=`, a parameter one with it.
fn schemes(header: &str) -> Vec<Scheme> {
    let mut schemes: Vec<Scheme> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return schemes;
        }
        let end = rest.find([' ', '\t', ',', '=', '"']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        match (after.trim_start().strip_prefix('='), schemes.last_mut()) {
            (Some(value), Some((_, parameters))) => {
                let (value, after) = value_of(value.trim_start());
                parameters.push((word.to_owned(), value));
                rest = after;
            }
            // a syntax error: the rest cannot be parsed
            (Some(_), None) => return schemes,
            (None, _) if word.is_empty() => return schemes,
            (None, _) => {
                schemes.push((word.to_owned(), Vec::new()));
                rest = after;
            }
        }
    }
}

/// Splits off a word or a quoted string.
fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (word, rest) = text.split_at(text.find([' ', '\t', ',']).unwrap_or(text.len()));
        return (word.to_owned(), rest);
    };
    let (mut value, mut escaped) = (String::new(), false);
    for (at, letter) in quoted.char_indices() {
        match letter {
            _ if escaped => {
                value.push(letter);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return (value, quoted.get(at + 1..).unwrap_or_default()),
            _ => value.push(letter),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Some(Challenge::Bearer { realm: realm.to_owned(), service: owned(service), scope: owned(scope) })
    }

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        let table: &[(&[&str], Option<Challenge>)] = &[
            (
                &[
                    r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#,
                ],
                bearer("https://auth.docker.io/token", Some("registry.docker.io"), Some("repository:a/b:pull,push")),
            ),
            (&["Basic realm=\"Registry\""], Some(Challenge::Basic)),
            (&["basic"], Some(Challenge::Basic)),
            (&["Basic realm=x, bearer REALM=https://t/ , Service = s"], bearer("https://t/", Some("s"), None)),
            (&["Basic realm=\"a\"", "Bearer realm=\"b\""], bearer("b", None, None)),
            (&[r#"Bearer realm="a\"b\\c, d",scope="""#], bearer(r#"a"b\c, d"#, None, Some(""))),
            (&["Negotiate YWJj==, Basic realm=\"x\""], Some(Challenge::Basic)),
            (&["Bearer service=\"no realm\""], None),
            (&["Digest realm=\"x\""], None),
            (&["", ",,, ", "=", "\"", "Bearer realm=\"never closed"], bearer("never closed", None, None)),
            (&["=x Bearer realm=y"], None),
            (&["Bearer\trealm=y\t"], bearer("y", None, None)),
        ];
        for (headers, want) in table {
            assert_eq!(choose(headers.iter().copied()), *want, "{headers:?}");
        }
    }
}
