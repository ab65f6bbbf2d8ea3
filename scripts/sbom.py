#!/usr/bin/env python3
"""sbom.py: the bill of materials of croci and corm as CycloneDX 1.5 JSON on standard output, from Cargo.lock and cargo metadata.

Only what is linked: no dependency for tests, builds or other systems. The same input gives the same bytes."""
import hashlib
import json
import os
import subprocess
import sys
import time

TARGET = "x86_64-unknown-linux-musl"


def metadata():
    """Return what cargo knows of the packages and of the dependencies of the target."""
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", TARGET]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def linked(data, roots):
    """Return the IDs of all packages that `roots` link, and for each its direct dependencies."""
    nodes = {node["id"]: node for node in data["resolve"]["nodes"]}
    found, todo = {}, list(roots)
    while todo:
        package = todo.pop()
        if package in found:
            continue
        normal = [dep["pkg"] for dep in nodes[package]["deps"] if any(kind["kind"] is None for kind in dep["dep_kinds"])]
        found[package] = sorted(normal)
        todo.extend(normal)
    return found


def checksums():
    """Return the SHA-256 of each archive in Cargo.lock by name and version."""
    sums, name, version = {}, None, None
    with open("Cargo.lock", encoding="utf-8") as lock:
        for line in lock:
            key, _, value = line.strip().partition(" = ")
            value = value.strip('"')
            if key == "name":
                name = value
            elif key == "version":
                version = value
            elif key == "checksum":
                sums[name, version] = value
    return sums


def component(package, sums):
    """Return the component of a package."""
    name, version = package["name"], package["version"]
    entry = {
        "type": "library",
        "bom-ref": f"pkg:cargo/{name}@{version}",
        "name": name,
        "version": version,
        "purl": f"pkg:cargo/{name}@{version}",
    }
    if package.get("license"):
        entry["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if (name, version) in sums:
        entry["hashes"] = [{"alg": "SHA-256", "content": sums[name, version]}]
    return entry


def main():
    """Print the document."""
    data = metadata()
    packages = {package["id"]: package for package in data["packages"]}
    programs = sorted(id for id, package in packages.items() if package["name"] in ("croci", "corm") and package["source"] is None)
    found, sums = linked(data, programs), checksums()
    ref = lambda id: f"pkg:cargo/{packages[id]['name']}@{packages[id]['version']}"
    listed = sorted((component(packages[id], sums) for id in found), key=lambda entry: entry["bom-ref"])
    version = packages[programs[0]]["version"]
    digest = hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).hexdigest()
    serial = "-".join([digest[:8], digest[8:12], "5" + digest[13:16], "8" + digest[17:20], digest[20:32]])
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", "0"))))
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {
            "timestamp": stamp,
            "component": {"type": "application", "bom-ref": "croci", "name": "croci and corm", "version": version,
                          "properties": [{"name": "commit", "value": os.environ.get("CROCI_COMMIT", "unknown")}]},
        },
        "components": listed,
        "dependencies": [{"ref": "croci", "dependsOn": sorted(ref(id) for id in programs)}]
        + sorted(({"ref": ref(id), "dependsOn": sorted({ref(dep) for dep in deps})} for id, deps in found.items()),
                 key=lambda entry: entry["ref"]),
    }
    json.dump(document, sys.stdout, indent=1, sort_keys=True)
    print()


if __name__ == "__main__":
    main()
