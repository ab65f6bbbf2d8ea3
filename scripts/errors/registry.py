"""A registry on loopback whose repositories go wrong, by plain HTTP and by HTTPS with a certificate of its own."""
import hashlib
import http.server
import json
import ssl
import subprocess
import threading
import time

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def digest(content):
    """The digest of bytes."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


LAYER = b"\x1f\x8b\x08\x00 not really gzip"
CONFIG = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "0" * 64]}}).encode()


def manifest(layer_digest=None, layer_size=None, media="application/vnd.oci.image.layer.v1.tar+gzip", config=CONFIG):
    """A manifest of one layer."""
    return json.dumps({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(config), "size": len(config)},
        "layers": [{"mediaType": media, "digest": layer_digest or digest(LAYER), "size": layer_size or len(LAYER)}],
    }).encode()


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers by the name of the repository."""
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Logs nothing."""

    def answer(self, status, body=b"", **headers):
        """Sends an answer."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def error(self, status, code, **headers):
        """Sends an error in the registry's form."""
        self.answer(status, json.dumps({"errors": [{"code": code, "message": "no"}]}).encode(), content_type="application/json", **headers)

    def manifest(self, text, kind=MANIFEST, **headers):
        """Sends a manifest."""
        self.answer(200, text, content_type=kind, **headers)

    def do_HEAD(self):
        """Says that a blob is not there, for an upload."""
        self.answer(404)

    def do_POST(self):
        """Starts an upload, which fails by the repository's name."""
        if "/full/" in self.path:
            self.error(507, "INSUFFICIENT_STORAGE")
        elif "/readonly/" in self.path:
            self.error(405, "UNSUPPORTED")
        else:
            self.error(403, "DENIED")

    def do_GET(self):
        """Answers a request."""
        if self.path == "/v2/":
            self.answer(200, b"{}")
            return
        parts = self.path.split("/")
        name = parts[2] if len(parts) > 2 else ""
        blob = "blobs" in parts
        if blob and digest(CONFIG) in self.path:
            self.answer(200, CONFIG)
        elif blob and name == "missing-layer":
            self.error(404, "BLOB_UNKNOWN")
        elif blob and name == "short":
            self.send_response(200)
            self.send_header("content-length", "100000")
            self.end_headers()
            self.wfile.write(bytes(1000))
            self.close_connection = True
        elif blob and name == "long":
            self.answer(200, LAYER + bytes(1000))
        elif blob and name == "circle":
            self.answer(307, location=self.path)
        elif blob and name == "elsewhere":
            self.answer(307, location="ftp://127.0.0.1/x")
        elif blob:
            self.answer(200, LAYER)
        else:
            self.of_repository(name)

    def of_repository(self, name):
        """Answers with a manifest, or what stands in its place."""
        simple = {"e401": (401, "UNAUTHORIZED"), "e403": (403, "DENIED"), "e404": (404, "NAME_UNKNOWN"), "e400": (400, "NAME_INVALID"), "e451": (451, "LEGAL")}
        if name in simple:
            self.error(*simple[name], **({"www_authenticate": 'Basic realm="here"'} if name == "e401" else {}))
        elif name == "token":
            self.error(401, "UNAUTHORIZED", www_authenticate='Bearer realm="http://127.0.0.1:1/token",service="x"')
        elif name == "negotiate":
            self.error(401, "UNAUTHORIZED", www_authenticate="Negotiate")
        elif name == "e500":
            self.answer(500, b"<h1>oops</h1>", content_type="text/html")
        elif name == "e503":
            self.answer(503, b"", retry_after="0")
        elif name == "e429":
            self.error(429, "TOOMANYREQUESTS", retry_after="0")
        elif name == "html":
            self.answer(200, b"<!DOCTYPE html><title>Sign in</title>", content_type="text/html")
        elif name == "garbage":
            self.answer(200, bytes(range(256)) * 8, content_type=MANIFEST)
        elif name == "empty":
            self.answer(200, b"", content_type=MANIFEST)
        elif name == "silent":
            self.close_connection = True
        elif name == "noise":
            self.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")
            self.close_connection = True
        elif name == "slow":
            time.sleep(1)
            self.close_connection = True
        elif name == "huge":
            self.answer(200, b" " * (8 << 20), content_type=MANIFEST)
        elif name == "wrong-digest":
            self.manifest(manifest(), docker_content_digest="sha256:" + "1" * 64)
        elif name == "schema1":
            self.manifest(json.dumps({"schemaVersion": 1, "name": "x", "fsLayers": []}).encode(), "application/vnd.docker.distribution.manifest.v1+prettyjws")
        elif name == "no-layers":
            self.manifest(json.dumps({"schemaVersion": 2, "mediaType": MANIFEST}).encode())
        elif name == "bad-digest":
            self.manifest(manifest(layer_digest="md5:abc"))
        elif name == "size":
            self.manifest(manifest(layer_size=7))
        elif name == "media":
            self.manifest(manifest(media="application/x-frob"))
        elif name == "empty-index":
            self.manifest(json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []}).encode(), "application/vnd.oci.image.index.v1+json")
        elif name == "short":
            self.manifest(manifest(layer_size=100000))
        else:
            self.manifest(manifest())


def serve(context=None):
    """Starts a server on a free port; returns its address."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.daemon_threads = True
    server.handle_error = lambda *_: None
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"127.0.0.1:{server.server_port}"


def certificate(work, name, *flags):
    """Makes a certificate signed by itself."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{work}/{name}.key",
                    "-out", f"{work}/{name}.crt", "-subj", "/CN=registry", *flags], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{work}/{name}.crt", f"{work}/{name}.key")
    return context


def start(work):
    """Starts the servers; returns their addresses by the words that stand for them in a failure."""
    own = certificate(work, "own", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "30")
    other = certificate(work, "other", "-addext", "subjectAltName=DNS:elsewhere.invalid", "-days", "30")
    asks = certificate(work, "asks", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "30")
    asks.verify_mode = ssl.CERT_REQUIRED
    asks.load_verify_locations(f"{work}/own.crt")
    return {"@HTTP": serve(), "@TLS": serve(own), "@OTHER": serve(other), "@ASKS": serve(asks), "@WORK": work}
