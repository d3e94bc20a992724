"""Settings: one frozen dataclass per component, every field documented where it is declared."""

from .fields import Document, document, load, setting

__all__ = ["Document", "document", "load", "setting"]
