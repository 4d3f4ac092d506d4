"""What an encoder's folder holds, and how much of a text is read."""

from __future__ import annotations

CARD = "encoder.json"
MODEL = "encoder.onnx"
TOKENIZER = "tokenizer.json"

QUERY_TOKENS = 32
"""As many as are read of a query, or of a title."""
DESCRIPTION_TOKENS = 64
"""As many as are read of a title with text and metadata."""
