from prometheus_client import CollectorRegistry

from services.inference.metrics import BundleCollector, ServedBundle


def test_the_served_bundle_is_named_and_none_is_not() -> None:
    served: list[ServedBundle] = []
    registry = CollectorRegistry()
    registry.register(BundleCollector(lambda: served[0] if served else None))
    labels = {"generation": "v1", "encoder": "words", "index": "flat"}
    before = registry.get_sample_value("skim_inference_bundle", labels)

    served.append(ServedBundle("v1", "words", "flat"))

    assert before is None
    assert registry.get_sample_value("skim_inference_bundle", labels) == 1
