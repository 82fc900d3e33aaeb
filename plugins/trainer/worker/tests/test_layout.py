"""What holds of the package as a whole: neutral code knows no engine, imports make no circle, names are unique."""

import ast
import pathlib
import subprocess
import sys

PACKAGE = pathlib.Path(__file__).parent.parent / "hone_worker"
FILES = {
    ".".join(("hone_worker", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
ENGINES = ("hone_worker.cpu_llama", "hone_worker.mlx")
# The one neutral file that may open engines; what it imports, it imports inside functions.
CHOICE = "hone_worker.engine_choice"


def imported(name):
    """The package's own modules that a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(FILES[name].read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return {module for module in found if module in FILES and module != name}


def test_neutral_modules_name_no_engine():
    neutral = [name for name in FILES if not name.startswith(ENGINES) and name != CHOICE]
    assert len(neutral) > 15
    assert {name: used for name in neutral if (used := {m for m in imported(name) if m.startswith(ENGINES)})} == {}


def test_all_but_the_mlx_engine_can_be_imported_without_mlx():
    names = [name for name in FILES if not name.startswith("hone_worker.mlx") and not name.endswith("__main__")]
    names.remove("hone_worker.cpu_llama.from_mlx")
    blocked = "import sys; sys.modules['mlx'] = sys.modules['mlx_lm'] = None\n"
    code = blocked + "".join(f"import {name}\n" for name in names)
    done = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_imports_make_no_circle():
    # A package's __init__ is part of every import below it, and is left out: none imports its own modules back.
    edges = {name: {m for m in imported(name) if FILES[m].name != "__init__.py"} for name in FILES}
    while free := [name for name, used in edges.items() if not used & edges.keys()]:
        for name in free:
            del edges[name]
    assert edges == {}


def test_no_module_name_occurs_twice():
    names = [path.stem for path in FILES.values() if not path.stem.startswith("__")]
    assert sorted(names) == sorted(set(names))
