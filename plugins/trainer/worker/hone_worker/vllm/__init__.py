"""Rollouts sampled by vLLM: the servers, their HTTP interface, and a sampler in the place of ``endpoint.sampler``.

``open_rollouts`` starts or takes the servers (``vllm_process`` under a ``guard``, on the GPUs that ``placement`` gives
them), ``server_checks`` looks at them, and ``vllm_sampler`` asks them from then on, through ``replicas``, ``vllm_api`` and
``http_client``. Nothing of vLLM or torch is imported here.
"""
