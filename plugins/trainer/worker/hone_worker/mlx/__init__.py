"""The engine over mlx-lm's own modules: every architecture that mlx-lm knows, on Metal and on CPUs.

Importing this package loads a fast BLAS first (see ``blas_preload``), because the Linux wheel of MLX
binds the first one it finds. Import ``mlx.core`` only after it.
"""

from hone_worker.mlx import blas_preload

BLAS_PATH = blas_preload.preload()
