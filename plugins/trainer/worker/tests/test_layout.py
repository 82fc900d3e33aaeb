"""What holds of the package as a whole (its arrows are checked by tools/check_structure.ts)."""

import pathlib
import subprocess
import sys

PACKAGE = pathlib.Path(__file__).parent.parent / "hone_worker"


def test_all_but_the_mlx_engine_can_be_imported_without_mlx():
    paths = [path.relative_to(PACKAGE.parent).with_suffix("") for path in sorted(PACKAGE.rglob("*.py"))]
    names = [".".join(path.parts) for path in paths if path.name != "__main__" and "mlx" not in str(path)]
    assert "hone_worker.worker" in names and "hone_worker.cpu_llama.llama_engine" in names
    code = "import sys; sys.modules['mlx'] = sys.modules['mlx_lm'] = None\n"
    code += "".join(f"import {name}\n" for name in names)
    done = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
