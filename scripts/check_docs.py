#!/usr/bin/env python3
"""check_docs.py [--write]: what the documents and comments promise about the tree; exit 1 where it is not so.

Links of Markdown files lead to files. Code that a document quotes (`<!-- FILE: fn NAME -->` before a block) is the code in
the tree; --write renews the blocks. Requirement IDs that the source cites are in the checklists. No word of
scripts/banned-words stands in a comment of the source or a document.
"""
import os
import re
import subprocess
import sys

QUOTE = re.compile(r"(<!-- (\S+): (fn|enum|struct|const|//!)(?: (\w+))? -->\n```rust\n)(.*?)(```\n)", re.DOTALL)
CITED = re.compile(r"\b((?:SEC|FT|[A-Z]{2})-[0-9]+)\b")
# looks like a requirement and is none
NO_IDS = {"SHA-1", "SHA-256", "SHA-512", "UTF-8", "UTF-16", "RFC-3339"}


def tracked(*patterns):
    return [path for path in subprocess.check_output(["git", "ls-files", *patterns], text=True).split("\n")
            if path and os.path.isfile(path)]


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def item(path, kind, name):
    """The code of an item with its documentation, or the header of a file."""
    if not os.path.isfile(path):
        return None
    lines = read(path).split("\n")
    if kind == "//!":
        return "\n".join(lines[:next(at for at, line in enumerate(lines) if not line.startswith("//!"))])
    found = re.compile(rf"^\s*(?:pub(?:\([a-z]+\))? )?(?:unsafe )?{kind} {name}\b")
    at = next((at for at, line in enumerate(lines) if found.match(line)), None)
    if at is None:
        return None
    indent = len(lines[at]) - len(lines[at].lstrip())
    end = next(end for end in range(at, len(lines)) if lines[end][:indent + 1].strip() in ("}", "];", "};")
               or lines[end].endswith(";") and end == at)
    while lines[at - 1].strip().startswith(("///", "#[")):
        at -= 1
    return "\n".join(line[indent:] for line in lines[at:end + 1])


def check_quotes(path, write, problems):
    text = read(path)

    def renew(found):
        start, file, kind, name, _, end = found.groups()
        code = item(file, kind, name)
        if code is None:
            problems.append(f"{path}: quotes {kind} {name}, which {file} has not")
            return found.group(0)
        return f"{start}{code}\n{end}"

    renewed = QUOTE.sub(renew, text)
    if renewed != text:
        if write:
            with open(path, "w", encoding="utf-8") as file:
                file.write(renewed)
        else:
            problems.append(f"{path}: code that it quotes has changed: scripts/check_docs.py --write")


def check_links(path, problems):
    text = re.sub(r"```.*?```|`[^`\n]*`", "", read(path), flags=re.DOTALL)
    # the beginning of a page that a program writes
    here = "docs/generated" if path.startswith("conformance/src/") else os.path.dirname(path)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:|#", target):
            where = os.path.normpath(os.path.join(here, target.split("#")[0]))
            if not os.path.exists(where):
                problems.append(f"{path}: a link to {target}, which is not there")


def check_ids(problems):
    known = set()
    for path in tracked("docs/reference/*-checklist.md", "docs/reference/fault-tests.md"):
        known.update(CITED.findall(read(path)))
    prefixes = {one.split("-")[0] for one in known}
    for path in tracked("src/*.rs", "crates/*.rs", "tests/*.rs", "conformance/*.rs"):
        for number, line in enumerate(read(path).split("\n"), 1):
            for cited in CITED.findall(line):
                if cited not in known and cited.split("-")[0] in prefixes and cited not in NO_IDS:
                    problems.append(f"{path}:{number}: {cited} is in no checklist")


def check_words(problems):
    banned = [line.split("#")[0].strip() for line in read("scripts/banned-words").split("\n")]
    pattern = re.compile(r"\b(" + "|".join(word for word in banned if word) + r")\b", re.IGNORECASE)
    for path in tracked("src/*.rs", "crates/*.rs", "tests/*.rs", "conformance/*.rs", "docs/user/*.md", "docs/dev/*.md",
                        "README.md", "CONTRIBUTING.md", "SECURITY.md"):
        if path.endswith("decisions.md"):
            continue
        for number, line in enumerate(read(path).split("\n"), 1):
            comment = line if path.endswith(".md") else re.sub(r"^(?:[^/]|/(?!/))*", "", line)
            for word in pattern.findall(re.sub(r"`[^`]*`|\"[^\"]*\"", "", comment)):
                problems.append(f"{path}:{number}: {word!r} (see scripts/banned-words)")


def main():
    problems = []
    documents = tracked("*.md")
    for path in documents:
        check_links(path, problems)
        check_quotes(path, "--write" in sys.argv, problems)
    check_ids(problems)
    check_words(problems)
    print("\n".join(problems[:200]))
    if len(problems) > 200:
        print(f"and {len(problems) - 200} more")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
