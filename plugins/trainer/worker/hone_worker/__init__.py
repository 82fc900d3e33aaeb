"""hone's local trainer process.

The package serves a language model as an OpenAI-compatible endpoint, records the exact ids it
samples, and trains a LoRA adapter on them. What is neutral lies here, in ``endpoint``, ``loading``
and ``vllm`` (rollouts by vLLM's servers); ``engine`` says what an engine is, and each engine has a
folder: ``cpu_llama`` (NumPy), ``mlx`` and ``lightning`` (torch). No neutral module imports an engine,
but for ``engine_choice`` when it opens one. ``tracking`` is a program of its own: trackers of the run.
"""

__version__ = "0.1.0"
