"""The engine over torch: transformers' models, PEFT's LoRA, and passes that share prefixes.

Where to read, in the order in which a step runs:

- ``lightning_engine`` is the engine that the worker knows, ``lightning_config`` its options; ``model_loading`` reads the
  weights, ``adapted_model`` adds LoRA (``low_rank``, ``frozen_linear``: its faster formulas); ``memory`` refuses what
  does not fit, ``pass_memory`` says how many tokens a pass may have (``device_memory``: what there is).
- An update: ``fit_loop`` keeps Lightning's Trainer waiting for updates, ``module`` is what it trains (one update is one
  epoch), ``moments`` hands AdamW's state to checkpoints, ``telemetry`` logs.
- A pass: ``micro_batches`` cuts the rows, ``passes`` computes a micro-batch, ``tree_attention`` its attention and
  ``frozen_head`` its log-probabilities.
- Sampling: ``cached_decoder`` with ``cache_pass`` and ``row_caches``; ``library_decoder`` for models with an attention of
  their own.
- Several processes: ``launch`` starts or meets them, ``ranks`` is how they talk, ``watch`` notices that one died,
  ``rank`` is the program of the others, ``sharding`` spreads the weights over them (FSDP2).
"""
