"""Which view finds the labels that the log misses: `python -m loadtests.mapping_views --data things --tuned FOLDER --save`.

The general encoder, one that was fine-tuned on the log's clicks (the `encoder` of a bundle that `skim train
--fine-tune-epochs` wrote), and both joined, judged as `skim mapping evaluate` does. The cells are the general encoder's for
all three.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loadtests.mapping_labels import judged
from loadtests.results import Row, save
from shared.settings import CommonSettings

_MAPPINGS = ("preset", "calibrated", "chosen")
_FIGURES = ("label_precision", "label_recall", "labels_per_document", "empty_cell_recall")


def main() -> None:
    """Judge the views, print the table, save it if told to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with truth, or things")
    parser.add_argument(
        "--tuned", type=Path, required=True, help="folder of the fine-tuned encoder"
    )
    parser.add_argument("--documents", type=int, help="judge the first so many; all if absent")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    general = CommonSettings().models / "encoder"
    views = {
        "general": [general],
        "fine-tuned": [options.tuned],
        "both joined": [general, options.tuned],
    }
    judgements = {
        name: judged(options.data, encoders, options.documents) for name, encoders in views.items()
    }
    table = rows(judgements)
    if options.save:
        command = (
            f"python -m loadtests.mapping_views --data {options.data.name} --tuned FOLDER --save"
        )
        command += f" --documents {options.documents}" if options.documents else ""
        save(f"mapping-views-{options.data.name}", table, command=command)
    print(json.dumps(table))


def rows(judgements: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """Return a row a mapping and view."""
    return [
        {"mapping": mapping, "view": view, "documents": figures["documents"]}
        | {name.replace("_", " "): figures["rows"][mapping][name] for name in _FIGURES}
        for mapping in _MAPPINGS
        for view, figures in judgements.items()
    ]


if __name__ == "__main__":
    main()
