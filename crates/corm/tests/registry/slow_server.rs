//! Registries that are slow, busy or break off. The tests call the library, not the program, because its timeouts can
//! be short.

use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use corm::driver::DriverKind;
use corm::model::reference::Reference;
use corm::progress::Progress;
use corm::registry;
use corm::registry::Options;
use corm::registry::Timeouts;
use corm::store::Store;
use corm::store::StoreOptions;

use crate::fixture::Fixture;
use crate::server::{Request, Response, Server};
use test_support::Sandbox;

const SPAN: Duration = Duration::from_millis(400);

fn options() -> Options {
    let timing = Timeouts {
        connect: Duration::from_secs(2),
        answer: Duration::from_secs(2),
        idle: SPAN,
        span: SPAN,
        span_bytes: 1000,
        attempts: 3,
        backoff: Duration::from_millis(1),
    };
    Options { timing, ..Options::default() }
}

/// Pulls the fixture. Returns the id of the image, or the error as corm prints it.
fn pull(server: &Server) -> Result<String, String> {
    let sandbox = Sandbox::new();
    let store =
        Store::open(&StoreOptions { root: Some(sandbox.path("store")), driver: Some(DriverKind::Copy) }).unwrap();
    let name = Reference::parse(&server.name("a/b:v1")).unwrap();
    let pulled = registry::pull(&store, &name, None, &options(), &Progress::none());
    assert_eq!(store.images().unwrap().len(), usize::from(pulled.is_ok()));
    pulled.map(|image| image.id.hex().to_owned()).map_err(|error| base::error::describe(&error))
}

fn serve(fixture: &Fixture, lie: impl Fn(&Request) -> Option<Response> + Send + Sync + 'static) -> Server {
    let honest = fixture.clone();
    Server::new(move |request| lie(request).unwrap_or_else(|| honest.answer(request)))
}

#[test]
fn item_13_a_slow_body_is_given_up() {
    let fixture = Fixture::new();
    let (layer, size) = (fixture.layers[1].clone(), fixture.blobs[&fixture.layers[1]].len());
    let server = serve(&fixture, move |request| {
        request.path.ends_with(&layer).then(|| {
            Response::raw(move |stream| {
                stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n").as_bytes())?;
                // sends a byte from time to time: each arrives before the timeout, but all of them would take days
                loop {
                    stream.write_all(b"x")?;
                    std::thread::sleep(SPAN / 20);
                }
            })
        })
    });
    let begin = Instant::now();
    let error = pull(&server).unwrap_err();
    assert!(error.contains("bytes came in"), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
    assert_eq!(server.count(&fixture.layers[1]), 3);
}

#[test]
fn item_13_silence_is_given_up() {
    let fixture = Fixture::new();
    let quiet = |head: &'static str| {
        move |stream: &mut std::net::TcpStream| {
            stream.write_all(head.as_bytes())?;
            // waits until corm closes the connection
            std::io::Read::read(stream, &mut [0]).map(drop)
        }
    };
    for head in ["HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n", "HTTP/1.1 200 OK\r\n", ""] {
        let server = serve(&fixture, move |request| request.path.ends_with("/v1").then(|| Response::raw(quiet(head))));
        let begin = Instant::now();
        let error = pull(&server).unwrap_err();
        assert!(error.contains("timed out") || error.contains("timeout"), "{head:?}: {error}");
        assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
        assert_eq!(server.count("/manifests/"), 3, "{head:?}");
    }
}

#[test]
fn item_13_a_download_that_breaks_off_is_continued_where_it_was() {
    let fixture = Fixture::new();
    let (layer, bytes) = (fixture.layers[1].clone(), fixture.blobs[&fixture.layers[1]].clone());
    let tries = AtomicUsize::new(0);
    let server = serve(&fixture, move |request| {
        if !request.path.ends_with(&layer) || tries.fetch_add(1, Ordering::SeqCst) > 0 {
            return None;
        }
        let bytes = bytes.clone();
        Some(Response::raw(move |stream| {
            stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", bytes.len()).as_bytes())?;
            stream.write_all(&bytes[..1 << 20])
        }))
    });
    assert_eq!(pull(&server).unwrap(), fixture.id());
    let requests = server.requests();
    let ranges: Vec<_> = requests
        .iter()
        .filter(|request| request.path.ends_with(&fixture.layers[1]))
        .map(|request| request.header("range"))
        .collect();
    assert_eq!(ranges, [None, Some("bytes=1048576-")]);
}

#[test]
fn item_13_a_continuation_has_to_continue() {
    let fixture = Fixture::new();
    let bytes = fixture.blobs[&fixture.layers[1]].clone();
    let broken = |bytes: Vec<u8>| {
        Response::raw(move |stream| {
            stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", bytes.len()).as_bytes())?;
            stream.write_all(&bytes[..1 << 20])
        })
    };
    let length = bytes.len();
    let wrong = [
        format!("bytes 0-{}/{length}", length - 1),
        format!("bytes 1048576-{}/{}", length - 1, length + 1),
        "bytes x-y/z".to_owned(),
        String::new(),
    ];
    for range in wrong {
        let (layer, bytes, sent) = (fixture.layers[1].clone(), bytes.clone(), range.clone());
        let server = serve(&fixture, move |request| {
            request.path.ends_with(&layer).then(|| match request.header("range") {
                None => broken(bytes.clone()),
                Some(_) => Response::new(206, &[("content-range", &sent)], &bytes[1 << 20..]),
            })
        });
        let error = pull(&server).unwrap_err();
        assert!(error.contains("content-range"), "{range:?}: {error}");
    }
    // a server that cannot continue sends the whole layer again
    let (layer, first) = (fixture.layers[1].clone(), AtomicUsize::new(0));
    let server = serve(&fixture, move |request| {
        request.path.ends_with(&layer).then(|| match first.fetch_add(1, Ordering::SeqCst) {
            0 => broken(bytes.clone()),
            _ => Response::new(200, &[], bytes.clone()),
        })
    });
    assert_eq!(pull(&server).unwrap(), fixture.id());
}

#[test]
fn requests_to_a_busy_registry_are_repeated_and_not_for_ever() {
    let fixture = Fixture::new();
    for (status, times, works) in
        [(503, 2, true), (429, 2, true), (500, 1, true), (502, 1, true), (503, 9, false), (404, 1, false)]
    {
        let left = AtomicUsize::new(times);
        let server = serve(&fixture, move |request| {
            let busy = request.path.ends_with("/v1")
                && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
            busy.then(|| Response::new(status, &[("retry-after", "0")], ""))
        });
        let pulled = pull(&server);
        assert_eq!(pulled.is_ok(), works, "{status} {times}: {pulled:?}");
        let wanted = if status == 404 { 1 } else { 3.min(times + 1) };
        assert_eq!(server.count("/manifests/"), wanted, "{status} {times}");
    }
}

#[test]
fn connections_that_are_cut_are_opened_again() {
    let fixture = Fixture::new();
    let left = AtomicUsize::new(2);
    let server = serve(&fixture, move |request| {
        let cut = request.path.contains("/blobs/")
            && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        cut.then(|| Response::raw(|_| Ok(())))
    });
    assert_eq!(pull(&server).unwrap(), fixture.id());
}
