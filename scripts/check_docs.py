#!/usr/bin/env python3
"""check_docs.py [--write]: what the documents and comments promise about the tree; exit 1 where it is not so.

Links of Markdown files lead to files. Code that a document quotes (`<!-- FILE: fn NAME -->` before a block) is the code in the
tree; --write renews the blocks. Paths and items (`module::item`) in backquotes exist, and so do the tests that SECURITY.md
names. docs/reference/cli.md and corm-cli.md have every verb and flag of the programs and no other. Requirement IDs that the
source cites are in the checklists. No word of scripts/banned-words stands in a comment of the source or a document.
"""
import glob
import os
import re
import subprocess
import sys

QUOTE = re.compile(r"(<!-- (\S+): (fn|enum|struct|const|//!)(?: (\w+))? -->\n```rust\n)(.*?)(```\n)", re.DOTALL)
CITED = re.compile(r"\b((?:SEC|FT|[A-Z]{2})-[0-9]+)\b")
# looks like a requirement and is none
NO_IDS = {"SHA-1", "SHA-256", "SHA-512", "UTF-8", "UTF-16", "RFC-3339"}
PATH = re.compile(r"(?:src|crates|tests|scripts|docs|conformance|bench|vm|\.ci|\.github)/[\w./*-]*")
ITEM = re.compile(r"\w+(?:::\w+)+")
# the first word of an item that is not ours
FOREIGN = {"std", "core", "libc", "nix", "rustix", "clippy", "oci_spec", "serde_json", "clap", "File", "Command"}
PRIMITIVE = re.compile(r"[iu](?:8|16|32|64|128|size)")
# what was recorded as it was: release notes keep the names of their time
HISTORY = {"CHANGELOG.md"}


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


def is_item(text):
    """Whether `a::b::C` leads to a module of a crate, or to a word in the module that its beginning leads to."""
    first, *rest = text.split("::")
    sources = {os.path.basename(os.path.dirname(src)) or "croci": src
               for src in ["src", "conformance/src", *glob.glob("crates/*/src")]}
    if first[0].isupper():
        definition = re.compile(rf"\b(?:struct|enum|trait|type) {first}\b")
        return any(all(re.search(rf"\b{word}\b", code) for word in rest)
                   for code in map(read, tracked("*.rs")) if definition.search(code))
    name = first.replace("_", "-")
    starts = [(sources[name], rest)] if name in sources else [(src, [first, *rest]) for src in sources.values()]
    for place, words in starts:
        while words and (os.path.isdir(f"{place}/{words[0]}") or os.path.isfile(f"{place}/{words[0]}.rs")):
            place, words = f"{place}/{words[0]}", words[1:]
        if place in sources.values() and name not in sources:
            continue
        files = [file for file in (f"{place}.rs", f"{place}/mod.rs", f"{place}/lib.rs") if os.path.isfile(file)]
        if all(any(re.search(rf"\b{word}\b", read(file)) for file in files) for word in words):
            return True
    return False


def check_names(path, problems):
    """Paths and items in backquotes."""
    for quoted in re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", read(path), flags=re.DOTALL)):
        found = quoted.split(" ")[0]
        if PATH.fullmatch(found) and not glob.glob(found.rstrip("/")):
            problems.append(f"{path}: `{found}` is not there")
        found = quoted.removesuffix("()")
        first = found.split("::")[0]
        if ITEM.fullmatch(found) and first not in FOREIGN and not PRIMITIVE.fullmatch(first) and not is_item(found):
            problems.append(f"{path}: `{found}` is no item of the source")
        function = re.match(r"fn (\w+)\b", quoted)
        if function and not any(re.search(rf"\bfn {function[1]}\b", read(file)) for file in tracked("*.rs")):
            problems.append(f"{path}: no function is called {function[1]}")


def check_tests_of_security(problems):
    """The last column of the table of attacks: files below tests/ and the functions in them."""
    code = "\n".join(map(read, tracked("tests/*.rs", "crates/*.rs", "src/*.rs")))
    for line in read("SECURITY.md").partition("| kind | defence | test |\n|---|---|---|\n")[2].split("\n"):
        cells = line.strip("| ").split(" | ")
        if len(cells) != 3:
            continue
        for name in re.findall(r"`([a-z0-9_*]+)`", cells[2]):
            if not re.search(rf"\bfn {name.replace('*', '[a-z0-9_]*')}\b", code):
                problems.append(f"SECURITY.md: no test is called {name}")
        for file in re.findall(r"[a-z_]+/[a-z_]+|\b[a-z_]+(?=:)", re.sub(r"`[^`]*`", "", cells[2])):
            if not glob.glob(f"tests/{file}*") and not glob.glob(f"crates/*/tests/{file}*"):
                problems.append(f"SECURITY.md: no tests are in {file}")


