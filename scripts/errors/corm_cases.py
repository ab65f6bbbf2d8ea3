"""The failures of an engine: what is wrong, the command of corm ($C) and that of Podman ($P, or empty: the same flags),
corm's code, and words of the cause."""


def both(what, words_of_verb, code, cause):
    """A failure by the same arguments for both."""
    return (what, f"$C {words_of_verb}", f"$P {words_of_verb}", code, cause)


def pull(what, repository, code, cause, where="@HTTP"):
    """A pull that fails."""
    flag = "--tls-verify=false " if where == "@HTTP" else ""
    return both(what, f"pull {flag}{where}/{repository}/x:1", code, cause)


def build(what, lines, code, cause, flags=""):
    """A build of a Containerfile that fails."""
    text = lines.replace("'", "'\\''")
    make = f"mkdir c; printf '%b' '{text}' >c/Containerfile; echo x >c/file; "
    return (what, f"{make}$C build {flags} c", f"{make}$P build {flags} c", code, cause)


def certs(what, prepare, where, cause):
    """A pull that fails with files in certs.d."""
    first = f"export HOME=$PWD/h; D=$HOME/.config/containers/certs.d/{where}; mkdir -p $D; {prepare}; "
    verb = f"pull {where}/e404/x:1"
    return (what, f"{first}$C {verb}", f"{first}$P pull --cert-dir $D {where}/e404/x:1", "registry.certificate", cause)


