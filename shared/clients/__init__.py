"""Typed httpx clients of our own services: models in, models out, our errors on failure."""

from shared.clients.augmentation import AugmentationClient
from shared.clients.generation import GenerationClient
from shared.clients.inference import InferenceClient
from shared.clients.mapping import MappingClient
from shared.clients.service import ServiceClient

__all__ = [
    "AugmentationClient",
    "GenerationClient",
    "InferenceClient",
    "MappingClient",
    "ServiceClient",
]
