from prometheus_client import CollectorRegistry

from services.inference.metrics import BundleCollector
from shared.contracts.inference import InferenceInfo

INFO = InferenceInfo.model_construct(generation="v1", ads=2, encoder="words", index="flat")
LABELS = {"generation": "v1", "encoder": "words", "index": "flat"}


def test_the_served_bundle_is_named_and_none_is_not() -> None:
    served: list[InferenceInfo] = []
    registry = CollectorRegistry()
    registry.register(BundleCollector(lambda: served[0] if served else None))
    before = registry.get_sample_value("skim_inference_bundle", LABELS)

    served.append(INFO)

    assert before is None
    assert registry.get_sample_value("skim_inference_bundle", LABELS) == 1
