"""Rollouts sampled by vLLM: the servers, their HTTP interface, and a sampler in the place of ``endpoint.sampler``."""
