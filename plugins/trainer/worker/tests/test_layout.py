"""What holds of the package as a whole (its arrows are checked by tools/check_structure.ts)."""

import pathlib
import subprocess
import sys

PACKAGE = pathlib.Path(__file__).parent.parent / "hone_worker"


def test_what_needs_no_library_of_an_engine_can_be_imported_without_it():
    paths = [path.relative_to(PACKAGE.parent).with_suffix("") for path in sorted(PACKAGE.rglob("*.py"))]
    own = ("mlx", "lightning", "tracking")
    free = [path for path in paths if path.name != "__main__" and path.parts[1] not in own and "mlx" not in path.name]
    names = [".".join(path.parts) for path in free]
    assert "hone_worker.worker" in names and "hone_worker.cpu_llama.llama_engine" in names
    libraries = ("mlx", "mlx_lm", "torch", "lightning", "peft")
    code = f"import sys; sys.modules.update(dict.fromkeys({libraries}))\n"
    code += "".join(f"import {name}\n" for name in names)
    done = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
