"""A cross-encoder made on the spot: its logit is how many words of the query are words of the document."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import onnx
from onnx import TensorProto, helper
from tokenizers import Tokenizer, models, pre_tokenizers, processors


def write_cross_encoder(folder: Path, words: Iterable[str], *, outputs: int = 1) -> Path:
    """Write `model.onnx` and `tokenizer.json`; return the folder."""
    folder.mkdir(parents=True)
    vocabulary = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2}
    for word in words:
        vocabulary.setdefault(word, len(vocabulary))
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(["[CLS]", "[SEP]"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 1), ("[SEP]", 2)],
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    onnx.save(_shared_words(outputs), str(folder / "model.onnx"))
    return folder


def _shared_words(outputs: int) -> onnx.ModelProto:
    """Return a graph that counts (query token, document token) pairs of one word: ids, types and mask say which."""

    def _constant(name: str, values: list[int]) -> onnx.TensorProto:
        return helper.make_tensor(name, TensorProto.INT64, [len(values)], values)

    nodes = [
        helper.make_node("Greater", ["input_ids", "special"], ["is_word"]),
        helper.make_node("Equal", ["token_type_ids", "zero"], ["is_first"]),
        helper.make_node("Not", ["is_first"], ["is_second"]),
        helper.make_node("And", ["is_word", "is_first"], ["of_query"]),
        helper.make_node("And", ["is_word", "is_second"], ["of_document"]),
        helper.make_node("Unsqueeze", ["of_query", "last"], ["rows"]),
        helper.make_node("Unsqueeze", ["of_document", "middle"], ["columns"]),
        helper.make_node("And", ["rows", "columns"], ["are_opposite"]),
        helper.make_node("Unsqueeze", ["input_ids", "last"], ["row_ids"]),
        helper.make_node("Unsqueeze", ["input_ids", "middle"], ["column_ids"]),
        helper.make_node("Equal", ["row_ids", "column_ids"], ["are_equal"]),
        helper.make_node("And", ["are_equal", "are_opposite"], ["shared"]),
        helper.make_node("Cast", ["shared"], ["counted"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["counted", "both"], ["total"], keepdims=0),
        helper.make_node("Unsqueeze", ["total", "middle"], ["one"]),
        helper.make_node("Concat", ["one"] * outputs, ["logits"], axis=1),
    ]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["pairs", "length"])
        for name in ("input_ids", "attention_mask", "token_type_ids")
    ]
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["pairs", outputs])
    constants = [
        _constant("special", [2]),
        _constant("zero", [0]),
        _constant("last", [2]),
        _constant("middle", [1]),
        _constant("both", [1, 2]),
    ]
    graph = helper.make_graph(nodes, "shared_words", inputs, [logits], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