CASES = [
    pull("a registry that wants a login", "e401", "registry.login", "login|authentication|unauthorized"),
    pull("a registry that forbids it", "e403", "registry.login", "403|denied|DENIED"),
    pull("a repository that is not there", "e404", "registry.not_found", "404|NAME_UNKNOWN|name unknown|not known|not found"),
    pull("a name that the registry refuses", "e400", "registry.*", "400|NAME_INVALID|invalid"),
    pull("an answer for legal reasons", "e451", "registry.*", "451"),
    pull("a token server that is not there", "token", "registry.*", "127.0.0.1:1|token"),
    pull("a login by a way that nobody knows", "negotiate", "registry.*", "Negotiate|authentication"),
    pull("a registry with an error of its own", "e500", "registry.failed", "500"),
    pull("a registry that is overloaded", "e503", "registry.failed", "503"),
    pull("a registry that limits requests", "e429", "registry.limit", "429|[tT]oo many|TOOMANY"),
    pull("a web page in the place of a manifest", "html", "registry.answer", "web page|html|HTML"),
    pull("bytes in the place of a manifest", "garbage", "image.invalid", "JSON|json|invalid character"),
    pull("an empty manifest", "empty", "image.invalid", "JSON|json|empty|EOF"),
    pull("a connection that closes without an answer", "silent", "registry.*", "closed|EOF|cut|ended"),
    pull("another protocol on the port", "noise", "registry.*", "HTTP"),
    pull("a manifest of 8 MiB", "huge", "image.*|registry.*", "large|big|limit|MiB|bytes"),
    pull("a manifest with another digest", "wrong-digest", "image.digest", "digest"),
    pull("a manifest of Docker's first schema", "schema1", "image.invalid", "schema|v1"),
    pull("a manifest without layers", "no-layers", "image.invalid", "layers|config"),
    pull("a layer with a digest of an unknown kind", "bad-digest", "image.invalid", "md5|digest"),
    pull("a layer of another size", "size", "image.*|registry.*", "size|bytes"),
    pull("a layer of an unknown media type", "media", "image.invalid", "x-frob|media type"),
    pull("an index without an entry", "empty-index", "image.*", "platform|no image|manifests|empty"),
    pull("a layer that is not there", "missing-layer", "registry.not_found|registry.*", "404|BLOB_UNKNOWN|blob"),
    pull("a layer that is cut", "short", "registry.cut", "1000 of|1000|cut|EOF"),
    pull("a layer that is too long", "long", "image.*", "size|digest|long|more"),
    pull("a layer that is not gzip", "junk", "image.*", "gzip|layer|compress|deflate"),
    pull("a redirection in a circle", "circle", "registry.*", "redirect"),
    pull("a redirection to another protocol", "elsewhere", "registry.*", "ftp|scheme|protocol"),
    pull("a certificate signed by itself", "x", "registry.certificate", "certificate", "@TLS"),
    pull("a certificate for another name", "x", "registry.certificate", "certificate", "@OTHER"),
    pull("a registry that wants a client certificate", "x", "registry.certificate", "certificate", "@ASKS"),
    certs("a certificate for another name, in certs.d", "cp @WORK/other.crt $D/ca.crt", "@OTHER", "name|SAN"),
    certs("a client certificate that is not given", "cp @WORK/asks.crt $D/ca.crt", "@ASKS", "client certificate|certificate required"),
    certs("a client certificate without its key", "cp @WORK/asks.crt $D/ca.crt; cp @WORK/own.crt $D/client.cert", "@ASKS", "client.key"),
    certs("a client certificate with another's key", "cp @WORK/asks.crt $D/ca.crt; cp @WORK/own.crt $D/client.cert; cp @WORK/other.key $D/client.key", "@ASKS", "client.key|does not match"),
    certs("a certificate of an authority that is no certificate", "echo x >$D/ca.crt", "@TLS", "ca.crt|no certificate"),
    both("a host that does not exist", "pull no-such-host.invalid/x/y:1", "registry.unreachable", "no-such-host"),
    both("a port where nobody listens", "pull 127.0.0.1:1/x/y:1", "registry.unreachable", "refused"),
    both("a reference with two tags", "pull a/b:c:d", "image.name", "a/b:c:d"),
    both("a reference in upper case", "pull example.invalid/Foo", "image.name", "Foo|lower"),
    both("a reference with a digest that is none", "pull example.invalid/foo@sha256:12", "image.name", "sha256:12|digest|reference"),
    both("a reference of an unknown transport", "pull frob:x/y", "image.name|usage.*|registry.*", "frob|transport"),
    both("an empty reference", "pull ''", "image.name|usage.*", "empty|reference|name"),
    both("a platform that is none", "pull --platform x/y/z/u example.invalid/foo", "image.platform|usage.*", "platform|x/y/z/u"),
    both("a file of credentials that is not there", "pull --authfile /no/auth.json 127.0.0.1:1/x", "registry.*|file.missing|usage.*", "/no/auth.json"),
    ("a file of credentials that is no JSON", "echo x >auth; $C pull --authfile auth 127.0.0.1:1/x", "echo x >auth; $P pull --authfile auth 127.0.0.1:1/x", "registry.config", "auth"),
    both("a push that the registry forbids", "push --tls-verify=false base @HTTP/denied/x:1", "registry.login|registry.*", "403|denied|DENIED"),
    both("a push to a registry that is full", "push --tls-verify=false base @HTTP/full/x:1", "registry.failed|registry.*", "507|INSUFFICIENT|storage"),
    both("a push to a registry that is read-only", "push --tls-verify=false base @HTTP/readonly/x:1", "registry.*", "405|UNSUPPORTED|unsupported"),
    both("a push of what is not there", "push nothing 127.0.0.1:1/x", "image.not_found", "nothing"),
    both("a login that is refused", "login --tls-verify=false -u a -p b 127.0.0.1:1", "registry.*", "refused"),
    both("a logout from where nobody has logged in", "logout 127.0.0.1:1", "registry.*|usage.*|file.*", "127.0.0.1:1|[lL]ogged"),
    ("a directory that is no archive", "mkdir d; $C load -i d", "mkdir d; $P load -i d", "archive.invalid|file.*", "d|directory"),
    ("an archive cut in the middle", "$C save -o a.tar base && head -c 3000 a.tar >b.tar; $C load -i b.tar", "$P save -o a.tar base && head -c 3000 a.tar >b.tar; $P load -i b.tar", "archive.*|image.*", "cut|EOF|end|archive|truncated"),
    ("an archive without a manifest", "tar -cf a.tar /etc/hostname 2>/dev/null; $C load -i a.tar", "tar -cf a.tar /etc/hostname 2>/dev/null; $P load -i a.tar", "archive.invalid", "manifest|archive|index"),
    ("an archive with a manifest that is no JSON", "echo x >manifest.json; tar -cf a.tar manifest.json; $C load -i a.tar", "echo x >manifest.json; tar -cf a.tar manifest.json; $P load -i a.tar", "archive.*|image.*", "manifest.json|JSON|invalid"),
    both("a save to a directory that is not there", "save -o /no/dir/x.tar base", "file.missing", "/no/dir"),
    ("a save over a directory", "mkdir d; $C save -o d base", "mkdir d; $P save -o d base", "file.*|archive.*|usage.*", "d"),
    both("a save in an unknown format", "save --format frob -o x base", "usage.value", "frob|format"),
    both("an image that is not there", "run --pull=never nothing", "image.not_found", "nothing"),
    both("an inspection of nothing", "inspect nothing", "image.not_found|container.not_found", "nothing"),
    both("a name for nothing", "tag nothing x", "image.not_found", "nothing"),
    both("a name that is none", "tag base 'a b'", "image.name", "a b|reference"),
    ("the removal of an image in use", "$C create --name u base sleep 60 >/dev/null; $C rmi base", "$P create --name u base sleep 60 >/dev/null; $P rmi base", "image.in_use", "u|use|container"),
    ("a name of a container in use", "$C create --name u base sleep 60 >/dev/null; $C create --name u base sleep 60", "$P create --name u base sleep 60 >/dev/null; $P create --name u base sleep 60", "name.taken", "u.*use|in use|exists already"),
    both("a name of a container that is none", "create --name a/b base", "usage.value|container.id_invalid|*", "a/b|name"),
    both("a program that is not in the image", "run --rm --network none base frob", "exec.not_found", "frob"),
    both("a working directory in a file", "run --rm --network none -w /bin/busybox/x base true", "process.cwd|*", "/bin/busybox"),
    both("a user that is not there", "run --rm --network none -u nobodyx base true", "process.user", "nobodyx"),
    both("a volume from nowhere", "run --rm --network none -v /no/such/dir:/a base true", "file.missing|mount.source_missing", "/no/such/dir"),
    both("a volume without a place", "run --rm -v /etc: base true", "usage.value", "/etc:"),
    both("a volume with an unknown option", "run --rm -v /etc:/a:frob base true", "usage.value", "frob"),
    both("a mount of an unknown type", "run --rm --mount type=frob,dst=/a base true", "usage.value", "frob"),
    both("a mount without a destination", "run --rm --mount type=tmpfs base true", "usage.value", "dst|destination|target"),
    both("a network that is not there", "run --rm --network nowhere base true", "network.not_found", "nowhere"),
    both("a port that is none", "run --rm -p 99999:80 base true", "usage.value", "99999"),
    both("a memory limit that is none", "run --rm -m lots base true", "usage.value", "lots"),
    both("a memory limit of some bytes", "run --rm --network none -m 1k base true", "usage.value|cgroup.*", "memory|1k"),
    both("CPUs that the machine has not", "run --rm --network none --cpuset-cpus 900 base true", "cgroup.*|usage.value", "900|cpus|CPU"),
    both("a capability that is none", "run --rm --cap-add FROB base true", "usage.value|process.capability", "FROB"),
    both("a limit that is none", "run --rm --ulimit frob=1 base true", "usage.value", "frob"),
    both("a sysctl of the host", "run --rm --network none --sysctl vm.swappiness=1 base true", "usage.value|config.*|sysctl.*", "vm.swappiness"),
    both("a seccomp profile that is not there", "run --rm --security-opt seccomp=/no/profile base true", "file.missing", "/no/profile"),
    both("an unknown security option", "run --rm --security-opt frob=1 base true", "usage.value", "frob"),
    both("a device that is not there", "run --rm --device /dev/frob base true", "file.missing|device.*|usage.value", "/dev/frob"),
    both("a file of variables that is not there", "run --rm --env-file /no/env base true", "file.missing", "/no/env"),
    both("an unknown flag", "run --frob base", "usage.flag", "frob"),
    both("an unknown verb", "frob", "usage.verb", "frob"),
    both("an ID of a container in a file that is there", "run --cidfile /etc/hostname base true", "file.exists|usage.value", "/etc/hostname"),
    both("a start of nothing", "start nothing", "container.not_found", "nothing"),
    ("an exec in what has ended", "$C create --name u base sleep 60 >/dev/null; $C exec u true", "$P create --name u base sleep 60 >/dev/null; $P exec u true", "container.*", "u|running"),
    ("a kill by an unknown signal", "$C create --name u base sleep 60 >/dev/null; $C kill -s FROB u", "$P create --name u base sleep 60 >/dev/null; $P kill -s FROB u", "signal.unknown", "FROB"),
    ("a copy from a file that is not there", "$C create --name u base sleep 60 >/dev/null; $C cp u:/no/file .", "$P create --name u base sleep 60 >/dev/null; $P cp u:/no/file .", "file.missing|container.*", "/no/file"),
    ("a copy to a directory that is not there", "$C create --name u base sleep 60 >/dev/null; $C cp /etc/hostname u:/no/dir/x", "$P create --name u base sleep 60 >/dev/null; $P cp /etc/hostname u:/no/dir/x", "file.missing|*", "/no/dir"),
    both("a volume that is not there", "volume inspect nothing", "volume.not_found", "nothing"),
    ("a volume in use", "$C volume create v >/dev/null; $C create --name u -v v:/v base sleep 60 >/dev/null; $C volume rm v", "$P volume create v >/dev/null; $P create --name u -v v:/v base sleep 60 >/dev/null; $P volume rm v", "volume.*|name.*|*", "v.*use|use"),
    ("a name of a volume in use", "$C volume create v >/dev/null; $C volume create v", "$P volume create v >/dev/null; $P volume create v", "name.taken", "v"),
    both("a network with a subnet that is none", "network create --subnet 10.0.0.0/99 n", "usage.value|network.*", "10.0.0.0/99"),
    both("the removal of a network that is not there", "network rm nothing", "network.not_found", "nothing"),
    both("a context that is not there", "build /no/context", "file.missing", "/no/context"),
    both("a Containerfile that is not there", "build -f /no/Containerfile .", "file.missing", "/no/Containerfile"),
    ("a context without a Containerfile", "mkdir c; $C build c", "mkdir c; $P build c", "file.missing|build.*", "Containerfile|Dockerfile"),
    build("an empty Containerfile", "", "build.invalid", "empty|no FROM|FROM|no instruction"),
    build("an unknown instruction", "FROM scratch\\nFROB x\\n", "build.invalid", "FROB"),
    build("an instruction before FROM", "RUN x\\nFROM scratch\\n", "build.invalid", "FROM|RUN"),
    build("a base image that is not there", "FROM 127.0.0.1:1/x/y\\n", "registry.*|image.*", "127.0.0.1:1/x/y|refused"),
    build("a stage that is not there", "FROM scratch\\nCOPY --from=frob /a /b\\n", "build.invalid|image.*|registry.*", "frob"),
    build("a copy of a file that is not there", "FROM scratch\\nCOPY nothing /\\n", "file.missing|build.*", "nothing"),
    build("a copy from above the context", "FROM scratch\\nCOPY ../x /\\n", "file.missing|build.*", r"\\.\\./x|/x"),
    build("a RUN that fails", "FROM base\\nRUN echo no room >&2; exit 7\\n", "build.*|*", "7"),
    build("a RUN of a program that is not there", "FROM base\\nRUN [\"frob\"]\\n", "exec.not_found|build.*", "frob"),
    build("a flag that the instruction has not", "FROM scratch\\nCOPY --frob=1 file /\\n", "build.invalid", "frob"),
    build("an ENV without a value", "FROM scratch\\nENV A\\n", "build.invalid", "ENV"),
    build("an EXPOSE that is no port", "FROM scratch\\nEXPOSE frob\\n", "build.invalid|usage.value", "frob|EXPOSE"),
    build("a secret that is not given", "FROM base\\nRUN --mount=type=secret,id=frob,required=true true\\n", "build.*|*", "frob"),
    build("a target that is not there", "FROM scratch\\n", "build.invalid|usage.value", "frob", "--target frob"),
    build("a tag that is none", "FROM scratch\\n", "image.name", "A B|reference", "-t 'A B'"),
    build("an ADD from a server that is not there", "FROM scratch\\nADD http://127.0.0.1:1/x /\\n", "registry.*|build.*|*", "127.0.0.1:1"),
    ("a disk that is full", "mount -t tmpfs -o size=300k x full; head -c 280000 /dev/zero >full/f; $C --root $PWD/full/s --driver copy load -i $BASE", "mount -t tmpfs -o size=300k x full; head -c 280000 /dev/zero >full/f; $P --root $PWD/full/s load -i $BASE", "host.limit", "[nN]o space"),
    ("a store that is read-only", "mount -t tmpfs -o ro x full; $C --root $PWD/full/s --driver copy images", "mount -t tmpfs -o ro x full; $P --root $PWD/full/s images", "host.read_only", "[rR]ead-only"),
    ("a store that is a file", "$C --root /etc/hostname images", "$P --root /etc/hostname images", "store.*|file.*", "/etc/hostname"),
    ("an unknown driver", "$C --driver frob images", "$P --storage-driver frob images", "usage.value", "frob"),
]
