#!/usr/bin/env python3
"""structure.py: what docs/dev/architecture.md and docs/dev/style.md promise of the source and rustc does not keep.

Inside of croci a module uses only those named before it ("Order of modules" of architecture.md); only the files listed there
read types of oci-spec; no file has over 600 lines, no function over 60; every file says first what is in it.
"""
import re
import subprocess
import sys

from circles import Crate, code_of

FILE_LINES, FUNCTION_LINES = 600, 60
DOCUMENT = "docs/dev/architecture.md"
FUNCTION = re.compile(r"^( *)(?:pub(?:\([a-z ]+\))? )?(?:(?:const|async|unsafe|extern \"C\") )*fn (\w+)")


def names_after(text, heading):
    """The names in backquotes of the paragraph that begins with `heading`."""
    paragraph = re.search(re.escape(heading) + r"(.*?)\n\n", text, re.DOTALL)
    return re.findall(r"`([\w/]+)`", paragraph[1]) if paragraph else sys.exit(f"{DOCUMENT} has no paragraph {heading!r}")


def order_of_modules(order):
    """Uses of a module that is named later, or of one that is not named."""
    crate = Crate("src")
    for module, uses in sorted(crate.uses.items()):
        if not module or module[0] == "main":
            continue
        if module[0] not in order:
            yield f"src/{module[0]}: not in the order of modules"
            continue
        for used in sorted({used[0] for used in uses} - {module[0]}):
            if used not in order or order.index(used) > order.index(module[0]):
                yield f"{crate.files[module]}: {module[0]} uses {used}, which comes after it"


def readers_of_oci_spec(readers):
    """Files that name oci_spec and are none of the readers."""
    crate = Crate("src")
    for module in sorted(crate.uses):
        path = crate.files[module]
        with open(path, encoding="utf-8") as file:
            reads = re.search(r"\boci_spec\b", code_of(file.read()))
        if reads and not any("/".join(module[:length]) in readers for length in range(1, len(module) + 1)):
            yield f"{path}: reads types of oci-spec"


def lengths(path, lines):
    """What is too long in a file."""
    if len(lines) > FILE_LINES:
        yield f"{path}: {len(lines)} lines"
    start = None
    for number, line in enumerate(lines, 1):
        if start is None and (found := FUNCTION.match(line)) and not line.endswith((";", "}")):
            start, indent, name = number, found[1], found[2]
        elif start is not None and line.startswith(indent) and line[len(indent):len(indent) + 1] not in ("", " ", ")"):
            # the end of the body, or of a signature without one
            if line.startswith(indent + "}") and number - start + 1 > FUNCTION_LINES:
                yield f"{path}:{start}: fn {name} has {number - start + 1} lines"
            if not line.endswith("{"):
                start = None


def main():
    with open(DOCUMENT, encoding="utf-8") as file:
        document = file.read()
    wrong = list(order_of_modules(names_after(document, "**Order of modules**")))
    wrong += readers_of_oci_spec(names_after(document, "**Readers of oci-spec**"))
    for path in subprocess.check_output(["git", "ls-files", "*.rs"], text=True).split():
        with open(path, encoding="utf-8") as file:
            lines = file.read().split("\n")[:-1]
        wrong += lengths(path, lines)
        if not lines or not lines[0].startswith("//!"):
            wrong.append(f"{path}: does not begin with what is in it (//!)")
    print("\n".join(wrong))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
