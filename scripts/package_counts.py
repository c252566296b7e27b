"""Count the package: files, lines, functions, small files, import circles, repeated public names.

``python scripts/package_counts.py`` prints each count beside its limit and its aim, and fails where
one exceeds its limit. ``python scripts/package_counts.py FOLDER`` prints the counts of one folder.
The limits are there to notice drift: do not meet them by cutting what is read together, or by
joining what is not. A limit is lowered to its aim as the package gets there, and raised only with a
commit that says what needs the room.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "napari_mrgen"
SMALL = 60
REPEATED = 3

LIMITS = {
    "files": (220, 200),
    "lines": (36_900, 29_000),
    "functions per 1,000 lines": (66, 60),
    f"files under {SMALL} lines with one importer": (15, 15),
    "import circles": (0, 0),
    f"public names defined in more than {REPEATED} files": (0, 0),
}
"""The limit of each count, and its aim."""


@dataclass(frozen=True)
class Module:
    """A file of the package, parsed."""

    name: str
    path: Path
    tree: ast.Module
    lines: int

    @property
    def functions(self) -> int:
        return sum(
            isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef) for n in ast.walk(self.tree)
        )

    @property
    def public_names(self) -> set[str]:
        """Functions and classes at the top of the file whose names have no underscore."""
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        return {n.name for n in self.tree.body if isinstance(n, kinds) and n.name[0] != "_"}


def read_package() -> dict[str, Module]:
    modules = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        text = path.read_text(encoding="utf-8")
        modules[name] = Module(name, path, ast.parse(text), text.count("\n"))
    return modules


def imports_of(module: Module, modules: dict[str, Module], *, at_import: bool) -> set[str]:
    """Return the modules that this one imports; ``at_import`` leaves out what functions import."""
    found = set()
    nodes = list(_at_import(module.tree.body)) if at_import else list(ast.walk(module.tree))
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            submodules = names & modules.keys()
            found |= submodules
            if len(submodules) < len(names):
                found.add(node.module)
    return (found & modules.keys()) - {module.name}


def _at_import(body: list[ast.stmt]) -> list[ast.stmt]:
    """Return the statements that run when the file is imported."""
    statements = []
    for node in body:
        is_for_types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if is_for_types or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        statements.append(node)
        statements += _at_import(getattr(node, "body", [])) + _at_import(
            getattr(node, "orelse", [])
        )
    return statements


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of modules that import one another (Tarjan, SIAM J Comput, 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    result = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in graph[name]:
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            group = [stack.pop()]
            while group[-1] != name:
                group.append(stack.pop())
            if len(group) > 1:
                result.append(sorted(group))

    for name in graph:
        if name not in index:
            visit(name)
    return result


def main(folder: str | None) -> int:
    modules = read_package()
    graph = {m.name: imports_of(m, modules, at_import=True) for m in modules.values()}
    importers = defaultdict(set)
    for module in modules.values():
        for other in imports_of(module, modules, at_import=False):
            importers[other].add(module.name)
    chosen = {
        name: module
        for name, module in modules.items()
        if folder is None or Path(folder).resolve() in (module.path, *module.path.parents)
    }
    lines = sum(m.lines for m in chosen.values())
    functions = sum(m.functions for m in chosen.values())
    small = [
        f"{m.path.relative_to(ROOT)} ({m.lines} lines)"
        for m in chosen.values()
        if m.path.name not in ("__init__.py", "__main__.py")
        and m.lines < SMALL
        and len(importers[m.name]) <= 1
    ]
    homes = defaultdict(set)
    for module in modules.values():
        for name in module.public_names:
            homes[name].add(module.name)
    repeated = [
        f"{name}: {', '.join(sorted(places))}"
        for name, places in sorted(homes.items())
        if len(places) > REPEATED and places & chosen.keys()
    ]
    rings = [" <-> ".join(ring) for ring in circles(graph) if set(ring) & chosen.keys()]
    counts = dict(
        zip(
            LIMITS,
            (
                len(chosen),
                lines,
                round(1000 * functions / max(lines, 1)),
                len(small),
                len(rings),
                len(repeated),
            ),
            strict=True,
        )
    )
    for (name, count), details in zip(
        counts.items(), ([], [], [], small, rings, repeated), strict=True
    ):
        limit, aim = LIMITS[name]
        print(f"{count:>7,}  {name}" + ("" if folder else f"   (limit {limit:,}, aim {aim:,})"))
        if folder or count > limit:
            print("".join(f"           {detail}\n" for detail in details), end="")
    is_over = any(counts[name] > limit for name, (limit, _) in LIMITS.items())
    return int(folder is None and is_over)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2] or [None]))
