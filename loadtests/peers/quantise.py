"""Quantise a GGUF file: `python -m loadtests.peers.quantise SOURCE TARGET Q4_0`, in llama.cpp's environment."""

from __future__ import annotations

import sys

import llama_cpp

GGML_TYPE = {"Q4_0": 2, "Q4_1": 3, "IQ4_NL": 20}
"""Kinds of tensor that `-pure` asks for everywhere, the vocabulary projection included."""


def main() -> None:
    """Write TARGET in the type named; Q4_0-pure also keeps the vocabulary projection in 4 bits."""
    source, target, kind = sys.argv[1:]
    name, _, pure = kind.partition("-")
    settings = llama_cpp.llama_model_quantize_default_params()
    settings.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{name}")
    settings.nthread = 2
    if pure:
        settings.pure = True
        settings.output_tensor_type = settings.token_embedding_type = GGML_TYPE[name]
    failed = llama_cpp.llama_model_quantize(source.encode(), target.encode(), settings)
    if failed:
        raise SystemExit(f"llama.cpp cannot quantise {source} to {kind}")


if __name__ == "__main__":
    main()
