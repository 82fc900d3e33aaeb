"""The engine for Llama-shaped models on CPUs: hand-written layers, forward and backward, in NumPy over BLAS.

Between matrix products NumPy is far faster than MLX's CPU back end (exp: 0.45 against 12 ns an element,
measured), so sampling and training run their own layers. Arrays are fp32; a token is a row.
"""