def check_command_line(program, path, syntax, problems):
    """Verbs and flags of a page against the tables that the program's parser reads."""
    text, syntax = read(path), "".join(read(file) for file in tracked(*syntax))
    flags = set(re.findall(r'\b(?:one|many|switch)\(\s*"([\w-]+)"', syntax)) | {"help", "usage", "version"}
    verbs = set(re.findall(r'^ +name: "([\w ]+)"|\bverb\(\s*"([\w ]+)"', syntax, re.MULTILINE))
    verbs = {one or other for one, other in verbs} - {program}
    groups = set(re.findall(r'\bgroup\(\s*"(\w+)"', syntax))
    shown = set(re.findall(r"--([a-z][a-z0-9-]+)", text))
    # the first cells of tables of verbs
    for table in re.findall(r"^\| verb \|.*\n\|[-|]*\n((?:\|.*\n)*)", text, re.MULTILINE):
        cells = " ".join(re.findall(r"^\| ([^|]*)", table, re.MULTILINE))
        first = set(re.findall(r"`(\w+)", cells))
        problems += [f"{path}: {program} has no verb {verb}" for verb in sorted(first - verbs - groups)]
    # verbs are named in headings and in first cells
    named = " ".join(re.findall(r"^## [^(\n]*|^\| `[^|\n]*", text, re.MULTILINE))
    named = set(re.findall(r"[a-z]+", named)) | set(re.findall(r"`(\w+ \w+)", named))
    problems += [f"{path}: {program} has no flag --{flag}" for flag in sorted(shown - flags)]
    problems += [f"{path}: --{flag} is missing" for flag in sorted(flags - shown)]
    problems += [f"{path}: the verb {verb} is missing" for verb in sorted((verbs | groups) - named)]


def check_flags_are_tested(path, problems):
    """Every flag of corm's page is given to its verb by a function of its tests."""
    tests = [file for file in tracked("crates/corm/tests/*.rs") if not file.endswith("/groups.rs")]
    functions = [(file, part) for file in tests
                 for part in re.split(r"\n(?=\s*(?:pub(?:\([a-z]+\))? )?fn )", read(file))]
    given = set()
    for row in re.findall(r"^\| .*", read(path), re.MULTILINE):
        for form in re.findall(r"`([^`]+)`", row):
            verb = "run" if form.startswith("-") else re.match(r"(?:[a-z]+ ?)*", form)[0].strip()
            flags = re.findall(r"(?:(?<![\w-])-(\w)[^-]{1,8})?(?<![\w-])--([a-z0-9][a-z0-9-]*)", form)
            given |= {(verb, short, flag) for short, flag in flags if verb}
    # named once more without its short form
    given -= {(verb, "", flag) for verb, short, flag in given if short}
    for verb, short, flag in sorted(given):
        # joined short flags too
        other = rf"|-[a-zA-Z]*{short}[a-zA-Z]*(?![\w-])" if short else ""
        pattern = re.compile(rf"(?<![\w-])(?:--{flag}(?![\w-]){other})")
        words = [] if verb in ("run", "create") else [re.compile(rf"\b{word}\b") for word in verb.split()]
        if not any(pattern.search(part) and (f"/{verb}/" in file or all(word.search(part) for word in words))
                   for file, part in functions):
            problems.append(f"{path}: no test gives --{flag} to {verb}")


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


def check_failures(problems):
    """README has the number of failures of the page."""
    page, number = read("docs/generated/errors.md"), re.search(r"^\| (\d+) failures,", read("README.md"), re.M)
    wanted = sum(int(count) for count in re.findall(r"^(\d+) failures;", page, re.M))
    if not number or int(number[1]) != wanted:
        problems.append(f"README.md: docs/generated/errors.md has {wanted} failures")


def main():
    problems = []
    documents = tracked("*.md")
    for path in documents:
        check_links(path, problems)
        check_quotes(path, "--write" in sys.argv, problems)
        if path not in HISTORY:
            check_names(path, problems)
    check_tests_of_security(problems)
    check_command_line("croci", "docs/reference/cli.md", ["src/cli/syntax.rs"], problems)
    check_command_line("corm", "docs/reference/corm-cli.md", ["crates/corm/src/cli/syntax/*.rs"], problems)
    check_flags_are_tested("docs/reference/corm-cli.md", problems)
    check_ids(problems)
    check_failures(problems)
    check_words(problems)
    print("\n".join(problems[:200]))
    if len(problems) > 200:
        print(f"and {len(problems) - 200} more")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
