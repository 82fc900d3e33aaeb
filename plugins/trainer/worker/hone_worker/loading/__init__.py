"""Models on disk, before any engine: files, tokenizer, chat template, configuration."""
