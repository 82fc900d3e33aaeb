"""The engine over torch: transformers' models, PEFT's LoRA, and passes that share prefixes."""
