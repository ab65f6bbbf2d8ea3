#!/usr/bin/env python3
"""circles.py SRC...: circles among the files of a crate, by their `use` items and paths; exit 1 when there are any.

A file that names its own parent module, or a parent its children, is no circle. Code under #[cfg(test)] is left out.
"""
import os
import re
import sys

LITERAL = re.compile(
    r'//[^\n]*|/\*.*?\*/|b?c?r(#*)".*?"\1|b?c?"(?:\\.|[^"\\])*"|\'(?:\\[^\']*|[^\'\\])\'', re.DOTALL)
TEST = re.compile(r"#\[cfg\((?:all\()?test\b")
TEST_MODULE = re.compile(
    r'#\[cfg\((?:all\()?test[^\]]*\]\s*(?:#\[path = "([^"]+)"\]\s*)?(?:#\[[^\]]*\]\s*)*(?:pub )?mod (\w+);')


def code_of(text):
    """The text without comments, literals and items that are compiled for tests only."""
    text = LITERAL.sub('""', text)
    while found := TEST.search(text):
        end = re.compile(r"[{;]").search(text, found.start()).start()
        if text[end] == "{":
            depth = 0
            for end in range(end, len(text)):
                depth += {"{": 1, "}": -1}.get(text[end], 0)
                if depth == 0:
                    break
        text = text[:found.start()] + text[end + 1:]
    return text


def paths_of_use(tree):
    """Each path of a use tree: `a::{b, c::d}` is `a::b` and `a::c::d`."""
    start = tree.find("{")
    if start < 0:
        return [re.sub(r"\s+as\s+\w+", "", tree).strip()]
    parts, depth, part = [], 0, ""
    for char in tree[start + 1:tree.rfind("}")]:
        depth += {"{": 1, "}": -1}.get(char, 0)
        if char == "," and depth == 0:
            parts.append(part)
            part = ""
        else:
            part += char
    parts.append(part)
    return [tree[:start].strip() + path for part in parts if part.strip() for path in paths_of_use(part)]


class Crate:
    """The modules of a crate, and which file uses which."""

    def __init__(self, top):
        self.top = top
        self.files = {}
        for directory, _, names in os.walk(top):
            for name in names:
                if name.endswith(".rs"):
                    path = os.path.join(directory, name)
                    self.files[self.module(path)] = path
        texts = {}
        for module, path in self.files.items():
            with open(path, encoding="utf-8") as file:
                texts[module] = file.read()
        tests = set()
        for module, text in texts.items():
            for path, name in TEST_MODULE.findall(text):
                tests.add(module + (name,))
                if path:
                    beside = os.path.join(os.path.dirname(self.files[module]), path)
                    tests.add(self.module(os.path.normpath(beside)))
        program = [module for module in texts
                   if not any(module[:length] in tests for length in range(1, len(module) + 1))]
        self.uses = {module: self.used_by(module, code_of(texts[module])) & set(program) for module in program}

    def module(self, path):
        parts = os.path.relpath(path, self.top)[:-3].split("/")
        return tuple(parts[:-1] if parts[-1] in ("mod", "lib") else parts)

    def resolve(self, module, path):
        """The module that has the last item of `path`, as seen from `module`; None for other crates."""
        parts = [part.strip() for part in path.split("::")]
        if parts[0] == "crate":
            here = ()
        elif parts[0] == "self":
            here = module
        elif parts[0] == "super":
            here = module[:-1]
        elif module + (parts[0],) in self.files:
            here = module + (parts[0],)
        else:
            return None
        for part in parts[1:]:
            if part == "super":
                here = here[:-1]
            elif here + (part,) in self.files:
                here += (part,)
            else:
                break
        return here

    def used_by(self, module, code):
        found, imported = set(), {}
        for tree in re.findall(r"\buse ([^;]+);", code):
            for path in paths_of_use(tree):
                target = self.resolve(module, path)
                if target is not None:
                    found.add(target)
                    imported[path.rsplit("::", maxsplit=1)[-1].strip()] = target
        code = re.sub(r"\buse [^;]+;", "", code)
        for path in re.findall(r"(?<![\w:])(?:crate|super|self)(?:::\w+)+", code):
            found.add(self.resolve(module, path))
        for first, rest in re.findall(r"(?<![:\w])(\w+)((?:::\w+)+)", code):
            if module + (first,) in self.files:
                found.add(self.resolve(module, first + rest))
            elif imported.get(first, ())[-1:] == (first,):
                found.add(self.resolve(imported[first], "self" + rest))
        # a parent is no use, and neither is the crate itself
        return {target for target in found if target and target != module[:len(target)]}

    def circles(self):
        """Groups of files each of which uses the others, by Tarjan's algorithm."""
        index, low, stack, groups = {}, {}, [], []

        def visit(module):
            index[module] = low[module] = len(index)
            stack.append(module)
            for used in self.uses[module]:
                if used not in index:
                    visit(used)
                    low[module] = min(low[module], low[used])
                elif used in stack:
                    low[module] = min(low[module], index[used])
            if low[module] == index[module]:
                at = stack.index(module)
                groups.append(stack[at:])
                del stack[at:]

        for module in self.uses:
            if module not in index:
                visit(module)
        return [sorted(group) for group in groups if len(group) > 1]


def main():
    sys.setrecursionlimit(10_000)
    found = False
    for top in sys.argv[1:]:
        crate = Crate(top)
        for group in crate.circles():
            found = True
            print(f"{top}: a circle of {len(group)} files:")
            for module in group:
                uses = ", ".join("::".join(used) for used in sorted(crate.uses[module] & set(group)))
                print(f"  {'::'.join(module)} uses {uses}")
    sys.exit(found)


if __name__ == "__main__":
    main()
