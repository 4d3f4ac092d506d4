"""A merged Llama-like model folder as one GGUF file of float32 weights, which llama.cpp then quantises."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFWriter
from numpy.typing import NDArray
from safetensors.numpy import load_file

_GLOBAL = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
_IN_BLOCK = {
    "input_layernorm.weight": "attn_norm.weight",
    "self_attn.q_proj.weight": "attn_q.weight",
    "self_attn.k_proj.weight": "attn_k.weight",
    "self_attn.v_proj.weight": "attn_v.weight",
    "self_attn.o_proj.weight": "attn_output.weight",
    "post_attention_layernorm.weight": "ffn_norm.weight",
    "mlp.gate_proj.weight": "ffn_gate.weight",
    "mlp.up_proj.weight": "ffn_up.weight",
    "mlp.down_proj.weight": "ffn_down.weight",
}


def write_gguf(source: Path, target: Path) -> None:
    """Write `source` (Hugging Face style, float32 or float16) to `target` without a vocabulary.

    Peers are given token ids and give token ids back, so the file needs no tokenizer.
    """
    config: Mapping[str, Any] = json.loads((source / "config.json").read_bytes())
    heads, key_value_heads = config["num_attention_heads"], config["num_key_value_heads"]
    writer = GGUFWriter(target, "llama")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(key_value_heads)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_rope_dimension_count(config["hidden_size"] // heads)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("no_vocab")
    for file in sorted(source.glob("*.safetensors")):
        for name, weights in load_file(file).items():
            values = weights.astype(np.float32)
            if name.endswith("q_proj.weight"):
                values = interleave_rotary(values, heads)
            elif name.endswith("k_proj.weight"):
                values = interleave_rotary(values, key_value_heads)
            writer.add_tensor(tensor_name(name), values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def tensor_name(name: str) -> str:
    """Return GGUF's name of a Hugging Face tensor: model.layers.3.mlp.up_proj.weight -> blk.3.ffn_up.weight."""
    if name in _GLOBAL:
        return _GLOBAL[name]
    _, _, block, rest = name.split(".", 3)
    return f"blk.{block}.{_IN_BLOCK[rest]}"


def interleave_rotary(weights: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Reorder the rows of a query or key projection as llama.cpp rotates them.

    Hugging Face rotates row i of a head with row i + size / 2, llama.cpp row 2i with row 2i + 1.

    Args:
        weights: (heads * size, inputs) float32.
        heads: of this projection.
    """
    rows, inputs = weights.shape
    halves = weights.reshape(heads, 2, rows // heads // 2, inputs)
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows, inputs))
