//! The parsers of a registry's answers for fuzz targets, which are private to this module otherwise.

use ureq::http::Uri;

use super::challenge::{self, Challenge};
use super::{credentials, http, url};

/// Parses the bytes as a challenge, a location, an error, and a file with credentials.
pub(crate) fn answers(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Some(Challenge::Bearer { realm, .. }) = challenge::choose(text.split('\n'))
        && let Ok(realm) = realm.parse::<Uri>()
        && url::Origin::of(&realm).is_ok()
    {
        let query = [("service", text.as_ref()), ("scope", "repository:a:pull")];
        assert!(url::with_query(&realm, &query).is_ok(), "{realm}");
    }
    for base in ["https://registry.test:5000/v2/", "http://127.0.0.1:5000"] {
        let base: Uri = base.parse().unwrap_or_default();
        match url::resolve(&base, &text) {
            Ok(found) => {
                let origin = url::Origin::of(&found);
                assert!(origin.is_ok(), "{found} has no origin");
                assert!(!url::shown(&found).contains(char::is_control), "{found}");
            }
            Err(err) => assert!(!base::error::describe(&err).is_empty()),
        }
    }
    let shown = http::error_message(data);
    assert!(shown.chars().count() <= 300 && !shown.contains(char::is_control), "{shown:?}");
    if let Ok(document) = serde_json::from_slice(data) {
        for key in ["registry.test", "registry.test:5000/a/b", ""] {
            let _ = credentials::entry(&document, key);
        }
    }
}
