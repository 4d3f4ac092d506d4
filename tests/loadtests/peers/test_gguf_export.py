from pathlib import Path

import numpy as np
import orjson
from gguf import GGUFReader
from safetensors.numpy import save_file

from loadtests.peers.gguf_export import interleave_rotary, tensor_name, write_gguf

CONFIG = {
    "hidden_size": 8,
    "intermediate_size": 16,
    "max_position_embeddings": 32,
    "num_attention_heads": 2,
    "num_hidden_layers": 1,
    "num_key_value_heads": 1,
    "rms_norm_eps": 1e-5,
    "rope_parameters": {"rope_theta": 100000.0},
    "vocab_size": 12,
}


def test_tensors_are_renamed_with_their_block() -> None:
    assert tensor_name("model.embed_tokens.weight") == "token_embd.weight"
    assert tensor_name("model.layers.12.mlp.up_proj.weight") == "blk.12.ffn_up.weight"


def test_rows_that_turn_together_come_to_lie_side_by_side() -> None:
    rows = np.arange(8, dtype=np.float32)[:, None]  # two heads of 4: 0 turns with 2, 1 with 3

    assert interleave_rotary(rows, 2)[:, 0].tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


def test_a_file_holds_all_weights_and_what_the_model_is(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    weights = {
        "model.embed_tokens.weight": random.normal(size=(12, 8)).astype(np.float32),
        "model.layers.0.self_attn.q_proj.weight": random.normal(size=(8, 8)).astype(np.float16),
        "model.layers.0.self_attn.k_proj.weight": random.normal(size=(4, 8)).astype(np.float32),
        "model.norm.weight": np.ones(8, dtype=np.float32),
    }
    save_file(weights, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_bytes(orjson.dumps(CONFIG))

    write_gguf(tmp_path, tmp_path / "model.gguf")

    reader = GGUFReader(tmp_path / "model.gguf")
    tensors = {tensor.name: tensor.data for tensor in reader.tensors}
    assert sorted(tensors) == [
        "blk.0.attn_k.weight",
        "blk.0.attn_q.weight",
        "output_norm.weight",
        "token_embd.weight",
    ]
    np.testing.assert_array_equal(
        tensors["token_embd.weight"], weights["model.embed_tokens.weight"]
    )
    queries = weights["model.layers.0.self_attn.q_proj.weight"].astype(np.float32)
    np.testing.assert_array_equal(tensors["blk.0.attn_q.weight"], interleave_rotary(queries, 2))
    assert reader.fields["llama.rope.dimension_count"].contents() == 4
    assert reader.fields["llama.attention.head_count_kv"].contents() == 1
    assert reader.fields["llama.vocab_size"].contents() == 12
