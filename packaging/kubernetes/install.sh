#!/bin/sh
# install.sh: what the DaemonSet of installer.yaml runs on each node; /host is the node's root directory.
# Two handlers: `croci` by containerd's own shim, `croci-shim` by croci's, which is the runtime, too.
set -eu
host=${HOST:-/host}
mkdir -p "$host/usr/local/bin" "$host/etc/containerd/conf.d"
# by a rename, because a program that runs cannot be written
for program in croci containerd-shim-croci-v2; do
    cp "${FROM:-}/$program" "$host/usr/local/bin/.$program.new"
    chmod 0755 "$host/usr/local/bin/.$program.new"
    mv "$host/usr/local/bin/.$program.new" "$host/usr/local/bin/$program"
done

config=$host/etc/containerd/config.toml
plugin=io.containerd.grpc.v1.cri version=2
if [ -e "$config" ] && grep -q '^version *= *3' "$config"; then
    plugin=io.containerd.cri.v1.runtime version=3
fi
shim='runtime_type = "io.containerd.croci.v2"'
# containerd 2 asks only a runtime of this type for its features: without them, no user namespaces
[ "$version" = 2 ] || shim='runtime_type = "io.containerd.runc.v2"
runtime_path = "/usr/local/bin/containerd-shim-croci-v2"'
cat >"$host/etc/containerd/conf.d/croci.toml" <<TOML
version = $version
[plugins."$plugin".containerd.runtimes.croci]
runtime_type = "io.containerd.runc.v2"
[plugins."$plugin".containerd.runtimes.croci.options]
BinaryName = "/usr/local/bin/croci"
[plugins."$plugin".containerd.runtimes.croci-shim]
$shim
TOML
if [ ! -e "$config" ]; then
    printf 'version = %s\nimports = ["/etc/containerd/conf.d/*.toml"]\n' "$version" >"$config"
elif ! grep -q '^imports *=.*conf\.d' "$config"; then
    if grep -q '^imports *=' "$config"; then
        sed -i 's#^imports *= *\[#&"/etc/containerd/conf.d/*.toml", #' "$config"
    else
        # before the first table
        sed -i "0,/^version.*/s##&\nimports = [\"/etc/containerd/conf.d/*.toml\"]#" "$config"
    fi
fi
[ -z "${NODE:-}" ] || {
    nsenter -t 1 -m -- systemctl restart containerd
    kubectl label --overwrite node "$NODE" croci.dev/installed=true
}
[ -n "${ONCE:-}" ] || exec sleep infinity
