from loadtests.store import LABELS, measure


def test_a_small_store_is_measured_and_moved() -> None:
    figures = measure(40)

    assert figures["labels"] == 40 * LABELS
    for name in (
        "store_bytes_per_document",
        "store_bytes_per_label",
        "export_documents_per_second",
        "import_documents_per_second",
        "file_bytes_per_document",
    ):
        assert float(figures[name] or 0) > 0, name
    assert float(figures["store_bytes_per_document"] or 0) > float(
        figures["text_bytes_per_document"] or 0
    )
