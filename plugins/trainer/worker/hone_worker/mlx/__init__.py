"""The MLX back end.

Importing this package loads a fast BLAS first (see ``blas``), because the Linux wheel
of MLX binds the first one it finds. Import ``mlx.core`` only after it.
"""

from hone_worker.mlx import blas

BLAS_PATH = blas.preload()
