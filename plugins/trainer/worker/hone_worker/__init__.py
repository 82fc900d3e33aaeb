"""hone's local trainer process.

The package serves a language model as an OpenAI-compatible endpoint, records the
exact ids it samples, and trains a LoRA adapter on them. ``trajectory`` and
``config`` know no array library and are shared by every back end; ``mlx`` is the
back end built on MLX.
"""

__version__ = "0.1.0"
