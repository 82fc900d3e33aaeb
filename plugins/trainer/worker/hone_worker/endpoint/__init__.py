"""The OpenAI-compatible endpoint: HTTP, chats with their rollout handles, and continuous batching."""
